"""The network alone: blocks of audio to indices and back, without files, packets or entropy coding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from audiocodec.codec import Codec, RateSetting

Floats = npt.NDArray[np.float32]


def encode_blocks(codec: Codec, rate: RateSetting, wave: Floats, block_frames: int) -> list[Any]:
    """The indices of each whole block of ``wave [rows, samples]``, one after the other."""
    rows, size = wave.shape[0], block_frames * codec.hop_samples
    runtime, rates = codec.runtime, [rate] * rows
    state, found = runtime.encoder_state(rows), []
    for start in range(0, wave.shape[1] - size + 1, size):
        indices, state = runtime.encode(wave[:, start : start + size], rates, state)
        found.append(indices)
    return found


def decode_blocks(codec: Codec, rate: RateSetting, blocks: Sequence[Any]) -> list[Any]:
    """The waves of what :func:`encode_blocks` gave."""
    rows = len(blocks[0])
    runtime, rates = codec.runtime, [rate] * rows
    state, found = runtime.decoder_state(rows), []
    for indices in blocks:
        wave, state = runtime.decode(indices, rates, state)
        found.append(wave)
    return found
