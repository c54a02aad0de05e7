"""Opus at the bytes of one of our files, where PyAV is installed."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader, Resampler
from audiocodec.demo.pool import check_wanted
from audiocodec.demo.store import OpusCoding
from audiocodec.errors import AudioError

LOW_BPS = 9_000
"""Below it frames are 60 ms long instead of 20: Opus then spends less on saying where they begin, and goes lower."""
LEAST_BPS = 2_500
TRIES = 5
CLOSE = 0.03  # of the bytes wanted
HOLLOW_BYTES = 3.0
"""Packets of fewer bytes hold no sound: asked for less than it can do, libopus sends two that say nothing."""


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
    """The encoding whose packets come nearest to ``size`` bytes, preferring those that need no more.

    The rate varies with the sound, as it does in ours; where that cannot go low enough (about 4 kbps), it is held
    constant. Where Opus cannot go so low at all, its least is given. Raises AudioError.
    """
    low = size * 8 * rate / wave.shape[-1] < LOW_BPS
    found: list[OpusCoding] = []
    options = {"application": "audio" if music else "voip", "frame_duration": "60" if low else "20"}
    for variable in ("on", "off") if low else ("on",):
        found += _searched(wave, rate, size, {**options, "vbr": variable})
        if any(one.size <= size * (1 + CLOSE) for one in found):
            break
    if not found:
        raise AudioError("at every rate that was tried it keeps no sound")
    return min(found, key=lambda one: (max(one.size - size * (1 + CLOSE), 0), abs(one.size - size)))


def _searched(wave: NDArray[np.float32], rate: int, size: int, options: dict[str, str]) -> list[OpusCoding]:
    """Encodings that come nearer and nearer to ``size`` bytes; none of them hollow."""
    from audiocodec.evaluate.peers.pyav import encode

    seconds = wave.shape[-1] / rate
    found: list[OpusCoding] = []
    least = float(LEAST_BPS)
    asked = max(size * 8 / seconds, least)
    for _ in range(TRIES):
        check_wanted()
        data = encode(wave, rate, "libopus", "ogg", options, round(asked))
        use = _use(data)
        got = round(sum(count for _, count in use))
        if got < HOLLOW_BYTES * len(use):
            asked = least = 1.3 * asked
            continue
        found.append(OpusCoding(data, got, got * 8e-3 / seconds, use))
        following = max(asked * size / got, least)
        if size * (1 - CLOSE) <= got <= size or abs(following - asked) < 1.0:
            break
        asked = following
    return found


def _use(data: bytes) -> list[tuple[float, float]]:
    """(seconds, bytes) of each packet: all are equally long, though Ogg says of the last how much of it is heard."""
    from audiocodec.evaluate.peers.pyav import pyav

    with pyav().open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        seconds = max((float((packet.duration or 0) * packet.time_base) for packet in packets), default=0.0)
        return [(seconds, float(packet.size)) for packet in packets]
