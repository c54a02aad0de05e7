"""``--model auto``: listens to a recording, and picks an installed model for what it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocodec import content, models
from audiocodec.audio import AudioReader
from audiocodec.models import InstalledModel
from audiocodec.output import STDIO

Samples = NDArray[np.float32]
# Blocks [channels, n] that follow each other. They stay apart: joining ten seconds takes a third as long as the rest.
Stretch = Sequence[Samples]
PIECES, PIECE_SECONDS = 3, 10
LIVE_SECONDS = 5.0  # of a stream that is still arriving: all that waits for the decision
# A band counts as filled with this share of the power below it. What resampling leaves above the old band lies under
# 1e-7, and the noise of 16 bits under 1e-5 of speech at usual levels.
FILLED = 3e-5
BAND_FRAME = 1024


@dataclass(frozen=True)
class Choice:
    """The models that suit a recording, the best first; ``reason`` and ``notice`` (None: nothing amiss) for people."""

    models: tuple[InstalledModel, ...]
    reason: str
    notice: str | None = None


def choose(reader: AudioReader, *, wait: bool = True) -> Choice:
    """Pick models for what ``reader`` will give, which still gives all of it.

    Listens to three pieces of ten seconds of a file, to the first thirty seconds where it must be read in order, and
    to the first `LIVE_SECONDS` of a stream. Only models that their index enters as automatic are picked; without
    ``wait`` none of it is read, and it is taken for speech.

    Raises:
        ModelError: no model is installed that may be picked.
        AudioError: the recording is damaged at its start.
    """
    offered = [model for model in models.list_models() if model.automatic]
    if not wait:
        return _suited(offered, "speech", "taken for speech, as live streams are", [], reader)
    pieces = _listen(reader)
    heard = content.classify(content_pieces(pieces, reader.sample_rate))
    return _suited(offered, heard.domain, heard.reason, pieces, reader)


def _suited(
    offered: list[InstalledModel], domain: content.Domain, reason: str, pieces: list[Stretch], reader: AudioReader
) -> Choice:
    """Models of the domain; of the other with a notice where there is none."""
    fitting = [model for model in offered if model.domain == domain]
    ranked = _by_band(fitting or offered, pieces, reader.sample_rate)
    if fitting:
        return Choice(ranked, reason)
    chosen = ranked or (models.named(models.DEFAULT),)
    notice = f"no model of {domain} is installed: {reader.name} ({reason}) is coded by {chosen[0].name}"
    return Choice(chosen, reason, notice)


def _by_band(fitting: list[InstalledModel], pieces: list[Stretch], rate: int) -> tuple[InstalledModel, ...]:
    """The lowest sampling rate that loses nothing of the recording first; then those below it and those above."""
    ordered = sorted(fitting, key=lambda model: model.sample_rate)
    if not ordered:
        return ()
    rates = [model.sample_rate for model in ordered]
    enough = next((r for r in rates[:-1] if r == rates[-1] or not fills(pieces, rate, r / 2)), rates[-1])
    best = rates.index(enough)
    return (ordered[best], *reversed(ordered[:best]), *ordered[best + 1 :])


def _listen(reader: AudioReader) -> list[Stretch]:
    """Stretches of the recording."""
    if reader.live:
        return [reader.peek(LIVE_SECONDS)]
    again = str(reader.source) != STDIO and os.path.isfile(reader.source)  # a FIFO gives what it holds once
    again = again and not reader.parsed  # libsndfile does not know where its samples lie
    if again and reader.frames and reader.frames > PIECES * PIECE_SECONDS * reader.sample_rate:
        return file_pieces(reader.source)
    return [reader.peek(PIECES * PIECE_SECONDS)]


def file_pieces(path: str | Path) -> list[Stretch]:
    """Ten seconds from the start, the middle and the end of a file: its start may be a jingle.

    What cannot be reached or read is left out: whoever encodes the file will say what is wrong with it.
    """
    pieces: list[Stretch] = []
    try:
        with open(path, "rb") as handle, soundfile.SoundFile(handle) as file:
            size = PIECE_SECONDS * file.samplerate
            for start in np.linspace(0, max(file.frames - size, 0), PIECES).astype(int).tolist():
                file.seek(start)
                pieces.append([file.read(size, dtype="float32", always_2d=True).T])
    except (OSError, soundfile.LibsndfileError, TypeError):
        pass
    return pieces


def content_pieces(stretches: Sequence[Stretch], rate: int) -> list[Samples]:
    """Stretches at ``rate`` to pieces ``[m]`` at `content.RATE`, ten seconds at most.

    Of two channels the louder is taken: one may be empty, and two may cancel.
    """
    found: list[Samples] = []
    for blocks in filter(len, stretches):
        channel = 0
        if len(blocks[0]) > 1:
            channel = int(np.argmax(sum(np.einsum("cn,cn->c", block, block) for block in blocks)))
        mono = [np.ascontiguousarray(block[channel]) for block in blocks]
        if rate != content.RATE:
            stream = soxr.ResampleStream(rate, content.RATE, 1, "float32", "LQ")
            mono = [stream.resample_chunk(part, last=n == len(mono)) for n, part in enumerate(mono, 1)]
        whole, size = np.concatenate(mono), PIECE_SECONDS * content.RATE
        found += [whole[start : start + size] for start in range(0, len(whole), size)]
    return found


def fills(stretches: Sequence[Stretch], rate: int, hertz: float) -> bool:
    """Whether a recording at ``rate`` has sound worth keeping above ``hertz``."""
    edge = 1.03 * hertz  # filters are not steep
    if rate / 2 <= edge:
        return False
    below = above = 0.0
    first = round(edge * BAND_FRAME / rate)
    window = np.hanning(BAND_FRAME).astype(np.float32)
    for blocks in filter(len, stretches):
        wave = np.concatenate(blocks, axis=1)
        frames = wave[:, : wave.shape[1] // BAND_FRAME * BAND_FRAME].reshape(-1, BAND_FRAME)
        power = np.square(np.abs(np.fft.rfft(frames * window, axis=1))).sum(axis=0)
        below, above = below + float(power[:first].sum()), above + float(power[first:].sum())
    return above > FILLED * below
