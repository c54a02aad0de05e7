// The microphone, and samples as WAV files.

export class NoMicrophone extends Error {}

// A microphone and its context, with `onPiece(Float32Array)` for every 20 ms.
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
  const context = new AudioContext({ latencyHint: "interactive" });
  await context.audioWorklet.addModule("/static/capture-worklet.js");
  const source = context.createMediaStreamSource(stream);
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  capture.port.onmessage = ({ data }) => onPiece(data);
  source.connect(capture);
  await context.resume();
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
    return context.close();
  };
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
  const header = new DataView(new ArrayBuffer(44));
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

// What the server cannot read, a browser often can (AAC, WebM, the sound of a video): as a WAV file.
export async function converted(file) {
  const buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await file.arrayBuffer());
  const channels = Array.from({ length: Math.min(buffer.numberOfChannels, 2) }, (_, n) => buffer.getChannelData(n));
  return wavFile(channels, buffer.sampleRate, file.name);
}
