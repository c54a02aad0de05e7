"""Which recordings are the same sound, whatever coder, level or cutting lies between them.

After Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): every 12.5 ms a word of 32 bits,
each the sign of how the energy difference of two neighbouring bands (300 to 2000 Hz, 33 of them) changes in time.
Two recordings match where few bits differ between aligned words. Unlike a checksum this finds an excerpt, a second
encoding and a resampled copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16000
HOP_SAMPLES = 200
WINDOW_SAMPLES = 4096
BANDS = 33
# Unrelated words differ in half of their bits; 0.35 is the paper's limit for 256 words, and shorter overlaps need a
# stricter one. Re-encodings at 50 kbps and more stay below 0.15 (tests/test_fingerprint.py).
BIT_ERRORS = 0.2
SHORTEST_WORDS = 40
CANDIDATES = 6


def fingerprint(samples: NDArray[np.int16]) -> NDArray[np.uint32]:
    """Words of [n] int16 at 16 kHz: [about n / 200] uint32; 0 stands for (near) silence, which matches nothing."""
    padded = np.pad(samples.astype(np.float32) / np.float32(32768.0), WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    edges = np.geomspace(300.0, 2000.0, BANDS + 1) * WINDOW_SAMPLES / RATE
    starts = edges.round().astype(int)
    window = np.hanning(WINDOW_SAMPLES).astype(np.float32)
    energies = np.empty((len(frames), BANDS), np.float32)
    for first in range(0, len(frames), 512):  # bounded memory
        spectrum = np.fft.rfft(frames[first : first + 512] * window)[:, : starts[-1]]
        energies[first : first + 512] = np.add.reduceat(np.abs(spectrum) ** 2, starts[:-1], axis=1)
    change = np.diff(np.diff(energies, axis=1), axis=0)
    words = np.packbits(change > 0, axis=1).view(">u4")[:, 0].astype(np.uint32)
    loud = energies.sum(axis=1)
    words[loud[1:] < loud.max(initial=0.0) * 1e-4] = 0
    return words


@dataclass(frozen=True)
class Match:
    """``name`` of the known recording; ``words``: length of the overlap; ``errors``: share of bits that differ."""

    name: str
    words: int
    errors: float

    @property
    def seconds(self) -> float:
        """Length of the overlap."""
        return self.words * HOP_SAMPLES / RATE


class FingerprintIndex:
    """Known fingerprints, searched by words that are equal to the bit."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._prints: list[NDArray[np.uint32]] = []
        self._places: dict[int, list[tuple[int, int]]] = {}

    def add(self, name: str, words: NDArray[np.uint32]) -> None:
        """Make a recording known."""
        number = len(self._names)
        self._names.append(name)
        self._prints.append(words)
        for place in np.flatnonzero(words):
            self._places.setdefault(int(words[place]), []).append((number, int(place)))

    def find(self, words: NDArray[np.uint32]) -> Match | None:
        """The known recording with the longest overlap of at most 20 % bit errors, or None."""
        votes: dict[tuple[int, int], int] = {}
        for place in np.flatnonzero(words):
            for number, known_place in self._places.get(int(words[place]), [])[:64]:
                key = (number, known_place - int(place))
                votes[key] = votes.get(key, 0) + 1
        best: Match | None = None
        for number, shift in sorted(votes, key=lambda key: -votes[key])[:CANDIDATES]:
            match = self._compare(words, number, shift)
            if match and (best is None or match.words > best.words):
                best = match
        return best

    def _compare(self, words: NDArray[np.uint32], number: int, shift: int) -> Match | None:
        known = self._prints[number]
        first, last = max(0, -shift), min(len(words), len(known) - shift)
        if last - first < SHORTEST_WORDS:
            return None
        one, other = words[first:last], known[first + shift : last + shift]
        heard = (one != 0) & (other != 0)
        count = int(heard.sum())
        if count < SHORTEST_WORDS:
            return None
        differing = np.unpackbits((one[heard] ^ other[heard]).view(np.uint8)).sum()
        errors = float(differing) / (32.0 * count)
        return Match(self._names[number], count, errors) if errors <= BIT_ERRORS else None
