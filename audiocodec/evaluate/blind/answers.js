"use strict";
// A listener's answers: the order of trials and of the sounds in each, ratings. Kept in localStorage under the test's
// id, and saved as CSV.
const test = JSON.parse(document.getElementById("test").textContent);
const STORE = `listening-test-${test.id}`;
const $ = (id) => document.getElementById(id);
let listener, state; // state: {at: trial at hand, trials: [{id, seconds, referencePlayed, stimuli}]}

function shuffled(items) {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = crypto.getRandomValues(new Uint32Array(1))[0] % (i + 1);
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

function readAll() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) || {};
  } catch {
    return {};
  }
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify({ ...readAll(), [listener]: state, "": listener }));
  } catch {
    complain("This browser keeps nothing: save your ratings before you close or reload the page.");
  }
}

function fresh() {
  const trials = shuffled(test.trials).map(({ id, seconds, stimuli }) => ({
    id, seconds, referencePlayed: 0,
    stimuli: shuffled(stimuli).map((name) => ({ name, score: null, seconds: 0, played: 0 })),
  }));
  return { at: 0, trials };
}

// --- the file
function csv() {
  const quote = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = ["listener,trial,stimulus,score,seconds,played_count"];
  for (const trial of state.trials) {
    for (const s of trial.stimuli) {
      if (s.score === null) continue;
      lines.push([quote(listener), trial.id, s.name, s.score, s.seconds.toFixed(1), s.played].join(","));
    }
  }
  return `${lines.join("\n")}\n`;
}

function save() {
  keep();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `ratings-${listener.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "listener"}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
