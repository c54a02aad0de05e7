"""Recordings to evaluate: found by suffix, read as mono."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError, DataError


def read_mono(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Read a whole audio file, channels averaged, as ([samples], sample_rate).

    Raises:
        AudioError: the file is not audio that soundfile reads.
    """
    import soundfile

    with _reading(path):
        samples, sample_rate = soundfile.read(str(path), dtype="float64", always_2d=True)
    return samples.mean(axis=1), sample_rate


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import soundfile

    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be read as audio ({error}); move it out of the folder") from None


def list_audio(folder: Path, pattern: str = "**/*") -> list[Path]:
    """The audio files below ``folder``, sorted by path, chosen by suffix (hidden files and folders left out).

    Raises:
        DataError: the folder does not exist or holds no audio.
    """
    import soundfile

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; pass a folder of audio files")
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".oga", ".opus", ".mp3"}
    suffixes -= {".raw", ".sd2"}  # headerless, or with its header in another file
    found = sorted(
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        which = "" if pattern == "**/*" else f" that match {pattern}"
        raise DataError(
            f"{folder} holds no audio files{which}; pass a folder with WAV, FLAC, Ogg, Opus or MP3 files in it"
        )
    return found


@contextmanager
def mono_file(source: Path, folder: Path) -> Iterator[Path]:
    """A mono version of ``source``: itself where it is mono, else a float WAV mixed down into ``folder``."""
    import soundfile

    with _reading(source):
        channels = soundfile.info(str(source)).channels
    if channels == 1:
        yield source
        return
    samples, sample_rate = read_mono(source)
    mixed = folder / "mono.wav"
    soundfile.write(str(mixed), samples, sample_rate, subtype="FLOAT")
    yield mixed
    mixed.unlink()
