"""Bottlenecks: what turns continuous latents into integers, and how training prepares for it."""

from __future__ import annotations

import math

from audiocodec.bottleneck.base import Bottleneck
from audiocodec.bottleneck.baselines import Baseline, build_baseline
from audiocodec.bottleneck.fsp import FSP, TARGET_VARIANCE
from audiocodec.bottleneck.pitched import Pitched, vector_part
from audiocodec.bottleneck.vp import VP
from audiocodec.config import FspConfig, VpConfig
from audiocodec.config_baselines import BaselineConfig, FsqConfig, ResidualFsqConfig

__all__ = ["FSP", "VP", "Baseline", "Bottleneck", "Pitched", "build_bottleneck", "target_deviation", "vector_part"]


def build_bottleneck(config: FspConfig | VpConfig | BaselineConfig, dims: int, pitch: bool = False) -> Bottleneck:
    """The bottleneck of a config, for latents of ``dims`` dimensions, the last of them the ``pitch`` if there is one.

    Raises:
        ValueError: they do not fit.
        MissingExtraError: a baseline's package is not installed.
    """
    if isinstance(config, BaselineConfig):
        return build_baseline(config, dims)
    if isinstance(config, VpConfig):
        return Pitched(VP(config, dims - 1)) if pitch else VP(config, dims)
    return FSP(config)


def target_deviation(config: FspConfig | VpConfig | BaselineConfig) -> float:
    """Standard deviation that the penalty asks of each dimension of the latents, or that suits a baseline."""
    if isinstance(config, FsqConfig | ResidualFsqConfig):
        return math.sqrt(TARGET_VARIANCE["tanh"])
    return math.sqrt(TARGET_VARIANCE[config.activation]) if isinstance(config, FspConfig) else 1.0
