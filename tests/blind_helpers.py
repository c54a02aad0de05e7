"""Results of an evaluation that never ran, for listening tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from conftest import speech_like

from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.results import ORIGINAL, Results, SystemInfo, audio_path

RATE = 16000
DELAY = 160  # of opus, in samples at half the rate: 20 ms


def make_results(
    folder: Path,
    systems: list[tuple[str, str, float]] | None = None,
    files: int = 2,
    seconds: float = 0.6,
    gain: float = 1.0,
) -> Results:
    """Audio of ``systems`` (codec, setting, kbps): ours named "nova" the original plus noise, others late at 8 kHz."""
    chosen = [("nova", "5 levels", 1.5), ("opus", "6 VBR", 6.4)] if systems is None else systems
    found = [SystemInfo(codec, setting, "ours" if codec == "nova" else "peer") for codec, setting, _ in chosen]
    names = [f"talk {index}.wav" for index in range(files)]
    rows = []
    for index, file in enumerate(names):
        original = gain * speech_like(seconds, RATE, seed=index)
        store(folder, file, ORIGINAL, original, RATE)
        for number, (system, (_, _, kbps)) in enumerate(zip(found, chosen, strict=True)):
            late = system.role == "peer"
            noise = 0.002 * (number + 1) * np.random.default_rng(number).standard_normal(len(original))
            decoded = resample(original + noise, RATE, RATE // 2) if late else original + noise
            store(folder, file, system.label, np.r_[np.zeros(DELAY * late), decoded], RATE // 2 if late else RATE)
            delay_ms = 1000 * DELAY / (RATE // 2) if late else 0.0
            row = {"file": file, "codec": system.codec, "setting": system.setting, "kbps": kbps, "delay_ms": delay_ms}
            rows.append(row)
    return Results("made up", "speech", [], found, names, [], rows, folder=folder)


def store(folder: Path, file: str, label: str, samples: np.ndarray, rate: int) -> None:
    path = audio_path(folder, file, label)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), np.clip(samples, -1, 1), rate, subtype="PCM_24")
