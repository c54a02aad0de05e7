"""What a call is telling about itself: counts for the screen, the summary and programs."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from operator import add
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocodec.live.receiver import Receiver
    from audiocodec.live.sender import Sender


@dataclass(frozen=True)
class Counts:
    """What one receiver has counted, or several after each other."""

    received: int = 0
    expected: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    astray: int = 0
    played: int = 0
    recovered: int = 0
    concealed: int = 0

    @classmethod
    def of(cls, receiver: Receiver) -> Counts:
        """Until now."""
        jitter, arrivals = receiver.jitter, receiver.jitter.arrivals
        return cls(
            *(arrivals.received, arrivals.expected, arrivals.lost),
            *(jitter.late, jitter.duplicates, jitter.astray),
            *(receiver.played_frames, receiver.recovered_frames, receiver.concealed_frames),
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, astuple(self), astuple(other)))


@dataclass
class CallReport:
    """A call so far, as seen from one side. Times in milliseconds; rates are those of RTP packets, their headers in."""

    model: str = ""
    peer: str = ""
    ended: str = ""
    problem: str = ""
    """What broke off on this side, and with it the call."""
    seconds: float = 0.0
    levels_sent: int = 0
    levels_received: int = 0
    redundancy_sent: int = 0
    redundancy_received: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    sent_kbps: float = 0.0
    sequence_sent: int = 0
    received_packets: int = 0
    received_bytes: int = 0
    received_kbps: float = 0.0
    sequence_received: int = 0
    lost_packets: int = 0
    loss: float = 0.0
    late_packets: int = 0
    duplicate_packets: int = 0
    astray_packets: int = 0
    hostile_datagrams: int = 0
    played_frames: int = 0
    recovered_frames: int = 0
    concealed_frames: int = 0
    jitter_ms: float = 0.0
    delay_ms: float = 0.0
    wanted_delay_ms: float = 0.0
    codec_delay_ms: float = 0.0
    round_trip_ms: float | None = None
    late_audio: int = 0
    """Times that the speaker, or a device's microphone, was not served in time."""
    first_sample_in_s: float | None = None
    """Of the monotonic clock: when the first sample that was sent was spoken."""
    first_sample_out_s: float | None = None
    """Likewise when the first sample was played."""

    def take_in(self, sender: Sender, receiver: Receiver | None, before: Counts, bytes_received: int) -> None:
        """What both directions count; ``before`` by receivers of the same call whose sender was killed."""
        seconds = max(self.seconds, 1e-3)
        self.sent_packets, self.sent_bytes = sender.packets, sender.bytes
        self.sequence_sent = (sender.sequence - 1) & 0xFFFF
        self.sent_kbps = sender.bytes * 8 / 1000 / seconds
        self.received_bytes, self.received_kbps = bytes_received, bytes_received * 8 / 1000 / seconds
        if receiver is None:
            return
        self._count(before + Counts.of(receiver))
        jitter, arrivals = receiver.jitter, receiver.jitter.arrivals
        self.sequence_received = arrivals.highest
        self.jitter_ms, self.delay_ms = 1000 * arrivals.jitter_s, 1000 * jitter.delay_s
        self.wanted_delay_ms = 1000 * jitter.wanted_s

    def _count(self, all_of: Counts) -> None:
        self.received_packets, self.lost_packets = all_of.received, all_of.lost
        self.loss = all_of.lost / max(all_of.expected, 1)
        self.late_packets, self.duplicate_packets, self.astray_packets = all_of.late, all_of.duplicates, all_of.astray
        self.played_frames, self.recovered_frames = all_of.played, all_of.recovered
        self.concealed_frames = all_of.concealed

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def line(self) -> str:
        """The summary of a call that is over."""
        trip = "" if self.round_trip_ms is None else f", round trip {self.round_trip_ms:.0f} ms"
        return (
            f"{self.peer or 'nobody'}: {self.seconds:.1f} s, sent {self.sent_packets} packets at "
            f"{self.sent_kbps:.2f} kbps, received {self.received_packets} at {self.received_kbps:.2f}, "
            f"{100 * self.loss:.1f} % lost, {self.recovered_frames} frames recovered, "
            f"{self.concealed_frames} concealed, {self.late_packets} late, jitter {self.jitter_ms:.0f} ms, "
            f"buffer {self.delay_ms:.0f} ms{trip}; {self.ended or 'not ended'}"
        )
