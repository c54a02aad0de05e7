"""A bad network with a seed: loss, jitter, reordering and duplication, in simulated time or between real sockets."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocodec.evaluate.traces import Losses


@dataclass(frozen=True)
class Badness:
    """Shares of datagrams lost and duplicated; every one is delayed by ``delay_s`` and up to ``jitter_s`` more.

    Delays are drawn for each by itself, so that jitter above the packets' interval reorders them; ``burst`` is the mean
    number of datagrams lost in a row.
    """

    loss: float = 0.0
    jitter_s: float = 0.0
    delay_s: float = 0.0
    duplicates: float = 0.0
    burst: float = 1.0


class Impairment:
    """One direction. The same seed does the same to the same datagrams."""

    def __init__(self, badness: Badness, seed: int = 0) -> None:
        self.badness = badness
        self._rng = np.random.default_rng(seed)
        self.passed = self.dropped = self.doubled = 0

    @property
    def badness(self) -> Badness:
        """How bad it is; another one begins anew."""
        return self._badness

    @badness.setter
    def badness(self, badness: Badness) -> None:
        self._badness, self._losses = badness, Losses(badness.loss, badness.burst)

    def delays(self) -> list[float]:
        """When copies of the next datagram arrive, in seconds from now; none if it is lost."""
        bad, draw = self.badness, self._rng.random(4)
        if self._losses.lost(draw[0]):
            self.dropped += 1
            return []
        self.passed += 1
        found = [bad.delay_s + bad.jitter_s * float(draw[1])]
        if draw[2] < bad.duplicates:
            self.doubled += 1
            found.append(bad.delay_s + bad.jitter_s * float(draw[3]))
        return found


class Link:
    """Simulated time: what is sent at one moment is received at others."""

    def __init__(self, badness: Badness, seed: int = 0) -> None:
        self.impairment = Impairment(badness, seed)
        self._under_way: list[tuple[float, int, Any]] = []
        self._number = itertools.count()

    def send(self, thing: Any, now: float) -> None:
        for delay in self.impairment.delays():
            heapq.heappush(self._under_way, (now + delay, next(self._number), thing))

    def arrived(self, now: float) -> list[tuple[float, Any]]:
        """(when, what) of all that has come until ``now``, in order of arrival."""
        found = []
        while self._under_way and self._under_way[0][0] <= now:
            when, _, thing = heapq.heappop(self._under_way)
            found.append((when, thing))
        return found


class Proxy:
    """Stands between a caller, who calls ``port`` here, and the one called, on ``target``; a thread of its own."""

    def __init__(self, target: int, badness: Badness, seed: int = 0) -> None:
        self._front, self._back = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._front.bind(("127.0.0.1", 0))
        self._back.bind(("127.0.0.1", 0))
        for one in (self._front, self._back):
            one.setblocking(False)
        self.port: int = self._front.getsockname()[1]
        self._target, self._caller = ("127.0.0.1", target), None
        self.there, self.back = Link(badness, seed), Link(badness, seed + 1)
        self.longest_s = 0.0  # that this machine let the network stand still: its own contribution to the delays
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(5)
        self._front.close()
        self._back.close()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stopping.is_set():
            select.select([self._front, self._back], [], [], 0.001)
            now = time.monotonic()
            self.longest_s, before = max(self.longest_s, now - before), now
            for where, link in ((self._front, self.there), (self._back, self.back)):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    while True:
                        data, source = where.recvfrom(2048)
                        if where is self._front:
                            self._caller = source
                        link.send(data, now)
            with contextlib.suppress(OSError):
                for _, data in self.there.arrived(now):
                    self._back.sendto(data, self._target)
                for _, data in self.back.arrived(now):
                    if self._caller:
                        self._front.sendto(data, self._caller)
