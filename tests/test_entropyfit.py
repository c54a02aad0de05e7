"""Fitted tables save bits on data they have not seen, and never make a stream much longer."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.history import packet_history
from audiocodec.errors import DataError
from audiocodec.train.entropydata import setting_frames
from audiocodec.train.entropyfit import FitSettings, fit_entropy_model
from audiocodec.train.entropynet import Alphabets, Batch, EntropyNet

QUICK = FitSettings(hidden=16, deep=8, cells=16, bins=16, steps=250, batch=128, check_every=50)


def process(frames: int, seed: int, dims: int = 6) -> np.ndarray:
    """A Gaussian process correlated in time and across dimensions, mapped to (0, 1): [frames, dims]."""
    rng = np.random.default_rng(seed)
    mix = np.eye(dims) + 0.5 * np.random.default_rng(0).normal(size=(dims, dims)) / dims**0.5
    values = np.zeros((frames, dims))
    state = np.zeros(dims)
    for frame in range(frames):
        state = 0.85 * state + (1 - 0.85**2) ** 0.5 * rng.normal(size=dims)
        values[frame] = state
    return (np.tanh(values @ mix * 0.8) + 1) / 2


def tokens(levels: tuple[int, ...], count: int, seed: int) -> list[np.ndarray]:
    return [np.floor(process(300, seed + i) * levels).astype(np.int64) for i in range(count)]


def saving(model: EntropyModel, levels: tuple[int, ...], sequences: list[np.ndarray]) -> float:
    coder = model.for_levels(levels)
    assert coder is not None
    size = sum(len(coder.encode(sequence[:, None])) for sequence in sequences)
    return 1 - 8 * size / (np.log2(levels).sum() * sum(map(len, sequences)))


def test_correlated_tokens_shrink() -> None:
    few, many = (3,) * 6, (17, 9, 9, 5, 1, 2)
    model = fit_entropy_model({few: tokens(few, 20, 0), many: tokens(many, 20, 0)}, QUICK)
    assert set(model.settings) == {few, many}
    assert saving(model, few, tokens(few, 4, 1000)) > 0.10
    assert saving(model, many, tokens(many, 4, 1000)) > 0.10


def test_tokens_without_structure_cost_what_they_hold() -> None:
    levels = (9,) * 4
    rng = np.random.default_rng(0)
    model = fit_entropy_model({levels: [rng.integers(0, 9, (100, 4)) for _ in range(5)]}, replace(QUICK, cells=32))
    assert saving(model, levels, [rng.integers(0, 9, (400, 4))]) > -0.01


def test_a_wandering_group_is_coded_by_its_changes() -> None:
    levels = (64, 3)
    rng = np.random.default_rng(0)

    def walk() -> np.ndarray:
        steps = rng.choice([-1, 0, 0, 0, 1], 400)
        return np.stack([(rng.integers(64) + np.cumsum(steps)) % 64, rng.integers(0, 3, 400)], axis=1)

    model = fit_entropy_model({levels: [walk() for _ in range(10)]}, QUICK)
    assert model.relative.tolist() == [[1, 0]]
    assert saving(model, levels, [walk() for _ in range(3)]) > 0.2


def test_the_same_seed_gives_the_same_tables() -> None:
    levels = (5, 3)
    data = {levels: [np.floor(process(60, 1, 2) * levels).astype(int)]}
    quick = FitSettings(hidden=4, deep=4, cells=8, bins=8, steps=20, batch=16)
    assert fit_entropy_model(data, quick).to_bytes() == fit_entropy_model(data, quick).to_bytes()


def random_net(settings: int, groups: int, bins: int = 8) -> EntropyNet:
    net = EntropyNet(settings, groups, kinds=3, hidden=5, deep=4, bins=bins, seed=0)
    torch.manual_seed(0)
    for value in net.parameters():
        # Away from the start, where many gradients vanish, and not so far that outputs leave the grid, beyond whose
        # edges gradients lead back and are not those of the loss.
        value.data += 0.3 * torch.randn_like(value)
    return net


def random_batch(levels: tuple[int, ...], n: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    present = [count for count in levels if count > 1]
    coded = np.stack([rng.integers(0, count, n) for count in present])
    context, current = rng.normal(size=(n, 3 * len(levels))), rng.normal(size=(len(present), n, 2))
    start = (rng.random(n) < 0.5).astype(np.float32)
    return Batch(
        torch.from_numpy(context.astype(np.float32)),
        torch.from_numpy(current.astype(np.float32)),
        torch.from_numpy(coded),
        torch.from_numpy(start),
    )


@pytest.mark.parametrize("levels", [(9, 4, 1), (9, 5000, 1), (16384, 4096, 1)])
def test_gradients_match_differences(levels: tuple[int, ...]) -> None:
    net, single, alphabets = random_net(2, 3).double(), random_batch(levels, 40), Alphabets(levels, 8)
    batch = Batch(single.context.double(), single.current.double(), single.coded, single.start.double())
    net(1, batch, alphabets).backward()
    for name, value in net.named_parameters():
        gradient = value.grad.numpy()
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        costs = []
        for sign in (1, -1):
            value.data[place] += sign * 1e-6
            costs.append(net(1, batch, alphabets).item())
            value.data[place] -= sign * 1e-6
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(gradient[place], rel=1e-3, abs=1e-5), name


def test_a_symbol_without_probability_has_a_finite_gradient() -> None:
    net, levels = random_net(1, 2, bins=16), (16, 4096)
    net.logits.data[..., :8] = -1e4
    batch = random_batch(levels, 6)
    net(0, Batch(batch.context[:, :6], batch.current, batch.coded * 0, batch.start), Alphabets(levels, 16)).backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in net.parameters())


def test_what_the_fit_reads_of_the_past_is_what_the_coder_reads() -> None:
    levels, rng = (9, 5, 1, 33), np.random.default_rng(0)
    sequences = [rng.integers(0, levels, (length, 4)) for length in (500, 1, 70)]
    frames = setting_frames(levels, np.zeros(4, bool), sequences, 8, rng)
    seen = frames.features[np.arange(4), frames.symbols].astype(np.int64).transpose(0, 2, 1)
    edges = [*np.flatnonzero(frames.age == 0).tolist(), len(frames)]
    assert {0, 500, 501} < set(edges)
    for first, last in pairwise(edges):
        read = frames.history(np.arange(first, last))
        assert np.array_equal(read, packet_history(seen[first:last], 8))


def test_a_model_without_a_choice_costs_nothing() -> None:
    model = fit_entropy_model({(1, 1): [np.zeros((50, 2), int)]}, replace(QUICK, steps=3))
    coder = model.for_levels((1, 1))
    assert coder is not None
    assert coder.encode(np.zeros((5, 1, 2), int)) == b""


def test_unusable_tokens_are_refused() -> None:
    with pytest.raises(DataError):
        fit_entropy_model({})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): []})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): [np.full((5, 2), 3)]})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): [np.zeros((5, 2), int)], (3,): [np.zeros((5, 1), int)]})
