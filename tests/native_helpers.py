"""The entropy coder in C beside the one in Python."""

from __future__ import annotations

import numpy as np
import pytest

from audiocodec.bitstream import EntropyModel, native
from audiocodec.bitstream.entropy import DeepLayer
from audiocodec.bitstream.nativecoder import NativeCoder
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals, encode_pairs
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError

built = pytest.mark.skipif(native.extension is None, reason=f"the entropy coder in C is {native.absence}")


def both(model: EntropyModel, setting: int = 0, lanes: int = 16) -> tuple[NativeCoder, ReferenceCoder]:
    """The two coders; the one in C with vectors of so many 32-bit numbers at most, 0 for none."""
    assert native.extension is not None
    native.extension.limit_lanes(lanes)
    try:
        return NativeCoder(model, setting, native.extension), ReferenceCoder(model, setting)
    finally:
        native.extension.limit_lanes(16)


def lanes_of(model: EntropyModel) -> int:
    """How many numbers of 32 bits C works on at once for these tables; 0 where they ask for more bits."""
    return int(both(model)[0]._coder.lanes())


def most_lanes() -> int:
    """The same for tables that ask for no more than 32; 0 where the processor or compiler has no such vectors."""
    assert native.extension is not None
    return int(native.extension.limit_lanes(16))


def outcome(coder: SymbolCoder, data: bytes, frames: int, channels: int) -> tuple[object, ...]:
    """What a decoder makes of bytes: indices and its state after them, or its error."""
    decoder = RangeDecoder(data)
    try:
        indices = coder.read(decoder, frames, channels)
        assert ((indices >= 0) & (indices < np.array(coder.levels))).all()
        state = decoder.state
        decoder.finish()
    except BitstreamError as error:
        return (str(error),)
    return indices.shape, indices.tolist(), state


def check_alike(coders: tuple[NativeCoder, ReferenceCoder], indices: np.ndarray) -> bytes:
    """Both ways of coding ``indices`` give the same code, which both decode."""
    ours, reference = coders
    frames, channels, _ = indices.shape
    pairs = reference.intervals(indices)
    assert np.array_equal(ours.intervals(indices), pairs)
    data = encode_pairs(pairs.tolist())
    assert encode_intervals(pairs) == ours.encode(indices) == data
    assert np.array_equal(ours.decode(data, frames, channels), indices)
    assert outcome(ours, data, frames, channels) == outcome(reference, data, frames, channels)
    return data


def mutations(data: bytes, rng: np.random.Generator, number: int) -> list[bytes]:
    """Cut short, lengthened, with bits flipped, with bytes from nowhere, and nothing but those."""
    made = [b"", data[: len(data) // 2], data[:-1], data + b"\0", data + b"\1", b"\xff" * (len(data) + 1)]
    for _ in range(number):
        bad = bytearray(data or b"\0")
        bad[rng.integers(0, len(bad))] ^= 1 << rng.integers(0, 8)
        place = int(rng.integers(0, len(bad)))
        made += [bytes(bad), bytes(bad[:place]) + rng.bytes(len(bad) - place), rng.bytes(len(bad))]
    return made


def any_model(
    rng: np.random.Generator, levels: list[int], kinds: int, deep: int, largest: int, hidden: int = 0
) -> EntropyModel:
    """Arbitrary tables of arbitrary sizes, also those that fill no vector register."""
    groups, cells, bins = len(levels), int(rng.integers(1, 7)), rng.integers(2, 70)
    hidden = hidden or int(rng.integers(1, 40))

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(-largest, largest + 1, shape).astype(np.int16)

    def bias(*shape: int) -> np.ndarray:
        return rng.integers(-(1 << 20), 1 << 20, shape).astype(np.int32)

    density = rng.multinomial(TOTAL - 1, rng.dirichlet(np.full(bins, rng.choice([0.05, 1.0]))), (cells, cells))
    density[..., -1 if rng.random() < 0.5 else 0] += 1
    density[density == TOTAL] -= 1  # 16 bits hold no more; a neighbour takes the rest
    density[..., 1] += TOTAL - density.sum(axis=2)
    return EntropyModel(
        levels=np.array([levels], np.uint16),
        relative=rng.integers(0, 2, (1, groups)).astype(np.uint8),
        history=draw(kinds, groups, hidden),
        current=draw(2, groups, hidden),
        readout=draw(2, groups, hidden),
        hidden_bias=bias(1, hidden),
        start_bias=bias(hidden),
        output_bias=rng.integers(-(1 << 25), (cells + 1) << 25, (1, 2, groups)).astype(np.int32),
        start_output_bias=bias(2, groups),
        density=density.astype(np.uint16),
        deep=DeepLayer(draw(kinds, groups, deep), bias(1, deep), draw(deep, hidden)) if deep else None,
    )
