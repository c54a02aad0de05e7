"""How long ``audiocodec --help`` takes beside ``python -c "import typer"``; promised: at most three times as long.

Both are started in turn, so that a change in the machine's load meets both. Exits 1 above the promise.

    python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import common

LIMIT = 3.0
COMMANDS = {
    "audiocodec --help": [sys.executable, "-m", "audiocodec", "--help"],
    "import typer": [sys.executable, "-c", "import typer"],
}


def main() -> int:
    made = common.parser(__doc__ or "")
    made.add_argument("--repeat", type=int, default=15)
    options = made.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(options.repeat + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn > 0:  # the first turn compiles and warms the disk's cache
                seconds[name].append(time.perf_counter() - start)
    ours, theirs = (statistics.median(seconds[name]) for name in COMMANDS)
    ratio = ours / theirs
    for name in COMMANDS:
        print(f"{name:<20} {statistics.median(seconds[name]):.3f} s (median of {options.repeat})")
    print(f"ratio {ratio:.2f}, promised at most {LIMIT:g}")
    common.finish(
        {"seconds": seconds, "ratio": ratio, "limit": LIMIT, "machine": common.machine()},
        options.json,
    )
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
