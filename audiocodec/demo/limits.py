"""How much the page takes on: of one visitor, and of all of them together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that keep visitors from each other's way. Sizes in bytes, times in seconds."""

    upload_bytes: int = 50_000_000
    seconds: float = 600.0
    """Of audio in one recording."""
    kept_s: float = 1800.0
    """A recording is forgotten when nobody has asked for it for so long."""
    kept_recordings: int = 32
    kept_bytes: int = 400_000_000
    """Of all recordings; the one not asked for longest goes first."""
    kept_codings: int = 12
    """Of one recording: rates that were heard and need not be computed again."""
    workers: int = 2
    queue: int = 8
    """Jobs that may wait; a visitor beyond them is asked to try again."""
    uploads: int = 4
    """At once: each is held in memory before it is looked at."""
    listeners: int = 8
    """Recordings on their way to players at once: each is held in memory until it is read."""
    listening_bytes: int = 250_000_000
    """Of all of those together; one alone may be larger."""
    stall_s: float = 20.0
    """A sender who sends nothing for so long, or a reader who reads nothing, is given up."""
    transfer_s: float = 300.0
    """One upload, or one recording on its way to a player, takes at most so long."""
    live: int = 2
    """Microphones at once: each takes a good part of a core while it is on."""

    def as_dict(self) -> dict[str, float]:
        """What the page tells before an upload begins."""
        return {"upload_bytes": self.upload_bytes, "seconds": self.seconds, "kept_s": self.kept_s}
