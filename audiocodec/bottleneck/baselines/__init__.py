"""Baselines: the quantisers that VP and FSP are compared with (arXiv 2602.17133, experiments), as bottlenecks.

What ``vector-quantize-pytorch`` has is taken from it (extra ``baselines``); each class says what is its own.
"""

from __future__ import annotations

from audiocodec.bottleneck.baselines.base import Baseline
from audiocodec.bottleneck.baselines.residual import ResidualFSQ, ResidualVQ
from audiocodec.bottleneck.baselines.scalar import FSQ, TokenBridge
from audiocodec.bottleneck.baselines.words import VQEMA, VQVAE, SimVQ
from audiocodec.config_baselines import (
    BaselineConfig,
    FsqConfig,
    ResidualFsqConfig,
    ResidualVqConfig,
    SimVqConfig,
    TokenBridgeConfig,
    VqEmaConfig,
    VqVaeConfig,
)

__all__ = ["FSQ", "VQEMA", "VQVAE", "Baseline", "ResidualFSQ", "ResidualVQ", "SimVQ", "TokenBridge", "build_baseline"]


def build_baseline(config: BaselineConfig, dims: int) -> Baseline:
    """The baseline of a config, for latents of ``dims`` dimensions.

    Raises:
        ValueError: they do not fit.
        MissingExtraError: it needs vector-quantize-pytorch, which is not installed.
    """
    if problem := config.misfit(dims):
        raise ValueError(problem)
    match config:
        case VqVaeConfig():
            return VQVAE(config, dims)
        case VqEmaConfig():
            return VQEMA(config, dims)
        case SimVqConfig():
            return SimVQ(config, dims)
        case FsqConfig():
            return FSQ(config)
        case TokenBridgeConfig():
            return TokenBridge(config)
        case ResidualVqConfig():
            return ResidualVQ(config, dims)
        case ResidualFsqConfig():
            return ResidualFSQ(config)
    raise AssertionError(f"no baseline of {type(config).__name__}")
