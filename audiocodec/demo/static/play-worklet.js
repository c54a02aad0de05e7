// Runs in the audio thread: plays pieces as they come, from a buffer that is kept as short as the network allows.
// It waits until `target` samples are there; where more than MOST times as many pile up, it drops some. Of each piece
// it tells how many seconds it waits behind those that came before.
const MOST = 3;

class Playout extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.target = Math.round(processorOptions.seconds * sampleRate);
    this.pieces = [];
    this.held = 0;
    this.at = 0;
    this.waiting = true;
    this.port.onmessage = ({ data }) => {
      if (!this.waiting) this.port.postMessage(this.held / sampleRate);
      this.pieces.push(data);
      this.held += data.length;
      while (this.held > MOST * this.target && this.pieces.length > 1) this.drop();
    };
  }

  drop() {
    this.held -= this.pieces[0].length - this.at;
    this.pieces.shift();
    this.at = 0;
  }

  process(_, [output]) {
    const channel = output[0];
    if (this.waiting && this.held >= this.target) this.waiting = false;
    for (let n = 0; n < channel.length && !this.waiting; n++) {
      if (!this.pieces.length) {
        this.waiting = true;
        break;
      }
      channel[n] = this.pieces[0][this.at++];
      this.held--;
      if (this.at >= this.pieces[0].length) {
        this.pieces.shift();
        this.at = 0;
      }
    }
    for (let other = 1; other < output.length; other++) output[other].set(channel);
    return true;
  }
}
registerProcessor("playout", Playout);
