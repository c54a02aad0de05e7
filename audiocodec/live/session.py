"""One call from one side: who the other is, what both may send, when it is over.

Free of sockets and clocks: datagrams and samples go in with the time, datagrams and samples come out. A side that is
called holds nothing for a caller before that caller has shown, by naming this side's SSRC, that it gets what is sent to
it: a flood of HELLOs costs an answer each, of at most three times their length, and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import AudiocodecError, BitstreamError, ModelError
from audiocodec.live import control
from audiocodec.live.control import Bye, Hello, Ping, Refusal, Refuse
from audiocodec.live.receiver import Receiver
from audiocodec.live.report import CallReport, Counts
from audiocodec.live.rtp import MAX_DATAGRAM, RtpPacket, is_rtp
from audiocodec.live.sender import Sender
from audiocodec.live.settings import CallSettings

if TYPE_CHECKING:
    from audiocodec.codec import Codec

Samples = NDArray[np.float32]
Address = Any
Datagrams = list[tuple[bytes, Address]]

_HELLO_EVERY_S = 0.25
# The last HELLO is what the voice needs to be listened to: one that is lost shall cost a frame of the first word.
_LAST_HELLO_EVERY_S, _LAST_HELLO_FOR_S = 0.02, 0.5
_PING_EVERY_S = 1.0
_SILENT_PEER_S = 10.0
_GONE_S = 2.0  # twice what lies between two signs of life: then its host may call again
_BYES = 3  # of one end: each may be lost


def _other_model(theirs: str, ours: str) -> ModelError:
    return ModelError(f"the other side speaks by model {theirs}, this one by {ours}; pass --model, the same on both")


def _host(address: Address) -> Any:
    return address[0] if isinstance(address, tuple) else address


class Stage(Enum):
    """Where a call stands."""

    WAITING = "waiting"  # for somebody, or for an answer
    TALKING = "talking"
    OVER = "over"


class Session:
    """``call`` an address, or wait to be called."""

    def __init__(
        self,
        codec: Codec,
        settings: CallSettings,
        call: Address | None = None,
        ssrc: int | None = None,
        others: Sequence[Address] = (),
    ) -> None:
        """``others``: where the one who is called may be as well; whichever address answers first is spoken with."""
        self._codec, self._settings = codec, settings
        self.ssrc = ssrc or 1 + secrets.randbelow(0xFFFFFFFF)
        self._sender = Sender(
            codec,
            settings.rate,
            frames=settings.frames,
            redundancy=settings.redundancy,
            ssrc=self.ssrc,
            sequence=secrets.randbits(15),  # the upper bit clear, so that it does not wrap at once (RFC 3711, 3.3.1)
            timestamp=secrets.randbits(32),
        )
        self.stage = Stage.WAITING
        self.problem: AudiocodecError | None = None
        """Why there was no call."""
        self.notices: list[str] = []
        self.report = CallReport(
            model=codec.facts.name,
            levels_sent=settings.rate.base_levels,
            redundancy_sent=settings.redundancy,
            codec_delay_ms=1000 * codec.latency_samples / codec.sample_rate,
        )
        self._calling = call is not None
        self._called = [] if call is None else [call, *others]
        self._peer: Address | None = call
        self._their_ssrc = 0
        self._answered = False  # the other side is known to be in the call as well
        self._receiver: Receiver | None = None
        self._counted = Counts()  # by receivers before this one
        self._next_hello = self._next_ping = float("-inf")
        self._started = self._last_heard = 0.0
        self._bytes_received = 0

    def receive(self, data: bytes, source: Address, now: float) -> Datagrams:
        """A datagram that came; the answers to it. Whatever it holds, nothing is raised."""
        try:
            if len(data) > MAX_DATAGRAM:
                raise BitstreamError("a datagram longer than any that is sent", MAX_DATAGRAM)
            if is_rtp(data):
                self._voice(RtpPacket.parse(data), len(data), source, now)
                return []
            return self._message(control.parse(data), len(data), source, now)
        except BitstreamError:
            self.report.hostile_datagrams += 1
            return []

    def tick(self, now: float) -> Datagrams:
        """What is due to be said besides the voice; call it some times a second."""
        out: Datagrams = []
        if self.stage is Stage.WAITING and self._calling and now >= self._next_hello:
            self._next_hello = now + _HELLO_EVERY_S
            out += [(self._hello().pack(), address) for address in self._called]
        if self.stage is Stage.TALKING:
            if now >= self._next_ping:
                self._next_ping = now + _PING_EVERY_S
                out.append((Ping(self.ssrc, round(now * 1000) & 0xFFFFFFFF).pack(), self._peer))
            if not self._answered and now >= self._next_hello:
                at_first = now - self._started < _LAST_HELLO_FOR_S
                self._next_hello = now + (_LAST_HELLO_EVERY_S if at_first else _HELLO_EVERY_S)
                out.append((self._hello().pack(), self._peer))  # the one before may have been lost
            if now - self._last_heard > _SILENT_PEER_S:
                self.snapshot(now)
                self._end("the other side fell silent")
        return out

    def speak(self, samples: Samples) -> Datagrams:
        """``[n]`` samples of the microphone; datagrams for them while there is somebody to hear."""
        if self.stage is not Stage.TALKING:
            return []
        return [(datagram, self._peer) for datagram in self._sender.push(samples)]

    def hear(self, samples: int, now: float) -> Samples:
        """``[samples]`` for the speaker, from ``now`` on."""
        if self._receiver is None:
            return np.zeros(samples, np.float32)
        return self._receiver.pull(samples, now)

    def hang_up(self) -> Datagrams:
        """End the call from this side."""
        if self.stage is not Stage.TALKING:
            self.stage = Stage.OVER
            return []
        self._end(self.report.problem or "hung up")
        return [(Bye(self.ssrc, self._their_ssrc).pack(), self._peer)] * _BYES

    def snapshot(self, now: float) -> CallReport:
        """The report, up to date."""
        if self.stage is Stage.TALKING:
            self.report.seconds = now - self._started
        self.report.take_in(self._sender, self._receiver, self._counted, self._bytes_received)
        return self.report

    def _end(self, why: str) -> None:
        self.stage, self.report.ended = Stage.OVER, why

    def _hello(self, heard: int | None = None) -> Hello:
        return Hello(
            self.ssrc,
            self._their_ssrc if heard is None else heard,
            self._settings.frames,
            self._settings.redundancy,
            self._sender.spare_levels,
            self._sender.header,
        )

    def _voice(self, packet: RtpPacket, size: int, source: Address, now: float) -> None:
        if self._receiver is None or source != self._peer or packet.ssrc != self._their_ssrc:
            raise BitstreamError("a packet of nobody that is spoken with")
        self._receiver.receive(packet, now)
        self._last_heard, self._answered = now, True
        self._bytes_received += size

    def _message(self, message: control.Message, size: int, source: Address, now: float) -> Datagrams:
        if self.stage is Stage.TALKING and source != self._peer and source in self._called:
            return []  # another address of the same host, which was called as well, answered second or is busy by now
        if isinstance(message, Hello):
            return self._hello_from(message, size, source, now)
        if isinstance(message, Refuse):
            return self._refused(message, source)
        if source != self._peer or message.ssrc != self._their_ssrc or not self._their_ssrc:
            raise BitstreamError("a message of nobody that is spoken with")
        self._last_heard, self._answered = now, True
        if isinstance(message, Bye):
            if message.other != self.ssrc:
                raise BitstreamError("a BYE to somebody else")
            self.snapshot(now)
            self._end("the other side hung up")
        elif message.back:
            self._round_trip(message.token, now)
        else:
            return [(Ping(self.ssrc, message.token, back=True).pack(), source)]
        return []

    def _round_trip(self, token: int, now: float) -> None:
        taken = (round(now * 1000) - token) & 0xFFFFFFFF
        if taken < 1000 * _SILENT_PEER_S:
            self.report.round_trip_ms = float(taken)

    def _hello_from(self, hello: Hello, size: int, source: Address, now: float) -> Datagrams:
        if hello.ssrc in (0, self.ssrc) or self.stage is Stage.OVER:
            raise BitstreamError("a HELLO of our own, or of nobody")
        if self._calling and source not in self._called:
            raise BitstreamError("a HELLO of somebody who was not called")
        if self._calling and hello.heard != self.ssrc:  # anybody could send one in that address's name
            raise BitstreamError("a HELLO that answers nothing")
        if self.stage is Stage.TALKING:
            if source == self._peer and hello.ssrc == self._their_ssrc:
                return [] if hello.heard == self.ssrc else [(self._hello().pack(), source)]
            if not self._comes_back(source, now):
                return [(Refuse(hello.ssrc, Refusal.BUSY, self._codec.fingerprint).pack(), source)]
        if hello.header.fingerprint != self._codec.fingerprint:
            theirs, ours = hello.header.fingerprint.hex(), self._codec.fingerprint.hex()
            if self._calling:
                self._fail(_other_model(theirs, ours))
            elif len(self.notices) < 10:  # told, but not without end
                self.notices.append(f"refused a caller with model {theirs}; this side has {ours}")
            return [(Refuse(hello.ssrc, Refusal.OTHER_MODEL, self._codec.fingerprint).pack(), source)]
        answer = self._hello(hello.ssrc).pack()
        if hello.heard == self.ssrc:
            self._begin(hello, source, now)
            return [(answer, source)] if self._calling else []
        return [(answer, source)] if len(answer) <= 3 * size else []

    def _comes_back(self, source: Address, now: float) -> bool:
        """Whether this may be the other side once more, its program having been killed and started again."""
        silent = now - self._last_heard > _GONE_S
        return silent and not self._calling and _host(source) == _host(self._peer)

    def _begin(self, hello: Hello, source: Address, now: float) -> None:
        codec = self._codec
        settings = self._settings.listening(codec)
        try:
            receiver = Receiver(codec, hello.header, hello.spare_levels, settings)
        except ModelError:
            raise BitstreamError("a HELLO with levels that the model does not have") from None
        if self._receiver is not None:
            self._counted += Counts.of(self._receiver)
        self._receiver = receiver
        if self.stage is Stage.TALKING:
            self._sender.restart()  # the decoder there is a new one
        else:
            self._started = now
        self._peer, self._their_ssrc = source, hello.ssrc
        self.stage = Stage.TALKING
        self._last_heard = now
        self._answered = not self._calling
        self._next_hello = now + _LAST_HELLO_EVERY_S
        self.report.peer = str(_host(source))
        self.report.levels_received = codec.rate_of(hello.header).base_levels  # type: ignore[union-attr]
        self.report.redundancy_received = hello.redundancy

    def _refused(self, message: Refuse, source: Address) -> Datagrams:
        # Of two callers at once both begin with the answer to their HELLO; one of them is then refused.
        undecided = self.stage is Stage.WAITING or (self.stage is Stage.TALKING and not self._answered)
        if not undecided or source not in self._called or message.ssrc != self.ssrc:
            raise BitstreamError("a refusal of what was not asked")
        ours, theirs = self._codec.fingerprint.hex(), message.fingerprint.hex()
        self._fail(
            _other_model(theirs, ours)
            if message.why is Refusal.OTHER_MODEL
            else AudiocodecError(f"the other side refused the call ({message.why.name.lower().replace('_', ' ')})")
        )
        return []

    def _fail(self, problem: AudiocodecError) -> None:
        self.problem = problem
        self._end(str(problem))
