"""The entropy coder in C does to the byte what the one in Python does, on good bytes and on any others."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import (
    LEVELS,
    OTHER_LEVELS,
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
from native_helpers import any_model, both, built, check_alike, lanes_of, most_lanes, mutations, outcome

from audiocodec.bitstream import EntropyModel, native
from audiocodec.bitstream.entropy import MAX_LEVELS
from audiocodec.bitstream.nativecoder import NativeCoder
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals, encode_pairs
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.errors import ModelError

GOLDEN = Path(__file__).parent / "golden"
PRETRAINED = Path(__file__).parent.parent / "pretrained"


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


@pytest.mark.parametrize("use", ["C", "Python"])
def test_streams_of_a_model_share_their_coders(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if use == "Python":
        monkeypatch.setattr(native, "extension", None)
    model = deep_model()
    coder = model.for_levels(LEVELS)
    assert coder is not None
    assert isinstance(coder, ReferenceCoder if native.extension is None else NativeCoder)
    assert model.for_levels(list(LEVELS)) is coder
    assert model.for_levels(OTHER_LEVELS) not in (coder, None)
    assert replace(model).for_levels(LEVELS) is not coder
    sent = pickle.loads(pickle.dumps(model)).for_levels(LEVELS)
    indices = random_tokens(5, seed=1)
    assert sent.encode(indices) == coder.encode(indices)


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
