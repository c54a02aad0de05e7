"""What the benchmarks share: their speech, contestants that take turns, the machine, the JSON output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from audiocodec.evaluate.environment import processor_name
from audiocodec.evaluate.recordings import list_audio, read_mono

if TYPE_CHECKING:
    from audiocodec.codec import Codec

REPOSITORY = Path(__file__).resolve().parent.parent
Step = Callable[[], object]


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file as well")
    return made


def add_audio_option(made: argparse.ArgumentParser) -> None:
    """The option ``--audio``."""
    made.add_argument(
        "--audio", type=Path, default=REPOSITORY / "samples", help="speech to loop: a file, or a folder of files"
    )


def add_runtime_option(made: argparse.ArgumentParser) -> None:
    """The option ``--runtime``."""
    made.add_argument("--runtime", choices=("auto", "onnx", "torch"), default="auto", help="what runs the network")


def one_core() -> None:
    """Confine this process to a core: reading, network and writing then share one thread, as on one they would."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def load_codec(options: argparse.Namespace) -> Codec:
    """The codec of ``--model``, run by ``--runtime``."""
    from audiocodec.codec import load

    return load(options.model, runtime=options.runtime)


def costs_of(codec: Codec) -> dict[str, float]:
    """Multiply-accumulates a second of audio, of encoder and decoder, counted by torch."""
    from audiocodec.cost import macs_per_second

    return macs_per_second(codec.net)


def take_turns(contestants: dict[str, Step], repeat: int) -> dict[str, dict[str, list[float]]]:
    """CPU and wall seconds of each contestant in ``repeat`` rounds; a round before them warms caches and allocators.

    In turns, so that a change in the machine's load or clock meets all of them.
    """
    times: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in contestants}
    for turn in range(repeat + 1):
        for name, step in contestants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            if turn > 0:
                times[name]["cpu"].append(time.process_time() - cpu)
                times[name]["wall"].append(time.perf_counter() - wall)
    return times


def medians(times: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """The median of every list of :func:`take_turns`."""
    return {name: {clock: statistics.median(values) for clock, values in row.items()} for name, row in times.items()}


def looped_speech(source: Path, sample_rate: int, seconds: float) -> npt.NDArray[np.float32]:
    """[samples] of real speech, repeated until it is ``seconds`` long."""
    files = [source] if source.is_file() else list_audio(source)
    pieces = []
    for path in files:
        samples, rate = read_mono(path)
        pieces.append(soxr.resample(samples, rate, sample_rate))
    return np.resize(np.concatenate(pieces), round(seconds * sample_rate)).astype(np.float32)


def write_looped_speech(target: Path, source: Path, sample_rate: int, seconds: int) -> None:
    """Write a 16 bit WAV file of looped speech, a minute at a time."""
    minute = looped_speech(source, sample_rate, 60.0)
    with soundfile.SoundFile(str(target), "w", sample_rate, 1, subtype="PCM_16") as file:
        left = seconds * sample_rate
        while left > 0:
            file.write(minute[:left])
            left -= len(minute)


def resident_mb(process: int | str) -> float | None:
    """Memory of a process by its number, or of this one by ``self``, where the system tells."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth_mb(sizes: Sequence[float]) -> float | None:
    """By how much the last quarter is larger than the second, in medians."""
    quarter = len(sizes) // 4
    return float(np.median(sizes[-quarter:]) - np.median(sizes[quarter : 2 * quarter])) if quarter else None


def machine() -> dict[str, Any]:
    """The machine, for the record."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{package: _version(package) for package in ("audiocodec", "numpy", "onnxruntime", "torch")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def finish(result: dict[str, Any], target: Path | None) -> None:
    """Write ``result`` where ``--json`` says."""
    if target is not None:
        target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
