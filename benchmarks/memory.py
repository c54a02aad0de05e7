"""Peak resident memory of encoding and decoding an hour beside ten seconds; promised: less than 300 MB more.

Runs the command line in processes of its own and asks each at its end for its peak resident size. The recordings
are looped speech. Exits 1 above the promise. Needs about 250 MB of disk for an hour.

    python benchmarks/memory.py --model speech-16k
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

LIMIT_MB = 300.0


# Runs in each process: the command line, and at its end the peak into the file named first. On Linux, getrusage
# starts from what the parent held when it forked, so it is the status file that is asked.
PROBE = """
import atexit, pathlib, resource, runpy, sys
target, status = pathlib.Path(sys.argv.pop(1)), pathlib.Path("/proc/self/status")
def report():
    if status.exists():
        peak = next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    target.write_text(str(peak))
atexit.register(report)
runpy.run_module("audiocodec", run_name="__main__")
"""


def peak_mb(folder: Path, arguments: list[str]) -> tuple[float, float]:
    """Run the command line; its peak resident size in MB (10^6 bytes) and its wall time in seconds."""
    target = folder / "peak.txt"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROBE, str(target), *arguments], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"audiocodec {' '.join(arguments)} ended with exit code {done.returncode}")
    return int(target.read_text()) / 1e6, time.perf_counter() - start


def measure(folder: Path, options: argparse.Namespace, seconds: int) -> dict[str, float]:
    """Encode and decode ``seconds`` of speech."""
    original, coded, decoded = (folder / f"{seconds}{suffix}" for suffix in (".wav", ".vpc", ".decoded.wav"))
    common.write_looped_speech(original, options.audio, options.sample_rate, seconds)
    model = ["--model", options.model] if options.model else []
    encode_mb, encode_s = peak_mb(folder, ["encode", str(original), str(coded), *model])
    decode_mb, decode_s = peak_mb(folder, ["decode", str(coded), str(decoded), *model])
    for path in (original, coded, decoded):
        path.unlink()
    print(
        f"{seconds:>6} s   encode {encode_mb:6.1f} MB {encode_s:7.1f} s   decode {decode_mb:6.1f} MB {decode_s:7.1f} s"
    )
    return {"encode_mb": encode_mb, "decode_mb": decode_mb, "encode_s": encode_s, "decode_s": decode_s}


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", help="name or path of the model; without it, the default of the command line")
    made.add_argument("--seconds", type=int, default=3600)
    made.add_argument("--sample-rate", type=int, default=16_000, help="of the recordings; others are resampled")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(prefix="audiocodec-memory-") as name:
        short, long = (measure(Path(name), options, seconds) for seconds in (10, options.seconds))
    more = {key: long[key] - short[key] for key in ("encode_mb", "decode_mb")}
    print(
        f"more memory: encode {more['encode_mb']:.1f} MB, decode {more['decode_mb']:.1f} MB; promised < {LIMIT_MB:g} MB"
    )
    result = {"short": short, "long": long, "more": more, "limit_mb": LIMIT_MB, "machine": common.machine()}
    common.finish(result, options.json)
    return int(max(more.values()) >= LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
