"""The entropy coder in C does to the byte what the one in Python does, on good bytes and on any others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bitstream_helpers import (
    LEVELS,
    deep_model,
    make_file,
    make_header,
    random_tokens,
    read_all,
    small_model,
    tokens_of,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audiocodec.bitstream import EntropyModel, native
from audiocodec.bitstream.entropy import MAX_LEVELS, DeepLayer
from audiocodec.bitstream.nativecoder import NativeCoder
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals, encode_pairs
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError, ModelError

GOLDEN = Path(__file__).parent / "golden"
PRETRAINED = Path(__file__).parent.parent / "pretrained"
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


COUNTS = st.one_of(st.just(1), st.just(2), st.integers(3, 70), st.integers(71, MAX_LEVELS), st.just(MAX_LEVELS))


@built
@settings(max_examples=150, deadline=None)
@given(
    st.lists(COUNTS, min_size=1, max_size=9),
    st.sampled_from([3, 8]),
    st.sampled_from([0, 1, 7, 40, 32, 96]),
    st.sampled_from([0, 32, 160, 256]),
    st.sampled_from([3, 300, 5000, 32767]),
    st.integers(0, 20),
    st.integers(1, 2),
    st.sampled_from([16, 8, 4, 0]),
    st.integers(0, 10**6),
)
def test_any_indices(
    levels: list[int],
    kinds: int,
    deep: int,
    hidden: int,
    largest: int,
    frames: int,
    channels: int,
    lanes: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    try:
        model = any_model(rng, levels, kinds, deep, largest, hidden)
    except ModelError:
        assume(False)
    edge = rng.integers(0, 2, (frames, channels, len(levels))) * (np.array(levels) - 1)
    indices = np.where(rng.random(edge.shape) < 0.3, edge, rng.integers(0, levels, edge.shape))
    coders = both(model, lanes=lanes)
    data = check_alike(coders, indices)
    for bad in mutations(data, rng, 4):
        ours, reference = (outcome(coder, bad, frames, channels) for coder in coders)
        assert ours == reference


NARROW = [7, 2, 64, 1, 16384, 500]  # level counts of the tables below


def narrow_model(deep: int = 32) -> EntropyModel:
    """Tables whose sums fit 32 bits by far."""
    return any_model(np.random.default_rng(5), NARROW, 8, deep, 300, 64)


def check_every_width(model: EntropyModel, frames: int = 21) -> None:
    indices = np.random.default_rng(6).integers(0, NARROW, (frames, 2, len(NARROW)))
    assert len({check_alike(both(model, lanes=lanes), indices) for lanes in (16, 8, 4, 0)}) == 1


def room_of(model: EntropyModel) -> int:
    """What may be added to the first hidden bias so that no sum needs more than 30 bits."""
    present = model.levels[0] > 1
    rows = [np.abs(table[:, present].astype(np.int64)).sum((0, 1)) for table in (model.history, model.current)]
    biases = np.abs(model.hidden_bias[0].astype(np.int64)) + np.abs(model.start_bias.astype(np.int64))
    assert (256 * sum(rows) + biases < 1 << 28).all()
    return int((1 << 30) - 1 - (256 * sum(rows) + biases)[0])


@built
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("over", [0, 1])
def test_hidden_sums_at_the_end_of_32_bits(sign: int, over: int) -> None:
    # The largest value of every feature and the weights' signs alike, so that sums come near what is allowed.
    model = narrow_model(0)
    bias = np.abs(model.hidden_bias)
    model = replace(model, hidden_bias=bias, start_bias=np.abs(model.start_bias))
    bias = bias.copy()
    bias[0, 0] += room_of(model) + over
    model = replace(model, hidden_bias=bias * sign, start_bias=model.start_bias * sign)
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize("over", [0, 1])
def test_sums_of_deep_units_at_the_end_of_32_bits(over: int) -> None:
    model = narrow_model()
    deep = model.deep
    assert deep is not None
    inputs = np.abs(deep.inputs[:, model.levels[0] > 1].astype(np.int64)).sum((0, 1))
    bias = deep.bias.copy()
    bias[0, 3] = (1 << 31) - 1 - 256 * inputs[3] + over
    model = replace(model, deep=replace(deep, bias=bias))
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize("over", [0, 1])
def test_readouts_at_the_end_of_32_bits(over: int) -> None:
    model = narrow_model(0)
    readout = np.zeros_like(model.readout)
    readout[1, 2, :2] = 32767
    readout[1, 2, 40] = -1 - over
    model = replace(model, readout=readout)
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize(("largest", "weight"), [(32766, 300), (200, 32767), (0, 32767)])
def test_units_that_are_too_large_in_some_frames(largest: int, weight: int) -> None:
    # Around the largest unit that fits, also where the weights behind allow less than 16 bits have; in the last case
    # nothing but 0 is left, as the hidden bias takes the rest.
    model = narrow_model()
    deep = model.deep
    assert deep is not None
    inputs, outputs = deep.inputs.copy(), deep.outputs.copy()
    inputs[:, :, 0] = np.sign(inputs[:, :, 0]) * 8
    inputs[0, 0, 0], inputs[0, 2, 0] = 500, 0
    outputs[0, :32] = weight
    bias = np.full_like(deep.bias, -(1 << 28))
    bias[0, 0] = largest << 10
    hidden_bias = model.hidden_bias.copy()
    if largest == 0:
        hidden_bias[0, 0] += room_of(replace(model, hidden_bias=hidden_bias)) * (1 if hidden_bias[0, 0] > 0 else -1)
    elif largest == 200:
        start = hidden_bias[0, 0] = abs(hidden_bias[0, 0])
        total = int(np.abs(outputs[:, 0].astype(np.int64)).sum())
        hidden_bias[0, 0] = start + room_of(replace(model, hidden_bias=hidden_bias)) - 201 * total
    model = replace(model, hidden_bias=hidden_bias, deep=DeepLayer(inputs, bias, outputs))
    assert lanes_of(model) == most_lanes()
    check_every_width(model, 60)


@built
def test_more_cells_than_sums_are_kept_of() -> None:
    rng = np.random.default_rng(2)
    model = any_model(rng, NARROW, 8, 0, 3000, 32)
    density = rng.multinomial(TOTAL, np.full(1024, 1 / 1024), (40, 40)).astype(np.uint16)
    bias = np.full_like(model.output_bias, 20 << 25)
    check_every_width(replace(model, density=density, output_bias=bias), 200)


@built
@pytest.mark.parametrize("lanes", [16, 8, 4, 0])
@pytest.mark.parametrize("name", sorted(path.parent.name for path in PRETRAINED.glob("*/entropy.safetensors")))
def test_shipped_models(name: str, lanes: int) -> None:
    model = EntropyModel.load(PRETRAINED / name / "entropy.safetensors")
    assert lanes_of(model) == most_lanes()
    rng = np.random.default_rng(1)
    for setting in (0, len(model.settings) // 2, len(model.settings) - 1):
        coders = both(model, setting, lanes)
        for channels in (1, 2):
            uniform = rng.integers(0, coders[0].levels, (6, channels, len(coders[0].levels)))
            data = check_alike(coders, uniform)
            for bad in mutations(data, rng, 3):
                ours, reference = (outcome(coder, bad, 6, channels) for coder in coders)
                assert ours == reference


@built
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, TOTAL - 1), st.integers(1, TOTAL)), max_size=200), st.booleans())
def test_any_intervals(drawn: list[tuple[int, int]], rare: bool) -> None:
    pairs = [(start, 1 if rare else min(size, TOTAL - start)) for start, size in drawn]
    assert encode_intervals(np.array(pairs, np.int64).reshape(-1, 2)) == encode_pairs(pairs)


@built
def test_carries() -> None:
    # The last interval over and over drives the low end against 2**32; then the one below it makes it carry or not.
    for length in range(40):
        for last in ((0, 1), (1, 65534), (65535, 1)):
            pairs = [(1, 65534)] * (length // 2) + [(65535, 1)] * length + [last]
            assert encode_intervals(np.array(pairs, np.int64)) == encode_pairs(pairs)


@built
def test_a_decoder_is_left_where_a_code_goes_on() -> None:
    # A mid and a side are one code: each coder takes it from where the one before got to.
    model = deep_model()
    indices = random_tokens(9)
    for first, second in (both(model), both(model)[::-1]):
        pairs = np.concatenate([first.intervals(indices), second.intervals(indices[:4])])
        decoder = RangeDecoder(encode_intervals(pairs))
        assert np.array_equal(first.read(decoder, 9, 1), indices)
        assert np.array_equal(second.read(decoder, 4, 1), indices[:4])
        decoder.finish()


@pytest.mark.parametrize("name", ["C", "Python"])
@pytest.mark.parametrize("levels", [LEVELS, (1, 1)])
def test_nothing_is_coded_as_nothing(name: str, levels: tuple[int, ...]) -> None:
    if name == "C" and native.extension is None:
        pytest.skip(f"the entropy coder in C is {native.absence}")
    model = small_model(0, (levels,)) if len(levels) == 5 else any_model(np.random.default_rng(0), [1, 1], 3, 0, 300)
    coder = ReferenceCoder(model, 0) if name == "Python" else both(model)[0]
    for frames, channels in ((0, 1), (0, 2), (3, 0)):
        empty = np.zeros((frames, channels, len(levels)), np.int64)
        assert coder.intervals(empty).shape == (0, 2)
        assert coder.encode(empty) == b""
        assert coder.decode(b"", frames, channels).shape == empty.shape
    if levels == (1, 1):
        assert coder.encode(np.zeros((4, 2, 2), np.int64)) == b""
        assert not coder.decode(b"", 4, 2).any()


@built
def test_threads_share_a_coder() -> None:
    ours, _ = both(deep_model())
    drawn = [random_tokens(200, seed=seed) for seed in range(4)]
    codes = [ours.encode(indices) for indices in drawn]
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda data: ours.decode(data, 200, 1), codes * 5))
    assert all(np.array_equal(a, b) for a, b in zip(decoded, drawn * 5, strict=True))


@built
@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, lambda a: a * np.uint16(0)),
        (0, lambda a: np.full_like(a, 16385)),
        (0, lambda a: a[:-1]),
        (0, lambda a: a.astype(np.int64)),
        (1, lambda a: a[:0]),
        (2, lambda a: np.zeros((4, 5, 12), np.int16)),
        (2, lambda a: np.zeros((8, 257, 12), np.int16)),
        (2, lambda a: np.asfortranarray(a)),
        (2, lambda a: a[0]),
        (4, lambda a: a[:1]),
        (5, lambda a: a[:-1]),
        (9, lambda a: a[:, :-1]),
        (9, lambda a: np.zeros((6, 6, 1025), np.uint16)),
        (9, lambda a: np.frombuffer(b"\0" + a.tobytes() + b"\0", np.uint8)[1:-1].view(np.uint16).reshape(a.shape)),
        (10, lambda a: None),
        (11, lambda a: None),
        (12, lambda a: a[:0]),
        (12, lambda a: "weights"),
    ],
)
def test_tables_that_do_not_fit_are_refused(number: int, change: Any) -> None:
    assert native.extension is not None
    tables = tables_of(deep_model())
    native.extension.Coder(*tables)
    tables[number] = change(tables[number])
    with pytest.raises((ValueError, TypeError, BufferError)):
        native.extension.Coder(*tables)


def tables_of(model: EntropyModel) -> list[Any]:
    """The constructor's arguments, in order."""
    deep = model.deep
    assert deep is not None
    rows = [model.levels[0], model.relative[0], model.history, model.current, model.readout, model.hidden_bias[0]]
    rows += [model.start_bias, model.output_bias[0], model.start_output_bias, model.density]
    return [*rows, deep.inputs, deep.bias[0], deep.outputs]


@built
def test_arguments_out_of_bounds_are_refused() -> None:
    assert native.extension is not None
    coder = native.extension.Coder(*tables_of(deep_model()))
    out = np.zeros((3, 1, 5), np.int64)
    for indices in (out[..., :4], out.astype(np.int32), out[0], out + 40, out - 1):
        with pytest.raises((ValueError, BufferError)):
            coder.intervals(indices, np.zeros((3, 4, 2), np.int64))
    for pairs in (np.zeros((2, 4, 2), np.int64), np.zeros((3, 5, 2), np.int64), np.zeros((3, 4, 2), np.int32)):
        with pytest.raises(ValueError, match=r"must be|type or shape"):
            coder.intervals(out, pairs)
    whole = 1 << 32
    for state in ((whole, whole - 1, 4), (0, 0, 4), (0, whole, 4), (0, whole - 1, -1), (0, whole - 1, 1 << 62)):
        with pytest.raises(ValueError, match="state"):
            coder.read(b"", *state, out)
    with pytest.raises(ValueError, match="type or shape"):
        coder.read(b"", 0, 1 << 30, 4, out[..., :4].copy())
    frozen = out.copy()
    frozen.setflags(write=False)
    with pytest.raises((ValueError, BufferError)):
        coder.read(b"", 0, 1 << 30, 4, frozen)
    for pair in ((-1, 1), (0, 0), (1, TOTAL), (TOTAL, 1), (1 << 62, 1 << 62), (0, -5)):
        with pytest.raises(ValueError, match="outside"):
            encode_intervals(np.array([pair], np.int64))
    assert coder.read(b"\xff" * 9, (1 << 32) - 1, 1 << 24, 4, out) is None
    with pytest.raises(TypeError):
        native.extension.Coder(levels=3)


@built
def test_densities_changed_after_the_check_do_no_harm() -> None:
    model = small_model()
    density = model.density.copy()
    changed = replace(model, density=density)
    ours, _ = both(changed)
    for value in (65535, 0):
        density[...] = value
        for data in (b"", b"\xff\xfe" * 40, np.random.default_rng(0).bytes(80)):
            assert outcome(ours, data, 10, 1)


@pytest.mark.parametrize("use", ["C", "Python"])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.vpc")), ids=lambda path: path.stem)
def test_golden_streams_either_way(path: Path, use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if use == "Python":
        monkeypatch.setattr(native, "extension", None)
    elif native.extension is None:
        pytest.skip(f"the entropy coder in C is {native.absence}")
    name, version = path.stem.rsplit("-", 1)
    which = f"deep-{version}" if name == "deep" else version
    events = read_all(path.read_bytes(), EntropyModel.load(GOLDEN / f"entropy-{which}.safetensors"))
    with np.load(GOLDEN / f"tokens-{which}.npz") as tokens:
        assert np.array_equal(tokens_of(events), tokens[name])


WITHOUT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import test_native_coder as tests
assert tests.native.extension is None and "AUDIOCODEC_NATIVE" in tests.native.absence
print(tests.digest())
"""


def digest() -> str:
    """Of a file in two channels, and of what it decodes to."""
    model, tokens = deep_model(), random_tokens(60, channels=2, seed=8)
    data = make_file(make_header(channels=2), tokens, 7, model)
    assert np.array_equal(tokens_of(read_all(data, model)), tokens)
    return hashlib.sha256(data).hexdigest()


def test_the_environment_turns_it_off() -> None:
    command = [sys.executable, "-c", WITHOUT, str(Path(__file__).parent)]
    environment = {**os.environ, native.VARIABLE: "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest()
