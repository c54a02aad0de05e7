"""Residual quantisers (arXiv 2107.03312, algorithm 1): each stage codes what the stages before it left.

An example uses as many stages as its levels say, from the first on; the others are absent. So training that draws a
level count for each example is quantiser dropout, and one network serves as many bitrates as it has stages.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.bottleneck.baselines.base import Baseline, passed_straight, quantisers
from audiocodec.bottleneck.baselines.scalar import CODE_SCALE
from audiocodec.bottleneck.baselines.words import has_words, moving_words
from audiocodec.bottleneck.fsp import TARGET_VARIANCE
from audiocodec.bottleneck.kmeans import nearest
from audiocodec.config_baselines import ResidualFsqConfig, ResidualVqConfig


class _Stages(Baseline):
    """Stages of one alphabet, of which an example may use the first few."""

    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """The levels themselves. Raises ValueError unless stages are whole, one at least, and none is left out."""
        used = sum(level > 1 for level in levels)
        if not used or levels != self.sizes[:used] + (1,) * (len(self.sizes) - used):
            raise ValueError(f"this bottleneck was built for the first of the stages {self.sizes}, not {levels}")
        return levels


class ResidualVQ(_Stages):
    """Residual VQ as EnCodec trains it (arXiv 2210.13438, section 3.2).

    Each stage is the library's ``VectorQuantize`` by moving averages, fed with the examples that use it; the library's
    ``ResidualVQ`` draws one number of stages for a whole batch. Straight-through gradient over all stages. The loss is
    ``beta |r_i - sg(e_i)|^2``, mean over dimensions and stages, of all stages whether an example uses them or not.
    """

    def __init__(self, config: ResidualVqConfig, dims: int) -> None:
        super().__init__(config)
        self.commitment = config.commitment
        self.stages = nn.ModuleList(moving_words(dims, config.codebook_size, config) for _ in range(config.stages))

    def words(self, stage: int) -> Tensor:
        """Code words of a stage, ``[K, dims]``."""
        words = self.stages[stage].codebook
        assert isinstance(words, Tensor)
        return words

    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:
        if not bool(latents.isfinite().all()):  # the step will be refused: no codebook may learn from it
            return latents
        residual, seen = latents.detach(), torch.zeros_like(latents)
        for stage, used in zip(self.stages, (levels > 1).unbind(dim=1), strict=True):
            if not bool(used.any()):
                break
            code = torch.zeros_like(residual)
            code[used] = stage(residual[used])[0]
            residual, seen = residual - code, seen + code
        return passed_straight(latents, seen)

    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:
        residual, out = latents.flatten(0, 1), []
        for i in range(len(self.stages)):
            index = nearest(residual, self.words(i))[0]
            residual = residual - self.words(i)[index]
            out.append(index.view(latents.shape[:2]))
        return torch.stack(out, dim=-1) * (levels > 1)[:, None, :]

    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:
        seen = torch.zeros((), device=indices.device)
        for i, used in enumerate((levels > 1).unbind(dim=1)):
            seen = seen + self.words(i)[indices[..., i]] * used[:, None, None]
        return seen

    def _loss(self, latents: Tensor) -> Tensor:
        """Of the stages that have words: k-means makes them in the first step that uses a stage."""
        residual, losses = latents.flatten(0, -2), []
        for i, stage in enumerate(self.stages):
            if not has_words(stage):
                break
            words = self.words(i)[nearest(residual.detach(), self.words(i))[0]]
            losses.append(F.mse_loss(residual, words))
            residual = residual - words
        return self.commitment * torch.stack(losses).mean() if losses else latents.new_zeros(())


class ResidualFSQ(_Stages):
    """Residual FSQ: the library's ``ResidualFSQ``, one code of all dimensions together for each stage.

    The latent is bounded softly, ``x = c tanh(z / c)`` with ``c = 1 + 1 / (L - 1)``; stage i rounds what is left of x
    to L values in steps of ``2 L^-i / (L - 1)``. The gradient of the decoder's input is that of x: the library's own
    would be as many times that as there are stages. No loss, no noise. The decoder sees the sum times sqrt 3.
    """

    def __init__(self, config: ResidualFsqConfig) -> None:
        super().__init__(config)
        self.deviation = math.sqrt(TARGET_VARIANCE["tanh"])
        self.rounding = quantisers().ResidualFSQ(levels=list(config.levels), num_quantizers=config.stages)

    def undisturbed(self, latents: Tensor) -> Tensor:
        """The bounded latent as the decoder would see it were there no rounding."""
        return self._bounded(latents.float()) * CODE_SCALE

    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:
        seen = self._decoded(self._indexed(latents.detach(), levels), levels)
        return passed_straight(self._bounded(latents) * CODE_SCALE, seen)

    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:
        with torch.no_grad():
            indices = self.rounding(latents)[1]
        return indices.to(torch.int64) * (levels > 1)[:, None, :]

    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:
        codes = self.rounding.get_codes_from_indices(indices)  # [stages, batch, frames, dims]
        return (codes * (levels > 1).T[:, :, None, None]).sum(dim=0) * CODE_SCALE

    def _bounded(self, latents: Tensor) -> Tensor:
        bound = self.rounding.soft_clamp_input_value
        return torch.tanh(latents / bound) * bound
