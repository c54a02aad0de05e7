// Runs in the audio thread: hands on what the microphone gives, in pieces of 20 ms, one channel.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(Math.round(sampleRate / 50));
    this.filled = 0;
  }

  process([input]) {
    const channel = input[0];
    for (let n = 0; channel && n < channel.length; n++) {
      this.piece[this.filled++] = channel[n];
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece);
        this.piece = new Float32Array(this.piece.length);
        this.filled = 0;
      }
    }
    return true;
  }
}
registerProcessor("capture", Capture);
