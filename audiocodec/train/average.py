"""An exponential moving average of a network's weights: what is validated and shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averages of the trainable parameters of ``net``; starts as a copy of them."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._values = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move ``1 - decay`` of the way to the present weights."""
        torch._foreach_lerp_(list(self._values.values()), self._present(), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the network has the averaged weights (and is in evaluation mode)."""
        training = self._net.training
        self._net.eval()
        self._exchange()
        try:
            yield
        finally:
            self._exchange()
            self._net.train(training)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._values)

    @torch.no_grad()
    def load_state_dict(self, values: dict[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for name, value in self._values.items():
            value.copy_(values[name])

    def _present(self) -> list[Tensor]:
        return [self._net.get_parameter(name).data for name in self._values]

    def _exchange(self) -> None:
        for name, value in self._values.items():
            parameter = self._net.get_parameter(name)
            self._values[name], parameter.data = parameter.data, value
