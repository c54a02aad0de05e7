"""The jitter buffer: packets come when the network pleases, frames leave one after the other in the speaker's time.

Nothing here knows a clock: every call says when it happens, in seconds of the receiver's clock. The buffer compares how
long packets were under way (arrival less media time, whose offset means nothing) with the quickest of the last seconds,
and plays late enough that nearly all of them are there in time. Two clocks that drift apart show as a delay that grows
or shrinks; the buffer asks its caller to play a little faster or slower until the delay is as wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from audiocodec.live.arrivals import Arrivals
from audiocodec.live.rtp import Unwrapper

MAX_JUMP = 3000  # of sequence numbers: beyond it another stream has begun, or somebody is lying (RFC 3550, A.1)
_JUMPS_BELIEVED = 3  # packets in a row that agree on where they are
_ROOM_S = 1.0  # of frames held beyond the longest delay
_STEADY = 12  # takes that the delay is averaged over before it is corrected
_TOO_LATE_S, _TOO_EARLY_S = 0.012, -0.006  # a delay may be so much above or below the one wanted
_FAR_OFF_S = 0.06  # a delay so far above the one wanted is corrected three times as fast
_SOURCE_GONE_S = 1.0  # without any packet: the playing stands still until one comes
# After so many packets in a row, over so long, that all came too late the network is slower for good. Several, because
# jitter beyond a fixed delay makes runs of them as well; over a time, because a standstill is followed by many at once.
_ALL_LATE, _ALL_LATE_S = 8, 0.2
_QUIET: Any = object()  # stands where a silence begins


@dataclass(frozen=True)
class JitterSettings:
    """``delay_s`` None: adaptive between ``least_s`` and ``most_s``."""

    sample_rate: int
    frame_samples: int
    delay_s: float | None = None
    least_s: float = 0.02
    most_s: float = 0.4

    @property
    def frame_s(self) -> float:
        """Seconds a frame."""
        return self.frame_samples / self.sample_rate


class Verdict(Enum):
    """What became of a packet that was put in."""

    KEPT = "kept"
    LATE = "late"
    DUPLICATE = "duplicate"
    ASTRAY = "astray"  # of another place in time than the stream's


class SlotKind(Enum):
    """What there is to play."""

    FRAME = "frame"
    SPARE = "spare"  # only its copy at the lowest rate has come
    LOST = "lost"
    SILENCE = "silence"


@dataclass(frozen=True)
class Slot:
    """One frame's worth of playing. ``pace``: -1 play it shorter if that can be hidden, +1 longer, 0 as it is.

    Of a lost one, ``following`` is the next frame that has come whole, if any has, and ``rest`` how many later it is.
    """

    kind: SlotKind
    timestamp: int | None = None
    item: Any = None
    pace: int = 0
    following: Any = None
    rest: int = 1


class JitterBuffer:
    """One stream's; holds at most ``most_s`` and a second of frames."""

    def __init__(self, settings: JitterSettings) -> None:
        self.settings = settings
        self.arrivals = Arrivals(settings)
        self.late = self.duplicates = self.astray = self.stalls = 0
        self.delay_s = 0.0
        """Of late: from when the quickest packet would have come to when its frame is played."""
        self._timestamps = Unwrapper(32)
        self._most_frames = round((settings.most_s + _ROOM_S) / settings.frame_s)
        self._astray_run: list[int] = []
        self._forget()

    def _forget(self) -> None:
        self._frames: dict[int, Any] = {}
        self._spares: dict[int, Any] = {}
        self._next: int | None = None  # the timestamp to play; before anything was played, None
        self._playing = False
        self._heard_to = float("-inf")  # the timestamp after the last frame played: nothing is heard twice
        self._late_packets = 0  # in a row until now
        self._late_since = 0.0
        self._stalled = 0  # frames concealed at the end of all that had come
        self._since_pace = 0
        self._last_put = float("-inf")

    def __len__(self) -> int:
        return len(self._frames.keys() | self._spares.keys())

    @property
    def wanted_s(self) -> float:
        """The delay aimed at."""
        return self.arrivals.wanted_s

    def put(
        self, sequence: int, timestamp: int, frames: Sequence[Any], spares: Sequence[Any] = (), *, now: float
    ) -> Verdict:
        """A packet: ``frames`` from its timestamp on, none for silence; ``spares`` are those just before."""
        if self.repeats(sequence, timestamp):
            return Verdict.DUPLICATE
        hop = self.settings.frame_samples
        place = self._timestamps.near(timestamp)
        long_over = self._is_long_over(sequence, place)
        if not long_over and not self._is_near(sequence, place):
            return self._gone_astray(sequence, timestamp, frames, spares, now)
        self._astray_run = []
        if long_over:
            self.arrivals.count(sequence)
            self.late += 1
            return Verdict.LATE
        self._last_put = now
        self._timestamps.advance(place)
        self.arrivals.note(sequence, place, now, len(frames), len(spares))
        self._follow(place, now)
        kept = self._keep(self._spares, place - hop * len(spares), spares)
        kept |= self._keep(self._frames, place, frames or [_QUIET])
        if not kept:
            self.late += 1
        return Verdict.KEPT if kept else Verdict.LATE

    def repeats(self, sequence: int, timestamp: int) -> bool:
        """Whether a packet came before; it is counted then, and need not be put in."""
        if not self.arrivals.repeated(sequence):
            return False
        place = self._timestamps.near(timestamp)
        if not self._is_near(sequence, place) and not self._is_long_over(sequence, place):
            return False
        self._astray_run = []
        self.duplicates += 1
        return True

    def _is_near(self, sequence: int, place: int) -> bool:
        if self._timestamps.value is None:
            return True
        ahead = place - self._timestamps.value
        if ahead % self.settings.frame_samples or not self.arrivals.plausible(sequence, MAX_JUMP):
            return False
        reach = self._most_frames * self.settings.frame_samples
        # After a silence of any length the next packet is far ahead in time, but not in number.
        return ahead >= -reach and (ahead <= reach or not len(self))

    def _is_long_over(self, sequence: int, place: int) -> bool:
        """Whether a packet is of the stream, but of before all that is held: each one before is a frame or more before.

        Without this, three in a row that the network held up would pass for a new beginning.
        """
        before, hop = self.arrivals.behind(sequence), self.settings.frame_samples
        if self._timestamps.value is None or not 0 < before <= MAX_JUMP:
            return False
        behind, odd = divmod(self._timestamps.value - place, hop)
        return not odd and max(before, self._most_frames + 1) <= behind <= MAX_JUMP

    def _follow(self, place: int, now: float) -> None:
        """Go back to where the network has got to, once it is known that nothing will be in time any more.

        A packet is late when its first frame is: of packets of several frames the last may be in time for ever.
        """
        if self._next is None or place >= self._next:
            self._late_packets = 0
            return
        self._late_since = self._late_since if self._late_packets else now
        self._late_packets += 1
        if self._late_packets < _ALL_LATE or now - self._late_since < _ALL_LATE_S or place < self._heard_to:
            return
        self.arrivals.forget_transits(self._late_packets)
        self._next, self._playing, self._stalled, self._late_packets = place, False, 0, 0

    def _gone_astray(
        self, sequence: int, timestamp: int, frames: Sequence[Any], spares: Sequence[Any], now: float
    ) -> Verdict:
        """Packets that agree with each other, and not with the stream, are a sender that began anew."""
        self.astray += 1
        follows = self._astray_run and sequence == (self._astray_run[-1] + 1) & 0xFFFF
        self._astray_run = [*self._astray_run, sequence] if follows else [sequence]
        if len(self._astray_run) < _JUMPS_BELIEVED:
            return Verdict.ASTRAY
        self._forget()
        self._timestamps = Unwrapper(32)
        self.arrivals.restart()
        return self.put(sequence, timestamp, frames, spares, now=now)

    def _keep(self, store: dict[int, Any], first: int, items: Sequence[Any]) -> bool:
        hop, kept = self.settings.frame_samples, False
        for number, item in enumerate(items):
            place = first + number * hop
            if self._next is None or place >= self._next:
                store.setdefault(place, item)
                kept = True
        while len(store) > self._most_frames:  # the oldest go: they are later than anybody would wait for
            del store[min(store)]
        return kept

    def take(self, now: float) -> Slot:
        """The next frame, to be heard from ``now`` on; there always is something to play."""
        if not self._playing and not self._starts(now):
            return Slot(SlotKind.SILENCE)
        assert self._next is not None
        self._catch_up(self._next, now)
        place = self._next
        if place in self._frames:
            item = self._frames[place]
            self._stalled = 0
            if item is not _QUIET:
                return self._play(place, item, SlotKind.FRAME, now)
            del self._frames[place]
            self._playing = False
            return Slot(SlotKind.SILENCE)
        if place in self._spares and not self._stalled:
            return self._play(place, self._spares[place], SlotKind.SPARE, now)
        return self._missing(place, now)

    def _starts(self, now: float) -> bool:
        """Out of silence nothing need be stretched: the first frame simply waits for its time."""
        held = self._frames.keys() | self._spares.keys()
        while held and self._frames.get(first := min(held)) is _QUIET:
            del self._frames[first]
            self._next = first
            held.discard(first)
        if not held:
            return False
        delay = self.arrivals.delay(first, now)
        if delay < self.wanted_s + _TOO_EARLY_S / 2:
            return False
        self._next, self._playing, self._stalled = first, True, 0
        self.delay_s = delay
        return True

    def _catch_up(self, place: int, now: float) -> None:
        """Leave out what no stretching would make up for in time."""
        off = self.arrivals.delay(place, now) - self.wanted_s
        if self._frames and off > self.settings.most_s:
            behind = place + int(off / self.settings.frame_s) * self.settings.frame_samples
            self._advance(min(behind, max(self._frames)))

    def _play(self, place: int, item: Any, kind: SlotKind, now: float) -> Slot:
        self._heard_to = place + self.settings.frame_samples
        self._advance(place + self.settings.frame_samples)
        self.delay_s += (self.arrivals.delay(place, now) - self.delay_s) / _STEADY
        self._since_pace += 1
        pace, off = 0, self.delay_s - self.wanted_s
        rest = _STEADY // 6 if off > _FAR_OFF_S else _STEADY // 2
        if self._since_pace >= rest and not _TOO_EARLY_S <= off <= _TOO_LATE_S:
            pace = -1 if off > 0 else 1
            self._since_pace = 0
        return Slot(kind, place, item, pace)

    def stretched(self, seconds: float) -> None:
        """How much longer (negative: shorter) the caller played a frame, where ``pace`` asked for it."""
        self.delay_s += seconds

    def _missing(self, place: int, now: float) -> Slot:
        hop = self.settings.frame_samples
        if self._frames:
            # What was concealed while nothing had come stood for the frames that are now known to be lost.
            skipped = min(self._stalled, (min(self._frames) - place) // hop)
            self._stalled = 0
            if skipped:
                self._advance(place + skipped * hop)
                return self.take(now)
            self._advance(place + hop)
            first = min(self._frames)
            following = self._frames[first]
            rest = (first - place) // hop
            return Slot(SlotKind.LOST, place, following=None if following is _QUIET else following, rest=rest)
        if now - self._last_put > _SOURCE_GONE_S:
            self._playing = False
            return Slot(SlotKind.SILENCE)
        latest_s = self.settings.most_s if self.settings.delay_s is None else self.settings.delay_s
        if self.arrivals.delay(place, now) + self.settings.frame_s <= latest_s:
            self._stalled += 1
            self.stalls += 1
        else:
            self._advance(place + hop)
        return Slot(SlotKind.LOST, place)

    def _advance(self, place: int) -> None:
        """What lies before ``place`` is over, whether it was heard or not."""
        self._next = place
        for store in (self._frames, self._spares):
            for old in [held for held in store if held < place]:
                del store[old]
