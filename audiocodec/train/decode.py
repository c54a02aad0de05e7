"""One recording, whatever its container, as mono 16 bit samples at the rate that training wants."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import MissingExtraError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64"})
# Two steps of a 16 bit sample: what dither or a lossy coder leaves of digital silence.
SILENCE_STEPS = 2


class UndecodableError(Exception):
    """A recording that training skips and counts; it never reaches the user as an exception."""


@dataclass(frozen=True)
class Clip:
    """``samples``: [n] int16, mono; ``source_rate``: the file's own, in Hz; ``bandwidth_hz``: what it fills of it."""

    samples: NDArray[np.int16]
    source_rate: int
    bandwidth_hz: int = 0


def decode(source: Path | bytes, rate: int, *, measure: bool = False, trim: bool = True) -> Clip:
    """Read ``source`` (a file, or its bytes), average its channels, resample to ``rate`` Hz, trim digital silence.

    ``measure`` estimates the bandwidth as well (`bandwidth_hz`); ``trim`` cuts digital silence off both ends.

    Raises:
        UndecodableError: not audio, damaged, not finite, or nothing but digital silence.
        MissingExtraError: the file must be resampled and soxr does not import.
    """
    samples, source_rate = _read(source)
    return convert(samples, source_rate, rate, measure=measure, trim=trim)


def convert(
    samples: NDArray[np.int16] | NDArray[np.float32], source_rate: int, rate: int, *, measure: bool, trim: bool = True
) -> Clip:
    """The same from samples in memory: [n] or [n, channels], int16 or float of full scale 1. Raises as `decode`."""
    mono = samples if samples.ndim == 1 else samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    floating = mono.astype(np.float32) / np.float32(32768.0 if samples.dtype == np.int16 else 1.0)
    if not np.isfinite(floating).all():
        raise UndecodableError("samples that are not finite")
    bandwidth = bandwidth_hz(floating, source_rate) if measure else 0
    if source_rate != rate:
        floating = _resample(floating, source_rate, rate)
    # Exact for 16 bit input at the right rate: x / 32768 * 32768 is x in float32.
    whole = np.clip(np.rint(floating * 32768.0), -32768, 32767).astype(np.int16)
    return Clip(_trimmed(whole) if trim else whole, source_rate, bandwidth)


def bandwidth_hz(samples: NDArray[np.float32], rate: int) -> int:
    """Highest frequency whose mean power is within 70 dB of the strongest band's: [n] float32 at ``rate`` Hz -> Hz.

    Lossy coders and narrow-band microphones leave a sharp edge well below half the sampling rate; this finds it.
    The first two minutes decide.
    """
    window = 1024
    if len(samples) < window:
        return 0
    frames = samples[: min(len(samples), 120 * rate) // window * window].reshape(-1, window)
    power = (np.abs(np.fft.rfft(frames * np.hanning(window).astype(np.float32))) ** 2).mean(axis=0)
    return int(np.flatnonzero(power >= power.max() * 1e-7)[-1] * rate / window)


def _read(source: Path | bytes) -> tuple[NDArray[np.int16] | NDArray[np.float32], int]:
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as file:
            kind = "int16" if file.subtype == "PCM_16" else "float32"  # no rounding where the file is 16 bit already
            return file.read(dtype=kind, always_2d=True), file.samplerate
    except (RuntimeError, OSError, ValueError, TypeError, MemoryError) as error:
        raise UndecodableError(" ".join(str(error).split()) or type(error).__name__) from None


def _resample(samples: NDArray[np.float32], source_rate: int, rate: int) -> NDArray[np.float32]:
    try:
        import soxr
    except ImportError:
        raise MissingExtraError(
            f"audio at {source_rate} Hz must be resampled to {rate} Hz, which needs soxr: pip install soxr, or pack the"
            f" corpus elsewhere with 'audiocodec data pack DIR -o SHARDS --rate {rate}'"
        ) from None
    return np.asarray(soxr.resample(samples, source_rate, rate), dtype=np.float32)


def _trimmed(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    sounding = np.flatnonzero((samples > SILENCE_STEPS) | (samples < -SILENCE_STEPS))
    if not len(sounding):
        raise UndecodableError("nothing but digital silence")
    return samples[sounding[0] : sounding[-1] + 1]
