"""Fits the entropy model's integer tables to tokens of the training data, in numpy.

The network and the density table are trained together by gradient descent on the code length itself. While training,
the table is a coarse grid of logits, interpolated bilinearly, which keeps it smooth: over-fitted tables cost bits. A
tenth of the sequences is held out; the state that codes *them* in the fewest bits is the one that is kept, and since
training starts from uniform densities, the result is never worse on them than no model at all but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.fitnet import F32, UNITS, Adam, Params, code_length, grid_density, initial_parameters
from audiocodec.bitstream.rangecoder import TOTAL
from audiocodec.bitstream.symbolcoder import OUTPUT_SHIFT, Ints, spread_average, symbol_features
from audiocodec.errors import DataError

Progress = Callable[[int, float], None]

_PROBE_FRAMES = 8192  # of held-out data, all settings together, at each check
_SCALE = 128.0  # features in training are the integers over this: about unit variance
# Found with speech tokens: the change of a pitch (64 levels) is 2.4 bits more certain than its value, and coding it
# saves 0.9 bits a frame over coding the value in context; for envelopes (1.5 bits) the value in context is as good.
RELATIVE_LEVELS = 16
RELATIVE_BITS = 1.8
_HIDDEN_SHIFT = 10  # fraction bits of the weights into the hidden layer
_READOUT_SHIFT = OUTPUT_SHIFT - _HIDDEN_SHIFT - 7  # 7 = log2(_SCALE): fractions of features, weights and readout add up


@dataclass(frozen=True)
class FitSettings:
    """How long and how large: ``steps`` of ``batch`` frames, or fewer when ``seconds`` (wall clock) run out first."""

    hidden: int = 64
    cells: int = 32
    bins: int = 64
    steps: int = 4000
    batch: int = 256
    rate: float = 4e-3
    seconds: float | None = None
    max_frames: int = 400_000
    held_out: float = 0.1
    check_every: int = 500
    seed: int = 0


@dataclass(frozen=True)
class _Corpus:
    """One rate setting's frames, cut at random into packets: coded symbols and what the model knows beforehand."""

    levels: tuple[int, ...]
    relative: npt.NDArray[np.bool_]  # [groups]
    symbols: npt.NDArray[np.uint16]  # [frames, groups]
    slow: npt.NDArray[np.int16]  # [frames, groups]
    start: npt.NDArray[np.bool_]  # [frames], first of its packet
    features: npt.NDArray[np.int16] = field(init=False)  # [groups, most levels, 2]

    def __post_init__(self) -> None:
        table = np.zeros((len(self.levels), max(self.levels), 2), dtype=np.int16)
        for group, rows in enumerate(symbol_features(self.levels)):
            table[group, : len(rows)] = rows
        object.__setattr__(self, "features", table)

    def batch(self, rows: Ints) -> tuple[Ints, F32, F32, F32]:
        """What is coded [n, groups], context [n, 3 * groups], current features [n, groups, 2] and start flags [n]."""
        groups = np.arange(len(self.levels))
        start = self.start[rows]
        before = self.features[groups, self.symbols[rows - 1]]
        context = np.stack([before[..., 0], before[..., 1], self.slow[rows]], axis=1).reshape(len(rows), -1)
        context[start] = 0
        symbols = self.symbols[rows].astype(np.int64)
        current = self.features[groups, symbols]
        middle = np.array(self.levels) // 2
        previous = np.where(start[:, None], middle, self.symbols[rows - 1].astype(np.int64))
        coded = np.where(self.relative, (symbols - previous + middle) % np.array(self.levels), symbols)
        return coded, context / np.float32(_SCALE), current / np.float32(_SCALE), start.astype(np.float32)


def fit_entropy_model(
    tokens: Mapping[Sequence[int], Sequence[Ints]],
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> EntropyModel:
    """Fit one model to the tokens of every rate setting.

    ``tokens`` maps a setting's levels (a tuple of as many counts as there are groups) to its sequences, integer arrays
    [frames, groups] of single channels. ``progress(step, bits per frame on held-out data)`` is called at each check.
    Raises DataError when a setting has no frames, or when the settings differ in their number of groups.
    """
    settings = settings or FitSettings()
    rng = np.random.default_rng(settings.seed)
    levels = [tuple(int(count) for count in key) for key in tokens]
    if not levels or len({len(row) for row in levels}) != 1:
        raise DataError("entropy tables need tokens of one setting at least, all with the same number of groups")
    train, held = [], []
    for key, row in zip(tokens, levels, strict=True):
        first, second = _split(tokens[key], settings, rng)
        relative = _choose_relative(row, first)
        train.append(_prepare(row, relative, first, rng))
        held.append(_prepare(row, relative, second, rng))
    params = initial_parameters(len(levels), len(levels[0]), settings.hidden, settings.bins, rng)
    params = _train(params, train, held, settings, rng, progress)
    return _quantise(params, levels, np.array([corpus.relative for corpus in train]), settings)


def _split(sequences: Sequence[Ints], settings: FitSettings, rng: np.random.Generator) -> tuple[list[Ints], list[Ints]]:
    order = [np.asarray(sequences[i]) for i in rng.permutation(len(sequences)) if len(sequences[i])]
    if not order:
        raise DataError("no frames to fit entropy tables to")
    if len(order) == 1:  # hold out the end of a single sequence
        order = list(np.array_split(order[0], 10)) if len(order[0]) >= 10 else order * 2
    total = sum(map(len, order))
    parts: tuple[list[Ints], list[Ints]] = ([], [])
    held = kept = 0
    for sequence in order:
        if held < settings.held_out * min(total, settings.max_frames):
            parts[1].append(sequence)
            held += len(sequence)
        elif kept < settings.max_frames:
            parts[0].append(sequence)
            kept += len(sequence)
    return (parts[0] or parts[1]), parts[1]


def _choose_relative(levels: tuple[int, ...], sequences: list[Ints]) -> npt.NDArray[np.bool_]:
    """Groups of many levels whose change from frame to frame is much more certain than their value."""
    chosen = np.zeros(len(levels), dtype=bool)
    for group, count in enumerate(levels):
        if count >= RELATIVE_LEVELS:
            values = np.concatenate([sequence[1:, group] for sequence in sequences])
            changes = np.concatenate([np.diff(sequence[:, group]) for sequence in sequences]) % count
            chosen[group] = _entropy(values, count) - _entropy(changes, count) > RELATIVE_BITS
    return chosen


def _entropy(values: Ints, count: int) -> float:
    share = (np.bincount(values, minlength=count) + 0.1) / (len(values) + 0.1 * count)
    return float(-(share * np.log2(share)).sum())


def _prepare(
    levels: tuple[int, ...], relative: npt.NDArray[np.bool_], sequences: list[Ints], rng: np.random.Generator
) -> _Corpus:
    symbols = np.concatenate(sequences)
    if symbols.ndim != 2 or symbols.shape[1] != len(levels) or (symbols < 0).any() or (symbols >= levels).any():
        raise DataError(f"tokens of shape {symbols.shape} do not fit levels {levels}")
    start = np.zeros(len(symbols), dtype=bool)
    start[np.cumsum([0] + [len(sequence) for sequence in sequences[:-1]])] = True
    # Packets of 1 to 200 frames, their lengths drawn evenly in the logarithm: about 3 in 100 frames begin one.
    lengths = np.exp(rng.uniform(0, np.log(200), len(symbols))).astype(np.int64)
    cuts = np.cumsum(lengths)
    start[cuts[cuts < len(symbols)]] = True
    tables = symbol_features(levels)
    spread = np.stack([tables[group][symbols[:, group], 1] for group in range(len(levels))], axis=1)
    slow = np.zeros_like(spread)
    edges = np.append(np.flatnonzero(start), len(symbols))
    for first, last in pairwise(edges):
        slow[first:last] = spread_average(spread[first:last])
    return _Corpus(levels, relative, symbols.astype(np.uint16), slow.astype(np.int16), start)


def _train(
    params: Params,
    train: list[_Corpus],
    held: list[_Corpus],
    settings: FitSettings,
    rng: np.random.Generator,
    progress: Progress | None,
) -> Params:
    started = time.monotonic()
    optimiser = Adam(params)
    best, best_bits = params, float("inf")
    probe = [corpus.batch(_even_rows(len(corpus.symbols), max(256, _PROBE_FRAMES // len(held)))) for corpus in held]
    step = 0
    while True:
        spent = 0.0 if settings.seconds is None else (time.monotonic() - started) / settings.seconds
        done = max(step / settings.steps, spent)
        if step % settings.check_every == 0 or done >= 1:
            costs = [code_length(params, i, *probe[i], held[i].levels)[0] for i in range(len(held))]
            bits = float(np.mean(costs)) * len(held[0].levels)
            if bits < best_bits:
                best, best_bits = {name: value.copy() for name, value in params.items()}, bits
            if progress is not None:
                progress(step, bits)
        if done >= 1:
            return best
        which = int(rng.integers(len(train)))
        rows = rng.integers(len(train[which].symbols), size=settings.batch)
        batch = train[which].batch(rows)
        _, gradients = code_length(params, which, *batch, train[which].levels, gradients=True)
        optimiser.step(params, gradients, settings.rate * max(0.02, 1.0 - done))
        step += 1


def _even_rows(count: int, wanted: int) -> Ints:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _quantise(
    params: Params, levels: list[tuple[int, ...]], relative: npt.NDArray[np.bool_], settings: FitSettings
) -> EntropyModel:
    groups, hidden = len(levels[0]), settings.hidden
    scale = settings.cells / UNITS
    weight, sums, readout = 2.0**_HIDDEN_SHIFT, _SCALE * 2.0**_HIDDEN_SHIFT, scale * 2.0**_READOUT_SHIFT
    return EntropyModel(
        levels=np.array(levels, dtype=np.uint16),
        relative=relative.astype(np.uint8),
        history=_round(params["history"].reshape(3, groups, hidden) * weight, np.int16),
        current=_round(params["current"].transpose(1, 0, 2) * weight, np.int16),
        readout=_round(params["readout"].transpose(2, 0, 1) * readout, np.int16),
        hidden_bias=_round(params["hidden_bias"] * sums, np.int32),
        start_bias=_round(params["start_bias"] * sums, np.int32),
        start_output_bias=_round(params["start_output_bias"].T * (scale * 2.0**OUTPUT_SHIFT), np.int32),
        output_bias=_round(params["output_bias"].transpose(0, 2, 1) * (scale * 2.0**OUTPUT_SHIFT), np.int32),
        density=_integer_density(grid_density(params["logits"], settings.cells)),
    )


def _round(values: F32, dtype: type[np.signedinteger]) -> npt.NDArray:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)


def _integer_density(density: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    # Rounding the cumulative sums keeps every total exact; a width never reaches 65536, which uint16 cannot hold.
    bins = density.shape[-1]
    density = 0.999 * density / density.sum(axis=-1, keepdims=True) + 0.001 / bins
    cumulative = np.rint(np.cumsum(density, axis=-1) * TOTAL)
    cumulative[..., -1] = TOTAL
    return np.diff(cumulative, axis=-1, prepend=0).astype(np.uint16)
