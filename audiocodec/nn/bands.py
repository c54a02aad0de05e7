"""Envelope bands: how stem bins are pooled into bands and band levels are spread over bins again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from audiocodec.config import ModelConfig

# A band under -74 dB of full scale counts as silent: lower levels are recording noise, not worth describing.
POWER_FLOOR = 4e-8


def band_edges(bands: int, bins: int, sample_rate: int) -> list[int]:
    """Edges in bins, ``bands + 1`` of them, near the mel scale and at least one bin apart."""
    top = sample_rate / 2
    mel_top = 2595.0 * torch.log10(torch.tensor(1 + top / 700.0)).item()
    mels = [mel_top * i / bands for i in range(bands + 1)]
    edges = [round(700.0 * (10 ** (m / 2595.0) - 1) / top * bins) for m in mels]
    for i in range(1, bands + 1):
        edges[i] = max(edges[i], edges[i - 1] + 1)
    edges[-1] = bins
    return edges


def edges_of(config: ModelConfig) -> list[int]:
    """Edges of a model's bands, in bins of its stem."""
    return list(config.band_edges) or band_edges(config.bands, config.stem_hop, config.sample_rate)


def pooling(edges: Sequence[int]) -> Tensor:
    """``[bins, bands]``: the mean power of each band is ``power @ pooling``."""
    matrix = torch.zeros(edges[-1], len(edges) - 1)
    for band, (low, high) in enumerate(pairwise(edges)):
        matrix[low:high, band] = 1.0 / (high - low)
    return matrix


def spreading(edges: Sequence[int]) -> Tensor:
    """``[bands, bins]``: log band levels interpolated linearly between band centres."""
    bands, bins = len(edges) - 1, edges[-1]
    centres = torch.tensor([(a + b - 1) / 2 for a, b in pairwise(edges)])
    position = torch.arange(bins, dtype=torch.float32).clamp(centres[0], centres[-1])
    right = torch.searchsorted(centres, position).clamp(1, bands - 1)
    weight = (position - centres[right - 1]) / (centres[right] - centres[right - 1])
    matrix = torch.zeros(bands, bins)
    matrix[right - 1, torch.arange(bins)] = 1 - weight
    matrix[right, torch.arange(bins)] = weight
    return matrix
