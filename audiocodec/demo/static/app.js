// The page: what is dropped, chosen or recorded goes to the bench; the other tab is live.
import { Bench } from "./bench.js";
import { Knobs } from "./knobs.js";
import { Live } from "./live.js";
import { getJson, Told, upload } from "./server.js";
import { converted, fitted, longest, NoMicrophone, openMicrophone } from "./sound.js";
import { clock, size, span } from "./words.js";

const $ = (id) => document.getElementById(id);
const UNREADABLE = "is not audio that can be read";
let about;
let bench;
let live;
let microphone = null;
let opening = null; // the attempt that may become it

function alertOf(error) {
  const known = error instanceof Told || error instanceof NoMicrophone;
  if (!known) console.warn(error);
  const text = known ? error.message : `something went wrong in the page (${error.message}); reload it`;
  // A sentence begins with a capital, a name of a file with its own letter
  const begun = /^[a-z]+ /.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  $("alert").querySelector("p").textContent = begun;
  $("alert").hidden = false;
  $("alert").scrollIntoView({ block: "nearest" });
}

function quiet() {
  $("alert").hidden = true;
}

async function take(file, note = "") {
  quiet();
  opening = null;
  const { upload_bytes: most } = about.limits;
  if (file.size > most) {
    return alertOf(new Told(`${file.name} is ${size(file.size)}, and ${size(most)} is the most this page takes`));
  }
  bench.close();
  $("drop").hidden = true;
  $("sending").hidden = false;
  try {
    const recording = await sent(file);
    if (note) recording.notices.push(note);
    $("sending").hidden = true;
    const shown = bench.show(recording);
    $("name").focus(); // what had the focus is hidden now
    await shown;
  } catch (error) {
    bench.close();
    $("drop").hidden = false;
    alertOf(error);
  } finally {
    $("sending").hidden = true;
    $("file").value = "";
  }
}

async function sent(file) {
  const send = (one) => {
    progress(`Sending ${one.name}`, 0);
    return upload(one, (share) => {
      if (share < 1) progress(`Sending ${one.name}: ${Math.round(100 * share)} %`, share);
      else progress(`Listening to ${one.name}`, null);
    });
  };
  try {
    return await send(file);
  } catch (error) {
    if (!error.message.includes(UNREADABLE)) throw error;
    progress(`Converting ${file.name}`, null);
    const wav = await converted(file, about.limits);
    if (!wav) throw error;
    const recording = await send(wav.file);
    if (wav.note) recording.notices.push(wav.note);
    return recording;
  }
}

function progress(text, share) {
  $("sending-text").textContent = text;
  if (share === null) $("sent").removeAttribute("value");
  else $("sent").value = share;
}

async function record() {
  if (microphone) return microphone.finish();
  if (opening) return; // a double click asks for one microphone
  quiet();
  const attempt = (opening = {});
  const pieces = [];
  let opened;
  try {
    opened = await openMicrophone((piece, rate) => {
      pieces.push(piece);
      const seconds = (pieces.length * piece.length) / rate;
      $("recorded").textContent = clock(seconds);
      $("level").value = Math.min(1, 1.6 * Math.max(...piece.map(Math.abs)));
      if (seconds >= longest(about.limits, rate)) microphone?.finish();
    });
  } catch (error) {
    if (opening !== attempt) return;
    opening = null;
    return alertOf(error);
  }
  if (opening !== attempt) return opened.close(); // given up meanwhile
  opening = null;
  microphone = {
    finish() {
      microphone = null;
      const rate = opened.context.sampleRate;
      opened.close();
      recordingShown(false);
      takeRecorded(pieces, rate).catch(alertOf);
    },
  };
  recordingShown(true);
}

async function takeRecorded(pieces, rate) {
  if (!pieces.length) throw new Told("nothing was recorded");
  const most = Math.floor(longest(about.limits, rate) * rate);
  const samples = new Float32Array(pieces.length * pieces[0].length);
  pieces.forEach((piece, n) => samples.set(piece, n * piece.length));
  const { file, note } = await fitted([samples.subarray(0, most)], rate, "recording.wav", about.limits);
  await take(file, note);
}

function recordingShown(on) {
  $("record").classList.toggle("on", on);
  $("record").querySelector(".word").textContent = on ? "Stop and listen" : "Record";
  $("recording").hidden = !on;
  $("choose").disabled = on;
}

function another() {
  quiet();
  bench.close();
  $("drop").hidden = false;
  $("choose").focus();
}

function tabs() {
  const all = [...document.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const one of all) {
      const on = one === tab;
      one.setAttribute("aria-selected", on);
      one.tabIndex = on ? 0 : -1;
      $(one.getAttribute("aria-controls")).hidden = !on;
    }
    quiet();
    if (tab.id === "tab-live") {
      opening = null;
      bench.player.pause();
      live.draw();
    } else if (live.on) {
      live.stop("The microphone is off.");
    }
  };
  all.forEach((tab, n) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowRight" && key !== "ArrowLeft") return;
      const next = all[(n + 1) % all.length];
      choose(next);
      next.focus();
    });
  });
}

function dropping() {
  let depth = 0;
  const over = (on) => $("drop").classList.toggle("over", on);
  addEventListener("dragenter", (event) => (event.preventDefault(), over(++depth > 0)));
  addEventListener("dragleave", () => over(--depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const file = event.dataTransfer.files[0];
    if (file && !$("recordings").hidden && $("sending").hidden && !microphone) take(file);
  });
}

async function begin() {
  about = await getJson("/api/about");
  $("drop-note").textContent =
    `WAV, FLAC, MP3, Ogg Vorbis or Opus, and what your browser can play; up to ${size(about.limits.upload_bytes).replace(".0", "")} and ${span(about.limits.seconds)}.`;
  const kept = Math.round(about.limits.kept_s / 60);
  $("footer").textContent = `Sound goes to this server alone, is kept in its memory for ${kept} minutes after its last use, and then forgotten.`;
  const knobs = new Knobs("", about, true, (what) => bench.change(what), alertOf);
  bench = new Bench(knobs, about, alertOf);
  const liveKnobs = new Knobs("live-", about, false, () => live.change(), alertOf);
  live = new Live(liveKnobs, alertOf);
  const speech = about.models.find((model) => model.automatic && model.domain === "speech");
  await liveKnobs.begin({ picked: speech?.name ?? about.default, why: "", channels: 1 });
  tabs();
  dropping();
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
  $("record").addEventListener("click", () => record());
  $("another").addEventListener("click", another);
  $("alert").querySelector("button").addEventListener("click", quiet);
  window.demo = { bench, live, take };
  document.documentElement.dataset.ready = "yes";
}

begin().catch(alertOf);
