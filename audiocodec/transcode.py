"""Whole files in and out: audio to .vpc to audio, block by block, in memory that does not grow with the length."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import AudioReader, AudioWriter, Resampler, choose_format, resampled_length
from audiocodec.bitstream import FileWriter, StreamHeader
from audiocodec.errors import AudioError, BitstreamError, ModelError
from audiocodec.output import STDIO, OutputFile, check_output, describe
from audiocodec.stereo import MidSide, Stereo, coupling_of
from audiocodec.streaming import FILE_BLOCK_FRAMES, FILE_PACKET_FRAMES, StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Progress = Callable[[float, "float | None"], None]  # seconds of audio done, seconds in all or None where unknown
FindCodec = Callable[[StreamHeader], "Codec"]
Samples = NDArray[np.float32]
# A fifth of a second at 50 frames/s: of a live packet's bytes, its frame header is then a small part.
LIVE_PACKET_FRAMES = 10
READ_BYTES = 16_384  # of a .vpc: about a minute of audio at the middle rates, decoded between two steps of progress


@dataclass(frozen=True)
class Report:
    """What became of one file. ``samples`` counts one channel at ``sample_rate``; ``problems`` are for people."""

    source: str
    target: str
    sample_rate: int
    channels: int
    samples: int
    bytes_in: int
    bytes_out: int
    elapsed_s: float
    problems: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return self.samples / self.sample_rate

    @property
    def speed(self) -> float:
        """Seconds of audio per second of work."""
        return self.duration_s / max(self.elapsed_s, 1e-9)


@dataclass(frozen=True)
class EncodeReport(Report):
    """What encoding one file gave. ``picked``: the model and why, where it was not named."""

    picked: str = ""

    @property
    def written_kbps(self) -> float:
        """Rate of the whole .vpc, headers included; 0 for an empty recording."""
        return self.bytes_out * 8e-3 / self.duration_s if self.samples else 0.0

    @property
    def ratio(self) -> float:
        """How many times smaller the .vpc is than the file that was read."""
        return self.bytes_in / max(self.bytes_out, 1)


@dataclass(frozen=True)
class DecodeReport(Report):
    """What decoding one file gave. ``lost_frames`` were concealed; ``stated_samples`` is the length encoded."""

    lost_frames: int = 0
    stated_samples: int | None = None


def encode_file(
    codec: Codec,
    source: str | Path | AudioReader,
    target: str | Path,
    rate: RateSetting,
    *,
    mode: Literal["raw", "range"] = "range",
    packet_frames: int | None = None,
    stereo: Stereo = "auto",
    force: bool = False,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode an audio file; ``-`` is standard input or output.

    Args:
        codec: the loaded model.
        source: WAV, FLAC, Ogg Vorbis, Opus or MP3; 8 to 192 kHz; mono or stereo. Or a reader of one, which is closed.
        target: the .vpc, written under another name and renamed when it is whole.
        rate: one of ``codec.rates``; a stereo file may cost what two channels cost at it.
        mode: ``range`` (entropy coded) or ``raw``.
        packet_frames: most frames a packet holds; default: FILE_PACKET_FRAMES, or LIVE_PACKET_FRAMES from pipe to pipe.
        stereo: two channels as they are, as mid and side, or what suits (see :mod:`audiocodec.stereo`).
        force: overwrite ``target``.
        progress: called after each block.

    Raises:
        AudioError: ``source`` cannot be read, or holds NaN or infinity.
        OutputError: ``target`` exists without ``force``, or cannot be written.
    """
    check_output(target, force, source.source if isinstance(source, AudioReader) else source)
    start = time.perf_counter()
    opened = source if isinstance(source, AudioReader) else AudioReader(source)
    with opened as reader, OutputFile(target, force) as out:
        live = reader.live and out.live
        encoder = _encoder(codec, coupling_of(codec, rate, stereo, reader, live), mode, packet_frames, reader, live)
        writer = FileWriter(cast("IO[bytes]", out), encoder.header)  # all that it asks of a file, OutputFile has
        resampler = Resampler(reader.sample_rate, codec.sample_rate, reader.channels)
        for block in reader:
            for packet in encoder.push(resampler.push(block)):
                writer.write_packet(packet)
            if progress:
                progress(reader.samples_read / reader.sample_rate, _seconds(reader.frames, reader.sample_rate))
        for packet in chain(encoder.push(resampler.flush()), encoder.flush()):
            writer.write_packet(packet)
        writer.close(reader.samples_read)
    return EncodeReport(
        source=reader.name,
        target=describe(target, output=True),
        sample_rate=reader.sample_rate,
        channels=reader.channels,
        samples=reader.samples_read,
        bytes_in=reader.bytes_read or 0,
        bytes_out=out.bytes_written,
        elapsed_s=time.perf_counter() - start,
        problems=(reader.shortfall,) if reader.shortfall else (),
    )


def _encoder(
    codec: Codec,
    rate: RateSetting | MidSide,
    mode: Literal["raw", "range"],
    packet_frames: int | None,
    reader: AudioReader,
    live: bool,
) -> StreamEncoder:
    """From pipe to pipe each frame is coded as it comes; otherwise in large blocks, which are faster and smaller."""
    block = 1 if live else FILE_BLOCK_FRAMES
    packet_frames = packet_frames or (LIVE_PACKET_FRAMES if live else FILE_PACKET_FRAMES)
    return StreamEncoder(
        codec,
        rate,
        reader.channels,
        mode,
        block_frames=block,
        packet_frames=max(packet_frames // block, 1) * block,
        source_rate=reader.sample_rate,
    )


def decode_file(
    find_codec: Codec | FindCodec,
    source: str | Path,
    target: str | Path,
    *,
    subtype: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DecodeReport:
    """Decode a .vpc to audio of the rate, channels and length that were encoded; ``-`` is standard input or output.

    A damaged stream is decoded as far as it goes, lost frames concealed; the report then lists ``problems``.

    Args:
        find_codec: the model, or a function that finds it from the stream's header (``models.finder``).
        source: the .vpc.
        target: its extension chooses the format; ``-`` is WAV.
        subtype: sample format by libsndfile's name (``PCM_24``, ``FLOAT``, ...); default: 16 bit, or the format's own.
        force: overwrite ``target``.
        progress: called after each stretch of samples.

    Raises:
        BitstreamError: no header, or nothing that could be decoded behind it; nothing is written.
        ModelError: the model that made the stream is not at hand.
        OutputError: ``target`` exists without ``force``, or cannot be written in that format.
    """
    check_output(target, force, source)
    choose_format(target, subtype)
    start = time.perf_counter()
    name = describe(source)
    with _named(name), _open_bytes(source) as stream:
        decoder = StreamDecoder(find_codec)
        pieces = _pieces(decoder, stream)
        first = next(pieces)  # before anything is written: the header may be damaged, or its model missing
        header = decoder.header
        assert header is not None
        total_s = _seconds(header.total_samples, header.source_rate)
        with AudioWriter(target, header.source_rate, header.channels, subtype, force, header.total_samples) as writer:
            resampler = Resampler(header.sample_rate, header.source_rate, header.channels)
            for piece in chain([first], pieces):
                writer.write(resampler.push(piece))
                if progress:
                    progress(writer.samples_written / header.source_rate, total_s)
            writer.write(resampler.flush(_length(decoder, resampler.samples_in, header)))
            _check_anything(decoder, resampler.samples_in, header)
    return DecodeReport(
        source=name,
        target=describe(target, output=True),
        sample_rate=header.source_rate,
        channels=header.channels,
        samples=writer.samples_written,
        bytes_in=stream.count,
        bytes_out=writer.bytes_written,
        elapsed_s=time.perf_counter() - start,
        problems=(*decoder.problems, *_missing_end(decoder, writer.samples_written, header)),
        lost_frames=decoder.lost_frames,
        stated_samples=decoder.total_samples,
    )


class _Bytes:
    """Reads a .vpc from a file or a pipe in pieces, and counts."""

    def __init__(self, file: BinaryIO) -> None:
        self.count = 0
        self._read = getattr(file, "read1", file.read)  # what has arrived: a live stream is played as it comes

    def __iter__(self) -> Iterator[bytes]:
        while data := self._read(READ_BYTES):
            self.count += len(data)
            yield data


@contextmanager
def _open_bytes(source: str | Path) -> Iterator[_Bytes]:
    if str(source) == STDIO:
        yield _Bytes(sys.stdin.buffer)
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise AudioError(f"cannot read {source}: {error.strerror or error}") from None
    with file:
        yield _Bytes(file)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which of several files an error is about."""
    try:
        yield
    except (BitstreamError, ModelError) as error:
        error.args = (f"{name}: {error}",)
        raise


def _pieces(decoder: StreamDecoder, stream: _Bytes) -> Iterator[Samples]:
    """The decoded samples, the first once the header is known."""
    for data in stream:
        yield from decoder.pieces(data)
    yield from decoder.final_pieces()


def _length(decoder: StreamDecoder, samples_in: int, header: StreamHeader) -> int:
    """Samples to write: as many as were encoded, but no more than were decoded."""
    held = resampled_length(samples_in, header.sample_rate, header.source_rate)
    return held if decoder.total_samples is None else min(held, decoder.total_samples)


def _check_anything(decoder: StreamDecoder, samples_in: int, header: StreamHeader) -> None:
    """Refuse to call it audio when every frame of it was made up."""
    sound = samples_in - decoder.lost_frames * header.hop_samples
    if decoder.total_samples != 0 and sound <= 0:
        reason = decoder.problems[0] if decoder.problems else "it ends behind its header"
        raise BitstreamError(f"nothing in it can be decoded ({reason})")


def _missing_end(decoder: StreamDecoder, written: int, header: StreamHeader) -> tuple[str, ...]:
    total = decoder.total_samples
    if total is None or written >= total:
        return ()
    written_s, total_s = written / header.source_rate, total / header.source_rate
    return (f"cut short: {written_s:.2f} s of {total_s:.2f} s are there",)


def _seconds(samples: int | None, rate: int) -> float | None:
    return None if samples is None else samples / rate
