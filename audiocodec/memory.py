"""Whole recordings in memory: arrays to .vpc bytes and back, through the same streams as files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import Resampler
from audiocodec.bitstream import FileWriter
from audiocodec.errors import AudioError, BitstreamError
from audiocodec.streaming import FILE_PACKET_FRAMES, StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from audiocodec.codec import Codec, RateSetting


def compress(
    codec: Codec, waveform: NDArray[np.float32], sample_rate: int, rate: RateSetting, mode: Literal["raw", "range"]
) -> bytes:
    """``[channels, samples]`` to a .vpc file. Raises AudioError for NaN or infinity."""
    if not np.isfinite(waveform).all():
        raise AudioError("the waveform holds NaN or infinity; clean it first")
    channels, samples = waveform.shape
    block = codec.config.file_block_frames
    encoder = StreamEncoder(
        codec,
        rate,
        channels,
        mode,
        block_frames=block,
        packet_frames=FILE_PACKET_FRAMES // block * block,
        source_rate=sample_rate,
        total_samples=samples,
    )
    resampler = Resampler(sample_rate, codec.sample_rate, channels)
    packets = encoder.push(resampler.push(waveform))
    packets += encoder.push(resampler.flush())
    packets += encoder.flush()
    buffer = io.BytesIO()
    writer = FileWriter(buffer, encoder.header, codec.entropy)
    for packet in packets:
        writer.write_packet(packet)
    writer.close(samples)
    return buffer.getvalue()


def decompress(codec: Codec, data: bytes) -> tuple[NDArray[np.float32], int]:
    """A .vpc file to ``([channels, samples], sample_rate)``. Raises BitstreamError if any of it is damaged."""
    decoder = StreamDecoder(codec)
    parts = [decoder.push(data), decoder.flush()]
    if decoder.problems or decoder.header is None:
        raise BitstreamError(decoder.problems[0] if decoder.problems else "no header")
    header = decoder.header
    resampler = Resampler(header.sample_rate, header.source_rate, header.channels)
    parts = [resampler.push(np.ascontiguousarray(part)) for part in parts] + [resampler.flush()]
    wave: NDArray[Any] = np.concatenate(parts, axis=1)
    total = header.total_samples if header.total_samples is not None else wave.shape[1]
    return np.pad(wave[:, :total], ((0, 0), (0, max(0, total - wave.shape[1])))), header.source_rate
