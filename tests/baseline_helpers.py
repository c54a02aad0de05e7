"""Small baselines for tests: built, and started on latents."""

from __future__ import annotations

from typing import Any

import pytest
import torch

vector_quantize_pytorch = pytest.importorskip("vector_quantize_pytorch")
loguru = pytest.importorskip("loguru")

from audiocodec.bottleneck import Bottleneck, build_bottleneck  # noqa: E402
from audiocodec.config_baselines import BASELINES  # noqa: E402

KINDS = list(BASELINES)
SMALL = {
    "vq-vae": {"codebook_size": 16, "groups": 2},
    "vq-ema": {"codebook_size": 16, "groups": 2},
    "simvq": {"codebook_size": 16, "groups": 2},
    "fsq": {"levels": (8, 5, 5, 4)},
    "tokenbridge": {"levels": (8, 5, 5, 4)},
    "residual-vq": {"codebook_size": 16, "stages": 3},
    "residual-fsq": {"levels": (3, 3, 2, 3), "stages": 3},
}


@pytest.fixture(autouse=True)
def quiet():
    loguru.logger.disable("vector_quantize_pytorch")


def made(kind: str, dims: int = 4, **changes: Any) -> Any:
    return build_bottleneck(BASELINES[kind](**{**SMALL[kind], **changes}), dims)


def levels_of(bottleneck: Bottleneck, batch: int = 2) -> torch.Tensor:
    return torch.tensor(bottleneck.sizes).expand(batch, -1)


def started(kind: str, **changes: Any) -> Any:
    """With code words that fit a standard normal, where there are any."""
    torch.manual_seed(0)
    bottleneck = made(kind, **changes)
    for _ in range(8 if kind in ("vq-ema", "residual-vq") else 0):
        bottleneck(torch.randn(4, 100, 4), levels_of(bottleneck, 4))
    return bottleneck
