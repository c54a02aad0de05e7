"""A small made-up evaluation with real audio: every system's version of a recording is a tone of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from audiocodec.evaluate.results import ORIGINAL, Results, SystemInfo, audio_path, write_results
from audiocodec.evaluate.summary import summarise

RATE = 16000
METRICS = ("pesq_wb", "estoi", "mel")
# kbps and the mean of each of METRICS: ours needs half the bits of opus for the same ESTOI.
OURS = {"7 levels": (1.5, 1.7, 0.80, 0.40), "22 levels": (3.0, 1.9, 0.85, 0.37), "34 levels": (6.0, 2.2, 0.90, 0.33)}
OPUS = {"6": (6.0, 2.0, 0.85, 0.60), "12": (12.0, 3.8, 0.90, 0.20)}

ENVIRONMENT = {
    "time": "2026-01-02T03:04:05Z",
    "packages": {"numpy": "2.0"},
    "models": [{"name": "ours-16k", "fingerprint": "0123456789abcdef"}],
    "command": ["/opt/somewhere/bin/audiocodec", "evaluate", "/home/someone/speech", "--out=/home/someone/out"],
}


def tone_hz(place: int) -> float:
    """The tone of the original (0), and of each system by its place among the systems, from 1."""
    return 500.0 + 250.0 * place


def make_results(
    folder: Path | None,
    files: tuple[str, ...] = ("a.flac", "b.flac", "c.flac"),
    ours: dict[str, tuple[float, ...]] = OURS,
    opus: dict[str, tuple[float, ...]] = OPUS,
    anchor: bool = True,
    seconds: float = 0.6,
    **changes,
) -> Results:
    """Results, written to ``folder`` with their audio; None: never written, and without audio."""
    systems = [SystemInfo("ours-16k", setting, "ours") for setting in ours]
    systems += [SystemInfo("opus", setting, "peer") for setting in opus]
    systems += [SystemInfo(ORIGINAL, "16 bit PCM", "anchor")] if anchor else []
    about = {**ours, **opus, "16 bit PCM": (256.0, 4.64, 1.0, 0.0)}
    rows = [
        _row(file, place, system, about[system.setting], seconds)
        for place, file in enumerate(files)
        for system in systems
    ]
    whole = {
        "name": "made up",
        "domain": "speech",
        "metrics": list(METRICS),
        "systems": systems,
        "files": list(files),
        "rows": rows,
        "environment": ENVIRONMENT,
        **changes,
    }
    for row in rows:
        row.update({name: row.get(name) for name in whole["metrics"]})
    by_system = [[row for row in rows if (row["codec"], row["setting"]) == (s.codec, s.setting)] for s in systems]
    whole.setdefault(
        "summary", [summarise(s, found, whole["metrics"]) for s, found in zip(systems, by_system, strict=True)]
    )
    results = Results(**whole, folder=folder)
    if folder is not None:
        write_results(results, folder, force=True)
        for file in files:
            _write_audio(folder, file, systems, seconds)
    return results


def _row(file: str, place: int, system: SystemInfo, about: tuple[float, ...], seconds: float) -> dict:
    kbps, *means = about
    # Recordings differ, by the same in every system
    scores = dict(zip(METRICS, means, strict=True))
    scores["estoi"] -= 0.01 * place
    size = round(kbps * seconds * 125)
    ours = system.role == "ours"
    return {
        "file": file,
        "codec": system.codec,
        "setting": system.setting,
        "seconds": seconds,
        "sample_rate": RATE,
        "file_bytes": size,
        "payload_bytes": size - 5,
        "raw_bytes": 2 * size if ours else None,
        "kbps": kbps,
        "payload_kbps": 0.95 * kbps,
        "raw_kbps": 2 * kbps if ours else None,
        "encode_seconds": 0.01,
        "decode_seconds": 0.02,
        "delay_ms": 0.0,
        **scores,
        "histograms": [[5, 3, 2 + place], [1, 9], [10]] if ours else None,
        "packets": [[0.02, 3 + index % 5] for index in range(round(seconds / 0.02))] if ours else None,
    }


def _write_audio(folder: Path, file: str, systems: list[SystemInfo], seconds: float) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    for place, label in enumerate([ORIGINAL, *(system.label for system in systems)]):
        path = audio_path(folder, file, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * tone_hz(place) * time), RATE, subtype="PCM_16")
