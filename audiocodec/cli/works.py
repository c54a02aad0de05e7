"""What ``encode`` and ``decode`` do to one file: goes to other processes by pickle, and loads its models there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from audiocodec.cli.ending import ended_by_signals
from audiocodec.cli.jobs import Job
from audiocodec.cli.loading import Loader, Placing
from audiocodec.cli.picking import Picker
from audiocodec.cli.progress import Update
from audiocodec.errors import AudioError, BitstreamError

if TYPE_CHECKING:
    from audiocodec.reports import DecodeReport, EncodeReport


@dataclass(frozen=True)
class Encoding:
    """How every file is encoded; models that are named are loaded by calling it."""

    model: str
    bitrate: float | None
    levels: int | None
    mode: Literal["range", "raw"]
    stereo: Literal["auto", "mid-side", "independent"]
    force: bool
    placing: Placing
    quiet: bool
    raw: tuple[str, int, int] | None = None
    """Format, rate and channels of samples without a header."""
    packet_frames: int | None = None

    def __call__(self, load: Loader | None = None) -> Callable[[Job, Update], EncodeReport]:
        """Load what is named, and give what encodes a file."""
        from audiocodec.audio import AudioReader, RawFormat
        from audiocodec.transcode import encode_file

        loader = load or Loader(self.placing)
        pick = Picker(self.model, self.bitrate, self.levels, self.quiet, loader, self.packet_frames)

        def work(job: Job, update: Update) -> EncodeReport:
            source, target = job
            with (
                ended_by_signals() as ending,
                AudioReader(source, raw=self.raw and RawFormat(*self.raw), ending=ending) as reader,
            ):
                codec, rate, picked = pick(reader, target)
                report = encode_file(
                    codec,
                    reader,
                    target,
                    rate,
                    mode=self.mode,
                    packet_frames=self.packet_frames,
                    stereo=self.stereo,
                    force=self.force,
                    progress=update,
                )
                return replace(report, picked=picked, ended_by=ending.signum)

        return work

    def seconds(self, source: str) -> float:
        """Length that a recording states; 0 where it states none or cannot be read."""
        if not os.path.isfile(source):  # a FIFO gives what it holds once
            return 0.0
        from audiocodec.audio import AudioReader, RawFormat

        try:
            with AudioReader(source, raw=self.raw and RawFormat(*self.raw)) as reader:
                return (reader.frames or 0) / reader.sample_rate
        except AudioError:
            return 0.0


@dataclass(frozen=True)
class Decoding:
    """How every file is decoded."""

    model: str | None
    subtype: str | None
    force: bool
    placing: Placing
    raw: str | None = None
    rate: int | None = None

    def __call__(self, load: Loader | None = None) -> Callable[[Job, Update], DecodeReport]:
        """Give what decodes a file; it loads models as files need them."""
        from audiocodec.models import finder
        from audiocodec.transcode import decode_file

        find_codec = finder(self.model, load or Loader(self.placing))

        def work(job: Job, update: Update) -> DecodeReport:
            source, target = job
            with ended_by_signals() as ending:
                report = decode_file(
                    find_codec,
                    source,
                    target,
                    subtype=self.subtype,
                    raw=self.raw,
                    sample_rate=self.rate,
                    force=self.force,
                    ending=ending,
                    progress=update,
                )
                return replace(report, ended_by=ending.signum)

        return work

    def seconds(self, source: str) -> float:
        """Length that a header states; 0 where it states none or cannot be read."""
        if not os.path.isfile(source):
            return 0.0
        from audiocodec.bitstream.header import MAX_HEADER, StreamHeader

        try:
            with open(source, "rb") as file:
                header = StreamHeader.unpack(file.read(MAX_HEADER))[0]
        except (OSError, BitstreamError):
            return 0.0
        return (header.total_samples or 0) / header.source_rate
