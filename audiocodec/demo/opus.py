"""Opus at the bytes of one of our files, where PyAV is installed."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader, Resampler
from audiocodec.demo.store import OpusCoding

LEAST_BPS = 2_000
TRIES = 5
CLOSE = 0.03  # of the bytes wanted
LOW_BPS = 9_000
"""Below it frames are 60 ms long instead of 20: Opus then spends less on saying where they begin, and goes lower."""


def absent() -> str | None:
    """Why Opus cannot be heard here, with the remedy; None if it can."""
    try:
        from audiocodec.evaluate.peers.opus import absent_opus
    except ImportError as error:
        return f"it needs packages that are not installed ({error}); pip install 'audiocodec[eval]'"
    return absent_opus()


def prepared(reader: AudioReader) -> tuple[NDArray[np.float32], int]:
    """A recording at a rate that Opus takes: ``[samples]`` or ``[2, samples]``."""
    rate = 16_000 if reader.sample_rate <= 16_000 else 48_000
    resampler = Resampler(reader.sample_rate, rate, reader.channels)
    blocks = [resampler.push(block) for block in reader]
    wave = np.concatenate([*blocks, resampler.flush()], axis=1)
    return (wave[0] if len(wave) == 1 else wave), rate


def at_bytes(wave: NDArray[np.float32], rate: int, size: int, music: bool) -> OpusCoding:
    """The encoding whose packets come nearest to ``size`` bytes, those of them first that need no more.

    Opus has a least rate; where that needs more, it is what is given. Raises AudioError.
    """
    from audiocodec.evaluate.peers.pyav import encode

    seconds = wave.shape[-1] / rate
    wanted_bps = size * 8 / seconds
    options = {
        "application": "audio" if music else "voip",
        "vbr": "on",
        "frame_duration": "60" if wanted_bps < LOW_BPS else "20",
    }
    found: list[OpusCoding] = []
    asked = max(wanted_bps, LEAST_BPS)
    for _ in range(TRIES):
        data = encode(wave, rate, "libopus", "ogg", options, round(asked))
        use = _use(data)
        got = round(sum(count for _, count in use))
        found.append(OpusCoding(data, got, got * 8e-3 / seconds, use))
        if size * (1 - CLOSE) <= got <= size or (asked <= LEAST_BPS and got > size):
            break
        asked = max(asked * size / max(got, 1), LEAST_BPS)
    return min(found, key=lambda one: (max(one.size - size * (1 + CLOSE), 0), abs(one.size - size)))


def _use(data: bytes) -> list[tuple[float, float]]:
    """(seconds, bytes) of each packet."""
    from audiocodec.evaluate.peers.pyav import pyav

    with pyav().open(io.BytesIO(data)) as container:
        packets = [(packet.duration, packet.time_base, packet.size) for packet in container.demux(audio=0)]
    return [(float((duration or 0) * base), float(size)) for duration, base, size in packets if size]


def as_wav(data: bytes, channels: int) -> bytes:
    """An Ogg Opus file as a WAV file."""
    import soundfile

    from audiocodec.evaluate.peers.pyav import decode

    wave, rate = decode(data, channels)
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave.T, -1.0, 1.0).astype(np.float32), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
