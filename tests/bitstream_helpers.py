"""Streams, tables and tokens that the bitstream's tests share."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np

from audiocodec.bitstream import EntropyModel, Event, FileWriter, Frames, PacketEncoder, StreamHeader, StreamReader
from audiocodec.bitstream.entropy import DeepLayer
from audiocodec.bitstream.rangecoder import RangeDecoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError

LEVELS = (9, 5, 1, 33, 2)
OTHER_LEVELS = (3, 3, 1, 64, 2)


def small_model(seed: int = 3, settings: tuple[tuple[int, ...], ...] = (LEVELS, OTHER_LEVELS)) -> EntropyModel:
    """Arbitrary, but valid, tables: what they predict does not matter to a round trip."""
    rng = np.random.default_rng(seed)
    count, groups, hidden, cells, bins = len(settings), len(settings[0]), 12, 6, 16
    weights = rng.integers(1, 30, (cells, cells, bins)).astype(np.float64) ** 3
    edges = np.rint(np.cumsum(weights, axis=2) / weights.sum(axis=2, keepdims=True) * 65536)
    edges[..., -1] = 65536
    relative = np.zeros((count, groups), dtype=np.uint8)
    relative[:, 3] = 1
    return EntropyModel(
        levels=np.array(settings, dtype=np.uint16),
        relative=relative,
        history=rng.integers(-900, 900, (3, groups, hidden)).astype(np.int16),
        current=rng.integers(-900, 900, (2, groups, hidden)).astype(np.int16),
        readout=rng.integers(-300, 300, (2, groups, hidden)).astype(np.int16),
        hidden_bias=rng.integers(-90000, 90000, (count, hidden)).astype(np.int32),
        start_bias=rng.integers(-90000, 90000, hidden).astype(np.int32),
        output_bias=rng.integers(0, cells << 25, (count, 2, groups)).astype(np.int32),
        start_output_bias=rng.integers(-(1 << 24), 1 << 24, (2, groups)).astype(np.int32),
        density=np.diff(edges, axis=2, prepend=0).astype(np.uint16),
    )


def deep_model(seed: int = 3, settings: tuple[tuple[int, ...], ...] = (LEVELS, OTHER_LEVELS)) -> EntropyModel:
    """The same with all that tables may have: eight kinds of history, and a deep layer."""
    rng = np.random.default_rng(seed)
    first = small_model(seed, settings)
    count, groups, hidden, deep = len(settings), len(settings[0]), first.history.shape[2], 7
    layer = DeepLayer(
        inputs=rng.integers(-900, 900, (8, groups, deep)).astype(np.int16),
        bias=rng.integers(-90000, 90000, (count, deep)).astype(np.int32),
        outputs=rng.integers(-900, 900, (deep, hidden)).astype(np.int16),
    )
    return replace(first, history=rng.integers(-900, 900, (8, groups, hidden)).astype(np.int16), deep=layer)


def make_header(**changes: object) -> StreamHeader:
    values: dict[str, object] = {
        "fingerprint": bytes(range(8)),
        "sample_rate": 16000,
        "channels": 1,
        "hop_samples": 320,
        "block_frames": 16,
        "levels": LEVELS,
        "mode": "range",
        "total_samples": None,
        "source_rate": 44100,
        "pre_skip": 160,
        "pre_roll": 12,
    }
    return StreamHeader(**(values | changes))  # type: ignore[arg-type]


def random_tokens(frames: int, channels: int = 1, levels: tuple[int, ...] = LEVELS, seed: int = 0) -> np.ndarray:
    """Tokens as the small model expects them, so that range coding pays; smooth ones for levels it does not know."""
    rng = np.random.default_rng(seed)
    coder = small_model().for_levels(levels)
    if coder is not None:
        return drawn_tokens(coder, rng, frames, channels)
    steps = np.cumsum(rng.normal(0, 0.4, (frames, channels, len(levels))), axis=0)
    places = 0.5 + 0.5 * np.sin(steps + rng.uniform(0, 6, (1, channels, len(levels))))
    tokens: np.ndarray = np.minimum((places * levels).astype(np.int64), np.array(levels) - 1)
    return tokens


def drawn_tokens(coder: SymbolCoder, rng: np.random.Generator, frames: int, channels: int) -> np.ndarray:
    """Decoding random bytes draws from the model. A few byte strings are no code, hence short runs and another try."""
    runs: list[np.ndarray] = []
    while sum(map(len, runs)) < frames:
        try:
            runs.append(coder.read(RangeDecoder(rng.bytes(2000 * channels)), 50, channels))
        except BitstreamError:
            continue
    empty = np.zeros((0, channels, len(coder.levels)), np.int64)
    return np.concatenate([empty, *runs])[:frames]


def coupled_tokens(header: StreamHeader, frames: int, seed: int = 0) -> np.ndarray:
    """Tokens of a mid and a side, each as the small model expects it; zeros where the side is absent."""
    assert header.side_levels is not None
    mid = random_tokens(frames, levels=header.levels, seed=seed)
    if header.side_absent:
        return np.concatenate([mid, np.zeros_like(mid)], axis=1)
    return np.concatenate([mid, random_tokens(frames, levels=header.side_levels, seed=seed + 1000)], axis=1)


def samples_for(header: StreamHeader, frames: int) -> int:
    """A length at the source rate that needs exactly so many frames."""
    return max(0, (frames * header.hop_samples - header.pre_skip) * header.source_rate // header.sample_rate)


def make_file(header: StreamHeader, tokens: np.ndarray, packet: int = 20, model: EntropyModel | None = None) -> bytes:
    """A finished file of packets of ``packet`` frames."""
    buffer = io.BytesIO()
    encoder = PacketEncoder(header, model)
    writer = FileWriter(buffer, header)
    for first in range(0, len(tokens), packet):
        writer.write_packet(encoder.frames(first, tokens[first : first + packet]))
    writer.close(samples_for(header, len(tokens)))
    return buffer.getvalue()


def read_all(data: bytes, model: EntropyModel | None = None, cuts: list[int] | None = None) -> list[Event]:
    """All events of a stream pushed in pieces that end at ``cuts``."""
    reader = StreamReader(lambda header: model)
    edges = [0, *sorted(cuts or []), len(data)]
    events: list[Event] = []
    for a, b in pairwise(edges):
        events += reader.push(data[a:b])
    return events + reader.close()


def tokens_of(events: list[Event]) -> np.ndarray:
    return np.concatenate([event.indices for event in events if isinstance(event, Frames)])


def comparable(events: list[Event]) -> list[object]:
    """Events with their arrays turned into lists, so that == sees all of them."""
    return [(e.first_frame, e.indices.tolist()) if isinstance(e, Frames) else e for e in events]
