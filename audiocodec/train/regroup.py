"""From a network of single scalars (FSP) to one of groups (VP): the same latents, dealt out and turned.

Scalar dimensions have as many levels as they matter; vector perturbation (arXiv 2602.17133) moves all dimensions of a
group alike, in a ball. So each dimension is stretched by its number of levels, the dimensions are dealt to the groups
so that each needs about as many code words, and within a group they are turned until all have the same variance,
which is what the latent normalisation loss asks. The decoder undoes it: nothing is lost, and what the network had
learnt about importance is in the shape of the groups when training begins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audiocodec.bottleneck import target_deviation
from audiocodec.config import FspConfig, ModelConfig, VpConfig
from audiocodec.nn.seanet import detail_feature


def can_regroup(old: ModelConfig, new: ModelConfig) -> bool:
    """Whether :func:`regrouped` applies: FSP before, VP now, and the same dimensions."""
    kinds = isinstance(old.bottleneck, FspConfig) and isinstance(new.bottleneck, VpConfig)
    same = (old.envelope_dims, old.shape_dims, old.pitch) == (new.envelope_dims, new.shape_dims, new.pitch)
    return kinds and same


@torch.no_grad()
def regrouped(weights: dict[str, Tensor], old: ModelConfig, new: ModelConfig) -> dict[str, Tensor]:
    """The weights of encoder and decoder of a network of ``old``, rewritten for ``new`` (see :func:`can_regroup`)."""
    assert isinstance(new.bottleneck, VpConfig)
    learnt = new.dims - new.pitch
    before, after = target_deviation(old.bottleneck), target_deviation(new.bottleneck)
    turn = turning(importance(old)[:learnt], new.bottleneck.groups)
    there, back = torch.eye(new.dims), torch.eye(new.dims)
    there[:learnt, :learnt] = turn * (after / before)
    back[:learnt, :learnt] = torch.linalg.inv(turn.double()).float()
    back[learnt:, learnt:] *= after / before  # the pitch keeps its scale in the encoder
    # The decoder divided latents by ``before`` and now divides by ``after``.
    changed = dict(weights)
    for name in ("envelope_in", "shape_in"):
        changed[f"encoder.{name}"] = weights[f"encoder.{name}"] @ there.T
    changed["encoder.out.weight"] = there @ weights["encoder.out.weight"]
    changed["encoder.out.bias"] = there @ weights["encoder.out.bias"]
    for name in ("envelope_out", "shape_out"):
        changed[f"decoder.{name}"] = back.T @ weights[f"decoder.{name}"]
    first = weights["decoder.frame_in.weight"]
    changed["decoder.frame_in.weight"] = torch.cat([first[:, :-1] @ back, first[:, -1:]], dim=1)
    _translate_detail(changed, "decoder.frame_in", new.dims, old, new)
    rate = weights["encoder.down.weight"].shape[1] - 1 - 2 * new.pitch  # the column before those of the pitch
    _translate_detail(changed, "encoder.down", rate, old, new)
    return changed


def importance(config: ModelConfig) -> Tensor:
    """Levels of each dimension, the mean over all level settings: ``[dims]``."""
    return torch.tensor([config.levels(base) for base in config.level_settings]).double().mean(dim=0).float()


def turning(stretch: Tensor, groups: int) -> Tensor:
    """``[dims, dims]``: independent dimensions of unit variance to groups of equal volume, unit variance in each row.

    Volumes are equal as far as dealing out the largest first, each to the smallest group with room, makes them so.
    """
    dims, size = len(stretch), len(stretch) // groups
    dealt = _deal(stretch.log2().tolist(), groups, size)
    out = torch.zeros(dims, dims)
    for group, members in enumerate(dealt):
        scale = stretch[members] / stretch[members].square().mean().sqrt()
        out[group * size : (group + 1) * size][:, members] = _even_rotation(scale) @ torch.diag(scale)
    return out


def _deal(sizes: Sequence[float], groups: int, room: int) -> list[list[int]]:
    """Indices of ``sizes`` in groups of ``room``, those of the first part of them first.

    Groups are made in two halves by order of the dimensions (envelope before spectrum), so that level scales of later
    groups can leave the flattened spectrum out.
    """
    half = groups // 2
    parts: list[list[int]] = []
    for first, count in ((0, half), (half, groups - half)):
        members = range(first * room, (first + count) * room)
        dealt: list[list[int]] = [[] for _ in range(count)]
        for index in sorted(members, key=lambda i: -sizes[i]):
            open_ones = [g for g in dealt if len(g) < room]
            min(open_ones, key=lambda g: sum(sizes[i] for i in g)).append(index)
        parts += dealt
    return parts


def _even_rotation(scale: Tensor) -> Tensor:
    """An orthogonal matrix Q for which all of ``diag(Q diag(scale)^2 Q^T)`` are equal (Horn, 1954, says there is one).

    Turns of a plane at a time, each of which makes one variance right, the furthest from the mean.
    """
    variance = np.diag(scale.double().numpy() ** 2)
    q = np.eye(len(scale))
    for _ in range(64 * len(scale)):
        diagonal = np.diag(variance)
        low, high = int(diagonal.argmin()), int(diagonal.argmax())
        if diagonal[high] - diagonal[low] < 1e-9:
            break
        target = diagonal.mean()
        # Turn the plane of the two until the larger is the mean: a quadratic in the tangent.
        a, b, c = diagonal[high] - target, variance[high, low], diagonal[low] - target
        root = np.sqrt(max(0.0, b * b - a * c))
        t = (-b + root) / c if abs(c) > 1e-12 else 0.0
        cosine = 1 / np.sqrt(1 + t * t)
        turn = np.eye(len(scale))
        turn[high, high] = turn[low, low] = cosine
        turn[high, low], turn[low, high] = cosine * t, -cosine * t
        variance, q = turn @ variance @ turn.T, turn @ q
    return torch.from_numpy(q).float()


def _translate_detail(weights: dict[str, Tensor], layer: str, column: int, old: ModelConfig, new: ModelConfig) -> None:
    """Let ``layer`` take the rates of ``new`` for those of ``old`` that send as many bits, by a line through two."""
    bits_old = {base: _bits(old, base) for base in old.level_settings}
    ends = []
    for base in (min(new.level_settings), max(new.level_settings)):
        nearest = min(bits_old, key=lambda b: abs(bits_old[b] - _bits(new, base)))
        ends.append((_feature(base), _feature(nearest)))
    (x0, y0), (x1, y1) = ends
    slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 1.0  # of one rate alone: any line through it
    weight, bias = weights[f"{layer}.weight"].clone(), weights[f"{layer}.bias"].clone()
    bias += weight[:, column] * (y0 - slope * x0)
    weight[:, column] *= slope
    weights[f"{layer}.weight"], weights[f"{layer}.bias"] = weight, bias


def _bits(config: ModelConfig, base: int) -> float:
    return float(np.log2(config.levels(base)).sum())


def _feature(base: int) -> float:
    return float(detail_feature(torch.tensor([float(base)]).log2(), torch.zeros(1, 1, 1)))
