"""Sounds, and files of them written and read by blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from audiocodec.audio import AudioReader, AudioWriter

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000]


def tone(samples: int, channels: int = 1, rate: int = 16000) -> np.ndarray:
    time = np.arange(samples) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * (440 + 110 * c) * time) for c in range(channels)]).astype(np.float32)


def read(source: str | Path, **options: int) -> np.ndarray:
    with AudioReader(source, **options) as reader:
        blocks = list(reader)
        assert reader.samples_read == sum(b.shape[1] for b in blocks)
        return np.concatenate([np.zeros((reader.channels, 0), np.float32), *blocks], axis=1)


def write(target: str | Path, audio: np.ndarray, rate: int = 16000, **options: object) -> None:
    with AudioWriter(target, rate, audio.shape[0], **options) as writer:  # type: ignore[arg-type]
        for at in range(0, audio.shape[1], 1000):
            writer.write(audio[:, at : at + 1000])


def run_python(code: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60)
