"""Alphabets of thousands of words: the tables that a list would hold, in little memory, at the price that is told."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bitstream_helpers import drawn_tokens, make_file, make_header, read_all, small_model, tokens_of

from audiocodec.bitstream.entropy import MAX_LEVELS, EntropyModel
from audiocodec.bitstream.frequencies import CutOnDemand, cut
from audiocodec.bitstream.rangecoder import TOTAL
from audiocodec.bitstream.referencecoder import LISTED_LEVELS, ReferenceCoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import ModelError
from audiocodec.train.entropyfit import FitSettings, fit_entropy_model
from audiocodec.train.entropynet import Alphabets

GOLDEN = Path(__file__).parent / "golden"
# The third group is absent and the fourth is coded by its changes.
WIDE = (4096, 1025, 1, 4096, 9)
WIDEST = (16384, 16384, 1, 16384, 16384)
DIGESTS = ["86ee9c45fd0cd8209ebf3ece22541708", "49835c14f4190759a6b818b70b600ec4"]


def coder_of(model: EntropyModel, levels: tuple[int, ...]) -> SymbolCoder:
    coder = model.for_levels(levels)
    assert coder is not None
    return coder


def densities(bins: int) -> list[np.ndarray]:
    """Cumulative: even, random, and all that 16 bits can hold in the first, a middle and the last bin."""
    rng = np.random.default_rng(bins)
    even = np.linspace(0, TOTAL, bins + 1).astype(np.int64)
    drawn = np.append(np.sort(rng.integers(0, TOTAL + 1, bins)), TOTAL)
    drawn[0] = 0
    peaks = []
    for place in (0, bins // 2, bins - 1):
        density = np.zeros(bins, np.int64)
        density[place], density[place - 1] = TOTAL - 1, 1
        peaks.append(np.append(0, np.cumsum(density)))
    return [even, drawn, *peaks]


@pytest.mark.parametrize("bins", [2, 3, 64, 1000, 1024])
@pytest.mark.parametrize("count", [2, 3, 1024, 1025, 4096, 5003, 16383, 16384])
def test_values_on_demand_are_the_list(bins: int, count: int) -> None:
    for density in densities(bins):
        table = CutOnDemand(density, count)
        assert len(table) == count + 1
        listed = list(table)
        assert listed == cut(density, count)
        assert all(type(value) is int for value in listed)
        assert (listed[0], listed[-1]) == (0, TOTAL)
        assert min(np.diff(listed)) >= 1


def test_places_outside_a_table_are_refused() -> None:
    table = CutOnDemand(np.array([0, 5, TOTAL]), 2000)
    for place in (-1, 2001):
        with pytest.raises(IndexError):
            table[place]


@pytest.mark.parametrize("levels", [WIDE, WIDEST])
@pytest.mark.parametrize("seed", range(4))
def test_large_alphabets_come_back(levels: tuple[int, ...], seed: int) -> None:
    coder = coder_of(small_model(seed, (levels, (3, 3, 1, 64, 2))), levels)
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, levels, (25, 2, 5))
    extreme = rng.integers(0, 2, tokens.shape) * (np.array(levels) - 1)
    tokens = np.where(rng.random(tokens.shape) < 0.3, extreme, tokens)
    data = coder.encode(tokens)
    assert np.array_equal(coder.decode(data, 25, 2), tokens)
    intervals = np.array(coder.intervals(tokens))
    assert len(data) * 8 <= -np.log2(intervals[:, 1] / TOTAL).sum() * 1.001 + 9


def test_features_that_words_share_are_those_of_each() -> None:
    model = small_model(5, (WIDE, WIDEST))
    for setting, levels in enumerate((WIDE, WIDEST)):
        coder = ReferenceCoder(model, setting)
        for group, count in enumerate(levels):
            index = np.arange(count)
            value = ((2 * index + 1 - count) * 256) // count
            spread = value * value // 256 - 85 * (count > 1)
            wanted = np.outer(value, model.current[0, group].astype(int))
            wanted += np.outer(spread, model.current[1, group].astype(int))
            steps = coder._steps[group][coder._step_rows[count]]
            assert np.array_equal(steps[:, :-1], wanted)
            assert not steps[:, -1].any()
            assert len(coder._steps[group]) <= 513


def test_a_file_of_large_alphabets() -> None:
    model = small_model(1, (WIDE,))
    coder = coder_of(model, WIDE)
    tokens = drawn_tokens(coder, np.random.default_rng(0), 40, 1)  # others would cost more than raw, and be written so
    data = make_file(make_header(levels=WIDE), tokens, 20, model)
    raw = make_file(make_header(levels=WIDE, mode="raw"), tokens, 20)
    assert len(data) < len(raw)
    assert np.array_equal(tokens_of(read_all(data, model)), tokens)


def test_memory_does_not_grow_with_the_words() -> None:
    groups, hidden, cells, bins = 12, 64, 32, 64
    rng = np.random.default_rng(0)
    model = EntropyModel(
        levels=np.full((1, groups), 16384, np.uint16),
        relative=np.zeros((1, groups), np.uint8),
        history=rng.integers(-900, 900, (3, groups, hidden)).astype(np.int16),
        current=rng.integers(-900, 900, (2, groups, hidden)).astype(np.int16),
        readout=rng.integers(-300, 300, (2, groups, hidden)).astype(np.int16),
        hidden_bias=np.zeros((1, hidden), np.int32),
        start_bias=np.zeros(hidden, np.int32),
        output_bias=np.full((1, 2, groups), cells << 24, np.int32),
        start_output_bias=np.zeros((2, groups), np.int32),
        density=np.full((cells, cells, bins), TOTAL // bins, np.uint16),
    )
    tokens = rng.integers(0, 16384, (100, 1, groups))
    tracemalloc.start()
    try:
        coder = ReferenceCoder(model, 0)
        data = coder.encode(tokens)
        used = len({int(cell) for cell in coder._packet_cells(tokens[:, 0]).reshape(-1)})
        assert np.array_equal(coder.decode(data, 100, 1), tokens)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used > 100  # lists of them would take 60 MB, and what all words add to the sums 100 MB
    assert held < 8e6
    assert most < 12e6


def test_streams_of_up_to_1024_levels_are_what_they_were() -> None:
    """Written before larger alphabets could be coded, with tables that are kept for ever."""
    levels = ((1024, 513, 1, 1000, 2), (512, 1023, 1024, 64, 3))
    golden = EntropyModel.load(GOLDEN / "entropy-1.0.safetensors")
    model = replace(golden, levels=np.array(levels, np.uint16))
    digests = []
    for row in levels:
        frame, channel, group = np.ogrid[:60, :2, :5]
        tokens = (frame * frame * 7919 + frame * 131 * (group + 1) + channel * 977 + group * 389) % np.array(row)
        coder = coder_of(model, row)
        data = coder.encode(tokens)
        assert np.array_equal(coder.decode(data, 60, 2), tokens)
        digests.append(hashlib.sha256(data).hexdigest()[:32])
    assert digests == DIGESTS


def test_the_limit() -> None:
    most = small_model(0, ((MAX_LEVELS, 3, 1, 5, 2),))
    assert most.for_levels((16384, 3, 1, 5, 2)) is not None
    assert EntropyModel.from_bytes(most.to_bytes()).settings == most.settings
    with pytest.raises(ModelError, match="outside 1 to 16384"):
        replace(most, levels=most.levels + np.uint16(1))


@pytest.mark.parametrize("count", [1024, 4096, 16384])
def test_a_word_costs_no_more_than_its_density_and_the_floor(count: int) -> None:
    most = np.log2(TOTAL / (TOTAL - count))
    assert most == pytest.approx({1024: 0.0227, 4096: 0.0931, 16384: 0.4150}[count], abs=1e-4)
    for density in densities(64):
        sizes = np.diff(cut(density, count))
        # What the density gives each word, in the same integers but without the floor.
        position = np.arange(count + 1) * 64
        below, rest = position // count, position % count
        above = np.minimum(below + 1, 64)
        wanted = np.diff(density[below] + (density[above] - density[below]) * rest // count)
        possible = wanted > 0
        assert (np.log2(wanted[possible] / sizes[possible]) < most).all()
        assert (sizes[~possible] >= 1).all()  # 16 bits at most


def test_all_mass_in_one_bin() -> None:
    # The worst for the coder: every word has one count, or nearly all of them.
    model = small_model(2, (WIDEST,))
    density = np.zeros_like(model.density)
    density[..., 7], density[..., 0] = TOTAL - 1, 1
    coder = coder_of(replace(model, density=density, relative=model.relative * np.uint8(0)), WIDEST)
    rng = np.random.default_rng(0)
    present = np.array(WIDEST) > 1
    inside = rng.integers(7 * 1024, 8 * 1024, (50, 1, 5)) * present
    outside = rng.choice([0, 16383, 7 * 1024 - 1, 8 * 1024], (50, 1, 5)) * present
    for tokens, bits in ((inside, 10 + np.log2(4 / 3)), (outside, 16)):
        data = coder.encode(tokens)
        assert np.array_equal(coder.decode(data, 50, 1), tokens)
        assert len(data) * 8 / 200 == pytest.approx(bits, abs=0.1)


@pytest.mark.parametrize("count", [2, 16, 63, 1024, 1025, 4096, 5003, 16384])
@pytest.mark.parametrize("bins", [16, 64, 512])
def test_the_fit_takes_symbols_to_cost_what_the_tables_say(count: int, bins: int) -> None:
    rng = np.random.default_rng(0)
    density = np.exp(rng.normal(0, 1.5, bins))
    cumulative = np.append(0, np.rint(np.cumsum(density / density.sum()) * TOTAL).astype(np.int64))
    alphabets = Alphabets((1, count), bins)
    table = torch.from_numpy(np.diff(cumulative) / TOTAL).float() @ alphabets.cut
    likely = torch.zeros(1, count)
    for column, weight in alphabets.columns(torch.arange(count)[None]):
        likely += table[column] * (1 if weight is None else weight)
    sizes = (likely * alphabets.kept())[0].double().numpy() * TOTAL + 1
    assert np.abs(np.diff(cut(cumulative, count)) - sizes).max() < 2.5  # roundings of integers
    assert sizes.sum() == pytest.approx(TOTAL, rel=1e-5)


def skewed(levels: tuple[int, ...], frames: int, seed: int) -> np.ndarray:
    """Words as sorted by use, some much likelier than others, whose first group tells how far the others reach."""
    rng = np.random.default_rng(seed)
    place = rng.random((frames, len(levels))) ** 2
    place[:, 1:] = place[:, 1:] ** np.where(place[:, :1] < 0.2, 3, 1)
    tokens: np.ndarray = (place * levels).astype(np.int64)
    return tokens


@pytest.mark.parametrize("count", [4096, 16384])
def test_fitted_tables_cost_what_the_fit_said(count: int) -> None:
    levels = (count, count, 1, count)
    told: list[float] = []
    quick = FitSettings(hidden=16, deep=8, cells=16, bins=64, steps=400, batch=256, check_every=100)
    data = {levels: [skewed(levels, 500, seed) for seed in range(30)]}
    model = fit_entropy_model(data, quick, lambda _, bits: told.append(bits))
    coder = coder_of(model, levels)
    frames = 200
    fresh = [skewed(levels, frames, 1000 + seed) for seed in range(5)]
    size = 0
    for tokens in fresh:
        data_bytes = coder.encode(tokens[:, None])
        assert np.array_equal(coder.decode(data_bytes, frames, 1)[:, 0], tokens)
        size += len(data_bytes)
    bits = 8 * size / (frames * len(fresh))
    assert bits == pytest.approx(min(told), rel=0.01)
    assert bits < 0.98 * 3 * np.log2(count)


def test_lists_are_kept_for_few_levels_alone() -> None:
    model = small_model(0, ((LISTED_LEVELS, 3, 1, 1025, 2),))
    coder = ReferenceCoder(model, 0)
    tokens = np.random.default_rng(0).integers(0, model.settings[0], (40, 1, 5))
    assert np.array_equal(coder.decode(coder.encode(tokens), 40, 1), tokens)
    assert coder._rows[1024]
    assert not coder._rows[1025]
