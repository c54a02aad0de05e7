"""One live stream, frame by frame, for the benchmarks of latency and of many streams."""

from __future__ import annotations

import time
from collections.abc import Sequence
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
        self.encoder, self.decoder = StreamEncoder(codec, rate, block_frames=1), StreamDecoder(codec, live=True)
        self.decoder.push(self.encoder.header.pack())

    def samples(self) -> npt.NDArray[np.float32]:
        """The next frame ``[hop]``."""
        self._next += 1
        return self._frames[(self._next - 1) % len(self._frames)]

    def frame(self) -> tuple[float, float, float]:
        """Code and decode the next frame; the wall seconds that encoding and decoding took, and CPU seconds of both."""
        samples = self.samples()
        used, start = time.thread_time(), time.perf_counter()
        packets = self.encoder.push(samples)
        middle = time.perf_counter()
        for packet in packets:
            self.decoder.push(packet)
        end = time.perf_counter()
        return middle - start, end - middle, time.thread_time() - used


def frames_together(calls: Sequence[Call]) -> None:
    """Code and decode the next frame of all calls, the network running once for all of them."""
    from audiocodec.streaming.groups import push_many

    packets = push_many([(call.encoder, call.samples()) for call in calls])
    push_many([(call.decoder, b"".join(coded)) for call, coded in zip(calls, packets, strict=True)])
