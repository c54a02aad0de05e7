"""Quantisers of each dimension by itself: FSQ and TokenBridge."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audiocodec.bottleneck.baselines.base import Baseline, passed_straight, quantisers
from audiocodec.bottleneck.fsp import TARGET_VARIANCE
from audiocodec.config_baselines import FsqConfig, TokenBridgeConfig

CODE_SCALE = math.sqrt(3.0)
"""One over the standard deviation of U(-1, 1), so that the decoder sees about unit variance."""


class FSQ(Baseline):
    """FSQ (arXiv 2309.15505) in the symmetric form with noise of arXiv 2411.19842, section 3.2.

    With ``u = tanh(z)``, a dimension of L levels is rounded to the nearest of L values from -1 to 1 in steps of
    ``2 / (L - 1)``, straight-through gradient (the library's ``FSQ``, ``preserve_symmetry``). In training each value is
    with probability ``noise`` not rounded; instead ``U(-1, 1) / (L - 1)``, noise as wide as a step, is added to u, and
    the sum is clamped to [-1, 1]. The library's own ``noise_dropout`` is not used: it adds U(-1/2, 1/2) to values that
    are rounded already, whatever L is. No loss. The decoder sees the value times sqrt 3.
    """

    levels: Tensor

    def __init__(self, config: FsqConfig) -> None:
        super().__init__(config)
        self.noise = config.noise
        self.deviation = math.sqrt(TARGET_VARIANCE["tanh"])
        self.rounding = quantisers().FSQ(levels=list(config.levels), preserve_symmetry=True, return_indices=False)
        self.register_buffer("levels", torch.tensor(config.levels), persistent=False)

    def undisturbed(self, latents: Tensor) -> Tensor:
        """``tanh(z)`` as the decoder would see it were there no rounding."""
        return torch.tanh(latents.float()) * CODE_SCALE

    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002 (all tokens are always present)
        u = torch.tanh(latents)
        noise = (2.0 * torch.rand_like(u) - 1.0) / (self.levels - 1)
        noised = torch.rand_like(u) < self.noise
        seen = torch.where(noised, (u + noise).clamp(-1.0, 1.0), self.rounding.quantize(latents))
        return passed_straight(u, seen) * CODE_SCALE

    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002
        return ((self.rounding.quantize(latents) + 1.0) * 0.5 * (self.levels - 1)).round().to(torch.int64)

    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002
        return (indices * (2.0 / (self.levels - 1)) - 1.0) * CODE_SCALE


class TokenBridge(Baseline):
    """TokenBridge (arXiv 2503.16430): trained as a variational autoencoder, quantised only afterwards.

    Training: ``z + sigma eps`` with a learnt sigma for each dimension (the paper's encoder tells one for each value;
    ours tells a mean alone), and the divergence of that normal from the standard one as the loss. Inference: the
    percentiles i / L of the standard normal cut each dimension into L bins, equally probable if the latent is normal;
    a bin decodes to the mean of the standard normal within it. Nothing of the quantiser is learnt.
    """

    def __init__(self, config: TokenBridgeConfig) -> None:
        super().__init__(config)
        self.kl_weight = config.kl_weight
        self.log_variance = nn.Parameter(torch.full((len(config.levels),), -2.0))

    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002 (all tokens are always present)
        return latents + torch.exp(0.5 * self.log_variance) * torch.randn_like(latents)

    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:
        sizes = levels[:, None, :]
        bins = torch.floor(torch.special.ndtr(latents) * sizes).to(torch.int64)
        return torch.minimum(bins.clamp(min=0), sizes - 1)

    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:
        """``L (phi(a) - phi(b))``: the mean between a and b, which hold 1 / L of the probability."""
        sizes = levels[:, None, :].double()
        low, high = _density(indices / sizes), _density((indices + 1) / sizes)
        return (sizes * (low - high)).float()

    def _loss(self, latents: Tensor) -> Tensor:
        """``(z^2 + sigma^2 - 1 - log sigma^2) / 2``, mean over all."""
        divergence = 0.5 * (latents.square() + self.log_variance.exp() - 1.0 - self.log_variance)
        return self.kl_weight * divergence.mean()


def _density(p: Tensor) -> Tensor:
    """Density of the standard normal at its percentile ``p``, float64; zero at both ends."""
    return torch.exp(-0.5 * torch.special.ndtri(p).square()) / math.sqrt(2.0 * math.pi)
