"""What the arrival of packets tells: how many are missing, how unsteady they are, how late to play."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from typing import TYPE_CHECKING

from audiocodec.live.missing import Missing
from audiocodec.live.rtp import Unwrapper

if TYPE_CHECKING:
    from audiocodec.live.jitter import JitterSettings

_WINDOW = 256  # packets: five seconds of single frames
_SURE = 50  # packets before the buffer trusts what it has seen
_PRIOR_S = 0.04  # the delay it starts with
_SHARE = 0.98  # of packets that shall be in time, of those that can be
_MARGIN_S = 0.005
_REMEMBERED = 1024  # sequence numbers, to know a packet that comes twice
# Of packets that a standstill held up and that then come all at once, so many count: one standstill in the window is
# borne (what it held up is played, late), two are waited for.
_COUNTED_OF_A_BURST = 4
_STRANGE_S = 2.0  # by so much no network changes: the sender's clock jumped


class Arrivals:
    """Statistics over one stream's packets, each noted once; bounded in memory."""

    def __init__(self, settings: JitterSettings) -> None:
        self._settings = settings
        self.jitter_s = 0.0
        """Interarrival jitter (RFC 3550, section 6.4.1)."""
        self.received = self.expected = 0
        self.restart()

    def restart(self) -> None:
        """Another stream begins; what was counted stays."""
        self._sequences = Unwrapper(16)
        self._seen: set[int] = set()
        self._order: deque[int] = deque()
        self._transits: deque[float] = deque(maxlen=_WINDOW)
        self._missing = Missing()
        self._last_transit: float | None = None
        self._in_burst = 0
        self._base = 0.0
        self._frames = self._spares = 0  # in a packet
        self._set_wanted()

    @property
    def lost(self) -> int:
        """Packets that never came, of all up to the newest one."""
        return max(0, self.expected - self.received)

    @property
    def highest(self) -> int:
        """The newest sequence number, 16 bits."""
        return (self._sequences.value or 0) & 0xFFFF

    def plausible(self, sequence: int, most: int) -> bool:
        """Whether a packet can be of this stream, by its number."""
        newest = self._sequences.value
        return newest is None or abs(self._sequences.near(sequence) - newest) <= most

    def repeated(self, sequence: int) -> bool:
        """Whether a packet with this number was noted before."""
        return self._sequences.near(sequence) in self._seen

    def behind(self, sequence: int) -> int:
        """By how many packets this one is older than the newest; negative: newer."""
        newest = self._sequences.value
        return 0 if newest is None else newest - self._sequences.near(sequence)

    def count(self, sequence: int) -> None:
        """A packet arrived that is too old to say anything of how late others will be."""
        self.received += 1
        self._remember(self._sequences.near(sequence))

    def note(self, sequence: int, place: int, now: float, frames: int, spares: int) -> None:
        """A packet of media time ``place`` in samples arrived; ``frames`` 0: silence."""
        number = self._sequences.near(sequence)
        before = self._sequences.value
        self._sequences.advance(number)
        gap = number - before if before is not None else 1
        self.expected += max(gap, 0)
        self.received += 1
        self._remember(number)
        transit = now - place / self._settings.sample_rate
        self._missing.note(number, in_reach=transit <= self._base + self._settings.most_s)
        if self._last_transit is not None:
            self.jitter_s += (abs(transit - self._last_transit) - self.jitter_s) / 16
            if abs(transit - self._last_transit) > _STRANGE_S:
                self._transits.clear()
            # Each of a burst was held up for a packet's time less than the one before.
            falling = self._last_transit - transit > self._settings.frame_s / 2
            self._in_burst = self._in_burst + 1 if falling else 0
        self._last_transit = transit
        if self._in_burst < _COUNTED_OF_A_BURST:
            self._transits.append(transit)
        if frames:
            self._frames, self._spares = frames, spares
        self._set_wanted()

    def forget_transits(self, kept: int) -> None:
        """Judge by the last ``kept`` packets alone: those before came by a quicker network."""
        self._transits = deque(list(self._transits)[-kept:], maxlen=_WINDOW)
        self._set_wanted()

    def _remember(self, number: int) -> None:
        self._seen.add(number)
        self._order.append(number)
        if len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft())

    def delay(self, place: int, now: float) -> float:
        """How much later than the quickest packet's way allows ``place`` is played at ``now``."""
        return now - place / self._settings.sample_rate - self._base

    @property
    def _copies_s(self) -> float:
        """How long to wait for copies: until they are there of as many packets in a row as may be missing.

        With a margin of its own: where there is no jitter all copies come just as they are needed.
        """
        if not self._spares or not self._missing.many:
            return 0.0
        return min(self._spares, self._missing.burst * self._frames) * self._settings.frame_s + _MARGIN_S

    def _set_wanted(self) -> None:
        settings = self._settings
        ordered = sorted(self._transits)
        self._base = ordered[0] if ordered else 0.0
        if settings.delay_s is not None:
            self.wanted_s = settings.delay_s
            return
        # What comes later than the longest delay is lost at any delay: it is no reason to play later.
        in_reach = bisect(ordered, self._base + settings.most_s)
        spread = ordered[int(_SHARE * (in_reach - 1))] - self._base if ordered else 0.0
        if len(ordered) < _SURE:
            spread = max(spread, _PRIOR_S)
        wanted = spread + _MARGIN_S + self._copies_s
        self.wanted_s = min(max(wanted, settings.least_s), settings.most_s)
