"""Resampling for live streams: soxr's own filter, applied at once where soxr would gather blocks first.

soxr (HQ) computes by fast Fourier transforms of blocks, so that a sample of a 48 kHz stream comes out of it 6 to 36 ms
after it went in. Its filter needs no more than 6: it is measured once, by impulses, and applied here output by output.
What comes out is soxr's to 1e-6, but for its first few samples. It takes far longer, which a live stream does not
notice: 10 ms of one channel, 0.1 ms.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray

REACH = 100  # samples of the lower rate on either side, beyond which soxr's filter is below 1e-7 of its peak
MOST_PHASES = 1000  # of the ratio of rates, reduced: 441 to 160 has so few, 44101 to 16000 has not
_AT_ONCE = 1024  # outputs, which bounds memory


def possible(rate_in: int, rate_out: int) -> bool:
    """Whether the ratio of these rates is simple enough for a table of its phases."""
    return max(rate_in, rate_out) // math.gcd(rate_in, rate_out) <= MOST_PHASES


class PromptStream:
    """What `soxr.ResampleStream` is, without its waiting; any cutting of the input gives the same samples.

    Args:
        rate_in: in Hz.
        rate_out: in Hz; `possible` with ``rate_in``.
        channels: how many.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        common = math.gcd(rate_in, rate_out)
        self._step, self._phases = rate_in // common, rate_out // common  # inputs that as many outputs span
        self._filter = soxr_filter(rate_in, rate_out)
        self._reach = self._filter.shape[1] // 2
        self._start = 1 - self._reach  # number of the input that lies first in _inputs
        self._inputs = np.zeros((channels, self._reach - 1), np.float32)
        self._count = self._next = 0  # inputs that came, outputs that went

    def resample_chunk(self, samples: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """``[n, channels]`` in, ``[m, channels]`` out: all that these samples settle, and with ``last`` the rest."""
        self._count += len(samples)
        self._inputs = np.concatenate([self._inputs, samples.T], axis=1)
        end = -(-(self._count - self._reach) * self._phases // self._step)
        if last:
            self._inputs = np.pad(self._inputs, ((0, 0), (0, self._reach)))
            end = (2 * self._count * self._phases + self._step) // (2 * self._step)  # to the nearest, as soxr
        end = max(self._next, end)
        parts = [self._outputs(at, min(at + _AT_ONCE, end)) for at in range(self._next, end, _AT_ONCE)]
        self._next = end
        unneeded = max(end * self._step // self._phases - self._reach + 1 - self._start, 0)
        self._inputs, self._start = self._inputs[:, unneeded:], self._start + unneeded
        return np.concatenate([*parts, self._inputs[:, :0]], axis=1).T

    def _outputs(self, first: int, end: int) -> NDArray[np.float32]:
        """``[channels, end - first]``."""
        numbers = np.arange(first, end)
        begins = numbers * self._step // self._phases - self._reach + 1 - self._start
        windows = np.lib.stride_tricks.sliding_window_view(self._inputs, 2 * self._reach, axis=1)[:, begins]
        # Not a product of matrices: the order of its sums would depend on how many outputs there are.
        made: NDArray[np.float32] = np.einsum("cot,ot->co", windows, self._filter[numbers % self._phases])
        return made


@lru_cache(maxsize=4)
def soxr_filter(rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Weights ``[phases, taps]`` of the inputs around each output, as soxr has them.

    Of output ``o`` the phase is ``o % phases``, and tap ``taps // 2 - 1`` is of the input at or before it in time.
    """
    common = math.gcd(rate_in, rate_out)
    step, phases = rate_in // common, rate_out // common
    reach = math.ceil(REACH * rate_in / min(rate_in, rate_out))
    # An impulse for every place that an input can have among outputs, none within reach of another.
    apart = -(-2 * reach // step) * step + 1
    places = -(-reach // step) * step + apart * np.arange(step)
    impulses = np.zeros(places[-1] + reach + 1, np.float32)
    impulses[places] = 1.0
    answer = soxr.resample(impulses, rate_in, rate_out, "HQ")
    outputs = np.arange(phases)[:, None]
    inputs = outputs * step // phases + np.arange(1 - reach, reach + 1)
    periods = (places[inputs % step] - inputs) // step
    return np.ascontiguousarray(answer[outputs + periods * phases], np.float32)
