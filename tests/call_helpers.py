"""Two sides of a call, and one jitter buffer, in simulated time."""

from __future__ import annotations

import numpy as np
from badnetwork import Badness, Link
from conftest import speech_like

from audiocodec.live.jitter import JitterBuffer, JitterSettings, SlotKind
from audiocodec.live.session import Session, Stage
from audiocodec.live.settings import CallSettings

A, B = ("192.0.2.1", 5004), ("192.0.2.2", 5004)
STEP_S = 0.01
GOOD = Badness(delay_s=0.03)


class Simulation:
    """A calls B; both speak; every step is ten milliseconds."""

    def __init__(self, codec, badness=GOOD, voice=None, rate=None, **options):
        rate = rate or codec.choose_rate(levels=9)
        self.sides = {
            A: Session(codec, CallSettings(rate, **options), call=B, ssrc=11),
            B: Session(codec, CallSettings(rate, **options), ssrc=22),
        }
        self.links = {A: Link(badness, 1), B: Link(badness, 2)}  # by who sends
        self.codec, self.now, self._step = codec, 0.0, round(STEP_S * codec.sample_rate)
        self.voice = speech_like(10.0) if voice is None else voice
        self.heard = {A: [], B: []}
        self._spoken = 0
        self.sent = []

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            start = self._spoken % (len(self.voice) - self._step)
            self._spoken += self._step
            for me, other in ((A, B), (B, A)):
                side = self.sides[me]
                for when, data in self.links[other].arrived(self.now):
                    self._post(me, side.receive(data, other, when))
                if side.stage is Stage.TALKING:
                    self._post(me, side.speak(self.voice[start : start + self._step]))
                self.heard[me].append(side.hear(self._step, self.now))
                self._post(me, side.tick(self.now))

    def _post(self, me, datagrams) -> None:
        for data, _ in datagrams:
            self.sent.append(data)
            self.links[me].send(data, self.now)

    def sound(self, me) -> np.ndarray:
        return np.concatenate(self.heard[me])


HOP, RATE = 320, 16000
FRAME_S = HOP / RATE
SETTINGS = JitterSettings(RATE, HOP)


class Listening:
    """A sender and a receiver in simulated time, whose clocks may differ; items are frame numbers."""

    def __init__(self, badness: Badness, seed: int = 0, setup: JitterSettings = SETTINGS, skew: float = 0.0, **options):
        self.buffer = JitterBuffer(setup)
        self.link = Link(badness, seed)
        self.skew = skew
        self.first_sequence = options.get("sequence", 0)
        self.first_timestamp = options.get("timestamp", 0)
        self.spares = options.get("spares", 0)
        self.per_packet = options.get("frames", 1)
        self.slots, self.latencies = [], []
        self._sent = 0
        self.now = 0.0

    def run(self, seconds: float, stretch: bool = True) -> None:
        until = self.now + seconds
        while self.now < until:
            packet_s = self.per_packet * FRAME_S * (1 + self.skew)
            while (self._sent + 1) * packet_s <= self.now:
                self._send((self._sent + 1) * packet_s)
            for when, (sequence, timestamp, frames, spares) in self.link.arrived(self.now):
                self.buffer.put(sequence, timestamp, frames, spares, now=when)
            slot = self.buffer.take(self.now)
            self.slots.append(slot)
            played = FRAME_S
            if slot.kind in (SlotKind.FRAME, SlotKind.SPARE):
                self.latencies.append(self.now - slot.item * FRAME_S * (1 + self.skew))
                if slot.pace and stretch:
                    played += slot.pace * 0.007
                    self.buffer.stretched(slot.pace * 0.007)
            self.now += played

    def _send(self, when: float) -> None:
        number = self._sent * self.per_packet
        frames = list(range(number, number + self.per_packet))
        spares = list(range(max(0, number - self.spares), number))
        sequence = (self.first_sequence + self._sent) & 0xFFFF
        timestamp = (self.first_timestamp + number * HOP) & 0xFFFFFFFF
        self.link.send((sequence, timestamp, frames, spares), when)
        self._sent += 1

    @property
    def numbers(self) -> list[int]:
        return [slot.item for slot in self.slots if slot.kind in (SlotKind.FRAME, SlotKind.SPARE)]

    def share(self, kind: SlotKind, of: int = 0) -> float:
        slots = self.slots[of:]
        return sum(slot.kind is kind for slot in slots) / len(slots)
