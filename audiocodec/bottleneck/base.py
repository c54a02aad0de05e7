"""What every bottleneck offers: a training pass, integers, the way back, a penalty, a description of its alphabet."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Bottleneck(nn.Module, ABC):
    """Continuous latents ``[batch, frames, dims]`` to integers and back.

    ``levels [batch, groups] int64`` is the size of each group's alphabet for each example; a group of size 1 is
    absent: it costs nothing and decodes to zeros. FSP's groups are single dimensions and their sizes level counts;
    VP's are equal parts of the dimensions and their sizes those of codebooks.
    """

    deviation: float
    """Standard deviation that the penalty asks of each dimension; the decoder sees latents divided by it."""

    @abstractmethod
    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """What the decoder sees while training: latents disturbed as quantisation would disturb them."""

    def undisturbed(self, latents: Tensor) -> Tensor:
        """What the decoder sees in the first steps of training, before anything is disturbed."""
        return latents / self.deviation

    @abstractmethod
    def indices(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``[batch, frames, groups] int64`` in ``[0, levels)``."""

    @abstractmethod
    def from_indices(self, indices: Tensor, levels: Tensor) -> Tensor:
        """What the decoder sees at inference, ``[batch, frames, dims]``."""

    @abstractmethod
    def penalty(self, latents: Tensor) -> Tensor:
        """Scalar regulariser on the latents, to be added to the training loss."""

    @abstractmethod
    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """Number of values of each token of a frame, for the bitstream; raises ValueError if it cannot be had."""
