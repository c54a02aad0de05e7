"""The network by torch: what training has, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from audiocodec.facts import ModelFacts
from audiocodec.runtime.base import Indices, Latents, Samples
from audiocodec.threads import one_thread

if TYPE_CHECKING:
    from audiocodec.nn.model import CodecNet
    from audiocodec.rates import RateSetting


class TorchRuntime:
    """One network, wherever it lies."""

    name = "torch"

    def __init__(self, net: CodecNet) -> None:
        self.net = net.eval()
        self.facts = ModelFacts.of(net)

    @property
    def device(self) -> str:
        """Where the network is."""
        return str(next(self.net.parameters()).device)

    def encoder_state(self, batch: int) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self.net.encoder.initial_state(batch)

    @torch.inference_mode()
    def encode(self, wave: Samples, rates: Sequence[RateSetting], state: Any) -> tuple[Indices, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        detail, levels = self._conditioning(rates)
        with one_thread():
            latents, state = self.net.encoder.step(self._tensor(wave), detail, state)
            return self.net.bottleneck.indices(latents, levels).cpu().numpy(), state

    def decoder_state(self, batch: int, apart: bool = False) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self.net.decoder.initial_state(batch, apart)

    @torch.inference_mode()
    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._synthesised(self._latents(indices, rates), rates, state)

    @torch.inference_mode()
    def latents(self, indices: Indices, rates: Sequence[RateSetting]) -> Latents:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        seen: Latents = self._latents(indices, rates).cpu().numpy()
        return seen

    @torch.inference_mode()
    def synthesise(self, latents: Latents, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._synthesised(self._tensor(latents), rates, state)

    def _latents(self, indices: Indices, rates: Sequence[RateSetting]) -> Tensor:
        with one_thread():
            return self.net.bottleneck.from_indices(self._tensor(indices), self._conditioning(rates)[1])

    def _synthesised(self, latents: Tensor, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        with one_thread():
            wave, state = self.net.decoder.step(latents, self._conditioning(rates)[0], state)
        return wave.cpu().numpy(), state

    def tail(self, state: Any) -> Samples:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        held: Samples = self.net.decoder.tail(state).cpu().numpy()
        return held

    @torch.inference_mode()
    def join(self, states: Sequence[Any]) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return _joined(states)

    @torch.inference_mode()
    def part(self, state: Any, sizes: Sequence[int]) -> list[Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return _parted(state, list(sizes))

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _conditioning(self, rates: Sequence[RateSetting]) -> tuple[Tensor, Tensor]:
        base = torch.tensor([float(rate.base_levels) for rate in rates], device=self.device)
        return torch.log2(base), torch.tensor([rate.levels for rate in rates], device=self.device)


def _joined(states: Sequence[Any]) -> Any:
    """Of tuples in tuples of tensors ``[batch, ...]``."""
    if isinstance(states[0], Tensor):
        return torch.cat(list(states))
    return tuple(_joined(parts) for parts in zip(*states, strict=True))


def _parted(state: Any, sizes: list[int]) -> list[Any]:
    if isinstance(state, Tensor):
        return list(state.split(sizes))  # views: on a GPU, copies would be thousands of small kernels
    if not state:
        return [()] * len(sizes)
    return list(zip(*(_parted(part, sizes) for part in state), strict=True))
