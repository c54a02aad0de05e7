"""Encoding plus decoding on one thread beside EnCodec 24 kHz; promised: at least five times faster.

Ours runs the whole of what ``audiocodec encode`` and ``decode`` do: reading, streaming network, range coding, packets,
writing. EnCodec (arXiv 2210.13438, PyPI's ``encodec``) runs its network and residual quantiser at 6 kbps, whole
recording at once, without writing a file or coding entropy, which is in its favour. Its weights are random: its speed
does not depend on them. Both take turns in one process; medians of CPU seconds, and wall seconds beside them. Exits 1
below the promise.

    python benchmarks/speed_vs_encodec.py --model speech-16k
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import soundfile
import torch

PROMISE = 5.0
ENCODEC_RATE, ENCODEC_KBPS = 24_000, 6.0
Step = Callable[[], None]


def encodec_model() -> Any:
    """EnCodec 24 kHz as published, with random weights."""
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        # encodec imports torchaudio at its top and uses it only to read files, which is not done here. PyPI's
        # torchaudio does not load beside a CPU build of torch, and that must not stop the benchmark.
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    from encodec import EncodecModel

    torch.manual_seed(0)
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(ENCODEC_KBPS)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_()  # all zero before training, and then every search would be a tie
    return model.eval()


def encodec_steps(audio: Path, seconds: float) -> tuple[Step, Step]:
    """Its encoding and its decoding of the same speech."""
    model = encodec_model()
    speech = torch.from_numpy(common.looped_speech(audio, ENCODEC_RATE, seconds))[None, None, :]
    kept: dict[str, Any] = {}

    def encode() -> None:
        with torch.inference_mode():
            kept["frames"] = model.encode(speech)

    def decode() -> None:
        with torch.inference_mode():
            model.decode(kept["frames"])

    return encode, decode


def our_steps(model: str, bitrate: float | None, audio: Path, seconds: float, folder: Path) -> tuple[Step, Step]:
    """Encoding a WAV file to .vpc, and decoding it to WAV."""
    from audiocodec.codec import load
    from audiocodec.transcode import decode_file, encode_file

    codec = load(model)
    rate = codec.choose_rate(bitrate, None) if bitrate else codec.rates[-1]
    original, coded, decoded = folder / "in.wav", folder / "out.vpc", folder / "out.wav"
    speech = common.looped_speech(audio, codec.sample_rate, seconds)
    soundfile.write(str(original), speech, codec.sample_rate, subtype="PCM_16")

    def encode() -> None:
        encode_file(codec, original, coded, rate, mode="range", force=True)

    def decode() -> None:
        decode_file(codec, coded, decoded, force=True)

    return encode, decode


def measure(contestants: dict[str, tuple[Step, Step]], repeat: int) -> dict[str, dict[str, list[float]]]:
    """CPU and wall seconds of each step, the contestants taking turns."""
    times: dict[str, dict[str, list[float]]] = {
        name: {"encode_cpu": [], "decode_cpu": [], "encode_wall": [], "decode_wall": []} for name in contestants
    }
    for turn in range(repeat + 1):
        for name, steps in contestants.items():
            for kind, step in zip(("encode", "decode"), steps, strict=True):
                wall, cpu = time.perf_counter(), time.process_time()
                step()
                if turn > 0:  # the first turn warms caches and allocators
                    times[name][f"{kind}_cpu"].append(time.process_time() - cpu)
                    times[name][f"{kind}_wall"].append(time.perf_counter() - wall)
    return times


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--bitrate", type=float, help="kbps; without it, the model's highest rate (the slowest)")
    made.add_argument("--seconds", type=float, default=60.0)
    made.add_argument("--repeat", type=int, default=5)
    options = made.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="audiocodec-speed-") as name:
        contestants = {
            "audiocodec": our_steps(options.model, options.bitrate, options.audio, options.seconds, Path(name)),
            "encodec": encodec_steps(options.audio, options.seconds),
        }
        times = measure(contestants, options.repeat)
    median = {name: {key: statistics.median(value) for key, value in row.items()} for name, row in times.items()}
    total = {name: row["encode_cpu"] + row["decode_cpu"] for name, row in median.items()}
    ratio = total["encodec"] / total["audiocodec"]
    for name, row in median.items():
        speeds = ", ".join(f"{kind} {options.seconds / row[f'{kind}_cpu']:.1f}x" for kind in ("encode", "decode"))
        print(f"{name:<11} {total[name]:7.3f} CPU s for {options.seconds:g} s of audio ({speeds} real time)")
    machine = common.machine()
    print(f"ratio {ratio:.1f}, promised at least {PROMISE:g}; {machine['processor']}, 1 thread, load {machine['load']}")
    result = {"ratio": ratio, "promise": PROMISE, "seconds": options.seconds, "median": median, "times": times}
    common.finish({**result, "machine": machine}, options.json)
    return int(ratio < PROMISE)


if __name__ == "__main__":
    sys.exit(main())
