"""What is evaluated: systems that turn a recording into bytes and bytes into a recording."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

# A peer's delay is searched within this; a file format that trims it must not be moved by a pitch period that happens
# to correlate better.
TRIMMED_DELAY_S = 0.002
Histograms = list[npt.NDArray[np.int64]]  # per dimension of the bottleneck: how often each level was used
PacketUse = list[tuple[float, float]]  # in order: seconds of audio, and the bytes that they cost


@dataclass(frozen=True)
class Coded:
    """One recording after coding and decoding.

    ``samples`` [samples], or [channels, samples] of a stereo recording, at ``sample_rate``; sizes in bytes,
    ``file_bytes`` as written and ``payload_bytes`` without container and headers; times in CPU seconds over all
    threads.

    ``delay_s`` is the decoder's delay where the format states it (0 where the decoder trimmed it): nothing is searched
    then. Where it is None the delay is found by cross-correlation, within ``max_delay_s`` either way, and reported.

    ``raw_bytes`` is the size of the same file in ``raw`` mode, ``histograms`` the use of the levels: None for peers.
    ``packets`` tells the bits over time, where the system knows them.
    """

    samples: npt.NDArray[np.float64]
    sample_rate: int
    file_bytes: int
    payload_bytes: int
    encode_seconds: float
    decode_seconds: float
    raw_bytes: int | None = None
    frames: int | None = None
    histograms: Histograms | None = None
    packets: PacketUse | None = None
    delay_s: float | None = None
    max_delay_s: float = TRIMMED_DELAY_S


class System(Protocol):
    """A codec at one rate; instances travel to worker processes, so they pickle."""

    @property
    def codec(self) -> str:
        """Name of the codec in tables."""
        ...

    @property
    def setting(self) -> str:
        """Name of the rate in tables; with ``codec`` it names the system, so it is unique."""
        ...

    def identity(self) -> dict[str, str]:
        """Whatever else decides the outcome: versions, model fingerprint, commands. A change makes old results void."""
        ...

    def run(self, source: Path, folder: Path) -> Coded:
        """Code the file ``source`` and decode it again, with intermediate files in ``folder``.

        It is mono, but may be stereo for a system with an attribute ``stereo`` that is true.

        Raises:
            AudioError: the recording cannot be coded by this system; the evaluation goes on without it.
        """
        ...


@dataclass
class Stopwatch:
    """CPU seconds spent inside ``with watch:`` blocks: of this process, all threads, and of children waited for."""

    seconds: float = 0.0
    _start: float = field(default=0.0, repr=False)

    def __enter__(self) -> Stopwatch:
        self._start = _cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += _cpu_seconds() - self._start


def _cpu_seconds() -> float:
    # Not os.times(), which counts in hundredths of a second: a short file is encoded in three of them.
    if sys.platform == "win32":  # where there is no getrusage, and children are not counted either way
        return time.process_time()
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
