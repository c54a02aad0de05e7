"""Whole recordings in memory: arrays to .vpc bytes and back, through the same streams as files."""

from __future__ import annotations

import io
from itertools import chain
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocodec.audio import BLOCK_SAMPLES, MAX_CHANNELS, MAX_RATE, MIN_RATE, Resampler
from audiocodec.audio.samples import float_samples
from audiocodec.bitstream import FileWriter
from audiocodec.errors import AudioError, BitstreamError
from audiocodec.stereo import Stereo, balance_of, choose_coupling
from audiocodec.streaming import FILE_BLOCK_FRAMES, FILE_PACKET_FRAMES, StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting


def compress(
    codec: Codec,
    waveform: ArrayLike,
    sample_rate: int,
    rate: RateSetting,
    mode: Literal["raw", "range"],
    stereo: Stereo = "auto",
) -> bytes:
    """``[samples]`` or ``[channels, samples]`` to a .vpc file. Raises AudioError for what is no audio."""
    wave = float_samples(waveform)
    channels, samples = wave.shape
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"a waveform of shape {wave.shape} has {channels} channels, 1 or {MAX_CHANNELS} are possible; "
            "expected [channels, samples], so transpose what soundfile reads"
        )
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(f"{sample_rate} Hz is not a rate of {MIN_RATE} to {MAX_RATE} Hz; resample it first")
    # In pieces: an hour resampled at once takes gigabytes
    blocks = [wave[:, start : start + BLOCK_SAMPLES] for start in range(0, samples, BLOCK_SAMPLES)]
    block = FILE_BLOCK_FRAMES
    encoder = StreamEncoder(
        codec,
        choose_coupling(codec, rate, balance_of(blocks), stereo) if channels == 2 else rate,
        channels,
        mode,
        block_frames=block,
        packet_frames=FILE_PACKET_FRAMES // block * block,
        source_rate=sample_rate,
        total_samples=samples,
    )
    resampler = Resampler(sample_rate, codec.sample_rate, channels)
    buffer = io.BytesIO()
    writer = FileWriter(buffer, encoder.header, codec.entropy)
    for piece in blocks:
        for packet in encoder.push(resampler.push(piece)):
            writer.write_packet(packet)
    for packet in chain(encoder.push(resampler.flush()), encoder.flush()):
        writer.write_packet(packet)
    writer.close(samples)
    return buffer.getvalue()


def decompress(codec: Codec, data: bytes) -> tuple[NDArray[np.float32], int]:
    """A .vpc file to ``([channels, samples], sample_rate)``. Raises BitstreamError if any of it is damaged."""
    decoder = StreamDecoder(codec)
    parts = [decoder.joined(list(pieces)) for pieces in (decoder.pieces(data), decoder.final_pieces())]
    if decoder.problems or decoder.header is None:
        raise BitstreamError(decoder.problems[0] if decoder.problems else "no header")
    header = decoder.header
    # As decode_file does: a stream has one sound
    running = header.running_frames is not None
    resampler = Resampler(header.sample_rate, header.source_rate, header.channels, running)
    parts = [resampler.push(part) for part in parts]
    parts.append(resampler.flush())
    # The end packet says how long a live stream was; a second is never made up for a length that is not there.
    return np.concatenate(parts, axis=1)[:, : decoder.total_samples], header.source_rate
