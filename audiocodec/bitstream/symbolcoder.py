"""What codes the symbols of ``range`` payloads, in C (:mod:`nativecoder`) or in Python (:mod:`referencecoder`)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from audiocodec.bitstream.history import Ints
from audiocodec.bitstream.rangecoder import RangeDecoder, encode_intervals

DEEP_SHIFT = 10  # units of the deep layer are its sums without so many bits
OUTPUT_SHIFT = 25  # fraction bits of the network's outputs, whose unit is one table cell


class SymbolCoder(ABC):
    """Codes indices [frames, channels, groups] of one rate setting; holds no state between calls."""

    levels: tuple[int, ...]

    def encode(self, indices: Ints) -> bytes:
        """Code a whole packet. The coder starts afresh in each: the first frame has no history."""
        return encode_intervals(self.intervals(indices))

    @abstractmethod
    def intervals(self, indices: Ints) -> Ints:
        """Where each symbol lies in its frequency table, in coding order.

        Pairs ``[symbols, 2]`` of cumulative frequency and frequency.
        """

    def decode(self, data: bytes, frames: int, channels: int) -> Ints:
        """Undo :meth:`encode`: indices [frames, channels, groups]. Raises BitstreamError when the bytes are no code."""
        decoder = RangeDecoder(data)
        indices = self.read(decoder, frames, channels)
        decoder.finish()
        return indices

    @abstractmethod
    def read(self, decoder: RangeDecoder, frames: int, channels: int) -> Ints:
        """The next frames of a code: indices [frames, channels, groups], the first frame without history."""
