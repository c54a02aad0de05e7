"""How long one frame of a live stream takes: samples in, packet, samples out; promised: 2 ms at the 99th percentile.

A frame (20 ms) at a time of looped speech goes through ``StreamEncoder.push`` and its packet through
``StreamDecoder.push``, as in a call. Garbage is collected as a user's program collects it. Beside wall seconds stand
those of the CPU, which tell the codec's own delays from those of a machine that has other work. The latency of the
algorithm, which ``audiocodec info`` tells, comes on top. Exits 1 above the promise.

    python benchmarks/latency.py
    python benchmarks/latency.py --streams 8     eight calls in one process, one after the other at each frame
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import sys

import common
import numpy as np
import numpy.typing as npt
from live import Call

LIMIT_MS = 2.0
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
WARMING_FRAMES = 50


def percentiles(milliseconds: npt.NDArray[np.float64]) -> dict[str, float]:
    """Of ``[frames]``."""
    return {name: float(np.percentile(milliseconds, share)) for name, share in PERCENTILES.items()}


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--bitrate", type=float, help="kbps; without it, the model's default rate")
    made.add_argument("--frames", type=int, default=3000, help="of each stream, after those that warm up")
    made.add_argument("--streams", type=int, default=1, help="calls in this process, taking turns")
    options = made.parse_args()
    codec = common.load_codec(options)
    rate = codec.choose_rate(options.bitrate)
    frame_ms = 1000 / codec.frame_rate
    speech = common.looped_speech(options.audio, codec.sample_rate, 60.0)
    calls = [Call(codec, rate, speech, start) for start in range(options.streams)]
    taken = np.array([[call.frame() for call in calls] for _ in range(WARMING_FRAMES + options.frames)])
    kept = 1000 * taken[WARMING_FRAMES:]  # [frames, streams, parts]
    both = kept[..., 0] + kept[..., 1]
    parts = {"encode": kept[..., 0], "decode": kept[..., 1], "both": both, "both, CPU": kept[..., 2]}
    found = {name: percentiles(values.reshape(-1)) for name, values in parts.items()}
    if options.streams > 1:
        found["all streams"] = percentiles(both.sum(axis=1))
    print(f"{codec.config.name} by {codec.runtime.name}, {kept.shape[0]} frames of {frame_ms:g} ms, in ms:")
    for name, row in found.items():
        print(f"  {name:<12}" + "".join(f" {key} {value:7.3f}" for key, value in row.items()))
    worst = found["both"]["p99"]
    print(f"a frame there and back {worst:.2f} ms at the 99th percentile, promised at most {LIMIT_MS:g} ms")
    if options.streams > 1:
        late = float((both.sum(axis=1) > frame_ms).mean())
        told = f"took more than {frame_ms:g} ms {100 * late:.2f} % of the time"
        print(f"{options.streams} streams together {told}")
    setting = {"model": codec.config.name, "runtime": codec.runtime.name, "streams": options.streams}
    result = {**setting, "frames": options.frames, "milliseconds": found, "limit_ms": LIMIT_MS}
    common.finish({**result, "machine": common.machine()}, options.json)
    return int(worst > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
