"""FSP: finite scalar perturbation (arXiv 2602.17133, section on scalar perturbation).

Each dimension is squashed to [0, 1] by a function like a distribution's CDF, so that a latent of the matching
distribution becomes uniform and equal cells are the best ones. Training disturbs the value as a quantiser of ``L``
levels would, or quantises it; ``L`` may differ from example to example, which makes one network serve every rate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiocodec.bottleneck.across import moments
from audiocodec.bottleneck.base import Bottleneck
from audiocodec.config import FspConfig

# Variance of the pre-activation that makes the squashed value nearly uniform (arXiv 2602.17133; Laplace: 2 b^2, b = 1).
TARGET_VARIANCE = {"tanh": 0.8225, "normal": 1.0, "sigmoid": 3.29, "laplace": 2.0}


class FSP(Bottleneck):
    """Finite scalar perturbation.

    The decoder sees the latent put back on the pre-activation's scale, ``g^-1(p)`` over its target deviation, of
    about unit variance. The paper hands it ``(p - 1/2) / 0.2887`` instead; undoing the squashing keeps the linear
    path of ``nn/seanet.py`` linear at high level counts.
    """

    def __init__(self, config: FspConfig) -> None:
        super().__init__()
        self.config = config
        self.deviation = math.sqrt(TARGET_VARIANCE[config.activation])

    def squash(self, latents: Tensor) -> Tensor:
        """``g``: pre-activations to [0, 1]."""
        match self.config.activation:
            case "tanh":
                return 0.5 * (torch.tanh(latents) + 1.0)
            case "normal":
                return torch.special.ndtr(latents)
            case "sigmoid":
                return torch.sigmoid(latents)
            case _:
                return 0.5 + 0.5 * latents.sign() * -torch.expm1(-latents.abs())

    def unsquash(self, p: Tensor, levels: Tensor) -> Tensor:
        """``g^-1`` over the target deviation; the outermost quarter cell is clamped so that it stays finite."""
        edge = (0.25 / levels).clamp(max=0.25).to(p.dtype)
        p = torch.minimum(torch.maximum(p, edge), 1.0 - edge)
        match self.config.activation:
            case "tanh":
                a = torch.atanh(2.0 * p - 1.0)
            case "normal":
                a = torch.special.ndtri(p)
            case "sigmoid":
                a = torch.logit(p)
            case _:
                q = 2.0 * p - 1.0
                a = -q.sign() * torch.log1p(-q.abs())
        return a / self.deviation

    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``[batch, frames, dims]`` and ``levels [batch, dims]`` to the decoder's input, straight-through gradient."""
        sizes = levels[:, None, :].to(latents.dtype)
        p = self.squash(latents)
        shift = (torch.rand_like(p) - 0.5) * (self.config.eta / sizes)
        moved = p.detach() + shift
        moved = torch.where((moved >= 0) & (moved <= 1), moved, p.detach())
        draw_shape = p.shape if self.config.draw == "element" else (*p.shape[:2], 1)
        quantised = torch.rand(draw_shape, device=p.device) < self.config.quantise_probability
        target = torch.where(quantised | (sizes == 1), self._centroid(p.detach(), sizes), moved)
        return self.unsquash(p + (target - p.detach()), sizes) * (sizes > 1)

    def indices(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Cell of each value: ``[batch, frames, dims] int64``."""
        sizes = levels[:, None, :]
        cells = torch.floor(self.squash(latents) * sizes).to(torch.int64)
        return torch.minimum(cells.clamp(min=0), sizes - 1)

    def from_indices(self, indices: Tensor, levels: Tensor) -> Tensor:
        """Centroids ``(i + 1/2) / L`` on the decoder's scale; absent dimensions are zero."""
        sizes = levels[:, None, :].float()
        return self.unsquash((indices.float() + 0.5) / sizes, sizes) * (sizes > 1)

    def penalty(self, latents: Tensor) -> Tensor:
        """Latent normalisation loss: mean 0 and the target variance in each dimension."""
        mean, variance = moments(latents.float().flatten(0, -2), self.training)
        mean, variance = mean / self.deviation, variance / self.deviation**2
        weights = self.config.mean_weight, self.config.variance_weight
        return weights[0] * mean.square().mean() + weights[1] * (variance - 1).square().mean()

    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """The level counts themselves."""
        if any(level < 1 for level in levels):
            raise ValueError(f"level counts must be at least 1, got {levels}")
        return levels

    @staticmethod
    def joined(indices: Tensor, levels: Tensor) -> Tensor:
        """One code for each frame's indices ``[batch, frames, dims]``: ``sum_i index_i * prod_{j<i} L_j``, below
        ``K = prod_i L_i``; ``[batch, frames] int64``.

        Raises:
            ValueError: K is beyond 2**62, so that codes are no longer int64.
        """
        return (indices * _strides(levels)[:, None, :]).sum(dim=-1)

    @staticmethod
    def separated(codes: Tensor, levels: Tensor) -> Tensor:
        """The inverse of :meth:`joined`: ``[batch, frames]`` to ``[batch, frames, dims]``."""
        return codes[..., None] // _strides(levels)[:, None, :] % levels[:, None, :]

    @staticmethod
    def _centroid(p: Tensor, sizes: Tensor) -> Tensor:
        return (torch.minimum(torch.floor(p * sizes), sizes - 1) + 0.5) / sizes


def _strides(levels: Tensor) -> Tensor:
    """``prod_{j<i} L_j`` for ``levels [batch, dims]``."""
    if float(levels.double().log2().sum(dim=1).max()) > 62:
        raise ValueError("these levels make codes beyond 64 bits; code each dimension by itself")
    return torch.cat([torch.ones_like(levels[:, :1]), levels[:, :-1]], dim=1).cumprod(dim=1)
