"""Latency of a live stream: what the algorithm must wait for, and what this machine takes to compute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from audiocodec.codec import Codec

FRAMES, WARMING_FRAMES = 400, 25


def measure_latency(codec: Codec, frames: int = FRAMES) -> dict[str, Any]:
    """Code and decode ``frames`` one by one at the default rate, as a call would; milliseconds by name.

    End to end is from when a sample arrives until it comes out, of all samples, as through the pipe: the first of a
    frame waits for the rest of it, each is encoded and decoded, and what comes out overlaps with what follows. Sound
    cards and networks come on top.
    """
    encode_ms, decode_ms = _frame_times(codec, frames)
    framing_ms = 1000 * codec.hop_samples / codec.sample_rate
    overlap_ms = 1000 * codec.delay_samples / codec.sample_rate
    waiting_ms = overlap_ms + framing_ms * (1 - np.arange(codec.hop_samples) / codec.hop_samples)
    return {
        "framing_ms": framing_ms,
        "overlap_ms": overlap_ms,
        "encoding_ms": percentiles(encode_ms),
        "decoding_ms": percentiles(decode_ms),
        "end_to_end_ms": percentiles(np.add.outer(encode_ms + decode_ms, waiting_ms)),
    }


def percentiles(milliseconds: NDArray[np.float64]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {f"p{share}": round(float(np.percentile(milliseconds, share)), 2) for share in (50, 95)}


def _frame_times(codec: Codec, frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Milliseconds to encode and to decode each frame, after some that fill caches."""
    from audiocodec.streaming import StreamDecoder, StreamEncoder

    encoder = StreamEncoder(codec, codec.choose_rate())
    decoder = StreamDecoder(codec, live=True)
    decoder.push(encoder.header.pack())
    rng = np.random.default_rng(0)
    taken = np.zeros((WARMING_FRAMES + frames, 2))
    for row in taken:
        wave = 0.1 * rng.standard_normal((1, codec.hop_samples), np.float32)  # noise: no frame is silent, or cheap
        start = time.perf_counter()
        packets = encoder.push(wave)
        middle = time.perf_counter()
        decoder.push(b"".join(packets))
        row[:] = middle - start, time.perf_counter() - middle
    encode_ms, decode_ms = 1000 * taken[WARMING_FRAMES:].T
    return encode_ms, decode_ms
