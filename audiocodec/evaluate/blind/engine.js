"use strict";
// All sounds of a trial on one clock: every one plays all the time, and one of them is heard. A switch is a crossfade.
class Engine {
  static FADE_S = 0.008;

  constructor() {
    this.context = new AudioContext();
    this.buffers = new Map();
    this.playing = null; // {nodes: Map(name -> {source, gain}), at: context time, from: seconds} while playing
    this.active = null;
    this.position = 0;
    this.loop = true;
    this.region = [0, 0];
    this.seconds = 0;
    this.onend = () => {};
  }

  // sounds: {name: base64 of a FLAC file}
  async load(sounds) {
    this.pause();
    this.buffers.clear();
    for (const [name, text] of Object.entries(sounds)) {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      this.buffers.set(name, await this.context.decodeAudioData(bytes.buffer));
    }
    this.seconds = Math.min(...[...this.buffers.values()].map((b) => b.duration));
    this.region = [0, this.seconds];
    this.position = 0;
  }

  get now() {
    if (!this.playing) return this.position;
    const passed = this.playing.from + Math.max(0, this.context.currentTime - this.playing.at);
    const [begin, end] = this.region;
    return this.loop && passed >= end ? begin + ((passed - begin) % (end - begin)) : Math.min(passed, this.seconds);
  }

  async play() {
    if (this.playing) return;
    await this.context.resume();
    const [begin, end] = this.region;
    let from = this.position;
    if (this.loop ? from < begin || from >= end - 0.01 : from >= this.seconds - 0.01) from = this.loop ? begin : 0;
    const at = this.context.currentTime + 0.02;
    const nodes = new Map();
    for (const [name, buffer] of this.buffers) {
      const source = new AudioBufferSourceNode(this.context, {
        buffer, loop: this.loop, loopStart: begin, loopEnd: end,
      });
      const gain = new GainNode(this.context, { gain: name === this.active ? 1 : 0 });
      source.connect(gain).connect(this.context.destination);
      source.start(at, from);
      nodes.set(name, { source, gain });
    }
    this.playing = { nodes, at, from };
    const playing = this.playing;
    nodes.values().next().value.source.onended = () => {
      if (this.playing !== playing) return; // stopped by us
      this.playing = null;
      this.position = 0;
      this.onend();
    };
  }

  pause() {
    if (!this.playing) return;
    this.position = this.now;
    const { nodes } = this.playing;
    this.playing = null;
    for (const { source, gain } of nodes.values()) {
      this.fade(gain, 0);
      source.stop(this.context.currentTime + 2 * Engine.FADE_S);
    }
  }

  hear(name) {
    this.active = name;
    if (!this.playing) return;
    for (const [other, { gain }] of this.playing.nodes) this.fade(gain, other === name ? 1 : 0);
  }

  fade(gain, value) {
    const now = this.context.currentTime;
    gain.gain.cancelScheduledValues(now);
    gain.gain.setValueAtTime(gain.gain.value, now);
    gain.gain.linearRampToValueAtTime(value, now + Engine.FADE_S);
  }

  // Change the position, the loop or its region, playing on if it was playing.
  async change(what) {
    const was = Boolean(this.playing);
    this.pause();
    what(this);
    if (was) await this.play();
  }
}
