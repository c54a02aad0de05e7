"""What every runtime offers: one block of audio to indices and back, with the state before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audiocodec.facts import ModelFacts

if TYPE_CHECKING:
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]
Indices = NDArray[np.int64]
Latents = NDArray[np.float32]
State = Any
"""Belongs to one runtime, and is never changed in place: a caller may go back to an earlier one."""


class Runtime(Protocol):
    """Runs one model. Holds no stream: any number of them, in any thread, may share it."""

    @property
    def name(self) -> str:
        """As in ``--runtime``."""

    @property
    def device(self) -> str:
        """Where the network is: ``cpu``, ``cuda:0``, ..."""

    @property
    def facts(self) -> ModelFacts:
        """The model's geometry and rates."""

    def encoder_state(self, batch: int) -> State:
        """Silence before the first sample."""

    def encode(self, wave: Samples, rates: Sequence[RateSetting], state: State) -> tuple[Indices, State]:
        """``wave [batch, frames * hop]`` to indices ``[batch, frames, tokens]``; ``rates`` has one for each row."""

    def decoder_state(self, batch: int, apart: bool = False) -> State:
        """Silence before the first sample.

        ``apart``: the noise of every other row starts half its period later, so that sum and difference of two rows
        have the energy of both.
        """

    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: State) -> tuple[Samples, State]:
        """Indices ``[batch, frames, tokens]`` to ``[batch, frames * hop]``: `latents`, then `synthesise`."""

    def latents(self, indices: Indices, rates: Sequence[RateSetting]) -> Latents:
        """What the decoder sees of indices, ``[batch, frames, dims]``; absent dimensions are zero."""

    def synthesise(self, latents: Latents, rates: Sequence[RateSetting], state: State) -> tuple[Samples, State]:
        """Latents ``[batch, frames, dims]``, of indices or estimated, to ``[batch, frames * hop]``."""

    def tail(self, state: State) -> Samples:
        """``[batch, delay]``: what a decoder still holds back, as it sounds when silence follows."""

    def join(self, states: Sequence[State]) -> State:
        """States of several batches as that of one, their rows in this order; encoder's or decoder's, not both."""

    def part(self, state: State, sizes: Sequence[int]) -> list[State]:
        """The inverse: states of so many rows each. They may share memory: it is never changed in place."""
