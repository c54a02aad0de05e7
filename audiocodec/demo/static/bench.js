// One recording on the bench: coded at the rate of the knobs, heard, looked at and weighed.
import { decoded, Player } from "./player.js";
import * as pictures from "./pictures.js";
import { forget, getAudio, getJson, place, postJson } from "./server.js";
import { clock, size } from "./words.js";

const $ = (id) => document.getElementById(id);
const DEBOUNCE_MS = 220;
const MOST_HZ = 12000;
const HINT = "Keys 1, 2 and 3 switch at the same moment, space plays and pauses.";

export class Bench {
  constructor(knobs, about, onError) {
    this.knobs = knobs;
    this.about = about;
    this.onError = onError;
    this.root = $("player");
    this.voices = [...this.root.querySelectorAll(".voice")];
    this.figures = [...this.root.querySelectorAll(".picture")];
    this.recording = null;
    this.player = new Player(this.root, () => this.moved());
    this.listen();
  }

  listen() {
    $("play").addEventListener("click", () => this.player.toggle());
    $("seek").addEventListener("input", () => this.player.seek(Number($("seek").value)));
    $("repeat").addEventListener("change", () => (this.player.repeat = $("repeat").checked));
    this.voices.forEach((voice, index) => voice.addEventListener("click", (event) => {
      this.player.select(index);
      if (event.detail) voice.blur(); // clicked by a pointer: space plays and pauses, as it does elsewhere
    }));
    for (const lane of this.root.querySelectorAll(".seekable")) {
      lane.addEventListener("click", (event) => {
        const box = lane.getBoundingClientRect();
        this.player.seek((this.player.seconds * (event.clientX - box.left)) / box.width);
        const figure = lane.closest(".picture");
        if (figure) this.player.select(Number(figure.dataset.voice));
      });
    }
    $("reroll").addEventListener("click", () => {
      this.seed++;
      this.change("loss");
    });
    addEventListener("keydown", (event) => this.key(event));
    addEventListener("pagehide", () => this.recording && forget(this.recording.key));
  }

  key(event) {
    const field = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (!this.recording || $("recordings").hidden || field || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["1", "2", "3"].includes(event.key)) this.player.select(Number(event.key) - 1);
    else if (event.key === " " && !event.target.closest("button, a, input:not([type=range])")) this.player.toggle();
    else return;
    event.preventDefault();
  }

  async show(recording) {
    this.close();
    this.recording = recording;
    this.seed = 1;
    this.levels = [null, null, null];
    this.coding = this.opus = null;
    this.lossText = "";
    this.topHz = Math.min(recording.sample_rate / 2, MOST_HZ);
    const coded = recording.kind === "vpc";
    $("name").textContent = recording.name;
    const channels = recording.channels === 2 ? "stereo" : "mono";
    $("facts").textContent =
      `${recording.seconds.toFixed(recording.seconds < 10 ? 2 : 1)} s, ${recording.sample_rate / 1000} kHz ${channels}, ${size(recording.bytes)}`;
    $("notices").replaceChildren(...recording.notices.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    const absent = [coded, false, coded || Boolean(this.about.opus_note)];
    this.voices.forEach((voice, n) => (voice.hidden = this.figures[n].hidden = absent[n]));
    this.root.querySelector(".voices").dataset.count = absent.filter((one) => !one).length;
    $("opus-note").hidden = coded || !this.about.opus_note;
    $("opus-note").textContent = `Opus cannot be heard beside it: ${this.about.opus_note}`;
    this.say("");
    this.figures.forEach((figure) => pictures.wipe(figure.querySelector("canvas")));
    this.draw();
    $("bench").hidden = false;
    this.moved();
    await this.knobs.begin({
      picked: recording.picked,
      why: coded ? "Named by the file" : `Picked by ear: ${recording.reason}`,
      channels: recording.channels,
      fixed: coded ? { levels: recording.levels } : null,
    });
    const first = coded ? null : this.loadOriginal(recording);
    this.change("coding", 0);
    await first;
  }

  close() {
    this.work?.abort();
    if (this.recording) forget(this.recording.key);
    this.recording = null;
    this.player.clear();
    this.player.repeat = $("repeat").checked;
    $("bench").hidden = true;
    $("status").textContent = "";
  }

  async loadOriginal(recording) {
    const { data } = await this.watched(recording, getAudio(place(recording.key, "audio/original")));
    await this.hear(0, data, () => this.recording === recording);
  }

  // The newest change wins: what is being fetched for an older one is given up.
  change(what, wait = DEBOUNCE_MS) {
    if (!this.recording) return;
    this.work?.abort();
    clearTimeout(this.timer);
    this.coding = what === "coding" ? null : this.coding;
    this.busy(1, true);
    this.busy(2, !this.coding || !this.opus);
    this.timer = setTimeout(() => this.refresh(), wait);
  }

  async refresh() {
    const recording = this.recording;
    const work = (this.work = new AbortController());
    const options = { signal: work.signal };
    const query = this.knobs.query;
    const { loss } = this.knobs;
    const current = () => recording === this.recording && work === this.work;
    $("reroll").hidden = !loss;
    try {
      if (!this.coding) {
        const coding = await this.watched(recording, postJson(place(recording.key, "coding", query), options));
        if (!current()) return;
        this.coding = coding;
        this.opus = null;
        $("download").href = place(recording.key, "file", query);
        this.draw();
      }
      const wanted = place(recording.key, "audio/ours", { ...query, loss, seed: this.seed });
      const ours = await this.watched(recording, getAudio(wanted, options));
      if (!current()) return;
      $("loss-note").textContent = loss ? `${ours.lost} of ${ours.packets} packets are lost` : "As on a network, of 20 ms each";
      this.lossText = loss ? `, ${Math.round(100 * loss)} % lost` : "";
      this.draw();
      await this.hear(1, ours.data, current);
      if (!this.voices[2].hidden && !this.opus) await this.refreshOpus(query, options, current);
      if (current()) this.busy(2, false);
    } catch (error) {
      if (error.name === "AbortError" || !current()) return;
      this.busy(1, false);
      this.busy(2, false);
      this.onError(error);
    }
  }

  // Opus's figures are shown once its sound is there: where a knob is turned meanwhile, both are asked for again.
  async refreshOpus(query, options, current) {
    const { recording } = this;
    const opus = await this.watched(recording, postJson(place(recording.key, "opus", query), options));
    if (!current()) return;
    if (!opus.note) {
      const { data } = await getAudio(place(recording.key, "audio/opus", query), options);
      await this.hear(2, data, current);
      if (!current()) return;
    }
    this.opus = opus;
    this.draw();
  }

  async hear(index, data, current) {
    if (!current()) return;
    const buffer = await decoded(data, this.recording.sample_rate);
    if (!current()) return;
    const had = this.player.has(index);
    this.player.set(index, buffer);
    if (index === 1 && !had && this.player.active === 0 && !this.player.playing) this.player.select(1);
    this.busy(index, false);
    this.levels[index] = pictures.spectrum(buffer, this.player.seconds, this.topHz);
    this.paint();
  }

  paint() {
    const top = Math.max(...this.levels.filter(Boolean).map(pictures.highest));
    this.figures.forEach((figure, n) => {
      if (this.levels[n]) pictures.draw(figure.querySelector("canvas"), this.levels[n], top);
      pictures.scale(figure.querySelector(".scale"), pictures.hertzMarks(this.topHz));
    });
  }

  draw() {
    const { recording, coding, opus } = this;
    const told = (index, text) => (this.voices[index].querySelector("small").textContent = text);
    const rate = (bytes) => `${((bytes * 8e-3) / recording.seconds).toFixed(1)} kbps`;
    told(0, `${rate(recording.bytes)}, ${size(recording.bytes)}`);
    told(1, coding ? `${coding.kbps.toFixed(2)} kbps, ${size(coding.bytes)}${this.lossText}` : "coding");
    told(2, opus?.note ?? (opus ? `${opus.kbps.toFixed(2)} kbps, ${size(opus.bytes)}` : "coding"));
    $("download").classList.toggle("off", !coding);
    $("download").toggleAttribute("aria-disabled", !coding);
    this.drawBits();
    this.drawSizes(rate);
    const much = coding && opus && !opus.note && opus.bytes > 1.1 * coding.bytes;
    $("opus-note").hidden = !(much || this.about.opus_note) || recording.kind === "vpc";
    if (much) {
      const times = (opus.bytes / coding.bytes).toFixed(1);
      $("opus-note").textContent = `Opus cannot go so low: what you hear is its least here, ${times} times the bytes.`;
    }
  }

  drawBits() {
    const { coding, opus, recording } = this;
    const mine = coding ? pictures.steps(coding.use, recording.seconds) : [];
    const theirs = opus?.use ? pictures.steps(opus.use, recording.seconds) : [];
    const top = 1.1 * Math.max(0.1, ...[...mine, ...theirs].map((step) => step[2]));
    const path = (selector, found) =>
      this.root.querySelector(selector).setAttribute("d", found.length ? pictures.stepPath(found, recording.seconds, top) : "");
    path(".step.mine", mine);
    path(".step.theirs", theirs);
    const half = top / 2.2;
    pictures.scale($("bits").querySelector(".scale"), coding ? [[1 - (2 * half) / top, (2 * half).toFixed(1)], [1 - half / top, half.toFixed(1)], [0.96, "0"]] : []);
    const key = (name, text) => [Object.assign(document.createElement("i"), { className: name }), text];
    $("bits").querySelector(".key").replaceChildren(...key("k-mine", "audiocodec"), ...(theirs.length ? key("k-theirs", "Opus") : []));
    $("bits").hidden = Boolean(coding && !mine.length);
  }

  drawSizes(rate) {
    const { recording, coding, opus } = this;
    const pcm = Math.round(recording.seconds * recording.sample_rate) * 2 * recording.channels;
    const rows = [["Samples of 16 bits", pcm, ""]];
    if (recording.kind === "audio") rows.push(["The file dropped", recording.bytes, ""]);
    if (coding) rows.push(["audiocodec", coding.bytes, "mine"]);
    if (opus?.bytes) rows.push(["Opus, without its Ogg file", opus.bytes, "theirs"]);
    const most = Math.max(...rows.map((row) => row[1]));
    $("sizes").replaceChildren(
      ...rows.map(([name, bytes, kind]) => {
        const row = Object.assign(document.createElement("tr"), { className: kind });
        const heading = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
        const [share, figure, kbps] = ["share", "size", "rate"].map((c) => Object.assign(document.createElement("td"), { className: c }));
        const bar = Object.assign(document.createElement("span"), { className: "bar" });
        bar.style.width = `${(100 * bytes) / most}%`;
        share.append(bar);
        figure.textContent = size(bytes);
        kbps.textContent = rate(bytes);
        row.append(heading, share, figure, kbps);
        return row;
      }),
    );
    const times = coding ? pcm / coding.bytes : 0;
    $("smaller").textContent = coding ? `The .vpc is ${times.toFixed(0)} times smaller than its samples.` : "";
  }

  // While an answer is waited for, say what is being done.
  async watched(recording, answer) {
    const ask = async () => {
      try {
        const { stage, share } = await getJson(place(recording.key, "progress"));
        if (this.recording === recording && stage && timer) this.say(`${stage[0].toUpperCase()}${stage.slice(1)}${share ? `: ${Math.round(100 * share)} %` : ""}`);
      } catch {
        // the answer itself will tell
      }
    };
    let timer = setInterval(ask, 500);
    try {
      return await answer;
    } finally {
      clearInterval(timer);
      timer = null;
      if (this.recording === recording) this.say("");
    }
  }

  say(text) {
    const idle = this.recording?.kind === "vpc" ? "A .vpc has no original beside it, and plays at its own rate." : HINT;
    if ($("status").textContent !== (text || idle)) $("status").textContent = text || idle;
  }

  busy(index, on) {
    this.voices[index].setAttribute("aria-busy", on);
  }

  moved() {
    const player = this.player;
    if (!player) return;
    const { time, seconds, active } = player;
    $("play").disabled = !seconds;
    $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
    $("seek").max = seconds || 1;
    $("seek").value = time;
    $("seek").setAttribute("aria-valuetext", `${clock(time)} of ${clock(seconds)}`);
    const shown = `${clock(time)} / ${clock(seconds)}`;
    if ($("time").textContent !== shown) $("time").textContent = shown;
    for (const head of this.root.querySelectorAll(".playhead")) head.style.left = `${seconds ? (100 * time) / seconds : 0}%`;
    this.voices.forEach((voice, n) => {
      voice.setAttribute("aria-pressed", n === active);
      this.figures[n].classList.toggle("current", n === active);
    });
  }
}
