"""The work behind the page: recordings opened, coded, decoded again and prepared for listening.

Files are the codec's own way in and out, so each job has a temporary folder, which is gone when the job ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocodec import models
from audiocodec.audio import AudioReader, AudioWriter, Resampler, resampled_length
from audiocodec.bitstream import StreamHeader
from audiocodec.choosing import choose
from audiocodec.demo import opus
from audiocodec.demo.coded import extent, is_coded, read_header, use_of, with_losses
from audiocodec.demo.limits import Limits
from audiocodec.demo.pool import check_wanted
from audiocodec.demo.store import Coding, Recording
from audiocodec.demo.undertaker import removed_after_death
from audiocodec.errors import AudiocodecError, AudioError, ModelError
from audiocodec.stereo import MidSide
from audiocodec.transcode import decode_file, encode_file

if TYPE_CHECKING:
    from audiocodec.codec import Codec

LISTENING_RATE = 48_000
"""Most samples a second that anything is played at: loudspeakers have no use for more, and downloads would grow."""
Load = Callable[["str | Path"], "Codec"]


class Studio:
    """What the page asks for, computed in the thread that calls; ``load`` gives one codec for each model."""

    def __init__(self, load: Load, limits: Limits) -> None:
        self._load, self._limits = load, limits
        self.opus_note = opus.absent() or ""

    def codec(self, model: str) -> Codec:
        """The codec of an installed model: a name, never a path, since visitors choose it. Raises ModelError."""
        return self._load(models.named(model).folder)

    def open(self, name: str, data: bytes) -> Recording:
        """Look at what a visitor dropped.

        Raises:
            AudiocodecError: it is too long, empty, no audio, or a .vpc that cannot be read here.
        """
        if not data:
            raise AudioError(f"{name} is empty")
        if is_coded(name, data):
            return self._open_coded(name, data)
        with _workplace(name) as folder:
            path = _written(folder, data)
            with AudioReader(path) as reader:
                length = reader.frames
                if length is None:
                    length = sum(block.shape[1] for block in self._blocks(reader, name))
                self._check_length(name, length / reader.sample_rate)
            if not length:
                raise AudioError(f"{name} holds no sound")
            with AudioReader(path) as reader:
                choice = choose(reader)
        picked = choice.models[0]
        recording = Recording(
            name=name,
            data=data,
            kind="audio",
            seconds=length / reader.sample_rate,
            sample_rate=reader.sample_rate,
            channels=reader.channels,
            picked=picked.name,
            reason=choice.reason,
            domain=picked.domain,
        )
        if choice.notice:
            recording.notices.append(f"No model here suits it ({choice.reason}); {picked.name} is the nearest.")
        return recording

    def _open_coded(self, name: str, data: bytes) -> Recording:
        header = read_header(name, data)
        model = _maker(name, header)
        codec = self._load(model.folder)
        rate = codec.rate_of(header)
        frames, problem = extent(header, data, most=self._limits.seconds)
        seconds = max(0, frames * header.hop_samples - header.pre_skip) / header.sample_rate
        self._check_length(name, seconds)
        if header.total_samples is not None:
            stated_s = header.total_samples / header.source_rate
            if stated_s > seconds:
                problem = problem or "it ends before the length that it states"
            seconds = min(seconds, stated_s)
        if not seconds:
            raise AudioError(
                f"{name} holds no sound{f' that can be decoded: it is damaged ({problem})' if problem else ''}"
            )
        recording = Recording(
            name=name,
            data=data,
            kind="vpc",
            seconds=seconds,
            sample_rate=header.source_rate,
            channels=header.channels,
            picked=model.name,
            reason="the file names it",
            domain=model.domain,
        )
        if problem:
            recording.notices.append(f"The file is damaged ({problem}); what can be decoded is played.")
        levels = (rate.mid if isinstance(rate, MidSide) else rate).base_levels
        kbps = len(data) * 8e-3 / seconds
        recording.keep(Coding(data, model.name, levels, kbps, use_of(data, codec)), self._limits.kept_codings)
        return recording

    def coding(self, recording: Recording, model: str, levels: int) -> Coding:
        """The recording at a rate, remembered or made now. Raises AudiocodecError."""
        known = recording.codings.get((model, levels))
        if known:
            return known
        if recording.kind == "vpc":
            raise AudioError("a .vpc plays at the rate that it was made with")
        codec = self.codec(model)
        rate = codec.choose_rate(levels=levels)
        with _workplace(recording.name) as folder, _stage(recording, "encoding"):
            source, target = _written(folder, recording.data), folder / "coded.vpc"
            encode_file(codec, source, target, rate, progress=self._progress(recording))
            data = target.read_bytes()
        coding = Coding(data, model, levels, len(data) * 8e-3 / recording.seconds, use_of(data, codec))
        recording.keep(coding, self._limits.kept_codings)
        return coding

    def with_opus(self, recording: Recording, model: str, levels: int) -> Coding:
        """The same with Opus beside it, or a note where there is none."""
        coding = self.coding(recording, model, levels)
        if coding.opus or coding.opus_note or recording.kind == "vpc" or self.opus_note:
            return replace(coding, opus_note=coding.opus_note or self.opus_note)
        with _workplace(recording.name) as folder, _stage(recording, "running Opus"):
            with AudioReader(_written(folder, recording.data)) as reader:
                wave, rate = opus.prepared(reader)
            music = recording.domain == "music"
            try:
                coding = replace(coding, opus=opus.at_bytes(wave, rate, len(coding.data), music))
            except AudiocodecError as error:
                coding = replace(coding, opus_note=f"Opus cannot code this recording: {error}")
        recording.keep(coding, self._limits.kept_codings)
        return coding

    def original(self, recording: Recording) -> bytes:
        """What was dropped as a WAV file. Raises AudiocodecError."""
        return self._as_wav(recording, recording.data)

    def opus_decoded(self, recording: Recording, coding: Coding) -> bytes:
        """What Opus made of it, as a WAV file. Raises AudioError where Opus was not run."""
        if coding.opus is None:
            raise AudioError(coding.opus_note or "Opus was not run for this rate")
        return self._as_wav(recording, coding.opus.data)

    def _as_wav(self, recording: Recording, data: bytes) -> bytes:
        with _workplace(recording.name) as folder, _stage(recording, "reading"):
            target = folder / "heard.wav"
            with AudioReader(_written(folder, data)) as reader:
                rate = min(reader.sample_rate, LISTENING_RATE)
                resampler = Resampler(reader.sample_rate, rate, reader.channels)
                with AudioWriter(target, rate, reader.channels) as writer:
                    for block in self._blocks(reader, recording.name):
                        writer.write(resampler.push(block))
                    writer.write(resampler.flush())
            return target.read_bytes()

    def decoded(self, recording: Recording, coding: Coding, loss: float, seed: int) -> tuple[bytes, int, int]:
        """A WAV file of what a listener gets when ``loss`` (0 to 1) of the packets do not arrive; packets, and lost."""
        codec = self.codec(coding.model)
        data, packets, lost = coding.data, 0, 0
        if loss > 0:
            data, packets, lost = with_losses(data, codec, loss, seed)
        rate = min(recording.sample_rate, LISTENING_RATE)
        with _workplace(recording.name) as folder, _stage(recording, "decoding"):
            source, target = folder / "coded.vpc", folder / "decoded.wav"
            if packets and lost == packets:  # no decoder calls that audio; who listens to it hears nothing
                _write_silence(target, recording, rate)
            else:
                source.write_bytes(data)
                decode_file(codec, source, target, sample_rate=rate, progress=self._progress(recording))
            return target.read_bytes(), packets, lost

    def _blocks(self, reader: AudioReader, name: str) -> Iterator[NDArray[np.float32]]:
        """Blocks of a reader, which may hold more than its header states."""
        for block in reader:
            check_wanted()
            self._check_length(name, reader.samples_read / reader.sample_rate)
            yield block

    def _progress(self, recording: Recording) -> Callable[[float, float | None], None]:
        def progress(done_s: float, _: float | None) -> None:
            check_wanted()
            self._check_length(recording.name, done_s)
            recording.share = min(1.0, done_s / recording.seconds)

        return progress

    def _check_length(self, name: str, seconds: float) -> None:
        most = self._limits.seconds
        if seconds > most + 1.0:  # codecs fill their last frame
            limit = f"{most / 60:g} minutes" if most >= 120 else f"{most:g} seconds"
            raise AudioError(f"{name} is longer than {limit}, which is the most this page takes; cut a piece of it")


def _maker(name: str, header: StreamHeader) -> models.InstalledModel:
    for model in models.list_models():
        if model.fingerprint == header.fingerprint.hex():
            return model
    raise ModelError(f"{name} was made by model {header.fingerprint.hex()}, which is not installed here")


@contextmanager
def _workplace(name: str) -> Iterator[Path]:
    """A folder for one job; errors then speak of the visitor's file instead of a place in it."""
    with tempfile.TemporaryDirectory(prefix="audiocodec-demo-") as folder, removed_after_death(folder):
        try:
            yield Path(folder)
        except AudiocodecError as error:
            text = str(error)
            for place in (*sorted(Path(folder).iterdir()), Path(folder)):
                text = text.replace(str(place), name)
            error.args = (text,)
            raise


@contextmanager
def _stage(recording: Recording, stage: str) -> Iterator[None]:
    recording.stage, recording.share = stage, 0.0
    try:
        yield
    finally:
        recording.stage, recording.share = "", 0.0


def _write_silence(target: Path, recording: Recording, rate: int) -> None:
    """As long as the recording, second by second."""
    left = resampled_length(round(recording.seconds * recording.sample_rate), recording.sample_rate, rate)
    with AudioWriter(target, rate, recording.channels) as writer:
        while left:
            size = min(left, rate)
            writer.write(np.zeros((recording.channels, size), np.float32))
            left -= size


def _written(folder: Path, data: bytes) -> Path:
    """The recording as a file without an extension: what it is, is told by its bytes."""
    path = folder / "recording"
    path.write_bytes(data)
    return path
