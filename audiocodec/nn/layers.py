"""Causal layers with explicit state.

Every layer has ``forward(x)`` for training (zero left context) and ``step(x, state) -> (y, state)`` for inference.
Tensors are laid out ``[batch, time, channels]``: a pointwise convolution is then a plain matrix product, which is
what CPUs do best.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]


class CausalDepthwise(nn.Module):
    """Depthwise convolution over the present and the ``kernel - 1`` past frames, ``dilation`` apart."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.weight = nn.Parameter(torch.randn(kernel, channels) * kernel**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    @property
    def context(self) -> int:
        """Past frames that one output depends on."""
        return (self.kernel - 1) * self.dilation

    def initial_state(self, batch: int) -> State:
        """Zero left context: ``[batch, context, channels]``."""
        return (self.weight.new_zeros(batch, self.context, self.weight.shape[1]),)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, time, channels]`` to the same shape."""
        return self._taps(F.pad(x, (0, 0, self.context, 0)), x.shape[1])

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One block, after the frames held in ``state``."""
        whole = torch.cat([state[0], x], dim=1)
        return self._taps(whole, x.shape[1]), (whole[:, whole.shape[1] - self.context :],)

    def _taps(self, padded: Tensor, time: int) -> Tensor:
        # A sum of shifted products: several times faster than conv1d(groups=channels) on CPU in this layout.
        y = self.bias + padded[:, self.context : self.context + time] * self.weight[-1]
        for tap in range(self.kernel - 1):
            y = y + padded[:, tap * self.dilation : tap * self.dilation + time] * self.weight[tap]
        return y


class FrameNorm(nn.Module):
    """Root-mean-square norm over the channels of each frame: causal, no running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., channels]`` to the same shape."""
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6) * self.scale


class ResidualUnit(nn.Module):
    """Depthwise-separable residual unit: depthwise, norm, widen, GELU, narrow, add."""

    def __init__(self, channels: int, kernel: int, dilation: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = CausalDepthwise(channels, kernel, dilation)
        self.norm = FrameNorm(channels)
        self.widen = nn.Linear(channels, channels * expansion)
        self.narrow = nn.Linear(channels * expansion, channels)
        with torch.no_grad():
            self.narrow.weight.mul_(0.5)  # keeps the variance of a stack of units bounded at the start

    def initial_state(self, batch: int) -> State:
        """State of the depthwise convolution."""
        return self.depthwise.initial_state(batch)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, time, channels]`` to the same shape."""
        return x + self._mix(self.depthwise(x))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One block."""
        y, state = self.depthwise.step(x, state)
        return x + self._mix(y), state

    def _mix(self, y: Tensor) -> Tensor:
        return self.narrow(F.gelu(self.widen(self.norm(y)), approximate="tanh"))


class UnitStack(nn.Module):
    """Residual units in sequence, their dilations growing 1, 2, 4, 1, 2, 4, ..."""

    def __init__(self, channels: int, count: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(channels, kernel, 2 ** (i % 3), expansion) for i in range(count))

    @property
    def context(self) -> int:
        """Past frames that one output depends on."""
        return sum(unit.depthwise.context for unit in self.each())

    def initial_state(self, batch: int) -> State:
        """One tensor a unit."""
        return tuple(t for unit in self.each() for t in unit.initial_state(batch))

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, time, channels]`` to the same shape."""
        for unit in self.units:
            x = unit(x)
        return x

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One block."""
        after: list[Tensor] = []
        for unit, tensor in zip(self.each(), state, strict=True):
            x, (tensor,) = unit.step(x, (tensor,))
            after.append(tensor)
        return x, tuple(after)

    def each(self) -> Iterator[ResidualUnit]:
        """The units in order."""
        for unit in self.units:
            assert isinstance(unit, ResidualUnit)
            yield unit
