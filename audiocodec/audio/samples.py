"""Arrays of samples as callers have them, checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audiocodec.audio.reader import MAX_AMPLITUDE
from audiocodec.errors import AudioError


def float_samples(samples: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """``[n]`` or ``[channels, n]``, floating, to float32 ``[channels, n]``.

    Raises:
        AudioError: integers, more dimensions, NaN, infinity, or an amplitude that only unscaled integers have.
    """
    given = np.asarray(samples)
    if given.ndim > 2:
        raise AudioError(f"samples have shape {given.shape}; expected [samples] or [channels, samples]")
    if given.dtype.kind != "f":
        raise AudioError(f"samples are {given.dtype}; give floats, full scale 1 (divide 16-bit integers by 32768)")
    block = np.atleast_2d(given.astype(np.float32, copy=False))
    if block.size and not max(block.max(), -block.min()) <= MAX_AMPLITUDE:  # false for NaN as well
        offset = int(np.flatnonzero(~(np.abs(block) <= MAX_AMPLITUDE).all(axis=0))[0])
        if np.isfinite(block[:, offset]).all():
            raise AudioError(f"sample {offset} is beyond {MAX_AMPLITUDE:g} times full scale; divide integers by 32768")
        raise AudioError(f"NaN or infinity at sample {offset} of the {block.shape[1]} given; clean them first")
    return block
