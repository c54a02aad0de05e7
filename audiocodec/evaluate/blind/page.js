"use strict";
// What is seen and pressed. Sounds are engine.js's, answers are answers.js's.
const KEYS = "1234567890-=";
let engine, current; // current: one of state.trials
let clock = 0;

// --- loading: a page on the disk may load scripts and nothing else
let taken = null;
function takeTrial(id, sounds) {
  taken = { id, sounds };
}

function loadSounds(id) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `trials/${id}.js`;
    script.onload = () => {
      script.remove();
      const got = taken;
      taken = null;
      got && got.id === id ? resolve(got.sounds) : reject(new Error("it is damaged"));
    };
    script.onerror = () => reject(new Error("it is missing"));
    document.head.append(script);
  });
}

// --- pages
function show(name) {
  for (const id of ["start", "trial", "end"]) $(id).hidden = id !== name;
  const inside = name !== "start";
  $("where").hidden = !inside;
  $("progress").hidden = !inside;
  if (!inside) return;
  const count = state.trials.length;
  $("where").textContent = name === "end" ? `${listener}: all ${count} trials done`
    : `${listener}: trial ${state.at + 1} of ${count}`;
  $("progress").max = count;
  $("progress").value = state.at;
}

async function openTrial() {
  if (state.at >= state.trials.length) {
    engine.pause();
    show("end");
    $("download").focus();
    return;
  }
  current = state.trials[state.at];
  show("trial");
  $("trial").setAttribute("aria-busy", "true");
  $("stimuli").replaceChildren();
  $("todo").textContent = "Loading …";
  try {
    await engine.load(await loadSounds(current.id));
  } catch (error) {
    complain(`trials/${current.id}.js cannot be played (${error.message}); get the folder again, whole.`);
    return;
  }
  $("stimuli").replaceChildren(...current.stimuli.map(row));
  $("position").max = engine.seconds;
  $("next").textContent = state.at + 1 < state.trials.length ? "Next trial" : "Finish";
  hear("reference");
  $("trial").removeAttribute("aria-busy");
  refresh();
  $("play").focus();
}

function row(stimulus, index) {
  const item = document.createElement("li");
  item.className = "stimulus";
  const sound = document.createElement("button");
  sound.type = "button";
  sound.className = "sound";
  sound.textContent = String(index + 1);
  sound.setAttribute("aria-label", `Hear version ${index + 1}`);
  sound.setAttribute("aria-keyshortcuts", KEYS[index]);
  sound.addEventListener("click", () => hear(stimulus.name, true));
  const slot = document.createElement("div");
  slot.className = "slot";
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, step: 1, value: stimulus.score ?? 0 });
  slider.setAttribute("aria-label", `Rating of version ${index + 1}`);
  slider.addEventListener("input", () => rate(stimulus, Number(slider.value)));
  slider.addEventListener("click", () => rate(stimulus, Number(slider.value))); // on the thumb: 0 is meant
  const value = document.createElement("output");
  slot.append(slider);
  item.append(sound, slot, value);
  Object.assign(item, { refresh: () => drawRow(stimulus, { item, sound, slider, value }) });
  return item;
}

const BANDS = ["bad", "poor", "fair", "good", "excellent"];
function drawRow(stimulus, { item, sound, slider, value }) {
  item.classList.toggle("heard", stimulus.played > 0);
  sound.setAttribute("aria-pressed", String(engine.active === stimulus.name));
  const rated = stimulus.score !== null;
  value.textContent = rated ? String(stimulus.score) : "–";
  item.classList.toggle("unrated", !rated);
  slider.value = stimulus.score ?? 0;
  const band = BANDS[Math.min(4, Math.floor((stimulus.score ?? 0) / 20))];
  slider.setAttribute("aria-valuetext", rated ? `${stimulus.score}, ${band}` : "not rated yet");
}

function rate(stimulus, score) {
  stimulus.score = Math.max(0, Math.min(100, score));
  keep();
  refresh();
}

// --- playing
function find(name) {
  return current.stimuli.find((s) => s.name === name);
}

function countPlay() {
  if (engine.active === "reference") current.referencePlayed += 1;
  else find(engine.active).played += 1;
  keep();
}

function hear(name, start = false) {
  const other = engine.active !== name;
  engine.hear(name);
  if (engine.playing && other) countPlay();
  if (start && !engine.playing) play();
  refresh();
}

async function play() {
  await engine.play();
  countPlay();
  refresh();
}

function pause() {
  engine.pause();
  refresh();
}

function tick() {
  const now = performance.now();
  const passed = (now - clock) / 1000;
  clock = now;
  if (engine && current && engine.playing) {
    const stimulus = find(engine.active);
    if (stimulus) stimulus.seconds += Math.min(passed, 1); // a sleeping tab plays on, but nobody rates
    drawTime();
  }
  requestAnimationFrame(tick);
}

function drawTime() {
  const at = engine.now;
  if (document.activeElement !== $("position") || engine.playing) $("position").value = at;
  $("time").textContent = `${at.toFixed(1)} of ${engine.seconds.toFixed(1)} s`;
}

function region(change) {
  engine.change((e) => {
    let [begin, end] = change(e.region, e.position);
    if (end - begin < 0.2) [begin, end] = [Math.max(0, end - 0.2), Math.max(end, 0.2)]; // shorter is a buzz
    e.region = [begin, Math.min(end, e.seconds)];
    e.loop = true;
  }).then(refresh);
}

function seek(seconds) {
  engine.change((e) => { e.position = Math.max(0, Math.min(e.seconds - 0.02, seconds)); }).then(refresh);
}

// --- what is left to do, and going on
const list = (rows) => rows.map(([, index]) => index + 1).join(", ");

function missing() {
  const rows = current.stimuli.map((s, i) => [s, i]);
  const unheard = rows.filter(([s]) => !s.played);
  const unrated = rows.filter(([s]) => s.score === null);
  const left = [];
  if (!current.referencePlayed) left.push("hear the reference");
  if (unheard.length) left.push(`hear ${list(unheard)}`);
  if (unrated.length) left.push(`rate ${list(unrated)}`);
  if (!unrated.length && !rows.some(([s]) => s.score === 100)) left.push("give 100 to the hidden reference");
  return left;
}

function refresh() {
  for (const item of $("stimuli").children) item.refresh();
  $("play").textContent = engine.playing ? "Pause" : "Play";
  $("reference").setAttribute("aria-pressed", String(engine.active === "reference"));
  $("loop").setAttribute("aria-pressed", String(engine.loop));
  const [begin, end] = engine.region.map((s) => s / engine.seconds);
  $("region").style.setProperty("--begin", begin);
  $("region").style.setProperty("--length", end - begin);
  $("region").hidden = !engine.loop;
  drawTime();
  const left = missing();
  const text = left.length ? `Still to do: ${left.join("; ")}.` : "All rated. You can still change your mind.";
  if ($("todo").textContent !== text) $("todo").textContent = text; // said aloud when it changes
  $("next").setAttribute("aria-disabled", String(left.length > 0));
}

function goOn() {
  if (missing().length) return;
  pause();
  state.at += 1;
  keep();
  openTrial();
}

// --- keys: left alone in text fields; arrows are the focused slider's own
function onKey(event) {
  if ($("trial").hidden || $("trial").hasAttribute("aria-busy") || event.ctrlKey || event.metaKey || event.altKey) return;
  const inSlider = event.target.type === "range";
  const index = KEYS.indexOf(event.key);
  const step = event.shiftKey ? 10 : 1;
  const active = find(engine.active);
  const actions = {
    " ": () => (engine.playing ? pause() : play()),
    r: () => hear("reference", true),
    l: () => $("loop").click(),
    "[": () => $("from").click(),
    "]": () => $("to").click(),
    w: () => $("whole").click(),
    n: goOn,
    ArrowLeft: inSlider ? null : () => seek(engine.now - 1),
    ArrowRight: inSlider ? null : () => seek(engine.now + 1),
    ArrowUp: inSlider || !active ? null : () => rate(active, (active.score ?? 0) + step),
    ArrowDown: inSlider || !active ? null : () => rate(active, (active.score ?? 0) - step),
  };
  const action = index >= 0 && index < current.stimuli.length ? () => hear(current.stimuli[index].name, true)
    : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  // Space on a button is that button's, but for those of sounds: who clicked one expects to pause by it.
  if (event.key === " " && event.target.matches("button:not(.sound), summary")) return;
  event.preventDefault();
  action();
}

// --- beginning
function begin(event) {
  event.preventDefault();
  listener = $("listener").value.trim();
  if (!listener) return;
  engine = engine || new Engine();
  engine.context.resume();
  engine.onend = refresh;
  const before = readAll()[listener];
  state = before && before.trials ? before : fresh();
  keep();
  openTrial();
}

function tellResume() {
  const before = readAll()[$("listener").value.trim()];
  $("resume").textContent = before && before.trials
    ? `Goes on where ${$("listener").value.trim()} was: ${before.at} of ${before.trials.length} trials done.` : "";
}

$("who").addEventListener("submit", begin);
$("listener").addEventListener("input", tellResume);
$("play").addEventListener("click", () => (engine.playing ? pause() : play()));
$("reference").addEventListener("click", () => hear("reference", true));
$("loop").addEventListener("click", () => engine.change((e) => { e.loop = !e.loop; }).then(refresh));
$("from").addEventListener("click", () => region(([, end], at) => [at, end > at + 0.2 ? end : engine.seconds]));
$("to").addEventListener("click", () => region(([begin], at) => [begin < at - 0.2 ? begin : 0, at]));
$("whole").addEventListener("click", () => region(() => [0, engine.seconds]));
$("position").addEventListener("input", () => seek(Number($("position").value)));
$("next").addEventListener("click", goOn);
$("save").addEventListener("click", save);
$("download").addEventListener("click", save);
$("again").addEventListener("click", () => {
  $("listener").value = "";
  tellResume();
  show("start");
  $("listener").focus();
});
document.addEventListener("keydown", onKey);
document.addEventListener("keyup", (event) => event.key === " " && event.target.matches(".sound") && event.preventDefault());
addEventListener("pagehide", () => state && keep());
$("listener").value = readAll()[""] || "";
tellResume();
requestAnimationFrame(tick);
