"""What visitors brought, in memory alone: each recording under a random key, for a limited time and number."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from audiocodec.demo.limits import Limits
from audiocodec.errors import AudiocodecError


class ForgottenError(AudiocodecError):
    """A key that is not known, or no longer."""


@dataclass(frozen=True)
class OpusCoding:
    """Opus at about the bytes of one of ours; ``size`` is that of its packets, without the Ogg file around them."""

    data: bytes
    size: int
    kbps: float
    use: list[tuple[float, float]]


@dataclass(frozen=True)
class Coding:
    """A recording at one rate of one model. ``use``: (seconds, bytes) in order."""

    data: bytes
    model: str
    levels: int
    kbps: float
    use: list[tuple[float, float]]
    opus: OpusCoding | None = None
    opus_note: str = ""


@dataclass
class Recording:
    """What one visitor dropped, and what was made of it.

    ``kind`` is vpc where a coded file was dropped: it has no original then, and its one coding is the file itself.
    """

    name: str
    data: bytes
    kind: Literal["audio", "vpc"]
    seconds: float
    sample_rate: int
    channels: int
    picked: str
    reason: str = ""
    domain: str = ""
    notices: list[str] = field(default_factory=list)
    codings: OrderedDict[tuple[str, int], Coding] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stage: str = ""
    """What is being done to it now, for its visitor; ``share`` of it is done, 0 to 1."""
    share: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        coded = sum(len(one.data) + (len(one.opus.data) if one.opus else 0) for one in list(self.codings.values()))
        return len(self.data) + coded

    def keep(self, coding: Coding, most: int) -> None:
        """Remember a coding, and forget the oldest beyond ``most``."""
        with self.lock:
            self.codings[coding.model, coding.levels] = coding
            while len(self.codings) > most:
                self.codings.popitem(last=False)

    def told(self) -> dict[str, Any]:
        """What its visitor is told."""
        names = ("name", "kind", "seconds", "sample_rate", "channels", "picked", "reason", "notices")
        facts = {name: getattr(self, name) for name in names} | {"bytes": len(self.data)}
        if self.kind == "vpc":
            facts["levels"] = next(iter(self.codings.values())).levels
        return facts


class Store:
    """Recordings by key. A key is 18 random bytes: who has it may hear the recording, nobody else can find it."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Recording]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, recording: Recording) -> str:
        """Keep a recording; returns its key."""
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[key] = self._clock(), recording
        self.sweep()
        return key

    def get(self, key: str) -> Recording:
        """The recording of a key, which is in use again. Raises ForgottenError."""
        self.sweep()
        with self._lock:
            if key not in self._kept:
                raise ForgottenError("this recording is no longer kept here; drop it again")
            recording = self._kept[key][1]
            self._kept[key] = self._clock(), recording
            self._kept.move_to_end(key)
            return recording

    def remove(self, key: str) -> None:
        """Forget a recording, if it is there."""
        with self._lock:
            self._kept.pop(key, None)

    def sweep(self) -> None:
        """Forget what is too old or too much; the newest stays, whatever its size."""
        oldest = self._clock() - self._limits.kept_s
        with self._lock:
            while self._kept:
                used, _ = next(iter(self._kept.values()))
                full = len(self._kept) > self._limits.kept_recordings or (
                    len(self._kept) > 1
                    and sum(recording.size for _, recording in self._kept.values()) > self._limits.kept_bytes
                )
                if used >= oldest and not full:
                    return
                self._kept.popitem(last=False)
