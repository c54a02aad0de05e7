"""Which packets a network loses: independently of each other, or in bursts, the same again for the same seed."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


class Losses:
    """One packet after the other, by numbers drawn outside.

    ``loss`` is the share lost in the long run; ``burst`` the mean number lost in a row. With 1 packets are
    independent of each other. Else they follow Gilbert's chain of two states (Bell System Technical Journal 39, 1960):
    the good one loses nothing, the bad one everything; it is left with probability 1 / burst, and entered with
    loss / (burst (1 - loss)). In Elliott's generalisation (1963) that is k = 1, h = 0.

    Raises ValueError for what no such chain can do.
    """

    def __init__(self, loss: float, burst: float = 1.0) -> None:
        if not 0 <= loss <= 1 or burst < 1:
            raise ValueError(f"a loss of {loss}, {burst} packets in a row; they are from 0 to 1, and 1 or more")
        if burst > 1 and loss > burst * (1 - loss):
            raise ValueError(
                f"a loss of {loss} cannot be had in bursts of {burst}: gaps would be shorter than a packet"
            )
        self._loss, self._stays = loss, 1 - 1 / burst
        self._enters = loss if burst == 1 else loss / (burst * (1 - loss))
        self._lost: bool | None = None

    def lost(self, draw: float) -> bool:
        """Whether the next packet is, where ``draw`` is uniform between 0 and 1."""
        # The first is of the long run; packets that are independent have no bursts to stay in
        follows = self._stays if self._lost and self._stays else self._enters
        share = self._loss if self._lost is None else follows
        self._lost = draw < share
        return self._lost


def loss_trace(packets: int, loss: float, burst: float, seed: int, name: str = "") -> NDArray[np.bool_]:
    """``[packets]`` True where one is lost; ``name`` (of a recording, say) gives each its own network.

    Of one seed and name all independent traces are cut from the same numbers: what is lost at 1 % is lost at 5 %.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    losses = Losses(loss, burst)
    return np.array([losses.lost(draw) for draw in rng.random(packets)], dtype=bool)
