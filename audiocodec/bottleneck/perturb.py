"""One step of VP's random walk: a proposal uniform in a ball, and the Metropolis-Hastings rule (arXiv 2602.17133)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Latents may be equal (digital silence): a distance of zero has no logarithm.
_LEAST_DISTANCE = 1e-9

Neighbourhood = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Latents ``[n, d]`` to the distance to the k-th neighbour, which tells density, and to the ball's radius: ``[n]``."""


@dataclass(frozen=True)
class Moves:
    """What became of ``n`` latents."""

    moved: Tensor
    """``[n, d]``: the latents after the step; the rejected are where they were."""
    accepted: Tensor
    """``[n] bool``."""
    radius: Tensor
    """``[n]``: radius of the ball around each latent."""


def uniform_in_balls(radius: Tensor, dims: int) -> Tensor:
    """A draw uniform in a ball of each ``radius [n]``: ``[n, dims]``; normal direction, length radius * rho**(1/d)."""
    direction = torch.randn(len(radius), dims, device=radius.device)
    direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return direction * (radius * torch.rand_like(radius) ** (1.0 / dims))[:, None]


def log_acceptance(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], length: Tensor, dims: int) -> Tensor:
    """Logarithm of the probability to accept each move, ``[n]``; minus infinity where it could not be undone.

    ``before`` and ``after``: distance to the k-th neighbour and radius at either end. With density ``D_k**-d`` and
    proposals of density ``1 / R**d``: ``min(0, d log(D_k R / (D_k' R')))``, and never where ``length [n] > R'``.
    """
    (near, radius), (near_after, radius_after) = before, after
    ratio = dims * (_log(near) + _log(radius) - _log(near_after) - _log(radius_after))
    return ratio.clamp(max=0.0).masked_fill(length > radius_after, -torch.inf)


@torch.no_grad()
def perturb(latents: Tensor, neighbourhood: Neighbourhood, always: bool = False) -> Moves:
    """Move ``latents [n, d] float32`` as a codebook would move them: VP's steps 2 to 4.

    ``always`` accepts every proposal (the paper's ablation). Draws come from torch's default generator.
    """
    dims = latents.shape[1]
    before = neighbourhood(latents)
    step = uniform_in_balls(before[1], dims)
    proposal = latents + step
    chance = torch.rand(len(latents), device=latents.device)
    if always:
        accepted = torch.ones_like(chance, dtype=torch.bool)
    else:
        accepted = chance.log() < log_acceptance(before, neighbourhood(proposal), step.norm(dim=1), dims)
    return Moves(torch.where(accepted[:, None], proposal, latents), accepted, before[1])


def _log(distance: Tensor) -> Tensor:
    return distance.clamp(min=_LEAST_DISTANCE).log()
