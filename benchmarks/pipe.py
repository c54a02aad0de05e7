"""One-way latency through ``audiocodec encode - - | audiocodec decode - -``; promised: 70 ms at the 95th percentile.

Both processes are started as a shell would. Looped speech is written to the first in real time, as s16le in pieces of
10 ms, each when its last sample would have been recorded; what the second gives is read at once. The latency of a
sample is from when its piece was written until the sample was read, of every sample but those of the first 1.5 s.
The wait within a piece is the source's and not counted: smaller pieces (``--piece-ms``) show it. Exits 1 above the
promise.

    python benchmarks/pipe.py
    python benchmarks/pipe.py --minutes 10 --rate 48000
    python benchmarks/pipe.py --packet-frames 1 --piece-ms 1
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import sys

import common
import numpy as np

from audiocodec.pipelatency import MOST_PACKET_FRAMES, PIECE_MS, time_pipe
from audiocodec.streaming import LIVE_PACKET_FRAMES

LIMIT_MS = 70.0
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--minutes", type=float, default=1.0, help="how long speech flows")
    made.add_argument("--rate", type=int, default=16000, help="of the samples in and out, in Hz")
    made.add_argument(
        "--packet-frames",
        type=int,
        choices=range(1, MOST_PACKET_FRAMES + 1),
        metavar="N",
        default=LIVE_PACKET_FRAMES,
        help=f"frames of 20 ms in a packet, 1 to {MOST_PACKET_FRAMES}",
    )
    made.add_argument("--piece-ms", type=float, default=PIECE_MS, help="what the source hands over at a time")
    options = made.parse_args()
    speech = common.looped_speech(options.audio, options.rate, 60 * options.minutes)
    words = ("--packet-frames", str(options.packet_frames))
    times = time_pipe(speech, options.rate, options.model, piece_ms=options.piece_ms, options=words)
    found = {name: float(np.percentile(times.latency_ms, share)) for name, share in PERCENTILES.items()}
    told = "".join(f" {name} {value:.1f}" for name, value in found.items())
    print(f"{options.model}, {options.rate} Hz, {options.minutes:g} min, packets of {options.packet_frames} frames")
    print(f"through the pipe in ms, of {len(times.latency_ms)} samples:{told}")
    print(f"the first sound came {times.start_s:.2f} s after the processes were started")
    print(f"the machine itself held the source up by {times.late_ms:.1f} ms at most")
    kept = found["p95"] <= LIMIT_MS
    print(f"promised: {LIMIT_MS:g} ms at the 95th percentile: {'kept' if kept else 'BROKEN'}")
    setting = {key: getattr(options, key) for key in ("model", "minutes", "rate", "packet_frames", "piece_ms")}
    result = {**setting, "milliseconds": found, "limit_ms": LIMIT_MS, "kept": kept}
    result |= {"start_s": times.start_s, "source_late_ms": times.late_ms, "machine": common.machine()}
    common.finish(result, options.json)
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
