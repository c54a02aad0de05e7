"""Any indices at all come back from both payload modes, at a cost that is bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import LEVELS, OTHER_LEVELS, random_tokens, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals
from audiocodec.bitstream.rawcoder import pack_raw, raw_bytes, unpack_raw
from audiocodec.errors import BitstreamError, ModelError

MODEL = small_model()


def any_tokens(levels: tuple[int, ...], seed: int, frames: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    edge = rng.integers(0, 2, (frames, channels, len(levels))) * (np.array(levels) - 1)
    return np.where(rng.random(edge.shape) < 0.3, edge, rng.integers(0, levels, edge.shape))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.integers(1, 12), st.integers(1, 65535)), min_size=1, max_size=30),
    st.integers(0, 60),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_raw_round_trip(levels: list[int], frames: int, channels: int, seed: int) -> None:
    counts = tuple(levels)
    tokens = any_tokens(counts, seed, frames, channels)
    data = pack_raw(tokens, counts)
    assert len(data) == raw_bytes(frames * channels, counts)
    assert np.array_equal(unpack_raw(data, frames, channels, counts), tokens)


def test_raw_packs_densely() -> None:
    ideal = 200 * 24 * np.log2(9) / 8
    assert raw_bytes(200, (9,) * 24) <= ideal * 1.002 + 1
    assert raw_bytes(100, (1024,)) == 125  # 10 bits for 1024 levels
    assert raw_bytes(1000, (1,) * 24) == 0


def test_raw_refuses_what_no_encoder_writes() -> None:
    with pytest.raises(BitstreamError, match="length"):
        unpack_raw(b"\0\0", 1, 1, (9,))
    with pytest.raises(BitstreamError, match="beyond"):
        unpack_raw(b"\xf0", 1, 1, (9,))
    with pytest.raises(BitstreamError, match="padding"):
        unpack_raw(b"\x01", 1, 1, (9,))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(0, 300), st.sampled_from([0.02, 0.3, 20.0]), st.integers(0, 10**6))
def test_range_coder_costs_the_information_and_a_byte(count: int, length: int, peak: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.multinomial(TOTAL - count, rng.dirichlet(np.full(count, peak))) + 1
    table = [0, *np.cumsum(sizes).tolist()]
    likely = rng.random() < 0.7
    symbols = rng.choice(count, length, p=sizes / TOTAL) if likely else rng.integers(0, count, length)
    data = encode_intervals([(table[s], table[s + 1] - table[s]) for s in symbols])
    assert len(data) * 8 <= -np.log2(sizes[symbols] / TOTAL).sum() * 1.001 + 9
    decoder = RangeDecoder(data)
    assert [decoder.symbol(table) for _ in range(length)] == symbols.tolist()
    decoder.finish()


def test_range_coder_resolves_carries() -> None:
    # The last interval over and over drives the low end against 2**32; then the one below it makes it carry or not.
    table = [0, 1, 65535, TOTAL]
    for length in range(1, 40):
        for last in range(3):
            symbols = [1] * (length // 2) + [2] * length + [last]
            data = encode_intervals([(table[s], table[s + 1] - table[s]) for s in symbols])
            decoder = RangeDecoder(data)
            assert [decoder.symbol(table) for _ in symbols] == symbols


def test_range_decoder_refuses_bytes_left_over() -> None:
    table = [0, TOTAL // 2, TOTAL]
    decoder = RangeDecoder(b"\x80\x01\x01\x01\x01\x01")
    decoder.symbol(table)
    with pytest.raises(BitstreamError, match="left over"):
        decoder.finish()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 10**6), st.sampled_from([LEVELS, OTHER_LEVELS]))
def test_model_round_trip(frames: int, channels: int, seed: int, levels: tuple[int, ...]) -> None:
    coder = MODEL.for_levels(levels)
    assert coder is not None
    tokens = any_tokens(levels, seed, frames, channels)
    data = coder.encode(tokens)
    assert np.array_equal(coder.decode(data, frames, channels), tokens)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_decode_or_are_refused(data: bytes, frames: int) -> None:
    coder = MODEL.for_levels(LEVELS)
    assert coder is not None
    try:
        tokens = coder.decode(data, frames, 1)
    except BitstreamError:
        return
    assert tokens.shape == (frames, 1, 5)
    assert ((tokens >= 0) & (tokens < np.array(LEVELS))).all()


def test_code_does_not_depend_on_the_order_of_summation() -> None:
    # The reference sums in Python integers; the coder in float64 matrix products.
    coder = MODEL.for_levels(LEVELS)
    assert coder is not None
    tokens = random_tokens(12, seed=5)
    cells = coder._packet_cells(tokens[:, 0])
    slow = [0] * 5
    for frame in range(12):
        row = tokens[frame, 0].tolist()
        hidden = reference_start(frame, tokens, slow)
        for group, count in enumerate(LEVELS):
            if count == 1:
                continue
            bias = MODEL.output_bias[0].astype(int) + (0 if frame else 1) * MODEL.start_output_bias.astype(int)
            outs = [
                sum(max(h, 0) * int(w) for h, w in zip(hidden, MODEL.readout[o, group], strict=True))
                + int(bias[o, group])
                for o in (0, 1)
            ]
            at = [min(max(out >> 25, 0), 5) for out in outs]
            assert cells[frame, group] == at[0] * 6 + at[1]
            value, spread = reference_features(row[group], count)
            hidden = [
                h + value * int(MODEL.current[0, group, i]) + spread * int(MODEL.current[1, group, i])
                for i, h in enumerate(hidden)
            ]


def reference_features(index: int, count: int) -> tuple[int, int]:
    value = ((2 * index + 1 - count) * 256) // count
    return (value, value * value // 256 - 85) if count > 1 else (0, 0)


def reference_start(frame: int, tokens: np.ndarray, slow: list[int]) -> list[int]:
    hidden = [int(b) for b in MODEL.hidden_bias[0]]
    if frame == 0:
        return [h + int(b) for h, b in zip(hidden, MODEL.start_bias, strict=True)]
    for group, count in enumerate(LEVELS):
        value, spread = reference_features(int(tokens[frame - 1, 0, group]), count)
        slow[group] += spread - (slow[group] >> 3)
        for i in range(len(hidden)):
            for k, feature in enumerate((value, spread, slow[group] >> 3)):
                hidden[i] += feature * int(MODEL.history[k, group, i])
    return hidden


def test_tables_survive_saving(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "entropy.safetensors")
    again = EntropyModel.load(tmp_path / "entropy.safetensors")
    assert again.settings == (LEVELS, OTHER_LEVELS)
    assert again.to_bytes() == MODEL.to_bytes()
    assert again.for_levels((9, 5, 1, 33, 3)) is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("density", lambda a: a + np.uint16(1)),
        ("density", lambda a: a[:, :-1]),
        ("history", lambda a: a[:, :, :-1]),
        ("levels", lambda a: a * np.uint16(0)),
        ("levels", lambda a: np.where(a == 33, np.uint16(16385), a)),
        ("relative", lambda a: a + np.uint8(2)),
        ("readout", lambda a: a.astype(np.int32)),
        ("start_bias", lambda a: a[None]),
    ],
)
def test_malformed_tables_are_refused(name: str, change: object) -> None:
    from safetensors.numpy import load, save

    arrays = load(MODEL.to_bytes())
    arrays[name] = np.ascontiguousarray(change(arrays[name]))  # type: ignore[operator]
    with pytest.raises(ModelError):
        EntropyModel.from_bytes(save(arrays))
    del arrays[name]
    with pytest.raises(ModelError):
        EntropyModel.from_bytes(save(arrays))


def test_damaged_table_files_are_refused(tmp_path: Path) -> None:
    data = MODEL.to_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 7, 8, 100, len(data) - 1):
        with pytest.raises(ModelError):
            EntropyModel.from_bytes(data[:size])
    for _ in range(60):
        bad = bytearray(data)
        bad[rng.integers(0, 900)] ^= 1 << rng.integers(0, 8)
        try:
            EntropyModel.from_bytes(bytes(bad))
        except ModelError:
            continue
    with pytest.raises(ModelError, match="cannot read"):
        EntropyModel.load(tmp_path / "absent")


def test_weights_too_large_for_exact_sums_are_refused() -> None:
    groups, hidden = 256, 1024
    with pytest.raises(ModelError, match="exact"):
        EntropyModel(
            levels=np.full((1, groups), 9, np.uint16),
            relative=np.zeros((1, groups), np.uint8),
            history=np.full((3, groups, hidden), -32768, np.int16),
            current=np.full((2, groups, hidden), -32768, np.int16),
            readout=np.full((2, groups, hidden), -32768, np.int16),
            hidden_bias=np.zeros((1, hidden), np.int32),
            start_bias=np.zeros(hidden, np.int32),
            output_bias=np.zeros((1, 2, groups), np.int32),
            start_output_bias=np.zeros((2, groups), np.int32),
            density=MODEL.density,
        )


def test_torch_is_not_imported() -> None:
    code = "import sys, audiocodec.bitstream, audiocodec.bitstream.fit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
