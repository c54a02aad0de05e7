"use strict";
// Players in which all versions of a recording run at once, each through a gain of its own: to switch is to fade from
// one gain to another, so the moment is kept to the sample and there is no gap.
(() => {
  const FADE_SECONDS = 0.004; // time constant: too short to be heard as a fade, long enough not to click
  const START_SECONDS = 0.06; // from "play" to the first sample, so that all versions start together
  let context = null; // made by the first click: browsers refuse sound before one
  let latest = null; // the player that keys go to

  const bytes = (text) => {
    const binary = atob(text.trim());
    const data = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) data[i] = binary.charCodeAt(i);
    return data.buffer;
  };

  class Player {
    constructor(root) {
      this.root = root;
      this.seconds = Number(root.dataset.seconds);
      this.active = 0;
      this.position = 0; // where it stands while it does not play
      this.playing = false;
      this.voices = [...root.querySelectorAll("button.voice")];
      this.seekBar = root.querySelector(".seek");
      this.clock = root.querySelector(".time");
      this.status = root.querySelector(".scores");
      this.button = root.querySelector(".play");
      this.repeat = root.querySelector(".repeat input");
      this.playheads = [...root.querySelectorAll(".playhead")];
      this.listen();
      this.select(0);
      this.mark(Number(root.dataset.start));
      this.draw();
    }

    listen() {
      this.button.addEventListener("click", () => this.toggle());
      this.seekBar.addEventListener("input", () => this.seek(Number(this.seekBar.value)));
      this.voices.forEach((button, index) => button.addEventListener("click", () => this.select(index)));
      for (const lane of this.root.querySelectorAll(".lane:not(.axis) .seekable")) {
        lane.addEventListener("click", (event) => {
          const box = lane.getBoundingClientRect();
          this.seek((this.seconds * (event.clientX - box.left)) / box.width);
        });
      }
      const all = this.root.querySelector(".all");
      all.addEventListener("click", () => {
        const on = all.getAttribute("aria-pressed") !== "true";
        all.setAttribute("aria-pressed", on);
        this.root.querySelector(".spectrograms").dataset.view = on ? "all" : "pair";
      });
      for (const event of ["pointerdown", "focusin"]) this.root.addEventListener(event, () => (latest = this));
    }

    // Seconds into the recording, at this moment.
    get time() {
      if (!this.playing) return this.position;
      return Math.min(this.seconds, this.position + Math.max(0, context.currentTime - this.started));
    }

    // Decode all versions, the first time that one of them is played.
    async load() {
      const data = [...this.root.querySelectorAll("script.audio")].map((script) => bytes(script.textContent));
      this.buffers = await Promise.all(data.map((one) => context.decodeAudioData(one)));
      this.output = context.createGain();
      this.output.connect(context.destination);
      this.gains = this.buffers.map((_, index) => {
        const gain = context.createGain();
        gain.gain.value = index === this.active ? 1 : 0;
        gain.connect(this.output);
        return gain;
      });
    }

    async play() {
      if (this.playing || this.loading) return;
      this.loading = true;
      try {
        context ??= new AudioContext();
        await context.resume();
        if (!this.buffers) await this.load();
        for (const other of players) if (other !== this) other.pause();
        this.start(this.position >= this.seconds - 0.02 ? 0 : this.position);
      } catch (error) {
        this.status.textContent = `This browser cannot play the audio here: ${error.message}`;
      } finally {
        this.loading = false;
      }
    }

    start(position) {
      this.position = position;
      this.started = context.currentTime + START_SECONDS;
      this.sources = this.buffers.map((buffer, index) => {
        const source = context.createBufferSource();
        source.buffer = buffer;
        source.connect(this.gains[index]);
        source.start(this.started, position);
        return source;
      });
      this.playing = true;
      this.root.classList.add("playing");
      this.button.setAttribute("aria-label", "Pause");
      // The clock may be drawn late, or not at all in a hidden tab: the end comes from the sound itself.
      const sources = this.sources;
      sources[0].onended = () => sources === this.sources && this.end();
      this.draw();
    }

    stop() {
      const sources = this.sources;
      this.sources = null;
      this.playing = false;
      for (const source of sources) source.stop();
    }

    end() {
      this.stop();
      if (this.repeat.checked) this.start(0);
      else this.halt(0);
    }

    pause() {
      if (!this.playing) return;
      const time = this.time;
      this.stop();
      this.halt(time);
    }

    halt(position) {
      this.position = position;
      this.root.classList.remove("playing");
      this.button.setAttribute("aria-label", "Play");
      this.draw();
    }

    toggle() {
      if (this.playing) this.pause();
      else this.play();
    }

    seek(time) {
      const target = Math.min(Math.max(time, 0), this.seconds);
      if (this.playing) {
        this.stop();
        this.start(Math.min(target, this.seconds - 0.02));
      } else {
        this.position = target;
        this.draw();
      }
    }

    // Hear another version, at the same moment.
    select(index) {
      this.active = index;
      this.voices.forEach((button, other) => button.setAttribute("aria-pressed", other === index));
      this.status.textContent = this.voices[index].dataset.scores;
      this.gains?.forEach((gain, other) => {
        gain.gain.cancelScheduledValues(context.currentTime);
        gain.gain.setTargetAtTime(other === index ? 1 : 0, context.currentTime, FADE_SECONDS);
      });
      if (index > 0) this.mark(index);
    }

    // The version whose picture stands beside the original's: the one heard last besides the original.
    mark(index) {
      for (const figure of this.root.querySelectorAll(".spectrogram")) {
        figure.classList.toggle("reference", figure.dataset.voice === "0");
        figure.classList.toggle("current", figure.dataset.voice === String(index));
      }
      for (const path of this.root.querySelectorAll(".step")) {
        path.classList.toggle("current", path.dataset.voice === String(index));
      }
    }

    draw() {
      const time = this.time;
      this.seekBar.value = time;
      this.clock.value = `${time.toFixed(1)} / ${this.seconds.toFixed(1)} s`;
      for (const line of this.playheads) line.style.left = `${(100 * time) / this.seconds}%`;
      if (this.playing) requestAnimationFrame(() => this.playing && this.draw());
    }
  }

  const players = [...document.querySelectorAll(".player")].map((root) => (root.player = new Player(root)));
  latest = players[0] ?? null;

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const typing = target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (!latest || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[0-9]$/.test(event.key) && Number(event.key) < latest.voices.length) {
      latest.select(Number(event.key));
    } else if (event.key === " " && target.closest(".player") && !target.matches("button, input")) {
      latest.toggle();
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && target.closest(".player")) {
      latest.seek(latest.time + (event.key === "ArrowRight" ? 1 : -1));
    } else {
      return;
    }
    event.preventDefault();
  });
})();
