// All versions of a recording run at once, each through a gain of its own: to switch is to fade from one gain to
// another, so the moment is kept to the sample. A version may be replaced while it plays.

const FADE_SECONDS = 0.006; // time constant: too short to be heard as a fade, long enough not to click
const START_SECONDS = 0.06; // from "play" to the first sample, so that all versions start together
const SWAP_SECONDS = 0.04;

export class Player {
  constructor(root, onMove) {
    this.root = root;
    this.onMove = onMove;
    this.context = null; // made by the first click: browsers refuse sound before one
    this.voices = [0, 1, 2].map(() => ({ buffer: null, gain: null, source: null }));
    this.clear();
  }

  clear() {
    this.pause();
    for (const voice of this.voices) voice.buffer = null;
    this.active = 0;
    this.position = 0;
    this.seconds = 0;
    this.repeat = false;
    this.onMove();
  }

  get playing() {
    return typeof this.started === "number";
  }

  get time() {
    if (!this.playing) return this.position;
    return Math.min(this.seconds, this.position + Math.max(0, this.context.currentTime - this.started));
  }

  set(index, buffer) {
    const voice = this.voices[index];
    voice.buffer = buffer;
    this.seconds = Math.max(0, ...this.voices.map((one) => (one.buffer ? one.buffer.duration : 0)));
    if (this.playing && buffer) {
      const at = this.context.currentTime + SWAP_SECONDS;
      if (voice.source) voice.source.stop(at); // the old one sounds until the new one takes over
      this.run(voice, index, at, this.position + Math.max(0, at - this.started));
    } else {
      this.halt(voice);
    }
    this.onMove();
  }

  has(index) {
    return Boolean(this.voices[index].buffer);
  }

  select(index) {
    if (!this.has(index)) return false;
    this.active = index;
    if (this.context) {
      this.voices.forEach((voice, place) => {
        if (voice.gain) voice.gain.gain.setTargetAtTime(place === index ? 1 : 0, this.context.currentTime, FADE_SECONDS);
      });
    }
    this.onMove();
    return true;
  }

  async play() {
    if (this.playing || !this.seconds) return;
    this.context ??= new AudioContext();
    await this.context.resume();
    if (this.playing) return;
    if (!this.has(this.active)) this.active = this.voices.findIndex((voice) => voice.buffer);
    this.begin(this.position >= this.seconds - 0.02 ? 0 : this.position);
  }

  begin(position) {
    this.position = position;
    this.started = this.context.currentTime + START_SECONDS;
    this.voices.forEach((voice, index) => this.run(voice, index, this.started, position));
    this.root.classList.add("playing");
    this.tick();
  }

  run(voice, index, at, offset) {
    if (!voice.buffer) return;
    if (!voice.gain) {
      voice.gain = this.context.createGain();
      voice.gain.connect(this.context.destination);
    }
    voice.gain.gain.cancelScheduledValues(0);
    voice.gain.gain.setValueAtTime(index === this.active ? 1 : 0, this.context.currentTime);
    voice.source = this.context.createBufferSource();
    voice.source.buffer = voice.buffer;
    voice.source.connect(voice.gain);
    voice.source.start(at, Math.min(offset, voice.buffer.duration));
  }

  halt(voice) {
    if (voice.source) voice.source.stop();
    voice.source = null;
  }

  pause() {
    if (!this.playing) return;
    this.position = this.time;
    this.stop();
  }

  stop() {
    this.started = null;
    this.voices.forEach((voice) => this.halt(voice));
    this.root.classList.remove("playing");
    this.onMove();
  }

  seek(position) {
    const going = this.playing;
    if (going) this.stop();
    this.position = Math.min(Math.max(position, 0), this.seconds);
    if (going) this.begin(this.position);
    this.onMove();
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  tick() {
    if (!this.playing) return;
    if (this.time >= this.seconds) {
      this.stop();
      this.position = 0;
      if (this.repeat) this.begin(0);
    }
    this.onMove();
    // A hidden tab draws no frames, and the end must be noticed there too
    if (this.playing) document.hidden ? setTimeout(() => this.tick(), 100) : requestAnimationFrame(() => this.tick());
  }
}

// Decoded at the recording's own rate: making 48 kHz of everything would take three times the memory of speech at 16 kHz.
export async function decoded(data, rate) {
  const context = new OfflineAudioContext(1, 1, Math.min(Math.max(rate, 8000), 48000));
  return context.decodeAudioData(data);
}
