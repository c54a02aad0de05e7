"""Vector quantisers with one codebook for each group of dimensions: VQ-VAE, VQ-EMA and SimVQ."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.bottleneck.baselines.base import Baseline, quantisers
from audiocodec.bottleneck.kmeans import nearest
from audiocodec.config_baselines import SimVqConfig, VqEmaConfig, VqVaeConfig


class _Words(Baseline):
    """Nearest code words of equal parts of the dimensions, each part by a module of the library."""

    def __init__(self, config: VqVaeConfig | VqEmaConfig | SimVqConfig, dims: int) -> None:
        super().__init__(config)
        self.commitment = config.commitment
        self.dims = dims // config.groups
        self.parts = nn.ModuleList(self._part(config) for _ in range(config.groups))

    @abstractmethod
    def _part(self, config: Any) -> nn.Module:
        """The library's quantiser of one group."""

    def words(self, group: int) -> Tensor:
        """Code words of a group, ``[K, dims / groups]``."""
        words = self.parts[group].codebook
        assert isinstance(words, Tensor)
        return words

    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002 (all tokens are always present)
        if not bool(latents.isfinite().all()):  # the step will be refused: no codebook may learn from it
            return latents
        pairs = zip(self.parts, latents.split(self.dims, dim=-1), strict=True)
        return torch.cat([part(group.contiguous())[0] for part, group in pairs], dim=-1)

    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002
        groups = enumerate(latents.split(self.dims, dim=-1))
        found = [nearest(group.flatten(0, 1), self.words(g))[0].view(group.shape[:2]) for g, group in groups]
        return torch.stack(found, dim=-1)

    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:  # noqa: ARG002
        return torch.cat([self.words(g)[column] for g, column in enumerate(indices.unbind(dim=-1))], dim=-1)

    def _pairs(self, latents: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Latents of each group and their nearest words, ``[n, dims / groups]`` both, with gradients of both."""
        out = []
        for g, group in enumerate(latents.flatten(0, -2).split(self.dims, dim=-1)):
            words = self.words(g)
            out.append((group, words[nearest(group.detach(), words.detach())[0]]))
        return out

    def _loss(self, latents: Tensor) -> Tensor:
        """``|sg(z) - e|^2 + beta |z - sg(e)|^2`` (arXiv 1711.00937, eq. 3), mean over dimensions and groups."""
        losses = [
            F.mse_loss(words, group.detach()) + self.commitment * F.mse_loss(group, words.detach())
            for group, words in self._pairs(latents)
        ]
        return torch.stack(losses).mean()


class VQVAE(_Words):
    """VQ-VAE (arXiv 1711.00937): nearest word, straight-through gradient, eq. 3 as the loss.

    The library's ``VectorQuantize`` with a learnt codebook and without its rotation trick. Its own loss has one weight
    for both terms of eq. 3, so that loss is left out and computed here. The words start near zero, as in the paper.
    """

    def _part(self, config: VqVaeConfig) -> nn.Module:
        return quantisers().VectorQuantize(
            dim=self.dims,
            codebook_size=config.codebook_size,
            learnable_codebook=True,
            ema_update=False,
            rotation_trick=False,
            commitment_weight=0.0,
        )


class VQEMA(_Words):
    """VQ-VAE with words that are moving averages of their latents (arXiv 1711.00937, appendix A.1).

    The library's ``VectorQuantize``: N and m of the paper are its buffers ``cluster_size`` and ``embed_avg``; N is
    smoothed by 1e-5 towards equal use. The loss is the commitment alone, ``beta |z - sg(e)|^2``.
    """

    def _part(self, config: VqEmaConfig) -> nn.Module:
        return moving_words(self.dims, config.codebook_size, config)

    def _loss(self, latents: Tensor) -> Tensor:
        """Zero until k-means has made the first words."""
        losses = [
            F.mse_loss(group, words.detach())
            for part, (group, words) in zip(self.parts, self._pairs(latents), strict=True)
            if has_words(part)
        ]
        return self.commitment * torch.stack(losses).mean() if losses else latents.new_zeros(())


class SimVQ(_Words):
    """SimVQ (arXiv 2411.02038): ``words = table @ W``, a frozen Gaussian table and a learnt square W.

    The library's ``SimVQ`` without its rotation trick, and the paper's loss: eq. 3 of VQ-VAE, whose first term moves W.
    """

    def _part(self, config: SimVqConfig) -> nn.Module:
        return quantisers().SimVQ(dim=self.dims, codebook_size=config.codebook_size, rotation_trick=False)


def moving_words(dims: int, size: int, config: Any) -> nn.Module:
    """A ``VectorQuantize`` of ``size`` words by moving averages; ``config`` has decay, dead_below and kmeans_start."""
    return quantisers().VectorQuantize(
        dim=dims,
        codebook_size=size,
        decay=config.decay,
        threshold_ema_dead_code=config.dead_below,
        kmeans_init=config.kmeans_start,
        rotation_trick=False,
        commitment_weight=0.0,
    )


def has_words(part: nn.Module) -> bool:
    """Whether a part of :func:`moving_words` has had its start."""
    return bool(part.get_buffer("_codebook.initted"))
