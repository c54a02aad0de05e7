"""So many live streams in one process, as a service would hold them: coroutines, and one `StreamGroup` that computes.

Each stream is looped speech, a frame every 20 ms by the clock, through an encoder, a link that loses packets with a
seed, and a decoder. It ends at a random moment without a farewell, and another begins in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import common
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.streaming.groups import StreamGroup

GIVEN_UP_S = 5.0  # behind the clock: nobody would listen any more
_STEP_MS, _STEPS = 0.1, 50_000  # of a histogram: what is kept of latencies must not grow
_SPEECH_S = 60.0
_LOOK_S = 1.0  # between two looks at the memory


@dataclass(frozen=True)
class Load:
    """What a process holds, and for how long. ``proofs``: streams that are looked at again afterwards."""

    model: str
    runtime: str
    audio: Path
    streams: int
    first: int
    """Number of its first stream among those of all processes."""
    seconds: float
    life_s: float
    """Mean of a stream's life."""
    loss: float
    burst: float
    every_ms: float
    proofs: int
    proof_s: float
    seed: int


class Histogram:
    """Counts of latencies, in memory that does not grow."""

    def __init__(self) -> None:
        self.counts = np.zeros(_STEPS, np.int64)
        self.most_ms = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        ms = 1000 * seconds
        self.counts[min(max(int(ms / _STEP_MS), 0), _STEPS - 1)] += 1
        self.most_ms = max(self.most_ms, ms)


def percentile_ms(counts: npt.NDArray[np.int64], share: float) -> float:
    """The latency that ``share`` of those counted do not exceed."""
    below = np.cumsum(counts)
    return float(_STEP_MS * (1 + np.searchsorted(below, share * below[-1])))


def over_ms(counts: npt.NDArray[np.int64], ms: float) -> float:
    """The share of latencies above ``ms``."""
    return float(counts[round(ms / _STEP_MS) :].sum() / max(counts.sum(), 1))


class Link:
    """Loses packets, ``burst`` of them in a row in the mean; in a microsecond, since it is not what is measured."""

    def __init__(self, loss: float, burst: float, seed: int) -> None:
        self._luck = random.Random(seed)
        self._begins = loss / max(1e-9, (1 - loss) * burst)
        self._goes_on = 1 - 1 / burst
        self._losing = False

    def arrives(self) -> bool:
        """Whether the next one does."""
        self._losing = self._luck.random() < (self._goes_on if self._losing else self._begins)
        return not self._losing


@dataclass
class Told:
    """What a process measured; sent to another by pickle."""

    encode: Histogram = field(default_factory=Histogram)
    decode: Histogram = field(default_factory=Histogram)
    streams: int = 0
    packets: int = 0
    lost_packets: int = 0
    concealed_frames: int = 0
    checked: int = 0
    """Streams whose samples and lost frames were counted at their end."""
    faults: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    sizes_mb: list[float] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    alike: float | None = None
    """The share of packets that are what the encoder alone gives."""
    apart: float | None = None
    """By how much samples differ at most from those of the decoder alone."""


@dataclass
class Proof:
    """The first seconds of a stream: which speech it was, what was sent, what arrived, what it gave."""

    start: int
    sent: list[bytes] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    kept: list[tuple[int, int, int]] = field(default_factory=list)
    """Packets that were decoded at once, and where their samples lie, and how many."""


class Stream:
    """One live stream, from its first frame to the moment it is cut off."""

    def __init__(self, service: Service, start: int, link: Link, proof: Proof | None) -> None:
        from audiocodec import AsyncStreamDecoder, AsyncStreamEncoder, StreamDecoder, StreamEncoder

        codec = service.codec
        self._service, self._start, self._link, self._proof = service, start, link, proof
        self._encoder = AsyncStreamEncoder(StreamEncoder(codec, codec.choose_rate()), service.group)
        self._decoder = AsyncStreamDecoder(StreamDecoder(codec, live=True), service.group)
        self._arrivals: asyncio.Queue[tuple[float, int, bytes]] = asyncio.Queue()
        self._samples = self._received = self._expected = 0
        self._computing = False

    async def live(self, seconds: float) -> None:
        """Speak and listen for so long, and be cut off wherever both are then."""
        await self._decoder.push(self._encoder.encoder.header.pack())
        ends = [asyncio.ensure_future(end) for end in (self._speak(), self._listen())]
        done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        for end in done:
            end.result()
        self._check()

    async def _speak(self) -> None:
        told, rate = self._service.told, self._service.codec.frame_rate
        begin, done = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, begin + (done + 1) / rate - time.monotonic()))
            # All that is there by now, as what is read from a connection would be: one frame, unless it is late
            due = max(done + 1, int((time.monotonic() - begin) * rate))
            numbers = range(done, due)
            packets = await self._encoder.push(self._service.frames(self._start + done, due - done))
            now = time.monotonic()
            for number, packet in zip(numbers, packets, strict=True):
                told.encode.add(now - begin - (number + 1) / rate)
                self._send(number, packet, now)
            if now - begin - (done + 1) / rate > GIVEN_UP_S:
                raise RuntimeError(f"a stream was {GIVEN_UP_S:g} s late: these are too many for the machine")
            done = due

    def _send(self, number: int, packet: bytes, now: float) -> None:
        told, proof = self._service.told, self._proof
        told.packets += 1
        arrives = self._link.arrives()
        told.lost_packets += not arrives
        if proof is not None and number < self._service.proof_frames:
            proof.sent.append(packet)
            proof.arrived += [packet] if arrives else []
        if arrives:
            self._arrivals.put_nowait((now, number, packet))

    async def _listen(self) -> None:
        told = self._service.told
        while True:
            came = [await self._arrivals.get()]
            while not self._arrivals.empty():
                came.append(self._arrivals.get_nowait())
            self._computing = True
            samples = await self._decoder.push(b"".join(packet for _, _, packet in came))
            self._computing = False
            now = time.monotonic()
            for arrival, _, _ in came:
                told.decode.add(now - arrival)
            self._received, self._expected = self._received + len(came), came[-1][1] + 1
            self._samples += samples.shape[1]
            if self._proof is not None and self._expected <= self._service.proof_frames:
                self._proof.kept.append((len(came), *self._service.keep(samples)))

    def _check(self) -> None:
        """Whether samples went on as time did, and every frame that was lost was concealed and counted."""
        if self._computing:
            return  # cut off amid a push, which may have gone on
        told, decoder, codec = self._service.told, self._decoder.decoder, self._service.codec
        told.checked += 1
        told.concealed_frames += decoder.lost_frames
        if decoder.lost_frames != self._expected - self._received:
            told.faults.append(f"{decoder.lost_frames} frames lost, not {self._expected - self._received}")
        wanted = max(0, self._expected * codec.hop_samples - codec.delay_samples)
        if self._samples != wanted:
            told.faults.append(f"{self._samples} samples, not {wanted}")


class Service:
    """The streams of a process."""

    def __init__(self, codec: Codec, load: Load, group: StreamGroup, kept: BinaryIO) -> None:
        self.codec, self.load, self.group, self.told = codec, load, group, Told()
        speech = common.looped_speech(load.audio, codec.sample_rate, _SPEECH_S)
        whole = len(speech) // codec.hop_samples * codec.hop_samples
        self._frames = speech[:whole].reshape(-1, 1, codec.hop_samples)
        self.proof_frames = round(load.proof_s * codec.frame_rate)
        self._kept = kept

    def frames(self, first: int, count: int = 1) -> npt.NDArray[np.float32]:
        """``[1, count * hop]`` of the speech."""
        if count == 1:
            return self._frames[first % len(self._frames)]
        return np.concatenate([self._frames[number % len(self._frames)] for number in range(first, first + count)], 1)

    def keep(self, samples: npt.NDArray[np.float32]) -> tuple[int, int]:
        """Put samples aside, not in memory; where, and how many."""
        place = self._kept.tell()
        self._kept.write(samples.tobytes())
        return place, samples.shape[1]

    async def slot(self, number: int, until: float) -> None:
        """One stream after the other."""
        rng = np.random.default_rng([self.load.seed, number])
        await asyncio.sleep(rng.random())  # else all would begin at once
        for life in itertools.count():
            left = until - time.monotonic()
            if left <= 0:
                return
            self.told.streams += 1
            seed = int(rng.integers(1 << 31))
            start = int(rng.integers(len(self._frames)))
            seconds = min(left, 0.2 + float(rng.exponential(self.load.life_s)))
            link = Link(self.load.loss, self.load.burst, seed)
            try:
                await Stream(self, start, link, self._proof_of(life, start)).live(seconds)
            except Exception as error:
                self.told.faults.append(f"{type(error).__name__}: {error}")
                return

    def _proof_of(self, life: int, start: int) -> Proof | None:
        """Of every slot's second stream: the first ones all begin together, and in a process that is still cold."""
        if life != 1 or len(self.told.proofs) >= self.load.proofs:
            return None
        self.told.proofs.append(Proof(start))
        return self.told.proofs[-1]

    async def run(self) -> None:
        """All slots, until their time is over."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.told.faults.append(f"leaked: {context['message']}"))
        begin, used = time.monotonic(), time.process_time()
        until = begin + self.load.seconds
        watching = asyncio.ensure_future(self._watch())
        await asyncio.gather(*(self.slot(self.load.first + slot, until) for slot in range(self.load.streams)))
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        self.told.wall_s, self.told.cpu_s = time.monotonic() - begin, time.process_time() - used

    async def _watch(self) -> None:
        while True:
            self.told.sizes_mb += [size for size in (common.resident_mb("self"),) if size]
            await asyncio.sleep(_LOOK_S)
