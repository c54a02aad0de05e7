"""The entropy network in floating point: its code length, and the gradients of it, for :mod:`fit` alone."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.rangecoder import TOTAL

F32 = npt.NDArray[np.float32]
Params = dict[str, F32]
Ints = npt.NDArray[np.int64]

# The table's grid while training: densities at 17 x 17 points, bilinear in the logits between them. They begin as
# normal distributions of the normal score with these centres and standard deviations.
_CENTRES = np.linspace(-2.2, 2.2, 17)
_WIDTHS = np.exp(np.linspace(-3.2, 1.0, 17))
UNITS = len(_CENTRES) - 1
_TABLE_SYMBOLS = 3000
# Up to here the count that each symbol keeps costs .02 bits at most, and the loss leaves it out, as it always has: the
# same tokens and seed shall give the same tables.
_FLOOR_ABOVE = 1024


def initial_parameters(settings: int, groups: int, hidden: int, bins: int, rng: np.random.Generator) -> Params:
    """Parameters under which every index is equally likely."""
    score, cdf = NormalDist().inv_cdf, np.vectorize(NormalDist().cdf)
    edges = np.array([-np.inf, *(score(k / bins) for k in range(1, bins)), np.inf])
    density = np.diff(cdf((edges - _CENTRES[:, None, None]) / _WIDTHS[None, :, None]), axis=-1)
    # Outputs start at the middle centre and at width 1: the normal score's own density, that is, uniform.
    offset = np.array([UNITS / 2, float(np.interp(0.0, np.log(_WIDTHS), np.arange(UNITS + 1)))])
    params = {
        "history": rng.normal(0, (3 * groups) ** -0.5, (3 * groups, hidden)),
        "current": rng.normal(0, 0.1, (groups, 2, hidden)),
        "readout": rng.normal(0, 0.02, (groups, hidden, 2)),
        "hidden_bias": np.zeros((settings, hidden)),
        "start_bias": np.zeros(hidden),
        "start_output_bias": np.zeros((groups, 2)),
        "output_bias": np.broadcast_to(offset, (settings, groups, 2)),
        "logits": np.log(density * 0.99 + 0.01 / bins).reshape(-1, bins),
    }
    return {name: np.array(value, dtype=np.float32) for name, value in params.items()}


def code_length(
    params: Params,
    setting: int,
    coded: Ints,
    context: F32,
    current: F32,
    start: F32,
    levels: tuple[int, ...],
    gradients: bool = False,
) -> tuple[float, Params]:
    """Mean bits a symbol over a batch, and the gradients of its natural-log twin.

    ``coded [n, groups]`` (indices, or their changes in relative groups), ``context [n, 3 * groups]``,
    ``current [n, groups, 2]``, ``start [n]``.
    """
    sums = context @ params["history"] + params["hidden_bias"][setting] + start[:, None] * params["start_bias"]
    groups = len(levels)
    present = [group for group in range(groups) if levels[group] > 1]
    if not present:
        return 0.0, {name: np.zeros_like(value) for name, value in params.items()}
    outputs = np.empty((len(coded), len(present), 2), dtype=np.float32)
    hiddens = []
    for place, group in enumerate(present):
        hidden = np.maximum(sums, 0)
        hiddens.append(hidden)
        outputs[:, place] = hidden @ params["readout"][group] + params["output_bias"][setting, group]
        sums = sums + current[:, group] @ params["current"][group]
    outputs += start[:, None, None] * params["start_output_bias"][present]
    counts = np.broadcast_to(np.array([levels[group] for group in present]), outputs.shape[:2])
    loss, d_outputs, d_logits = _table_loss(
        params["logits"], outputs.reshape(-1, 2), coded[:, present].reshape(-1), counts.reshape(-1), gradients
    )
    bits = loss / float(np.log(2)) * len(present) / groups
    if not gradients:
        return bits, {}
    result = {name: np.zeros_like(value) for name, value in params.items() if name != "logits"} | {"logits": d_logits}
    d_out = d_outputs.reshape(outputs.shape)
    d_sums = np.zeros_like(sums)
    for place, group in reversed(list(enumerate(present))):
        result["current"][group] = current[:, group].T @ d_sums
        result["readout"][group] = hiddens[place].T @ d_out[:, place]
        result["output_bias"][setting, group] = d_out[:, place].sum(axis=0)
        d_sums += (d_out[:, place] @ params["readout"][group].T) * (hiddens[place] > 0)
    result["start_output_bias"][present] = np.tensordot(start, d_out, axes=1)
    result["history"] = context.T @ d_sums
    result["hidden_bias"][setting] = d_sums.sum(axis=0)
    result["start_bias"] = start @ d_sums
    return bits, result


def _table_loss(logits: F32, outputs: F32, symbols: Ints, counts: Ints, gradients: bool) -> tuple[float, F32, F32]:
    # Mean negative log probability; gradients in the outputs [n, 2] and in the logits [17 * 17, bins].
    rows, bins = np.arange(len(outputs)), logits.shape[1]
    at = np.clip(outputs, 0, UNITS - 1e-3)
    whole = at.astype(np.int64)
    part = (at - whole).astype(np.float32)
    corner = whole[:, 0] * (UNITS + 1) + whole[:, 1]
    values = [logits[corner + step] for step in (0, 1, UNITS + 1, UNITS + 2)]
    down, right = part[:, :1], part[:, 1:]
    near, far = values[1] - values[0], values[3] - values[2]
    twist = far - near
    near *= right
    near += values[0]
    far *= right
    far += values[2]
    far -= near  # from here on the slope along the first axis
    mixed = far * down
    mixed += near
    mixed -= mixed.max(axis=1, keepdims=True)
    density = np.exp(mixed, out=mixed)
    density /= density.sum(axis=1, keepdims=True)
    large = (counts > _FLOOR_ABOVE)[:, None]
    some_large = bool(large.any())
    joint = _overlap(symbols, counts, bins, large if some_large else None)
    joint *= density
    likely = joint.sum(axis=1)
    if some_large:
        # One count of each symbol, out of 65536, does not depend on the density.
        kept = np.where(large[:, 0], 1 - counts / TOTAL, 1).astype(np.float32)
        joint *= kept[:, None]
        likely *= kept
        density_part = likely.copy()
        likely += np.where(large[:, 0], np.float32(1 / TOTAL), 0)
    loss = float(-np.log(likely + 1e-12).mean())
    if not gradients:
        return loss, outputs, logits
    joint /= likely[:, None] + np.float32(1e-12)
    if some_large:
        # Those of large alphabets are never below the one count; others can be 0.
        share = density_part / np.maximum(likely, np.float32(1 / TOTAL))
        density *= np.where(large, share[:, None], 1)
    d_mixed = np.subtract(density, joint, out=density)
    d_mixed /= np.float32(len(rows))
    d_outputs = np.empty_like(outputs)
    d_outputs[:, 0] = np.einsum("nb,nb->n", far, d_mixed)
    twist *= down
    twist += values[1]
    twist -= values[0]  # now the slope along the second axis
    d_outputs[:, 1] = np.einsum("nb,nb->n", twist, d_mixed)
    d_outputs *= (outputs == at) | ((outputs < at) == (d_outputs < 0))  # outside the grid, only steps back into it
    # A part of the symbols is enough for the table, which few parameters share; drawn anew by the batch's own order.
    few = rows[:: max(1, len(rows) // _TABLE_SYMBOLS)]
    weights = _corner_weights(corner[few], down[few], right[few], len(logits))
    return loss, d_outputs, weights.T @ d_mixed[few] * np.float32(len(rows) / len(few))


def _overlap(symbols: Ints, counts: Ints, bins: int, large: npt.NDArray[np.bool_] | None) -> F32:
    """How much of each bin lies within the symbol's own interval of [0, 1]: ``[n, bins]``, in bins."""
    width = (bins / counts).astype(np.float32)[:, None]
    low, edges = symbols.astype(np.float32)[:, None] * width, np.arange(bins, dtype=np.float32)
    if large is not None:
        # Such intervals are narrow: measured from the bin that they begin in, where float32 resolves them.
        whole, rest = np.divmod(symbols * bins, counts)
        low = np.where(large, (rest / counts).astype(np.float32)[:, None], low)
        edges = edges - np.where(large, whole.astype(np.float32)[:, None], 0)
    joint: F32 = np.minimum(edges + 1, low + width)
    joint -= np.maximum(edges, low)
    return np.maximum(joint, 0, out=joint)


def _corner_weights(corner: Ints, down: F32, right: F32, size: int) -> F32:
    """Share of each grid point in the bilinear mixture of each row: ``[n, size]``."""
    weights = np.zeros((len(corner), size), dtype=np.float32)
    for step, weight in zip(
        (0, 1, UNITS + 1, UNITS + 2),
        ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right),
        strict=True,
    ):
        weights[np.arange(len(corner)), corner + step] = weight[:, 0]
    return weights


def grid_density(logits: F32, cells: int) -> npt.NDArray[np.float64]:
    """The table at the middles of ``cells`` by ``cells`` cells: densities [cells, cells, bins]."""
    bins = logits.shape[1]
    grid = logits.astype(np.float64).reshape(UNITS + 1, UNITS + 1, bins)
    at = (np.arange(cells) + 0.5) * UNITS / cells
    whole = at.astype(np.int64)
    part = (at - whole)[:, None, None]
    grid = grid[whole] * (1 - part) + grid[whole + 1] * part
    part = part.transpose(1, 0, 2)
    grid = grid[:, whole] * (1 - part) + grid[:, whole + 1] * part
    density = np.exp(grid - grid.max(axis=-1, keepdims=True))
    result: npt.NDArray[np.float64] = density / density.sum(axis=-1, keepdims=True)
    return result


class Adam:
    """Adam (arXiv 1412.6980, algorithm 1) over a dictionary of arrays, in place."""

    def __init__(self, params: Params) -> None:
        self._first = {name: np.zeros_like(value) for name, value in params.items()}
        self._second = {name: np.zeros_like(value) for name, value in params.items()}
        self._steps = 0

    def step(self, params: Params, gradients: Params, rate: float) -> None:
        """Move every parameter against its gradient."""
        self._steps += 1
        correct = (1 - 0.999**self._steps) ** 0.5 / (1 - 0.9**self._steps)
        for name, gradient in gradients.items():
            first, second = self._first[name], self._second[name]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            params[name] -= np.float32(rate * correct) * first / (np.sqrt(second) + 1e-8)
