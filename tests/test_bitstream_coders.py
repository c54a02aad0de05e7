"""Any indices at all come back from both payload modes, at a cost that is bounded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import LEVELS, OTHER_LEVELS, deep_model, random_tokens, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.bitstream.entropy import DeepLayer, EntropyModel
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals, encode_pairs
from audiocodec.bitstream.rawcoder import pack_raw, raw_bytes, unpack_raw
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.errors import BitstreamError, ModelError

MODEL = small_model()
MODELS = {"first": MODEL, "deep": deep_model()}


def coded(table: list[int], symbols: list[int]) -> bytes:
    pairs = [(table[s], table[s + 1] - table[s]) for s in symbols]
    data = encode_pairs(pairs)
    assert encode_intervals(np.array(pairs, np.int64).reshape(-1, 2)) == data
    return data


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
    data = coded(table, symbols)
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
            data = coded(table, symbols)
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
    for model in MODELS.values():
        coder = model.for_levels(levels)
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


@pytest.mark.parametrize("name", MODELS)
def test_code_does_not_depend_on_the_order_of_summation(name: str) -> None:
    # The reference sums in Python integers; the coder in float64 matrix products.
    model = MODELS[name]
    coder = ReferenceCoder(model, 0)
    tokens = random_tokens(12, seed=5)
    cells = coder._packet_cells(tokens[:, 0])
    present = [group for group, count in enumerate(LEVELS) if count > 1]
    past = Past(model.history.shape[0])
    for frame in range(12):
        row = tokens[frame, 0].tolist()
        hidden = reference_start(model, past, frame == 0)
        for group in present:
            bias = model.output_bias[0].astype(int) + (0 if frame else 1) * model.start_output_bias.astype(int)
            outs = [
                sum(max(h, 0) * int(w) for h, w in zip(hidden, model.readout[o, group], strict=True))
                + int(bias[o, group])
                for o in (0, 1)
            ]
            at = [min(max(out >> 25, 0), 5) for out in outs]
            assert cells[frame, present.index(group)] == at[0] * 6 + at[1]
            value, spread = reference_features(row[group], LEVELS[group])
            hidden = [
                h + value * int(model.current[0, group, i]) + spread * int(model.current[1, group, i])
                for i, h in enumerate(hidden)
            ]
        past.add([reference_features(index, count) for index, count in zip(row, LEVELS, strict=True)])


def reference_features(index: int, count: int) -> tuple[int, int]:
    value = ((2 * index + 1 - count) * 256) // count
    return (value, value * value // 256 - 85) if count > 1 else (0, 0)


class Past:
    """Section 7.3 of SPEC.md, a number at a time."""

    def __init__(self, kinds: int) -> None:
        self.kinds = kinds
        self.frames = [[(0, 0)] * 5, [(0, 0)] * 5]
        self.averages = {(n, feature): [0] * 5 for n in (3, 5) for feature in (0, 1)}

    def add(self, frame: list[tuple[int, int]]) -> None:
        self.frames.append(frame)
        for (n, feature), average in self.averages.items():
            for group in range(5):
                average[group] += frame[group][feature] - (average[group] >> n)

    def of(self, group: int) -> list[int]:
        slow = {key: average[group] >> key[0] for key, average in self.averages.items()}
        before = [*self.frames[-1][group], slow[3, 1], *self.frames[-2][group]]
        return [*before, slow[3, 0], slow[5, 0], slow[5, 1]][: self.kinds]


def reference_start(model: EntropyModel, past: Past, first: bool) -> list[int]:
    def summed(bias: int, weights: np.ndarray) -> int:  # weights [kinds, groups]
        return bias + sum(
            int(weights[kind, group]) * feature for group in range(5) for kind, feature in enumerate(past.of(group))
        )

    hidden = [
        summed(int(model.hidden_bias[0, i]) + (int(model.start_bias[i]) if first else 0), model.history[..., i])
        for i in range(model.history.shape[2])
    ]
    if model.deep is None:
        return hidden
    units = [max(0, summed(int(bias), model.deep.inputs[..., j])) >> 10 for j, bias in enumerate(model.deep.bias[0])]
    return [
        h + sum(unit * int(w) for unit, w in zip(units, model.deep.outputs[:, i], strict=True))
        for i, h in enumerate(hidden)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_tables_survive_saving(tmp_path: Path, name: str) -> None:
    MODELS[name].save(tmp_path / "entropy.safetensors")
    again = EntropyModel.load(tmp_path / "entropy.safetensors")
    assert again.settings == (LEVELS, OTHER_LEVELS)
    assert again.to_bytes() == MODELS[name].to_bytes()
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
        ("history", lambda a: a[:4]),
        ("deep_inputs", lambda a: a[:3]),
        ("deep_bias", lambda a: a[:1]),
        ("deep_outputs", lambda a: a[:0]),
        ("deep_outputs", lambda a: a.astype(np.float32)),
    ],
)
def test_malformed_tables_are_refused(name: str, change: object) -> None:
    from safetensors.numpy import load, save

    arrays = load(MODELS["deep"].to_bytes())
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


def test_a_deep_layer_too_large_for_exact_sums_is_refused() -> None:
    shape, hidden = (8, 5, 1024), MODEL.history.shape[2]
    units = DeepLayer(
        inputs=np.full(shape, -32768, np.int16),
        bias=np.full((2, 1024), -(1 << 31), np.int32),
        outputs=np.full((1024, hidden), -32768, np.int16),
    )
    with pytest.raises(ModelError, match="exact"):
        replace(MODELS["deep"], deep=units)


def test_torch_is_not_imported() -> None:
    code = "import sys, audiocodec.bitstream; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
