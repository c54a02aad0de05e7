"""The two ends of a side of a call: where the voice comes from, and where the other's is played.

A device gives and takes samples at its own pace. A file stands in for one where there is none, at the pace of a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader, AudioWriter, Resampler
from audiocodec.errors import AudiocodecError, AudioError, OutputError

Samples = NDArray[np.float32]

BLOCK_S = 0.01  # what devices hand over at once, and files in their place
_MOST_BEHIND_S = 2.0  # a file waits for so long; a machine that slept longer goes on where it was


class Microphone(Protocol):
    """Where a voice comes from."""

    first_s: float | None
    """When its first sample was spoken, by the clock of the call."""
    overruns: int

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""

    def start(self, now: float) -> None:
        """Begin to listen."""

    def read(self, now: float) -> Samples:
        """``[n]`` samples since the last time."""

    def stopped(self, now: float) -> bool:
        """Whether it broke off, as a device does that is unplugged; asked often from `start` on."""


class Speaker(Protocol):
    """Where a voice goes to."""

    first_s: float | None
    underruns: int

    def start(self, now: float) -> None:
        """Begin to play."""

    def wanted(self, now: float) -> tuple[int, float]:
        """Samples that it has room for, and when the first of them will be heard."""

    def write(self, samples: Samples) -> None:
        """``[n]`` samples, as many as were wanted."""

    def finish(self) -> None:
        """Play what it still has."""

    def stopped(self, now: float) -> bool:
        """See :class:`Microphone`."""


class FileMicrophone:
    """A recording, spoken in real time, then silence.

    Raises AudioError where it cannot be read. Where it is damaged further on, it ends there, and the ``with`` block
    ends with that error.
    """

    def __init__(self, source: str | Path, sample_rate: int) -> None:
        self._reader = AudioReader(source)
        if self._reader.live:
            raise AudioError(f"{self._reader.name} may keep a call waiting; pass a file")
        self._rate = sample_rate
        self._samples = self._all()
        self._pending = np.zeros(0, np.float32)
        self._given = 0
        self._ended = False
        self._broken: AudioError | None = None
        self.first_s: float | None = None
        self.overruns = 0

    @property
    def ended(self) -> bool:
        """Whether the recording is over."""
        return self._ended

    def start(self, now: float) -> None:
        """See :class:`Microphone`."""
        self.first_s = now

    def read(self, now: float) -> Samples:
        """See :class:`Microphone`."""
        assert self.first_s is not None
        block = round(BLOCK_S * self._rate)
        due = int((now - self.first_s) * self._rate) // block * block - self._given
        if due > _MOST_BEHIND_S * self._rate:
            self.first_s += due / self._rate
            self.overruns += 1
            due = 0
        if due <= 0:
            return np.zeros(0, np.float32)
        while len(self._pending) < due and not self._ended:
            more = next(self._samples, None)
            self._ended = more is None
            if more is not None:
                self._pending = np.concatenate([self._pending, more])
        taken, self._pending = self._pending[:due], self._pending[due:]
        self._given += due
        return np.pad(taken, (0, due - len(taken)))

    def stopped(self, now: float) -> bool:  # noqa: ARG002 - devices need it
        """See :class:`Microphone`."""
        return False

    def _all(self) -> Iterator[Samples]:
        resampler = Resampler(self._reader.sample_rate, self._rate, 1)
        try:
            for block in self._reader:
                yield resampler.push(block.mean(axis=0, keepdims=True))[0]
        except AudioError as error:
            self._broken = error
        yield resampler.flush()[0]

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> FileMicrophone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._broken is not None:
            raise self._broken


class FileSpeaker:
    """A recording of what would be heard, made in real time.

    It is kept, if there is any, unless the ``with`` block is left by a signal.
    """

    def __init__(self, target: str | Path, sample_rate: int, force: bool = False) -> None:
        self._writer = AudioWriter(target, sample_rate, 1, force=force, recording=True)
        self._rate = sample_rate
        self.first_s: float | None = None
        self.underruns = 0

    def start(self, now: float) -> None:
        """See :class:`Speaker`."""
        self.first_s = now

    def wanted(self, now: float) -> tuple[int, float]:
        """See :class:`Speaker`."""
        assert self.first_s is not None
        block, written = round(BLOCK_S * self._rate), self._writer.samples_written
        due = int((now - self.first_s) * self._rate) // block * block - written
        if due > _MOST_BEHIND_S * self._rate:
            self.first_s += due / self._rate
            self.underruns += 1
            due = 0
        return max(due, 0), self.first_s + written / self._rate

    def write(self, samples: Samples) -> None:
        """See :class:`Speaker`."""
        self._writer.write(samples[None])

    def finish(self) -> None:
        """See :class:`Speaker`; a file has played at once."""

    def stopped(self, now: float) -> bool:  # noqa: ARG002 - devices need it
        """See :class:`Microphone`."""
        return False

    def __enter__(self) -> FileSpeaker:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._writer.samples_written:
            error = AudioError("a call that ended before anything was heard")  # as after any other: no file
            kind = type(error)
        if isinstance(error, Exception) and not isinstance(error, OutputError) and self._writer.samples_written:
            self._writer.__exit__(None, None, None)  # what was heard until then is none the worse
            if isinstance(error, AudiocodecError):
                error.args = (f"{error}; what was heard until then is kept in {self._writer.name}",)
            return
        self._writer.__exit__(kind, error, trace)
