"""What an evaluation has computed already: one unit a recording and system, so that a run can stop and go on.

A unit is void as soon as anything that decided it has changed: the recording, the system's identity (fingerprint,
versions, flags), or the way units are made. Measures that a unit lacks are computed from the audio that was kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import soundfile

from audiocodec.errors import OutputError
from audiocodec.evaluate.recordings import Channels
from audiocodec.evaluate.results import AUDIO, FILES, ROWS, SUMMARY, UNITS, Row, audio_path, plain, slug
from audiocodec.evaluate.systems import Coded, System
from audiocodec.output import OutputFile

_FORMAT = 1  # a change of what units hold or how it is computed makes old ones void
# 24 bits: the measures hear the audio as it was kept, and 16 bits would be heard in a quiet recording.
_SUBTYPE = "PCM_24"


class Store:
    """Units and audio below a folder of results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, resume: bool, force: bool, recordings: Path) -> None:
        """Make the folder; keep what is in it to go on (``resume``), or clear it (``force``).

        Raises:
            OutputError: it holds results and neither is set, it holds the ``recordings`` or other audio where its own
                would be, or it cannot be made.
        """
        self._check_place(recordings.resolve())
        held = [self.folder / name for name in (SUMMARY, FILES, ROWS, UNITS, AUDIO)]
        held = [path for path in held if path.exists()]
        if held and not (resume or force):
            raise OutputError(
                f"{self.folder} holds an evaluation; pass --resume to go on with it, or --force to replace it"
            )
        try:
            for path in [] if resume else held:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            (self.folder / UNITS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {self.folder}: {error.strerror or error}") from None

    def _check_place(self, recordings: Path) -> None:
        """Refuse a place where results would lie among the recordings, or replace what is none of ours."""
        place = self.folder.resolve()
        if recordings == place or {place / AUDIO, place / UNITS} & {recordings, *recordings.parents}:
            raise OutputError(f"{self.folder} holds the recordings themselves; name another folder for the results")
        ours = any((place / name).exists() for name in (UNITS, SUMMARY))
        if (place / AUDIO).exists() and not ours:
            raise OutputError(f"{self.folder / AUDIO} is not of an evaluation; name another folder for the results")

    def read(self, key: str, file: str, label: str) -> Row | None:
        """The unit of a recording and system, or None if there is none that ``key`` still holds for."""
        try:
            unit = json.loads(self._path(file, label).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return unit if isinstance(unit, dict) and unit.get("key") == key else None

    def write(self, key: str, file: str, label: str, unit: Row) -> None:
        """Keep a unit. Appears whole or not at all."""
        with _new(self._path(file, label)) as out:
            out.write(json.dumps(plain({**unit, "key": key}), allow_nan=False).encode("utf-8"))

    def forget(self, file: str, label: str) -> None:
        """Drop a unit, before other audio is put where its own lies."""
        try:
            self._path(file, label).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot replace {self._path(file, label)}: {error.strerror or error}") from None

    def write_audio(self, file: str, label: str, samples: np.ndarray, sample_rate: int) -> None:
        """Keep audio, [samples] or [channels, samples]; full scale is clipped, as it is wherever it is played."""
        flac = io.BytesIO()  # soundfile tells nobody when writing to a file object fails
        soundfile.write(flac, np.clip(samples.T, -1.0, 1.0), sample_rate, format="FLAC", subtype=_SUBTYPE)
        with _new(audio_path(self.folder, file, label)) as out:
            out.write(flac.getvalue())

    def read_audio(self, file: str, label: str) -> tuple[np.ndarray, int] | None:
        """The audio that was kept, or None."""
        try:
            samples, sample_rate = soundfile.read(str(audio_path(self.folder, file, label)), dtype="float64")
        except (soundfile.LibsndfileError, OSError):
            return None
        return np.ascontiguousarray(samples.T), sample_rate

    def _path(self, file: str, label: str) -> Path:
        return self.folder / UNITS / slug(file) / f"{slug(label)}.json"


def _new(path: Path) -> OutputFile:
    """A file in a folder that may have to be made. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror or error}") from None
    return OutputFile(path, force=True)


def unit_key(checksum: str, system: System, transcript: str | None = None, channels: Channels = "downmix") -> str:
    """What a unit stands for: the recording's checksum and words, and what decides what the system makes of it."""
    parts = [_FORMAT, checksum, transcript, system.codec, system.setting, sorted(system.identity().items())]
    if channels != "downmix":
        parts.append(channels)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def facts(coded: Coded, seconds: float, sample_rate: int) -> Row:
    """What a row says of coding: sizes, rates as written, times, tokens."""
    to_kbps = 8e-3 / seconds
    return {
        "seconds": seconds,
        "sample_rate": sample_rate,
        "file_bytes": coded.file_bytes,
        "payload_bytes": coded.payload_bytes,
        "raw_bytes": coded.raw_bytes,
        "kbps": coded.file_bytes * to_kbps,
        "payload_kbps": coded.payload_bytes * to_kbps,
        "raw_kbps": None if coded.raw_bytes is None else coded.raw_bytes * to_kbps,
        "encode_seconds": coded.encode_seconds,
        "decode_seconds": coded.decode_seconds,
        "delay_s": coded.delay_s,
        "max_delay_s": coded.max_delay_s,
        "histograms": None if coded.histograms is None else [counts.tolist() for counts in coded.histograms],
        "packets": None if coded.packets is None else [[round(s, 4), round(size, 2)] for s, size in coded.packets],
    }
