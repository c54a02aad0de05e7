"""What a result depends on besides the code: package versions, machine, model, seed."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Everything that computes a figure; the core first, then measures and peers.
_PACKAGES = (
    "audiocodec",
    "torch",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "pesq",
    "pystoi",
    "visqol-python",
    "speechmos",
    "distillmos",
    "resemblyzer",
    "pocketsphinx",
    "onnxruntime",
    "av",
    "ai-edge-litert",
    "encodec",
)


def environment(models: Sequence[dict[str, str]], seed: int, workers: int) -> dict[str, Any]:
    """Versions, machine, the models' names and fingerprints, seed and command of a run."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "packages": versions,
        "models": list(models),
        "seed": seed,
        "workers": workers,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def processor_name() -> str:
    """The processor's name in words, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
