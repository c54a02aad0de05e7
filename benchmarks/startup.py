"""How long the command line takes to start, to show its help and to encode a second of speech.

Promised: ``audiocodec --help`` takes at most three times as long as ``python -c "import typer"``, and encoding a WAV
file of one second at most two and a half times as long as importing what no encoder can do without: numpy, onnxruntime
and soundfile. All are started in turn, so that a change in the machine's load meets all. Exits 1 above a promise.

    python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

HELP, ENCODE, TYPER, LIBRARIES = "audiocodec --help", "audiocodec encode, 1 s", "import typer", "import libraries"
LIMITS = {(HELP, TYPER): 3.0, (ENCODE, LIBRARIES): 2.5}


def commands(folder: Path, audio: Path, model: list[str]) -> dict[str, list[str]]:
    """What is started."""
    second = folder / "one_second.wav"
    common.write_looped_speech(second, audio, 16_000, 1)
    ours = [sys.executable, "-m", "audiocodec"]
    return {
        HELP: [*ours, "--help"],
        TYPER: [sys.executable, "-c", "import typer"],
        ENCODE: [*ours, "encode", str(second), str(folder / "out.vpc"), "--force", *model],
        LIBRARIES: [sys.executable, "-c", "import numpy, onnxruntime, soundfile"],
    }


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", help="name or path of the model; without it, the default of the command line")
    made.add_argument("--repeat", type=int, default=15)
    options = made.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="audiocodec-startup-") as name:
        started = commands(Path(name), options.audio, ["--model", options.model] if options.model else [])
        for turn in range(options.repeat + 1):
            for what, command in started.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if turn > 0:  # the first turn compiles and warms the disk's cache
                    seconds.setdefault(what, []).append(time.perf_counter() - start)
    median = {what: statistics.median(values) for what, values in seconds.items()}
    for what, value in median.items():
        print(f"{what:<24} {value:.3f} s (median of {options.repeat})")
    ratios = []
    for (ours, theirs), limit in LIMITS.items():
        ratios.append({"of": ours, "to": theirs, "ratio": median[ours] / median[theirs], "limit": limit})
        print(f"{ours} / {theirs}: {ratios[-1]['ratio']:.2f}, promised at most {limit:g}")
    common.finish({"seconds": seconds, "ratios": ratios, "machine": common.machine()}, options.json)
    return int(any(row["ratio"] > row["limit"] for row in ratios))


if __name__ == "__main__":
    sys.exit(main())
