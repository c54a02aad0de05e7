"""One live stream, frame by frame, for the benchmarks of latency and of many streams."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from audiocodec.codec import Codec, RateSetting


class Call:
    """Looped ``speech [samples]``, from its ``start``-th second on, through an encoder and a live decoder."""

    def __init__(self, codec: Codec, rate: RateSetting, speech: npt.NDArray[np.float32], start: int = 0) -> None:
        from audiocodec.streaming import StreamDecoder, StreamEncoder

        whole = len(speech) // codec.hop_samples * codec.hop_samples
        self._frames = speech[:whole].reshape(-1, codec.hop_samples)  # shared by all calls
        self._next = round(start * codec.frame_rate)
        self._encoder, self._decoder = StreamEncoder(codec, rate, block_frames=1), StreamDecoder(codec, live=True)
        self._decoder.push(self._encoder.header.pack())

    def frame(self) -> tuple[float, float, float]:
        """Code and decode the next frame; the wall seconds that encoding and decoding took, and CPU seconds of both."""
        samples = self._frames[self._next % len(self._frames)]
        self._next += 1
        used, start = time.thread_time(), time.perf_counter()
        packets = self._encoder.push(samples)
        middle = time.perf_counter()
        for packet in packets:
            self._decoder.push(packet)
        end = time.perf_counter()
        return middle - start, end - middle, time.thread_time() - used
