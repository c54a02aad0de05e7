"""Recordings to evaluate: found by suffix, read as mono or as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt

from audiocodec.audio import MAX_CHANNELS, AudioReader
from audiocodec.errors import AudioError, DataError
from audiocodec.evaluate.results import AUDIO, SUMMARY, UNITS

# A FLAC that was written into a pipe does not say how long it is, and soundfile would ask for 2^63 samples at once.
_UNKNOWN_FRAMES = 2**62


Channels = Literal["downmix", "stereo"]
Float = TypeVar("Float", bound=np.floating)


def read_audio(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Read a whole audio file as ([samples], sample_rate), or ([channels, samples], sample_rate) where it is not mono.

    Raises:
        AudioError: the file is not audio that soundfile reads.
    """
    import soundfile

    with _reading(path):
        samples, sample_rate = soundfile.read(_name(path), dtype="float64")
    return np.ascontiguousarray(samples.T), sample_rate


def mixed_down(samples: npt.NDArray[Float]) -> npt.NDArray[Float]:
    """[samples] or [channels, samples] to [samples]: the mean of the channels."""
    return samples if samples.ndim == 1 else cast("npt.NDArray[Float]", samples.mean(axis=0))


def channel_count(samples: npt.NDArray[np.floating]) -> int:
    """How many channels [samples] or [channels, samples] are."""
    return 1 if samples.ndim == 1 else len(samples)


def read_mono(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Read a whole audio file, channels averaged, as ([samples], sample_rate).

    Raises:
        AudioError: the file is not audio that soundfile reads.
    """
    samples, sample_rate = read_audio(path)
    return mixed_down(samples), sample_rate


def printable(text: str) -> str:
    """``text`` with what is no UTF-8 in a file's name written out: it arrives as surrogates, which no file may hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _name(path: Path) -> str | bytes:
    """What soundfile takes for ``path``: as text, it refuses names that are no UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import soundfile

    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        why = getattr(error, "error_string", None) or error
        raise AudioError(f"{path} cannot be read as audio ({why}); move it out of the folder") from None


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
    try:
        matching = list(folder.glob(pattern))
    except (ValueError, NotImplementedError) as error:  # an empty pattern, an absolute one
        raise DataError(f"'{pattern}' is no pattern of paths below {folder}: {error}") from None
    found = sorted(
        path
        for path in matching
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not _is_decoded(path, folder)
    )
    if not found:
        which = "" if pattern == "**/*" else f" that match {pattern}"
        raise DataError(
            f"{folder} holds no audio files{which}; pass a folder with WAV, FLAC, Ogg, Opus or MP3 files in it"
        )
    return found


def _is_decoded(path: Path, folder: Path) -> bool:
    """Whether a file below ``folder`` is the audio of an evaluation whose results lie there too, and no recording."""
    place = path.relative_to(folder)
    if len(place.parts) < 3 or place.parts[-3] != AUDIO:
        return False
    results = path.parent.parent.parent
    return (results / UNITS).is_dir() or (results / SUMMARY).is_file()


@contextmanager
def coded_file(source: Path, folder: Path, channels: Channels) -> Iterator[Path]:
    """What codecs are given of ``source``: itself where that is what is wanted, else a float WAV made in ``folder``.

    ``channels``: ``downmix`` gives one channel, ``stereo`` those that there are, one or two.

    Raises:
        AudioError: it is no audio, or has more channels.
    """
    import soundfile

    with _reading(source):
        about = soundfile.info(_name(source))
    if channels == "stereo" and about.channels > MAX_CHANNELS:
        raise AudioError(f"{source} has {about.channels} channels; in stereo, recordings have one or two")
    as_it_is = about.channels == 1 or channels == "stereo"
    if about.frames < _UNKNOWN_FRAMES and as_it_is:
        yield source
        return
    samples, sample_rate = (_read_to_its_end if about.frames >= _UNKNOWN_FRAMES else read_audio)(source)
    made = folder / "recording.wav"
    wave = samples if as_it_is else mixed_down(samples)
    soundfile.write(str(made), wave.T, sample_rate, subtype="FLOAT")
    yield made
    made.unlink()


def _read_to_its_end(source: Path) -> tuple[npt.NDArray[np.floating], int]:
    """Like :func:`read_audio`, of a file that does not say how long it is."""
    with AudioReader(source) as reader:
        samples = np.concatenate([np.zeros((reader.channels, 0), np.float32), *reader], axis=1)
    return (samples[0] if reader.channels == 1 else samples), reader.sample_rate
