"""Peak resident memory of encoding and decoding an hour beside ten seconds; promised: less than 300 MB more.

Runs the command line in processes of its own and asks the system for the peak resident size of each. The recordings
are looped speech. Exits 1 above the promise. Needs about 250 MB of disk for an hour.

    python benchmarks/memory.py --model speech-16k
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

LIMIT_MB = 300.0


def peak_mb(command: list[str]) -> tuple[float, float]:
    """Run a command; its peak resident size in MB (10^6 bytes) and its wall time in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    # ru_maxrss counts KiB on Linux and bytes on macOS
    return usage.ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6, time.perf_counter() - start


def measure(folder: Path, options: object, seconds: int) -> dict[str, float]:
    """Encode and decode ``seconds`` of speech."""
    original, coded, decoded = (folder / f"{seconds}{suffix}" for suffix in (".wav", ".vpc", ".decoded.wav"))
    common.write_looped_speech(original, options.audio, options.sample_rate, seconds)
    program = [sys.executable, "-m", "audiocodec"]
    model = ["--model", options.model] if options.model else []
    encode_mb, encode_s = peak_mb([*program, "encode", str(original), str(coded), *model])
    decode_mb, decode_s = peak_mb([*program, "decode", str(coded), str(decoded), *model])
    for path in (original, coded, decoded):
        path.unlink()
    print(
        f"{seconds:>6} s   encode {encode_mb:6.0f} MB {encode_s:7.1f} s   decode {decode_mb:6.0f} MB {decode_s:7.1f} s"
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
        f"more memory: encode {more['encode_mb']:.0f} MB, decode {more['decode_mb']:.0f} MB; promised < {LIMIT_MB:g} MB"
    )
    result = {"short": short, "long": long, "more": more, "limit_mb": LIMIT_MB, "machine": common.machine()}
    common.finish(result, options.json)
    return int(max(more.values()) >= LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
