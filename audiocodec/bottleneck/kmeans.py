"""k-means: k-means++ seeding and Lloyd iterations, in blocks of constant memory, float32.

The codebook of VP is made with it after training (arXiv 2602.17133, step 7). Seeding is the greedy k-means++ of
Arthur and Vassilvitskii (SODA 2007, section 4): of a few candidates drawn by squared distance, the best is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK_ELEMENTS = 4_000_000
# Seeding takes K passes over the points, and needs no more of them than this for each word.
_SEEDING_POINTS = 16


@dataclass(frozen=True)
class Clusters:
    """What k-means found."""

    centres: Tensor
    """``[K, d] float32``."""
    counts: Tensor
    """``[K] int64``: points of each."""
    inertia: float
    """Sum of squared distances from the points to their centres."""


def kmeans(points: Tensor, count: int, iterations: int = 50, seed: int = 0, tolerance: float = 1e-4) -> Clusters:
    """``count`` centres for ``points [n, d]``; stops early once inertia falls by less than ``tolerance`` of itself.

    The same points, seed and thread count give the same centres on a CPU; torch's own generator is not touched.

    Raises:
        ValueError: there are fewer points than centres, or no centre is wanted.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"{count} clusters cannot be made of {len(points)} points")
    points = points.detach().float()
    generator = torch.Generator().manual_seed(seed)
    centres = seed_centres(points, count, generator)
    before = math.inf
    for _ in range(iterations):
        labels, errors = nearest(points, centres)
        inertia = float(errors.sum(dtype=torch.float64))
        centres, empty = _means(points, labels, centres, generator)
        if not empty and before - inertia <= tolerance * inertia:
            break
        before = inertia
    labels, errors = nearest(points, centres)
    counts = torch.bincount(labels, minlength=count)
    return Clusters(centres, counts, float(errors.sum(dtype=torch.float64)))


def nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest of ``centres [K, d]`` to each of ``points [n, d]``, and its squared distance: ``[n]`` both.

    Of equally near ones the first.
    """
    labels = torch.empty(len(points), dtype=torch.int64, device=points.device)
    errors = points.new_empty(len(points))
    norms = centres.square().sum(dim=1)
    rows = max(1, _BLOCK_ELEMENTS // len(centres))
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        least, label = torch.addmm(norms, block, centres.T, alpha=-2.0).min(dim=1)
        labels[start : start + rows] = label
        errors[start : start + rows] = (least + block.square().sum(dim=1)).clamp(min=0.0)
    return labels, errors


def seed_centres(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``[count, d]`` of the ``points``, far from each other: greedy k-means++ on at most 16 points a centre."""
    limit = max(_SEEDING_POINTS * count, 4096)
    chosen = torch.randperm(len(points), generator=generator)[:limit].to(points.device)
    points = points[chosen]
    norms = points.square().sum(dim=1)
    trials = 2 + int(math.log(count))
    centres = points.new_empty(count, points.shape[1])
    centres[0] = points[int(torch.randint(len(points), (), generator=generator))]
    least = (points - centres[0]).square().sum(dim=1)
    for i in range(1, count):
        mass = least.cumsum(dim=0, dtype=torch.float64)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64).to(points.device) * mass[-1]
        candidates = points[torch.searchsorted(mass, draws).clamp(max=len(points) - 1)]
        distances = torch.addmm(norms, candidates, points.T, alpha=-2.0) + candidates.square().sum(dim=1, keepdim=True)
        distances = torch.minimum(distances.clamp_(min=0.0), least)
        best = int(distances.sum(dim=1).argmin())
        centres[i], least = candidates[best], distances[best]
    return centres


def _means(points: Tensor, labels: Tensor, centres: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
    """Mean of each cluster, and how many were empty; those take a random point of the largest ones each."""
    counts = torch.bincount(labels, minlength=len(centres))
    sums = torch.zeros(centres.shape, dtype=torch.float64, device=points.device)
    sums.index_add_(0, labels, points.double())
    means = (sums / counts.clamp(min=1)[:, None]).float()
    empty = (counts == 0).nonzero().flatten().tolist()
    sizes = counts.clone()
    for cluster in empty:
        largest = int(sizes.argmax())
        members = (labels == largest).nonzero().flatten()
        means[cluster] = points[members[int(torch.randint(len(members), (), generator=generator))]]
        sizes[largest] = sizes[largest] // 2
    return means, len(empty)
