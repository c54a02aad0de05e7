// Spectrograms and bits over time, computed here from what is played.

const COLUMNS = 720;
const ROWS = 160;
const WINDOW_SECONDS = 0.032; // resolves the harmonics of most voices
const RANGE_DB = 80;
// Matplotlib's magma (van der Walt and Smith, CC0), perceptually uniform, every sixteenth of its range
const MAGMA =
  "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf"
    .split(" ")
    .map((text) => [0, 2, 4].map((at) => parseInt(text.slice(at, at + 2), 16)));

// Levels in dB, column by column, from the lowest row: a row keeps the loudest of its bins.
export function spectrum(buffer, seconds, topHz) {
  const rate = buffer.sampleRate;
  const signal = mono(buffer);
  const size = Math.round(WINDOW_SECONDS * rate);
  let points = 1;
  while (points < size) points *= 2;
  const window = Float32Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  const levels = new Float32Array(COLUMNS * ROWS).fill(-140);
  const real = new Float32Array(points);
  const imaginary = new Float32Array(points);
  const perBin = rate / points;
  const bins = Math.min(points / 2, Math.floor(topHz / perBin));
  for (let column = 0; column < COLUMNS; column++) {
    const start = Math.round((seconds * rate * column) / COLUMNS - size / 2);
    real.fill(0);
    imaginary.fill(0);
    for (let n = 0; n < size; n++) real[n] = (signal[start + n] ?? 0) * window[n];
    transform(real, imaginary);
    for (let row = 0; row < ROWS; row++) {
      const first = Math.floor((row * topHz) / ROWS / perBin);
      const last = Math.max(first + 1, Math.floor(((row + 1) * topHz) / ROWS / perBin));
      let power = 0;
      for (let bin = first; bin < last && bin <= bins; bin++) {
        power = Math.max(power, real[bin] * real[bin] + imaginary[bin] * imaginary[bin]);
      }
      levels[column * ROWS + row] = 10 * Math.log10(Math.max(power / (size * size / 16), 1e-14));
    }
  }
  return levels;
}

export function draw(canvas, levels, topDb) {
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const image = context.createImageData(COLUMNS, ROWS);
  for (let column = 0; column < COLUMNS; column++) {
    for (let row = 0; row < ROWS; row++) {
      const share = Math.min(Math.max((levels[column * ROWS + row] - topDb) / RANGE_DB + 1, 0), 1) * (MAGMA.length - 1);
      const low = Math.min(Math.floor(share), MAGMA.length - 2);
      const at = 4 * ((ROWS - 1 - row) * COLUMNS + column);
      for (let part = 0; part < 3; part++) {
        image.data[at + part] = MAGMA[low][part] + (share - low) * (MAGMA[low + 1][part] - MAGMA[low][part]);
      }
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

export function wipe(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

export function highest(levels) {
  let top = -140;
  for (const level of levels) top = Math.max(top, level);
  return top;
}

// Marks beside a picture: [share of the height from the top, text]
export function scale(element, marks) {
  element.replaceChildren(
    ...marks.map(([share, text]) => {
      const mark = document.createElement("span");
      mark.style.top = `${100 * share}%`;
      mark.textContent = text;
      return mark;
    }),
  );
}

export function hertzMarks(topHz) {
  const step = topHz > 10000 ? 4000 : 2000;
  const marks = [];
  for (let hertz = step; hertz < topHz * 0.98; hertz += step) marks.push([1 - hertz / topHz, `${hertz / 1000}k`]);
  return marks;
}

// [[seconds, bytes], ...] to steps of at least `least` seconds: [start, end, kbps]
export function steps(use, seconds) {
  const least = Math.max(0.1, seconds / 240);
  const found = [];
  let time = 0;
  let span = 0;
  let size = 0;
  for (const [length, bytes] of use) {
    span += length;
    size += bytes;
    if (span >= least - 1e-9) {
      found.push([time, time + span, (size * 8e-3) / span]);
      time += span;
      span = size = 0;
    }
  }
  const last = found[found.length - 1];
  if (last && span > 0) {
    // What is left at the end is too short to have a rate of its own
    const whole = time + span - last[0];
    last[2] = (last[2] * (last[1] - last[0]) + size * 8e-3) / whole;
    last[1] = time + span;
  } else if (span > 0) {
    found.push([time, time + span, (size * 8e-3) / span]);
  }
  return found;
}

export function stepPath(found, seconds, top) {
  let path = "";
  for (const [start, end, kbps] of found) {
    const x = (time) => ((1000 * Math.min(time, seconds)) / seconds).toFixed(1);
    path += `${path ? "L" : "M"}${x(start)} ${(100 - (100 * kbps) / top).toFixed(1)}H${x(end)}`;
  }
  return path;
}

function mono(buffer) {
  const left = buffer.getChannelData(0);
  if (buffer.numberOfChannels === 1) return left;
  const right = buffer.getChannelData(1);
  return left.map((value, n) => (value + right[n]) / 2);
}

// In place, radix 2, Cooley and Tukey
function transform(real, imaginary) {
  const points = real.length;
  for (let i = 1, j = 0; i < points; i++) {
    let bit = points >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let half = 1; half < points; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = (-Math.PI * k) / half;
      const c = Math.cos(angle);
      const s = Math.sin(angle);
      for (let i = k; i < points; i += 2 * half) {
        const j = i + half;
        const x = real[j] * c - imaginary[j] * s;
        const y = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - x;
        imaginary[j] = imaginary[i] - y;
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
}
