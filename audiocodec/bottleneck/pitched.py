"""A bottleneck for the learnt dimensions, and scalar quantisation for the pitch beside them.

The pitch (``nn/pitch.py``) is measured, not learnt, and one number: there is no vector to perturb, and no network that
could move it. It goes as with FSP (arXiv 2602.17133), whatever codes the other dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audiocodec.bottleneck.base import Bottleneck
from audiocodec.bottleneck.fsp import FSP
from audiocodec.bottleneck.vp import VP
from audiocodec.config import FspConfig


class Pitched(Bottleneck):
    """``learnt`` for all dimensions of ``[batch, frames, dims]`` but the last, the pitch, which is one token more."""

    def __init__(self, learnt: VP) -> None:
        super().__init__()
        self.learnt = learnt
        self.pitch = FSP(FspConfig())
        self.deviation = learnt.deviation

    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``levels [batch, tokens]``, the pitch's level counts last."""
        pitch = self.pitch(latents[..., -1:].float(), levels[:, -1:])
        return self._joined(self.learnt(latents[..., :-1], levels[:, :-1]), pitch)

    def undisturbed(self, latents: Tensor) -> Tensor:
        """All dimensions as they are, on the decoder's scale."""
        return self._joined(self.learnt.undisturbed(latents[..., :-1]), self.pitch.undisturbed(latents[..., -1:]))

    def indices(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Tokens of the learnt dimensions, then that of the pitch. Raises ModelError as VP's."""
        learnt = self.learnt.indices(latents[..., :-1], levels[:, :-1])
        return torch.cat([learnt, self.pitch.indices(latents[..., -1:], levels[:, -1:])], dim=-1)

    def from_indices(self, indices: Tensor, levels: Tensor) -> Tensor:
        """What the decoder sees at inference. Raises ModelError as VP's."""
        learnt = self.learnt.from_indices(indices[..., :-1], levels[:, :-1])
        return self._joined(learnt, self.pitch.from_indices(indices[..., -1:], levels[:, -1:]))

    def penalty(self, latents: Tensor) -> Tensor:
        """Of the learnt dimensions, which are all that it is given."""
        return self.learnt.penalty(latents)

    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes of codebooks, then the pitch's number of levels. Raises ValueError as theirs."""
        return *self.learnt.alphabet(levels[:-1]), *self.pitch.alphabet(levels[-1:])

    def _joined(self, learnt: Tensor, pitch: Tensor) -> Tensor:
        # FSP gives the pitch over its own deviation; the decoder expects it over that of the learnt dimensions.
        return torch.cat([learnt, pitch * (self.pitch.deviation / self.deviation)], dim=-1)


def vector_part(bottleneck: object) -> VP | None:
    """The vector perturbation in a bottleneck, alone or beside the pitch; None where there is none."""
    inner = bottleneck.learnt if isinstance(bottleneck, Pitched) else bottleneck
    return inner if isinstance(inner, VP) else None
