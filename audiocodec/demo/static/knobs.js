// Model, rate and losses: the same three knobs for recordings and live.
import { getJson } from "./server.js";

const AUTO = "auto";

export class Knobs {
  // `prefix` of the elements' ids; `onChange(what)` with "coding" or "loss"; `onError(error)`
  constructor(prefix, about, auto, onChange, onError) {
    const find = (name) => document.getElementById(prefix + name);
    this.parts = Object.fromEntries(
      ["model", "model-note", "rate", "rate-value", "rate-low", "rate-high", "loss", "loss-value"].map((n) => [n, find(n)]),
    );
    this.about = about;
    this.known = new Map();
    this.channels = 1;
    this.levels = null;
    const names = about.models.map(({ name }) => new Option(name, name));
    this.parts.model.replaceChildren(...(auto ? [new Option("auto", AUTO)] : []), ...names);
    this.parts.model.addEventListener("change", () => this.changeModel(onChange).catch(onError));
    this.parts.rate.addEventListener("input", () => {
      this.levels = this.facts.rates[Number(this.parts.rate.value)].levels;
      this.show();
      onChange("coding");
    });
    this.parts.loss.addEventListener("input", () => {
      this.show();
      onChange("loss");
    });
  }

  get loss() {
    return Number(this.parts.loss.value) / 100;
  }

  get model() {
    return this.parts.model.value === AUTO ? this.picked : this.parts.model.value;
  }

  get query() {
    return { model: this.model, levels: this.levels };
  }

  // For a recording of `channels`; `picked` is what auto means for it, `why` in words.
  async begin({ picked, why, channels, fixed }) {
    Object.assign(this, { picked, why, channels, kept: false });
    const { model, rate, loss } = this.parts;
    const auto = model.options[0];
    if (auto.value === AUTO) auto.textContent = `auto: ${picked}`;
    model.value = auto.value === AUTO ? AUTO : picked;
    model.disabled = rate.disabled = Boolean(fixed);
    loss.value = 0;
    await this.load(fixed?.levels);
  }

  async changeModel(onChange) {
    await this.load();
    onChange("coding");
  }

  async load(levels) {
    const name = this.model;
    if (!this.known.has(name)) this.known.set(name, await getJson(`/api/models/${encodeURIComponent(name)}`));
    if (name !== this.model) return; // another was chosen meanwhile
    // The rate stays what it was where the new model has one near it: models are compared at equal rates.
    const before = levels === undefined && this.facts && this.levels ? this.kbps : null;
    this.facts = this.known.get(name);
    const nearest = (kbps) =>
      this.facts.rates.reduce((best, one) => (Math.abs(one.kbps - kbps) < Math.abs(best.kbps - kbps) ? one : best));
    if (levels !== undefined) this.levels = levels;
    else if (before !== null && this.kept) this.levels = nearest(before).levels;
    else this.levels = this.facts.usual;
    this.kept = true;
    this.show();
  }

  get kbps() {
    return this.facts.rates.find((rate) => rate.levels === this.levels)?.kbps ?? 0;
  }

  show() {
    const { rates } = this.facts;
    const text = (kbps) => `${(kbps * this.channels).toFixed(1)} kbps`;
    const place = Math.max(0, rates.findIndex((rate) => rate.levels === this.levels));
    const parts = this.parts;
    parts.rate.max = rates.length - 1;
    parts.rate.value = place;
    parts["rate-value"].textContent = `about ${text(rates[place].kbps)}`;
    parts.rate.setAttribute("aria-valuetext", `about ${text(rates[place].kbps)}`);
    parts["rate-low"].textContent = text(rates[0].kbps);
    parts["rate-high"].textContent = text(rates[rates.length - 1].kbps);
    parts["loss-value"].textContent = `${parts.loss.value} %`;
    parts.loss.setAttribute("aria-valuetext", `${parts.loss.value} percent`);
    const auto = parts.model.value === AUTO && this.why ? `${this.why}. ` : "";
    parts["model-note"].textContent = `${auto}${this.facts.sample_rate / 1000} kHz, ${this.facts.latency_ms.toFixed(0)} ms of delay.`;
  }
}
