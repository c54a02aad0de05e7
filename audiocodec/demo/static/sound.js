// The microphone, and samples as WAV files.
import { Told } from "./server.js";
import { size, span } from "./words.js";

const SMALL_RATE = 24000; // Hz: what is too large at its own rate is sent at this one
const HEADER_BYTES = 44;

export class NoMicrophone extends Error {}

// A microphone and its context, with `onPiece(Float32Array, rate)` for every 20 ms. Until `close()` it is on.
export async function openMicrophone(onPiece) {
  if (!navigator.mediaDevices || !window.AudioWorkletNode) {
    throw new NoMicrophone("this browser gives the microphone only to pages at localhost or https; open the page there");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    const reasons = {
      NotAllowedError: "the microphone was not allowed; allow it beside the address of this page and try again",
      NotFoundError: "no microphone is connected",
      NotReadableError: "another program holds the microphone",
    };
    throw new NoMicrophone(reasons[error.name] ?? `the microphone cannot be opened (${error.name})`);
  }
  let context;
  const close = async () => {
    for (const track of stream.getTracks()) track.stop();
    if (context && context.state !== "closed") await context.close();
  };
  try {
    context = new AudioContext({ latencyHint: "interactive" });
    await context.audioWorklet.addModule("/static/capture-worklet.js");
    const source = context.createMediaStreamSource(stream);
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }) => onPiece(data, context.sampleRate);
    source.connect(capture);
    await context.resume();
  } catch (error) {
    await close();
    throw new NoMicrophone(`the sound of the microphone cannot be taken (${error.message})`);
  }
  return { context, close };
}

export function to16(samples) {
  const integers = new Int16Array(samples.length);
  for (let n = 0; n < samples.length; n++) integers[n] = Math.round(Math.min(Math.max(samples[n], -1), 1) * 32767);
  return integers;
}

// Channels of equal length to a 16-bit WAV file.
export function wavFile(channels, rate, name) {
  const frames = channels[0].length;
  const samples = new Int16Array(frames * channels.length);
  channels.map(to16).forEach((channel, place) => {
    for (let n = 0; n < frames; n++) samples[n * channels.length + place] = channel[n];
  });
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (at, word) => [...word].forEach((letter, n) => header.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, channels.length, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * channels.length * 2, true);
  header.setUint16(32, channels.length * 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return new File([header, samples], name, { type: "audio/wav" });
}

// Seconds of a microphone at `rate` Hz that the server takes.
export const longest = ({ seconds, upload_bytes: most }, rate) =>
  Math.min(seconds, (most - HEADER_BYTES) / (2 * Math.min(rate, SMALL_RATE)));

// A WAV file that is not larger than the server takes: mixed to one channel and made of fewer samples where it must be.
// `note` says so.
export async function fitted(channels, rate, name, { upload_bytes: most }) {
  const bytes = () => HEADER_BYTES + 2 * channels.length * channels[0].length;
  const done = [];
  if (bytes() > most && channels.length > 1) {
    channels = [channels[0].map((left, n) => (left + channels[1][n]) / 2)];
    done.push("mono");
  }
  if (bytes() > most && rate > SMALL_RATE) {
    channels = [await resampled(channels[0], rate, SMALL_RATE)];
    rate = SMALL_RATE;
    done.push(`${SMALL_RATE / 1000} kHz`);
  }
  if (bytes() > most) throw new Told(`${name} is ${size(bytes())} as samples, and ${size(most)} is the most this page takes`);
  const note = done.length ? `Taken in ${done.join(", ")}: as it is, its samples are more than this page takes.` : "";
  return { file: wavFile(channels, rate, name), note };
}

async function resampled(samples, from, to) {
  const context = new OfflineAudioContext(1, Math.ceil((samples.length * to) / from), to);
  const source = context.createBufferSource();
  source.buffer = context.createBuffer(1, samples.length, from);
  source.buffer.copyToChannel(samples, 0);
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

// What the server cannot read, a browser often can (AAC, WebM, the sound of a video): as a WAV file, and a note.
// null where the browser cannot either.
export async function converted(file, limits) {
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
  if (buffer.duration > limits.seconds + 1) {
    throw new Told(`${file.name} is longer than ${span(limits.seconds)}, which is the most this page takes; cut a piece of it`);
  }
  const channels = Array.from({ length: Math.min(buffer.numberOfChannels, 2) }, (_, n) => buffer.getChannelData(n));
  return fitted(channels, buffer.sampleRate, file.name, limits);
}
