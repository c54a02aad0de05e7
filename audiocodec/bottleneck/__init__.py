"""Bottlenecks: what turns continuous latents into integers, and how training prepares for it."""

from __future__ import annotations

import math

from audiocodec.bottleneck.base import Bottleneck
from audiocodec.bottleneck.fsp import FSP, TARGET_VARIANCE
from audiocodec.bottleneck.vp import VP
from audiocodec.config import FspConfig, VpConfig

__all__ = ["FSP", "VP", "Bottleneck", "build_bottleneck", "target_deviation"]


def build_bottleneck(config: FspConfig | VpConfig, dims: int) -> Bottleneck:
    """The bottleneck of a config, for latents of ``dims`` dimensions. Raises ValueError if they do not fit."""
    return VP(config, dims) if isinstance(config, VpConfig) else FSP(config)


def target_deviation(config: FspConfig | VpConfig) -> float:
    """Standard deviation that the penalty asks of each dimension of the latents."""
    return 1.0 if isinstance(config, VpConfig) else math.sqrt(TARGET_VARIANCE[config.activation])
