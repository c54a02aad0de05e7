"""The entropy network of SPEC.md, section 7, in floating point: the code length that :mod:`entropyfit` descends.

The density table is a coarse grid of logits while it is trained, which keeps it smooth: over-fitted tables cost bits.
From the grid follow densities at finer points, from those the probability of each symbol of each alphabet, once for
all frames of a batch; a symbol then looks up four numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocodec.bitstream.rangecoder import TOTAL

# The grid: densities at 17 x 17 points. They begin as normal distributions of the normal score with these centres and
# standard deviations.
_CENTRES = np.linspace(-2.2, 2.2, 17)
_WIDTHS = np.exp(np.linspace(-3.2, 1.0, 17))
UNITS = len(_CENTRES) - 1
# Densities are worked out at so many points of each axis, and are linear between them. Finer ones take longer and save
# nothing.
_POINTS = 32


@dataclass(frozen=True)
class Batch:
    """Frames of one setting; ``present`` are its groups of more than one level.

    ``context [n, kinds * groups]``, ``current [present, n, 2]`` (features over 128), ``coded [present, n]`` int64 and
    ``start [n]`` (1 for the first frame of a packet).
    """

    context: Tensor
    current: Tensor
    coded: Tensor
    start: Tensor


class Alphabets:
    """How the symbols of one setting cut a density of ``bins`` equal parts.

    ``columns`` of the matrix ``cut [bins, columns]`` are the intervals of symbols, for each level count of up to
    ``bins``; and single bins, of which a symbol of more levels touches two at most.
    """

    def __init__(self, levels: tuple[int, ...], bins: int) -> None:
        self.present = torch.tensor([group for group, count in enumerate(levels) if count > 1], dtype=torch.int64)
        counts = sorted({count for count in levels if count > 1})
        self.bins, self.large = bins, bool(counts) and counts[-1] > bins
        matrices = [np.eye(bins)] if self.large else []
        offsets = {}
        for count in counts:
            offsets[count] = 0 if count > bins else sum(matrix.shape[1] for matrix in matrices)
            if count <= bins:
                low, edges = np.arange(count) * bins / count, np.arange(bins)[:, None]
                matrices.append(np.clip(np.minimum(edges + 1, low + bins / count) - np.maximum(edges, low), 0, None))
        cut = np.concatenate(matrices, axis=1) if matrices else np.zeros((bins, 0))
        self.cut = torch.from_numpy(cut.astype(np.float32))
        known = [levels[group] for group in self.present.tolist()]
        self._counts = torch.tensor(known, dtype=torch.int64)[:, None]
        self._offsets = torch.tensor([offsets[count] for count in known], dtype=torch.int64)[:, None]

    def kept(self) -> Tensor:
        """The part of 65536 counts that a density shares out: every level keeps one for itself. ``[present, 1]``."""
        return 1 - self._counts.float() / TOTAL

    def columns(self, coded: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The columns of ``coded [present, n]``, and what to multiply each with (None: 1)."""
        if not self.large:
            return [(self._offsets + coded, None)]
        bins, counts = self.bins, self._counts
        whole = coded * bins // counts
        width = bins / counts
        # Measured from the bin that the interval begins in, where float32 resolves it.
        rest = (coded * bins - whole * counts).float() / counts
        first = torch.minimum(1 - rest, width)
        large = counts > bins
        return [
            (torch.where(large, whole, self._offsets + coded), torch.where(large, first, 1.0)),
            (torch.where(large, (whole + 1).clamp(max=bins - 1), 0), torch.where(large, width - first, 0.0)),
        ]


class EntropyNet(nn.Module):
    """Parameters under which, at first, every index is equally likely."""

    def __init__(self, settings: int, groups: int, kinds: int, hidden: int, deep: int, bins: int, seed: int) -> None:
        """``hidden`` units of the autoregressive layer, and ``deep`` ones between it and the past."""
        super().__init__()
        draw = np.random.default_rng(seed).normal
        # Outputs start at the middle centre and at width 1: the normal score's own density, that is, uniform.
        offset = np.array([UNITS / 2, float(np.interp(0.0, np.log(_WIDTHS), np.arange(UNITS + 1)))])
        self.history = _parameter(draw(0, (kinds * groups) ** -0.5, (kinds * groups, hidden)))
        self.deep_inputs = _parameter(draw(0, (kinds * groups) ** -0.5, (kinds * groups, deep)))
        self.deep_bias = _parameter(np.zeros((settings, deep)))
        self.deep_outputs = _parameter(draw(0, 0.1 * deep**-0.5, (deep, hidden)))
        self.current = _parameter(draw(0, 0.1, (groups, 2, hidden)))
        self.readout = _parameter(draw(0, 0.02, (groups, hidden, 2)))
        self.hidden_bias = _parameter(np.zeros((settings, hidden)))
        self.start_bias = _parameter(np.zeros(hidden))
        self.output_bias = _parameter(np.broadcast_to(offset, (settings, groups, 2)))
        self.start_output_bias = _parameter(np.zeros((groups, 2)))
        self.logits = _parameter(_initial_logits(bins))

    def forward(self, setting: int, batch: Batch, alphabets: Alphabets) -> Tensor:
        """Bits a frame, as a scalar: the mean over the batch."""
        present = alphabets.present
        if not len(present):
            return self.start_bias.sum() * 0
        sums = batch.context @ self.history + self.hidden_bias[setting] + batch.start[:, None] * self.start_bias
        deep = torch.relu(batch.context @ self.deep_inputs + self.deep_bias[setting])
        sums = sums + deep @ self.deep_outputs
        outputs = _Outputs.apply(sums, batch.current, self.current[present], self.readout[present])
        outputs = outputs + self.output_bias[setting, present][:, None]
        outputs = outputs + batch.start[:, None] * self.start_output_bias[present][:, None]
        table = grid_density(self.logits, _POINTS).flatten(0, 1) @ alphabets.cut.to(self.logits.dtype)
        likely = _look_up(table, outputs, alphabets.columns(batch.coded))
        return -(likely * alphabets.kept() + 1 / TOTAL).log2().sum() / len(batch.start)


def _parameter(values: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)))


def _initial_logits(bins: int) -> Any:
    score, cdf = NormalDist().inv_cdf, np.vectorize(NormalDist().cdf)
    edges = np.array([-np.inf, *(score(k / bins) for k in range(1, bins)), np.inf])
    density = np.diff(cdf((edges - _CENTRES[:, None, None]) / _WIDTHS[None, :, None]), axis=-1)
    return np.log(density * 0.99 + 0.01 / bins)


def grid_density(logits: Tensor, cells: int) -> Tensor:
    """The densities ``[cells, cells, bins]`` at the middles of cells, from the grid's ``logits [17, 17, bins]``."""
    at = (torch.arange(cells) + 0.5) * UNITS / cells
    near = (1 - (at[:, None] - torch.arange(UNITS + 1)).abs()).clamp(min=0).to(logits.dtype)
    return torch.einsum("ai,bj,ijk->abk", near, near, logits).softmax(dim=-1)


class _Outputs(torch.autograd.Function):
    """The network's outputs ``[present, n, 2]``, group after group.

    One loop each way over arrays that fit a processor's cache; autograd over the same loop takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, sums: Tensor, features: Tensor, current: Tensor, readout: Tensor) -> Tensor:
        groups, n, _ = features.shape
        hidden, outputs = sums.new_empty(groups, n, sums.shape[1]), sums.new_empty(groups, n, readout.shape[2])
        sums = sums.clone()
        for group in range(groups):
            torch.clamp(sums, min=0, out=hidden[group])
            torch.mm(hidden[group], readout[group], out=outputs[group])
            sums.addmm_(features[group], current[group])
        ctx.save_for_backward(features, readout, hidden)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        d_outputs, (features, readout, hidden) = gradients[0], ctx.saved_tensors
        d_readout = torch.bmm(hidden.transpose(1, 2), d_outputs)
        d_current = readout.new_empty(len(features), features.shape[2], hidden.shape[2])
        d_sums = torch.zeros_like(hidden[0])
        for group in reversed(range(len(features))):
            torch.mm(features[group].t(), d_sums, out=d_current[group])
            d_sums += torch.ops.aten.threshold_backward(d_outputs[group] @ readout[group].t(), hidden[group], 0)
        return d_sums, None, d_current, d_readout


class _Inside(torch.autograd.Function):
    """Clamp to [0, high], whose gradient outside is that of the edge where it leads back inside."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, high: float) -> Tensor:
        inside = values.clamp(0, high)
        ctx.save_for_backward(values, inside)
        return inside

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        values, inside = ctx.saved_tensors
        return gradients[0] * ((values == inside) | ((values < inside) == (gradients[0] < 0))), None


def _look_up(table: Tensor, outputs: Tensor, columns: list[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Each symbol's share of its density ``[present, n]``: of ``table [points², columns]``, bilinear between points."""
    at = _Inside.apply(outputs * (_POINTS / UNITS) - 0.5, _POINTS - 1 - 1e-3)
    whole = at.detach().floor()
    down, right = (at - whole).unbind(-1)
    corner = whole[..., 0].long() * _POINTS + whole[..., 1].long()
    corners = torch.stack([corner, corner + 1, corner + _POINTS, corner + _POINTS + 1]) * table.shape[1]
    flat, likely = table.reshape(-1), torch.zeros_like(down)
    for column, weight in columns:
        near, near_right, far, far_right = flat.index_select(0, (corners + column).reshape(-1)).reshape(corners.shape)
        value = torch.lerp(torch.lerp(near, near_right, right), torch.lerp(far, far_right, right), down)
        likely = likely + (value if weight is None else value * weight)
    return likely
