"""Fits the entropy model's integer tables to tokens of the training data.

The network and the density table are trained together by gradient descent on the code length itself. A tenth of the
sequences is held out; the state that codes *them* in the fewest bits is the one that is kept, and since training starts
from uniform densities, the result is never worse on them than no model at all but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from audiocodec.bitstream.entropy import DeepLayer, EntropyModel
from audiocodec.bitstream.history import Ints
from audiocodec.bitstream.rangecoder import TOTAL
from audiocodec.bitstream.symbolcoder import DEEP_SHIFT, OUTPUT_SHIFT
from audiocodec.errors import DataError
from audiocodec.train.entropydata import KINDS, SCALE, SettingFrames, checked, choose_relative, setting_frames
from audiocodec.train.entropynet import UNITS, EntropyNet, grid_density

Progress = Callable[[int, float], None]
State = dict[str, torch.Tensor]

_PROBE_FRAMES = 8192  # of held-out data, all settings together, at each check
_HIDDEN_SHIFT = 10  # fraction bits of the weights into the hidden layer
# 7 = log2(SCALE): fractions of features, weights and readout add up. Those of deep units are the features' own.
_READOUT_SHIFT = OUTPUT_SHIFT - _HIDDEN_SHIFT - 7


@dataclass(frozen=True)
class FitSettings:
    """How long and how large.

    ``steps`` of ``batch`` frames each, or fewer when ``seconds`` of wall clock run out first; without ``seconds`` the
    same tokens and seed give the same tables on the same machine. ``max_frames``: of each setting.
    """

    hidden: int = 128
    deep: int = 128
    cells: int = 64
    bins: int = 64
    steps: int = 12_000
    batch: int = 256
    rate: float = 4e-3
    seconds: float | None = None
    max_frames: int = 100_000
    held_out: float = 0.1
    check_every: int = 500
    seed: int = 0


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
        first, second = _split(checked(row, tokens[key]), settings, rng)
        relative = choose_relative(row, first)
        train.append(setting_frames(row, relative, first, settings.bins, rng))
        held.append(setting_frames(row, relative, second, settings.bins, rng))
    size = (KINDS, settings.hidden, settings.deep, settings.bins)
    net = EntropyNet(len(levels), len(levels[0]), *size, seed=settings.seed)
    net.load_state_dict(_train(net, train, held, settings, rng, progress))
    return _quantise(net, levels, np.array([frames.relative for frames in train]), settings)


def _split(sequences: list[Ints], settings: FitSettings, rng: np.random.Generator) -> tuple[list[Ints], list[Ints]]:
    order = [sequences[i] for i in rng.permutation(len(sequences))]
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


def _train(
    net: EntropyNet,
    train: list[SettingFrames],
    held: list[SettingFrames],
    settings: FitSettings,
    rng: np.random.Generator,
    progress: Progress | None,
) -> State:
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.rate)
    probe = [frames.batch(_even_rows(len(frames), max(256, _PROBE_FRAMES // len(held)))) for frames in held]
    best, best_bits = _copy(net), float("inf")
    for step, done in _progress(settings):
        if step % settings.check_every == 0 or done >= 1:
            with torch.no_grad():
                bits = float(np.mean([float(net(i, probe[i], held[i].alphabets)) for i in range(len(held))]))
            if bits < best_bits:
                best, best_bits = _copy(net), bits
            if progress is not None:
                progress(step, bits)
        if done >= 1:
            break
        which = int(rng.integers(len(train)))
        batch = train[which].batch(rng.integers(len(train[which]), size=settings.batch))
        optimiser.param_groups[0]["lr"] = settings.rate * max(0.02, 1.0 - done)
        optimiser.zero_grad()
        net(which, batch, train[which].alphabets).backward()
        optimiser.step()
    return best


def _progress(settings: FitSettings) -> Iterator[tuple[int, float]]:
    """Numbers of steps, and how much of the time is over: from 0 to 1, which comes once."""
    started, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        spent = 0.0 if settings.seconds is None else (time.monotonic() - started) / settings.seconds
        done = max(step / settings.steps, spent)
        yield step, done
        step += 1


def _copy(net: EntropyNet) -> State:
    return {name: value.clone() for name, value in net.state_dict().items()}


def _even_rows(count: int, wanted: int) -> Ints:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _quantise(
    net: EntropyNet, levels: list[tuple[int, ...]], relative: npt.NDArray[np.bool_], settings: FitSettings
) -> EntropyModel:
    groups, hidden = len(levels[0]), settings.hidden
    values = {name: value.double().numpy() for name, value in net.state_dict().items()}
    scale = settings.cells / UNITS
    weight, sums, readout = 2.0**_HIDDEN_SHIFT, SCALE * 2.0**_HIDDEN_SHIFT, scale * 2.0**_READOUT_SHIFT
    outputs = scale * 2.0**OUTPUT_SHIFT
    density = grid_density(torch.from_numpy(values["logits"]), settings.cells).numpy()
    return EntropyModel(
        levels=np.array(levels, dtype=np.uint16),
        relative=relative.astype(np.uint8),
        history=_round(values["history"].reshape(KINDS, groups, hidden) * weight, np.int16),
        current=_round(values["current"].transpose(1, 0, 2) * weight, np.int16),
        readout=_round(values["readout"].transpose(2, 0, 1) * readout, np.int16),
        hidden_bias=_round(values["hidden_bias"] * sums, np.int32),
        start_bias=_round(values["start_bias"] * sums, np.int32),
        start_output_bias=_round(values["start_output_bias"].T * outputs, np.int32),
        output_bias=_round(values["output_bias"].transpose(0, 2, 1) * outputs, np.int32),
        density=_integer_density(density),
        deep=DeepLayer(
            inputs=_round(values["deep_inputs"].reshape(KINDS, groups, settings.deep) * weight, np.int16),
            # Half a unit more, so that the shift rounds to the nearest.
            bias=_round(values["deep_bias"] * sums + (1 << DEEP_SHIFT) / 2, np.int32),
            outputs=_round(values["deep_outputs"] * weight, np.int16),
        ),
    )


def _round(values: npt.NDArray[np.float64], dtype: type[np.signedinteger]) -> npt.NDArray:
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def _integer_density(density: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    # Rounding the cumulative sums keeps every total exact; a width never reaches 65536, which uint16 cannot hold.
    bins = density.shape[-1]
    density = 0.9999 * density / density.sum(axis=-1, keepdims=True) + 0.0001 / bins
    cumulative = np.rint(np.cumsum(density, axis=-1) * TOTAL)
    cumulative[..., -1] = TOTAL
    return np.diff(cumulative, axis=-1, prepend=0).astype(np.uint16)
