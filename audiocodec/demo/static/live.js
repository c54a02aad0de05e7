// The microphone through the codec and back, and what it costs.
import { NoMicrophone, openMicrophone, to16 } from "./sound.js";
import { Told } from "./server.js";

const $ = (id) => document.getElementById(id);
const PLAYOUT_SECONDS = 0.06; // held back before playing, so that a late packet is no gap
const PIECE_MS = 20;
const AVERAGED = 100; // pieces: two seconds
const SETTLE_MS = 150; // after the last move of a slider, as each new rate begins a stream of its own

export class Live {
  constructor(knobs, onError) {
    this.knobs = knobs;
    this.onError = onError;
    this.on = false;
    this.shown = [];
    $("live-start").addEventListener("click", () => (this.on ? this.stop("The microphone is off.") : this.start()));
    $("live-mute").addEventListener("change", () => this.mute());
    addEventListener("resize", () => this.draw());
    this.draw();
  }

  async start() {
    const attempt = (this.attempt = {});
    const current = () => this.attempt === attempt;
    this.on = true;
    $("live-start").textContent = "Stop";
    $("live-model").disabled = true;
    $("live-status").textContent = "Opening the microphone";
    Object.assign(this, { number: 0, sent: new Map(), answers: [], ready: false, shown: [], totals: [0, 0] });
    Object.assign(this, { samplesIn: 0, samplesOut: 0, delays: [], waits: [] });
    try {
      const microphone = await openMicrophone((piece) => current() && this.send(piece));
      if (!current()) return microphone.close();
      this.microphone = microphone;
      await microphone.context.audioWorklet.addModule("/static/play-worklet.js");
      if (!current()) return; // stopped, which closed it
      this.prepare(microphone.context);
      this.connect(microphone.context.sampleRate);
    } catch (error) {
      if (!current()) return;
      this.stop("The microphone is off.");
      this.onError(error instanceof NoMicrophone ? error : new Told(`live sound cannot begin: ${error.message}`));
    }
  }

  prepare(context) {
    this.playout = new AudioWorkletNode(context, "playout", {
      numberOfInputs: 0,
      processorOptions: { seconds: PLAYOUT_SECONDS },
    });
    this.playout.port.onmessage = ({ data }) => keep(this.waits, data);
    this.volume = context.createGain();
    this.playout.connect(this.volume).connect(context.destination);
    this.mute();
  }

  connect(rate) {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ ...this.knobs.query, loss: this.knobs.loss, sample_rate: rate }));
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return; // of a microphone that is off
      if (typeof data === "string") this.told(JSON.parse(data));
      else this.answer(data);
    };
    socket.onclose = () => this.on && socket === this.socket && this.stop("The server ended it.");
    this.socket = socket;
  }

  told(message) {
    if (message.error) {
      this.stop("The microphone is off.");
      return this.onError(new Told(message.error));
    }
    this.algorithmic = message.algorithmic_ms;
    this.ready = true;
    this.change(); // a knob may have been turned since the server was asked
    $("live-status").textContent = "Live: speak.";
    this.timer = setInterval(() => this.tell(), 250);
  }

  send(piece) {
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return;
    const message = new ArrayBuffer(4 + 2 * piece.length);
    new DataView(message).setUint32(0, this.number, true);
    new Int16Array(message, 4).set(to16(piece));
    this.sent.set(this.number++, { time: performance.now(), samples: piece.length });
    this.socket.send(message);
    this.shown.push({ in: peak(piece), out: 0 });
    if (this.shown.length > 400) this.shown.shift();
  }

  answer(data) {
    const view = new DataView(data);
    const number = view.getUint32(0, true);
    const sent = this.sent.get(number);
    if (!sent) return;
    this.sent.delete(number);
    const trip = performance.now() - sent.time;
    this.samplesIn += sent.samples;
    const [bytes, packets, lost] = [view.getUint32(8, true), view.getUint16(12, true), view.getUint16(14, true)];
    keep(this.answers, { trip, compute: view.getFloat32(4, true), bytes });
    this.totals = [this.totals[0] + packets, this.totals[1] + lost];
    const samples = Float32Array.from(new Int16Array(data, 16), (value) => value / 32768);
    if (this.shown.length) this.shown[this.shown.length - 1].out = peak(samples);
    if (samples.length) {
      // How long the first of these samples was under way: the newest that went in came so much later.
      keep(this.delays, (1000 * (this.samplesIn - this.samplesOut)) / this.microphone.context.sampleRate);
      this.samplesOut += samples.length;
      this.playout.port.postMessage(samples);
    }
    this.draw();
  }

  tell() {
    if (!this.answers.length) return;
    const mean = (name) => average(this.answers.map((one) => one[name]));
    const trip = mean("trip");
    const coding = average(this.delays);
    const { context } = this.microphone;
    const device = 1000 * (context.baseLatency + (context.outputLatency || 0));
    const waiting = 1000 * average(this.waits);
    $("live-kbps").textContent = ((mean("bytes") * 8) / PIECE_MS).toFixed(1);
    $("live-compute").textContent = mean("compute").toFixed(1);
    $("live-delay").textContent = Math.round(coding + trip + waiting + device);
    $("live-lost").textContent = `${this.totals[1]} of ${this.totals[0]}`;
    $("live-parts").textContent =
      `The delay is made of ${this.algorithmic.toFixed(0)} ms of the codec, ${Math.max(0, coding - this.algorithmic).toFixed(0)} of resampling and of waiting ` +
      `for whole frames, ${trip.toFixed(0)} of computing and the way there and back, ${waiting.toFixed(0)} waiting to be played, and ` +
      `${device.toFixed(0)} of the sound device.`;
    if (trip > 400) $("live-status").textContent = "This machine cannot keep up; it may be busy with something else.";
  }

  // Knobs were turned: rate and losses change while it goes on.
  change() {
    clearTimeout(this.changing);
    this.changing = setTimeout(() => {
      if (!this.ready || this.socket?.readyState !== WebSocket.OPEN) return;
      this.socket.send(JSON.stringify({ levels: this.knobs.levels, loss: this.knobs.loss }));
    }, SETTLE_MS);
  }

  mute() {
    if (this.volume) this.volume.gain.value = $("live-mute").checked ? 0 : 1;
  }

  stop(text) {
    this.on = this.ready = false;
    this.attempt = null;
    clearInterval(this.timer);
    clearTimeout(this.changing);
    this.socket?.close();
    this.microphone?.close();
    this.socket = this.microphone = this.playout = this.volume = null;
    $("live-start").textContent = "Start";
    $("live-model").disabled = false;
    $("live-status").textContent = text;
  }

  // What went in and what came out, as peaks of 20 ms, the newest on the right.
  draw() {
    const canvas = $("live-wave");
    const style = getComputedStyle(canvas);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const sharp = window.devicePixelRatio || 1;
    canvas.width = width * sharp;
    canvas.height = height * sharp;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.lineWidth = 1.6;
    const bar = 4;
    const line = (middle, name, colour) => {
      pen.strokeStyle = style.getPropertyValue(colour);
      pen.beginPath();
      this.shown.slice(-Math.floor(width / bar)).forEach((piece, n, all) => {
        const x = width - (all.length - n) * bar + bar / 2;
        const tall = Math.max(0.8, Math.min(1, piece[name] * 1.6) * (height / 4 - 6));
        pen.moveTo(x, middle - tall);
        pen.lineTo(x, middle + tall);
      });
      pen.stroke();
    };
    pen.fillStyle = style.getPropertyValue("--rule");
    pen.fillRect(0, height / 2, width, 1);
    line(height / 4, "in", "--muted");
    line((3 * height) / 4, "out", "--ours");
  }
}

// The newest of many.
function keep(all, one) {
  all.push(one);
  if (all.length > AVERAGED) all.shift();
}

function average(all) {
  return all.length ? all.reduce((sum, one) => sum + one, 0) / all.length : 0;
}

function peak(samples) {
  let most = 0;
  for (const value of samples) most = Math.max(most, Math.abs(value));
  return most;
}
