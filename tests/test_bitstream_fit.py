"""Fitted tables save bits on data they have not seen, and never make a stream much longer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audiocodec.bitstream.fit import FitSettings, fit_entropy_model
from audiocodec.bitstream.fitnet import code_length, initial_parameters
from audiocodec.errors import DataError

QUICK = FitSettings(hidden=16, cells=16, bins=16, steps=250, batch=128, check_every=50)


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


def saving(model: object, levels: tuple[int, ...], sequences: list[np.ndarray]) -> float:
    coder = model.for_levels(levels)  # type: ignore[attr-defined]
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
    quick = FitSettings(hidden=4, cells=8, bins=8, steps=20, batch=16)
    assert fit_entropy_model(data, quick).to_bytes() == fit_entropy_model(data, quick).to_bytes()


@pytest.mark.parametrize("levels", [(9, 4, 1), (9, 5000, 1), (16384, 4096, 1)])
def test_gradients_match_differences(levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    params = initial_parameters(2, 3, 5, 8, rng)
    for name, value in params.items():
        # Away from the start, where many gradients vanish.
        params[name] = (value + rng.normal(0, 0.5, value.shape)).astype(np.float32)
    n = 40
    coded = rng.integers(0, levels, (n, 3))
    context, current = rng.normal(size=(n, 9)).astype(np.float32), rng.normal(size=(n, 3, 2)).astype(np.float32)
    batch = (coded, context, current, (rng.random(n) < 0.5).astype(np.float32), levels)
    _, gradients = code_length(params, 1, *batch, gradients=True)
    for name, gradient in gradients.items():
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        step = 3e-3
        costs = []
        for sign in (1, -1):
            moved = {k: v.copy() for k, v in params.items()}
            moved[name][place] += sign * step
            costs.append(code_length(moved, 1, *batch)[0])
        # code_length is in bits a symbol over all groups; its gradients in nats over the two present.
        numeric = (costs[0] - costs[1]) / (2 * step) * np.log(2) * 3 / 2
        assert numeric == pytest.approx(gradient[place], rel=0.05, abs=2e-4), name


def test_unusable_tokens_are_refused() -> None:
    with pytest.raises(DataError):
        fit_entropy_model({})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): []})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): [np.full((5, 2), 3)]})
    with pytest.raises(DataError):
        fit_entropy_model({(3, 3): [np.zeros((5, 2), int)], (3,): [np.zeros((5, 1), int)]})
