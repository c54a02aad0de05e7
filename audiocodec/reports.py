"""What became of files that were encoded or decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What became of one file. ``samples`` counts one channel at ``sample_rate``; ``problems`` are for people.

    ``notes``: what people should know besides, no fault of this file; ``ended_by``: the signal that ended a stream.
    """

    source: str
    target: str
    sample_rate: int
    channels: int
    samples: int
    bytes_in: int
    bytes_out: int
    elapsed_s: float
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ended_by: int | None = None

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return self.samples / self.sample_rate

    @property
    def speed(self) -> float:
        """Seconds of audio per second of work."""
        return self.duration_s / max(self.elapsed_s, 1e-9)


@dataclass(frozen=True)
class EncodeReport(Report):
    """What encoding one file gave. ``picked``: the model and why, where it was not named."""

    picked: str = ""

    @property
    def written_kbps(self) -> float:
        """Rate of the whole .vpc, headers included; 0 for an empty recording."""
        return self.bytes_out * 8e-3 / self.duration_s if self.samples else 0.0

    @property
    def ratio(self) -> float:
        """How many times smaller the .vpc is than the file that was read."""
        return self.bytes_in / max(self.bytes_out, 1)


@dataclass(frozen=True)
class DecodeReport(Report):
    """What decoding one file gave. ``lost_frames`` were concealed; ``stated_samples`` is the length encoded.

    ``uncounted``: problems beyond those that are listed.
    """

    lost_frames: int = 0
    stated_samples: int | None = None
    uncounted: int = 0
