"""The network that estimates lost frames, as it is trained; :mod:`audiocodec.prediction` runs it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.prediction import BLOCKS, GAP_FRAMES, NORM_FLOOR, input_width
from audiocodec.rates import DETAIL_CENTRE, DETAIL_SCALE


class FramePredictor(nn.Module):
    """As :class:`audiocodec.prediction.Predictor`, for rows that differ in what is known and lost."""

    def __init__(self, dims: int, context: int, width: int) -> None:
        super().__init__()
        self.context = context
        self.into = nn.Linear(input_width(context, dims), width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.out = nn.Linear(width, dims)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        past: Tensor,
        estimated: Tensor,
        following: Tensor,
        known: Tensor,
        place: int,
        rest: int,
        detail: Tensor,
    ) -> Tensor:
        """A lost frame ``[batch, dims]``.

        ``past [batch, context, dims]``, ``estimated [batch, context]``, ``following [batch, dims]`` and whether it is
        ``known [batch]`` (0 or 1), ``detail [batch]``; ``place`` and ``rest`` as in `prediction.features`.
        """
        known = known[:, None]
        places = past.new_zeros(past.shape[0], GAP_FRAMES)
        places[:, place - 1] = 1
        rests = torch.zeros_like(places)
        rests[:, rest - 1] = 1
        after = following * known
        scaled = (detail[:, None] - DETAIL_CENTRE) * DETAIL_SCALE
        x = self.into(torch.cat([past.flatten(1), estimated, after, known, places, rests * known, scaled], dim=1))
        for block in self.blocks:
            x = block(x)
        last = past[:, -1]
        return last + (following - last) * known * (place / (place + rest)) + self.out(x)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        normalised = F.layer_norm(x, x.shape[-1:], eps=NORM_FLOOR)
        return x + self.second(F.silu(self.first(normalised)))
