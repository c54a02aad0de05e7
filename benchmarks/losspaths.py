"""The ways that speech takes through a network that loses packets: a call of ours, and Opus, packet by packet.

All take 20 ms of speech a packet and lose the same ones. Rates are of payloads: RTP, UDP and IP headers come to both
alike, 16 kbps of them at 50 packets a second. What a listener waits for beyond the codec's own delay is stated: of ours
a frame for each copy, of Opus the one that its copies need. Without copies ours waits for one as well: a lost frame is
estimated from what follows it too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocodec.evaluate.metrics import SPEECH_RATE, resample
from audiocodec.evaluate.ours import Vpc
from audiocodec.evaluate.peers.libopus import FRAME_S, OpusSettings, decode_packets, encode_packets
from audiocodec.evaluate.recordings import read_mono
from audiocodec.live.jitter import JitterSettings
from audiocodec.live.receiver import Receiver
from audiocodec.live.rtp import RtpPacket
from audiocodec.live.sender import Sender

if TYPE_CHECKING:
    from audiocodec.codec import Codec

Samples = NDArray[np.float32]
Lost = NDArray[np.bool_]  # [packets], by their place in time
Sent = list[tuple[int, RtpPacket]]  # with the frame that each begins at


@dataclass(frozen=True)
class Recording:
    """Speech, ``samples [n]``, and the file that it is from."""

    path: Path
    samples: NDArray[np.float64]
    rate: int

    @property
    def packets(self) -> int:
        """That carry it, and what the codecs are late by."""
        return -(-len(self.samples) // round(FRAME_S * self.rate)) + 2

    def at(self, rate: int) -> Samples:
        """``[n]`` at ``rate`` Hz."""
        return np.asarray(resample(self.samples, self.rate, rate), np.float32)


@dataclass(frozen=True)
class Heard:
    """What came out: ``samples [n]`` in step with the original, at ``sample_rate``; and the ``payload_bytes`` sent."""

    samples: NDArray[np.floating]
    sample_rate: int
    payload_bytes: int


Play = Callable[[Lost, float], Heard]  # which packets are lost, and their share in the long run


class Way(Protocol):
    """One codec at one setting."""

    @property
    def name(self) -> str:
        """In tables, and in stored results."""
        ...

    @property
    def wait_ms(self) -> float:
        """By how much it plays later than it would without regard to loss."""
        ...

    @property
    def adapts(self) -> bool:
        """Whether it codes otherwise where it is told of loss."""
        ...

    @property
    def modules(self) -> tuple[str, ...]:
        """What it runs; what these import need not be named."""
        ...

    def start(self, codec: Codec, recording: Recording) -> Play:
        """Code a recording once; what comes of it can then be heard at many losses."""
        ...


@dataclass(frozen=True)
class Ours:
    """A call by this project's codec: its sender, RTP packets, and its receiver with a fixed delay."""

    levels: int
    copies: int

    adapts: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]] = ("audiocodec.codec", "audiocodec.live.sender", "audiocodec.live.receiver")

    @property
    def name(self) -> str:
        """The setting and the copies."""
        return f"ours, {self.levels} levels, {self.copies} {'copy' if self.copies == 1 else 'copies'}"

    @property
    def wait_ms(self) -> float:
        """A frame for each copy, and one at least."""
        return 1000 * FRAME_S * frames_waited(self.copies)

    def start(self, codec: Codec, recording: Recording) -> Play:
        """See :class:`Way`."""
        sender, sent = self.sent(codec, recording)
        size, samples = payload_bytes(sent), len(recording.at(codec.sample_rate))
        return lambda lost, _loss: Heard(receive(codec, sender, sent, lost)[:samples], codec.sample_rate, size)

    def sent(self, codec: Codec, recording: Recording) -> tuple[Sender, Sent]:
        """The packets, and who sent them."""
        sender = Sender(codec, codec.choose_rate(levels=self.levels), redundancy=self.copies)
        return sender, packets_of(sender, codec, recording.at(codec.sample_rate), recording.packets)


@dataclass(frozen=True)
class Opus:
    """libopus, told what loss to expect, with its own copies (in-band FEC) where it puts any in."""

    kbps: float

    wait_ms: ClassVar[float] = 1000 * FRAME_S
    adapts: ClassVar[bool] = True
    modules: ClassVar[tuple[str, ...]] = ("audiocodec.evaluate.peers.libopus",)

    @property
    def name(self) -> str:
        """What was asked of it."""
        return f"opus, {self.kbps:g} kbps"

    def start(self, codec: Codec, recording: Recording) -> Play:  # noqa: ARG002
        """See :class:`Way`."""
        speech = recording.at(SPEECH_RATE)

        @lru_cache
        def coded(percent: int) -> tuple[list[bytes], int]:
            settings = OpusSettings(round(1000 * self.kbps), percent)
            return encode_packets(np.pad(speech, (0, settings.frame_samples)), settings)

        def play(lost: Lost, loss: float) -> Heard:
            packets, delay = coded(round(100 * loss))
            came = [None if gone else packet for packet, gone in zip(packets, lost, strict=False)]
            heard = decode_packets(came)[delay : delay + len(speech)]
            return Heard(heard, SPEECH_RATE, sum(map(len, packets)))

        return play


@dataclass(frozen=True)
class File:
    """This project's codec by the files that it writes: what a call without loss has to equal."""

    levels: int

    wait_ms: ClassVar[float] = 0.0
    adapts: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]] = ("audiocodec.codec", "audiocodec.evaluate.ours")

    @property
    def name(self) -> str:
        """The setting."""
        return f"a file, {self.levels} levels"

    def start(self, codec: Codec, recording: Recording) -> Play:
        """See :class:`Way`; nothing is ever lost."""
        with tempfile.TemporaryDirectory() as folder:
            coded = Vpc(codec, codec.choose_rate(levels=self.levels)).run(recording.path, Path(folder))
        return lambda _lost, _loss: Heard(coded.samples, coded.sample_rate, coded.payload_bytes)


def read(path: Path) -> Recording:
    """A recording, mixed down. Raises AudioError."""
    return Recording(path, *read_mono(path))


def packets_of(sender: Sender, codec: Codec, speech: Samples, frames: int) -> Sent:
    """What is sent of ``speech``, and of silence behind it up to ``frames`` in all."""
    hop = codec.hop_samples
    whole = np.pad(speech, (0, max(0, frames * hop - len(speech))))
    blocks = whole[: frames * hop].reshape(frames, hop)
    return [(frame, RtpPacket.parse(data)) for frame, block in enumerate(blocks) for data in sender.push(block)]


def payload_bytes(sent: Sent) -> int:
    """Without headers."""
    return sum(len(packet.payload) for _, packet in sent)


def frames_waited(copies: int) -> int:
    """By how much a receiver plays later: as copies need, or as what follows a loss takes to come."""
    return max(copies, 1)


def receive(codec: Codec, sender: Sender, sent: Sent, lost: Lost) -> Samples:
    """What is heard of packets, those lost left out."""
    hop, frame_s, waited = codec.hop_samples, codec.hop_samples / codec.sample_rate, frames_waited(sender.redundancy)
    settings = JitterSettings(codec.sample_rate, hop, waited * frame_s)
    receiver = Receiver(codec, sender.header, sender.spare_levels, settings)
    arriving: dict[int, list[RtpPacket]] = {}
    for frame, packet in sent:
        if not lost[frame]:
            arriving.setdefault(frame, []).append(packet)
    waves = []
    for frame in range(len(lost) + waited):
        now = (frame + 1) * frame_s  # a packet is sent when its frame has been spoken
        for packet in arriving.get(frame, ()):
            receiver.receive(packet, now)
        waves.append(receiver.pull(hop, now))
    return np.concatenate(waves)[waited * hop + sender.header.pre_skip :]
