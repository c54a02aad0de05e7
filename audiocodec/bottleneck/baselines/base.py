"""What all baselines share: float32, fixed alphabets, quantisation at inference, the library that some come from."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from types import ModuleType

import torch
from torch import Tensor

from audiocodec.bottleneck.base import Bottleneck
from audiocodec.config_baselines import BaselineConfig
from audiocodec.errors import MissingExtraError


class Baseline(Bottleneck):
    """A quantiser with the alphabets ``config.sizes``, and no others.

    In training mode ``forward`` is the method's own pass; in evaluation mode it is what inference gives,
    ``from_indices(indices(z))``. All is float32 inside, whatever autocast says. The loss of a method is computed by
    ``penalty`` from the latents it is given, before ``forward`` moves a codebook: nothing is remembered between calls.
    A method with code words searches twice a step for it, which costs little beside the network.
    """

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.sizes = config.sizes
        self.deviation = 1.0

    # For a compiler there is nothing in a search and in code of a library that branches on data.
    @torch.compiler.disable
    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Latents ``[batch, frames, dims]`` and ``levels [batch, tokens]`` to what the decoder sees."""
        with torch.autocast(latents.device.type, enabled=False):
            if self.training:
                return self._trained(latents.float(), levels)
            return self._decoded(self._indexed(latents.float(), levels), levels)

    def indices(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``[batch, frames, tokens] int64``. Raises ValueError for levels that it was not built for."""
        self._refuse_others(levels)
        with torch.autocast(latents.device.type, enabled=False):
            return self._indexed(latents.float(), levels)

    def from_indices(self, indices: Tensor, levels: Tensor) -> Tensor:
        """``[batch, frames, dims]``. Raises ValueError for levels that it was not built for."""
        self._refuse_others(levels)
        with torch.autocast(indices.device.type, enabled=False):
            return self._decoded(indices, levels)

    @torch.compiler.disable
    def penalty(self, latents: Tensor) -> Tensor:
        """The method's loss beside that of the reconstruction, weighted; a scalar."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._loss(latents.float())

    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """The levels themselves. Raises ValueError for those that it was not built for."""
        if levels != self.sizes:
            raise ValueError(f"this bottleneck was built for the levels {self.sizes}, not {levels}")
        return levels

    def _refuse_others(self, levels: Tensor) -> None:
        for row in levels.unique(dim=0).tolist():
            self.alphabet(tuple(row))

    @abstractmethod
    def _trained(self, latents: Tensor, levels: Tensor) -> Tensor:
        """The pass of training, of latents in float32."""

    @abstractmethod
    def _indexed(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``indices`` of latents in float32."""

    @abstractmethod
    def _decoded(self, indices: Tensor, levels: Tensor) -> Tensor:
        """``from_indices`` in float32."""

    def _loss(self, latents: Tensor) -> Tensor:
        """``penalty`` of latents in float32; zero for a method without a loss of its own."""
        return latents.new_zeros(())


def quantisers() -> ModuleType:
    """The package ``vector_quantize_pytorch``. Raises MissingExtraError with the remedy."""
    try:
        return importlib.import_module("vector_quantize_pytorch")
    except ImportError as error:
        raise MissingExtraError(
            f"this bottleneck needs vector-quantize-pytorch ({error}); run: pip install 'audiocodec[baselines]'"
        ) from error


def passed_straight(latents: Tensor, seen: Tensor) -> Tensor:
    """``seen`` with the gradient of ``latents`` (straight-through: arXiv 1308.3432)."""
    return latents + (seen - latents).detach()
