"""Whole files in and out: audio to .vpc to audio, block by block, in memory that does not grow with the length.

Of a file that is encoded, reading and resampling run in a thread ahead of the rest; of one that is decoded, so do
reading with entropy decoding, and the network. That takes a sixth off the time on two cores. Entropy coding in a
thread behind the network would save no more. Live streams are waited for in any case, and their packets must not wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from audiocodec.ahead import DEPTH, ahead
from audiocodec.audio import AudioReader, AudioWriter, Resampler, choose_format, resampled_length
from audiocodec.bitstream import Event, FileWriter, StreamHeader
from audiocodec.ending import Ending
from audiocodec.errors import AudioError, BitstreamError
from audiocodec.incoming import CountedBytes, named, open_bytes
from audiocodec.leftovers import told_of
from audiocodec.output import OutputFile, check_output, describe, is_live
from audiocodec.reports import DecodeReport, EncodeReport
from audiocodec.salvage import finish
from audiocodec.stereo import MidSide, Stereo, coupling_of
from audiocodec.streaming import (
    FILE_BLOCK_FRAMES,
    FILE_PACKET_FRAMES,
    LIVE_PACKET_FRAMES,
    StreamDecoder,
    StreamEncoder,
)

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Progress = Callable[[float, "float | None"], None]  # seconds of audio done, seconds in all or None where unknown
FindCodec = Callable[[StreamHeader], "Codec"]
Samples = NDArray[np.float32]


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
        source: WAV, FLAC, Ogg Vorbis, Opus or MP3; 8 to 192 kHz; mono or stereo. Or a reader of one, or of raw samples;
            it is closed. Where it is asked to end, so does the .vpc, as well as at the source's own end.
        target: the .vpc, written under another name and renamed when it is whole.
        rate: one of ``codec.rates``; a stereo file may cost what two channels cost at it.
        mode: ``range`` (entropy coded) or ``raw``.
        packet_frames: most frames a packet holds, of a file rounded down to whole blocks; default: FILE_PACKET_FRAMES,
            or LIVE_PACKET_FRAMES from pipe to pipe.
        stereo: two channels as they are, as mid and side, or what suits (see :mod:`audiocodec.stereo`).
        force: overwrite ``target``.
        progress: called after each block.

    Raises:
        AudioError: ``source`` cannot be read, or holds NaN or infinity; of a pipe, what came until then is kept.
        OutputError: ``target`` exists without ``force``, or cannot be written.
    """
    check_output(target, force, source.source if isinstance(source, AudioReader) else source)
    start = time.perf_counter()
    opened = source if isinstance(source, AudioReader) else AudioReader(source)
    with opened as reader, OutputFile(target, force, recording=reader.live) as out:
        if reader.live:  # it cannot be had again
            out.rescue = finish
        live = reader.live and out.live
        encoder = _encoder(codec, coupling_of(codec, rate, stereo, reader, live), mode, packet_frames, reader, live)
        writer = FileWriter(cast("IO[bytes]", out), encoder.header)  # all that it asks of a file, OutputFile has
        with ahead(_resampled(reader, codec.sample_rate, live), 0 if reader.live else DEPTH) as blocks:
            broken = _encode(blocks, encoder, writer, reader, progress)
        for packet in encoder.flush():
            writer.write_packet(packet)
        writer.close(reader.samples_read)
    if broken is not None:
        raise broken if out.live else AudioError(f"{broken}; what came until then is kept in {out.name}")
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
        notes=told_of(target),
    )


def _encode(
    blocks: Iterable[tuple[Samples, int]],
    encoder: StreamEncoder,
    writer: FileWriter,
    reader: AudioReader,
    progress: Progress | None,
) -> AudioError | None:
    """Write all packets that are full; give back the error that ends a recording which cannot be made again."""
    total_s = _seconds(reader.frames, reader.sample_rate)
    try:
        for block, samples_read in blocks:
            for packet in encoder.push(block):
                writer.write_packet(packet)
            if progress:
                progress(samples_read / reader.sample_rate, total_s)
    except AudioError as error:
        if not (reader.live and reader.samples_read):
            raise
        return error
    return None


def _resampled(reader: AudioReader, rate: int, live: bool) -> Iterator[tuple[Samples, int]]:
    """Blocks at ``rate``, each with the samples that were read for it and all before it."""
    resampler = Resampler(reader.sample_rate, rate, reader.channels, live)
    broken: AudioError | None = None
    try:
        for block in reader:
            yield resampler.push(block), reader.samples_read
    except AudioError as error:
        broken = error
    yield resampler.flush(), reader.samples_read
    if broken is not None:
        raise broken


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
        running=live,
    )


def decode_file(
    find_codec: Codec | FindCodec,
    source: str | Path,
    target: str | Path,
    *,
    subtype: str | None = None,
    raw: str | None = None,
    sample_rate: int | None = None,
    force: bool = False,
    ending: Ending | None = None,
    progress: Progress | None = None,
) -> DecodeReport:
    """Decode a .vpc to audio of the rate, channels and length that were encoded; ``-`` is standard input or output.

    A damaged stream is decoded as far as it goes, lost frames concealed; the report then lists ``problems``.

    Args:
        find_codec: the model, or a function that finds it from the stream's header (``models.finder``).
        source: the .vpc.
        target: its extension chooses the format; ``-`` is WAV.
        subtype: sample format by libsndfile's name (``PCM_24``, ``FLOAT``, ...); default: 16 bit, or the format's own.
        raw: write samples of this raw format (``s16le``, ...) without a header, whatever the extension.
        sample_rate: of the output; default: that of what was encoded.
        force: overwrite ``target``.
        ending: whoever may ask a pipe to end before it does; what came so far is then decoded.
        progress: called after each stretch of samples.

    Raises:
        BitstreamError: no header, or nothing that could be decoded behind it; nothing is written.
        ModelError: the model that made the stream is not at hand.
        OutputError: ``target`` exists without ``force``, or cannot be written in that format.
    """
    check_output(target, force, source)
    choose_format(target, subtype, raw)
    start = time.perf_counter()
    name = describe(source)
    with named(name), open_bytes(source, ending) as stream:
        decoder = StreamDecoder(find_codec)
        header, events = _begun(decoder, stream)
        rate = sample_rate or header.source_rate
        total = _total(header.total_samples, header, rate)
        arriving = not os.path.isfile(source)
        if ending is not None:
            ending.live = arriving
        depth = 0 if arriving or is_live(target) else DEPTH  # where nobody waits for what comes in, or goes out
        with (
            AudioWriter(target, rate, header.channels, subtype, force, total, raw, recording=arriving) as writer,
            ahead(events, depth) as said,
            ahead(_sounds(decoder, said), depth) as pieces,
        ):
            samples_in = _write(writer, pieces, decoder, rate, progress)
            total = _total(decoder.total_samples, header, rate)
            if ending is None or not ending.asked:
                _check_anything(decoder, samples_in, header)
    return DecodeReport(
        source=name,
        target=describe(target, output=True),
        sample_rate=rate,
        channels=header.channels,
        samples=writer.samples_written,
        bytes_in=stream.count,
        bytes_out=writer.bytes_written,
        elapsed_s=time.perf_counter() - start,
        problems=(*decoder.problems, *_missing_end(writer.samples_written, total, rate)),
        notes=told_of(target),
        lost_frames=decoder.lost_frames,
        stated_samples=total,
        uncounted=decoder.problem_count - len(decoder.problems),
    )


def _write(
    writer: AudioWriter, pieces: Iterable[Samples], decoder: StreamDecoder, rate: int, progress: Progress | None
) -> int:
    """Write all that is decoded at ``rate``; how many samples that was, at the model's."""
    header = decoder.header
    assert header is not None
    total = _total(header.total_samples, header, rate)
    # By what the stream is, not by where it goes: a pipe gives the samples that a file gives.
    running = header.running_frames is not None
    resampler = Resampler(header.sample_rate, rate, header.channels, running)
    for piece in pieces:
        writer.write(resampler.push(piece))
        if progress:
            progress(writer.samples_written / rate, _seconds(total, rate))
    total = _total(decoder.total_samples, header, rate)
    held = resampled_length(resampler.samples_in, header.sample_rate, rate)
    writer.write(resampler.flush(held if total is None else min(held, total)))
    return resampler.samples_in


def _begun(decoder: StreamDecoder, stream: CountedBytes) -> tuple[StreamHeader, Iterator[Event]]:
    """The header, before anything is written (it may be damaged, or its model missing), and all of the stream."""
    events = _events(decoder, stream)
    beginning = next(events)
    assert decoder.header is not None
    return decoder.header, chain([beginning], events)


def _events(decoder: StreamDecoder, stream: CountedBytes) -> Iterator[Event]:
    """What a stream says, its header first."""
    for data in stream:
        yield from decoder.events(data)
    yield from decoder.final_events()


def _sounds(decoder: StreamDecoder, events: Iterable[Event]) -> Iterator[Samples]:
    for event in events:
        yield from decoder.sounds(event)


def _total(samples: int | None, header: StreamHeader, rate: int) -> int | None:
    """Length at ``rate`` of what was encoded with so many samples; as many, where the rate is that of the source."""
    return None if samples is None else resampled_length(samples, header.source_rate, rate)


def _check_anything(decoder: StreamDecoder, samples_in: int, header: StreamHeader) -> None:
    """Refuse to call it audio when every frame of it was made up."""
    sound = samples_in - decoder.lost_frames * header.hop_samples
    if decoder.total_samples != 0 and sound <= 0:
        reason = decoder.problems[0] if decoder.problems else "it ends behind its header"
        raise BitstreamError(f"nothing in it can be decoded ({reason})")


def _missing_end(written: int, total: int | None, rate: int) -> tuple[str, ...]:
    if total is None or written >= total:
        return ()
    return (f"cut short: {written / rate:.2f} s of {total / rate:.2f} s are there",)


def _seconds(samples: int | None, rate: int) -> float | None:
    return None if samples is None else samples / rate
