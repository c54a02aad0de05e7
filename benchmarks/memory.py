"""Peak resident memory of encoding and decoding ten seconds and an hour, without torch; promised: 200 MB to encode.

Runs the command line in processes of its own, in which torch cannot be imported, as in an environment that lacks it,
and asks each at its end for its peak resident size. The recordings are looped speech. Promised besides: an hour takes
less than 300 MB more than ten seconds, which ``--with-torch`` measures of the torch runtime. Exits 1 above a promise.
Needs about 250 MB of disk for an hour.

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

MORE_LIMIT_MB = 300.0
ENCODE_LIMIT_MB = 200.0

# Runs in each process: the command line, and at its end the peak into the file named first. On Linux, getrusage
# starts from what the parent held when it forked, so it is the status file that is asked. With "without" before the
# file, torch is not found, as if it were not installed.
PROBE = """
import atexit, importlib.machinery, pathlib, resource, runpy, sys
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else super().find_spec(name, path, target)
if sys.argv.pop(1) == "without":
    place = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path[place] = Without
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


def peak_mb(folder: Path, arguments: list[str], torch: bool = True) -> tuple[float, float]:
    """Run the command line; its peak resident size in MB (10^6 bytes) and its wall time in seconds."""
    target = folder / "peak.txt"
    start = time.perf_counter()
    probe = [sys.executable, "-c", PROBE, "with" if torch else "without", str(target)]
    done = subprocess.run([*probe, *arguments], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"audiocodec {' '.join(arguments)} ended with exit code {done.returncode}")
    return int(target.read_text()) / 1e6, time.perf_counter() - start


def measure(folder: Path, options: argparse.Namespace, seconds: int) -> dict[str, float]:
    """Encode and decode ``seconds`` of speech."""
    original, coded, decoded = (folder / f"{seconds}{suffix}" for suffix in (".wav", ".vpc", ".decoded.wav"))
    common.write_looped_speech(original, options.audio, options.sample_rate, seconds)
    model = ["--model", options.model] if options.model else []
    model += ["--runtime", "torch"] if options.with_torch else []
    encode_mb, encode_s = peak_mb(folder, ["encode", str(original), str(coded), *model], options.with_torch)
    decode_mb, decode_s = peak_mb(folder, ["decode", str(coded), str(decoded), *model], options.with_torch)
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
    made.add_argument("--with-torch", action="store_true", help="the torch runtime, of which only growth is promised")
    made.add_argument("--sample-rate", type=int, default=16_000, help="of the recordings; others are resampled")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(prefix="audiocodec-memory-") as name:
        short, long = (measure(Path(name), options, seconds) for seconds in (10, options.seconds))
    more = {key: long[key] - short[key] for key in ("encode_mb", "decode_mb")}
    most = max(short["encode_mb"], long["encode_mb"])
    broken = max(more.values()) >= MORE_LIMIT_MB
    told = f"more memory: encode {more['encode_mb']:.1f} MB, decode {more['decode_mb']:.1f} MB"
    print(f"{told}; promised < {MORE_LIMIT_MB:g} MB")
    if not options.with_torch:
        broken |= most > ENCODE_LIMIT_MB
        print(f"encoding without torch: {most:.1f} MB; promised at most {ENCODE_LIMIT_MB:g} MB")
    result = {"short": short, "long": long, "more": more, "with_torch": options.with_torch}
    limits = {"more_limit_mb": MORE_LIMIT_MB, "encode_limit_mb": ENCODE_LIMIT_MB}
    common.finish({**result, **limits, "machine": common.machine()}, options.json)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
