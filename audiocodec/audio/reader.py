"""Reading audio block by block, from files and from pipes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile

from audiocodec.audio.raw import RawFormat
from audiocodec.audio.wav import NeedMore, WavLayout, parse_header
from audiocodec.ending import Ending
from audiocodec.errors import AudioError
from audiocodec.incoming import CountedBytes
from audiocodec.output import STDIO, describe
from audiocodec.stdio import standard_input

MIN_RATE, MAX_RATE = 8_000, 192_000
MAX_CHANNELS = 2
BLOCK_SAMPLES = 16_384
# 36 dB above full scale: beyond it a float file holds integers that were never scaled, and a network overflows.
MAX_AMPLITUDE = 64.0
_HEADER_BYTES = 65_536


class AudioReader:
    """An audio file, or ``-`` for standard input, as float32 blocks ``[channels, n]`` with ``n >= 1``.

    ``frames`` is the length in samples a channel that the file states, None where only the end will tell;
    ``samples_read`` counts what was really there. WAV or raw samples from a pipe are read as they arrive; other formats
    from a pipe are first copied to a temporary file, because they cannot be decoded without seeking.

    Args:
        block_samples: most samples of a block.
        raw: how samples lie that have no header; None: there is one.
        ending: whoever may ask a pipe to end before it does.

    Raises:
        AudioError: the file cannot be read, is no audio, or has an unsupported rate or channel count.
        UsageError: no such raw format, or no standard input.
    """

    def __init__(
        self,
        source: str | Path,
        block_samples: int = BLOCK_SAMPLES,
        raw: RawFormat | None = None,
        ending: Ending | None = None,
    ) -> None:
        self.source, self.raw, self._ending = source, raw, ending
        self.name = describe(source)
        self.samples_read = self._samples_taken = 0
        self.frames: int | None = None
        self._block_samples = block_samples
        self._closing = contextlib.ExitStack()
        self._size: int | None = None
        self._pipe: CountedBytes | None = None
        self._layout: WavLayout | None = None
        self._pending = b""
        self.live = False  # whether samples are read as they arrive: WAV or raw ones from a pipe
        self._ahead: deque[np.ndarray] = deque()
        try:
            self._open()
            self._check_geometry()
        except OSError as error:
            self.close()
            raise AudioError(f"cannot read {self.name}: {error.strerror or error}") from None
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        if str(self.source) == STDIO:
            return self._open_pipe(standard_input())
        file = self._closing.enter_context(open(self.source, "rb"))  # noqa: SIM115
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            return self._open_pipe(file)
        self._size = os.fstat(file.fileno()).st_size
        if self.raw is None:
            return self._open_file(file)
        return self._open_samples(CountedBytes(file), self.raw.layout, "RAW")

    def _open_pipe(self, file: BinaryIO) -> None:
        pipe = CountedBytes(file, self._ending)
        if self.raw is not None:
            self.live = True
            return self._open_samples(pipe, self.raw.layout, "RAW")
        head, layout = b"", None
        while len(head) < _HEADER_BYTES and (more := pipe.some(_HEADER_BYTES - len(head))):
            head += more
            with contextlib.suppress(NeedMore):
                layout = parse_header(head)
                break
        if layout is None:
            spool = self._closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            spool.write(head)
            shutil.copyfileobj(file, spool)
            self._size = spool.tell()
            spool.seek(0)
            return self._open_file(spool)
        self._pending, self.live = head[layout.data_offset :], True
        return self._open_samples(pipe, layout, "WAV")

    def _open_samples(self, pipe: CountedBytes, layout: WavLayout, name: str) -> None:
        self._pipe, self._layout = pipe, layout
        if self._ending is not None:
            self._ending.live = self.live
        self.sample_rate, self.channels = layout.sample_rate, layout.channels
        self.format, self.subtype = name, layout.subtype
        size = layout.data_bytes if self._size is None else self._size - layout.data_offset
        self.frames = None if size is None else size // layout.frame_bytes

    def _open_file(self, file: BinaryIO) -> None:
        try:
            self._sound = self._closing.enter_context(soundfile.SoundFile(file))
        except (soundfile.LibsndfileError, TypeError) as error:
            # TypeError: soundfile takes a nameless or .raw file for headerless samples and asks for their layout
            reason = sndfile_reason(error)
            raise AudioError(
                f"{self.name} is not audio that can be read here ({reason}); "
                "convert it to WAV, FLAC, Ogg Vorbis, Opus or MP3 first (ffmpeg -i FILE out.wav)"
            ) from None
        if self._sound.frames == 0 and self._sound.format in ("WAV", "WAVEX") and (layout := _unfinished(file)):
            return self._open_samples(CountedBytes(file), layout, "WAV")
        self.sample_rate, self.channels = self._sound.samplerate, self._sound.channels
        self.format, self.subtype = self._sound.format, self._sound.subtype
        # A stream whose end libsndfile does not know is reported as 2^63 - 1 samples long.
        self.frames = self._sound.frames if self._sound.frames < 2**62 else None
        # soundfile seeks to where it already is after every read. In MP3 that resets the decoder (errors of 0.6 of full
        # scale at each block's start were measured), and in a FLAC of unknown length it fails and loses the last block.
        self._sound._info.seekable = 0

    def _check_geometry(self) -> None:
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise AudioError(
                f"{self.name} is sampled at {self.sample_rate} Hz, outside {MIN_RATE} to {MAX_RATE} Hz; "
                "resample it first (ffmpeg -i FILE -ar 48000 out.wav)"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(
                f"{self.name} has {self.channels} channels, and mono and stereo are supported; "
                "mix it down first (ffmpeg -i FILE -ac 2 out.wav)"
            )

    def peek(self, seconds: float) -> list[np.ndarray]:
        """The first blocks ``[channels, n]``, ``seconds`` in all or a little more; iterating gives them again.

        Samples are not checked yet: they may be NaN. Raises AudioError where the file is damaged.
        """
        wanted = round(seconds * self.sample_rate)
        while self._samples_taken < wanted and (block := self._read()).shape[1]:
            self._ahead.append(block)
        return list(self._ahead)

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._ahead.popleft() if self._ahead else self._read()).shape[1]:
            good = _usable(block)
            self.samples_read += good
            if good:
                yield block[:, :good]
            if good < block.shape[1]:
                raise self._unusable(block[:, good])

    def _read(self) -> np.ndarray:
        block = self._read_file() if self._layout is None else self._read_pipe(self._layout)
        self._samples_taken += block.shape[1]
        return block

    def _read_file(self) -> np.ndarray:
        try:
            block = self._sound.read(self._block_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            where = self._where(self._samples_taken - self.samples_read)
            raise AudioError(f"{self.name} is damaged {where} ({sndfile_reason(error)})") from None
        return np.ascontiguousarray(block.T)

    def _read_pipe(self, layout: WavLayout) -> np.ndarray:
        assert self._pipe is not None
        most = self._block_samples
        if self.frames is not None:
            most = min(most, self.frames - self._samples_taken)
        data = self._pending
        # At least one frame, and as much more as has arrived: a live stream must not wait for a full block.
        while most and len(data) < layout.frame_bytes and (more := self._pipe.some(most * layout.frame_bytes)):
            data += more
        if self.raw is not None and not self._samples_taken and data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            raise AudioError(f"{self.name} begins with a WAV header, which says what it holds; leave --format away")
        whole = min(len(data) // layout.frame_bytes, most) * layout.frame_bytes
        self._pending = data[whole:]
        return layout.to_float(data[:whole])

    def _unusable(self, sample: np.ndarray) -> AudioError:
        value = next(v for v in sample if not abs(v) <= MAX_AMPLITUDE)
        if np.isfinite(value):
            return AudioError(
                f"{self.name} holds the sample {value:.3g} {self._where()}, where full scale is 1; "
                "if its floats are unscaled integers, divide them by 32768"
            )
        return AudioError(f"{self.name} holds {value} {self._where()}; repair or cut the audio there")

    def _where(self, offset: int = 0) -> str:
        sample = self.samples_read + offset
        return f"at {sample / self.sample_rate:.6f} s (sample {sample})"

    @property
    def parsed(self) -> bool:
        """Whether samples are found here, and not by libsndfile: those of pipes, raw ones, those of unstated length."""
        return self._layout is not None

    @property
    def bytes_read(self) -> int | None:
        """Bytes of the file, or those that have come from a pipe."""
        return self._pipe.count if self._pipe is not None and self.live else self._size

    @property
    def shortfall(self) -> str | None:
        """After the last block: what to tell a user whose file ended too early, or within a sample; else None."""
        if self._ending is not None and self._ending.asked:
            return None
        if self.frames is None or self.samples_read >= self.frames:
            return self._remainder()
        read_s, stated_s = self.samples_read / self.sample_rate, self.frames / self.sample_rate
        return f"{self.name} is cut short: it holds {read_s:.3f} s of the {stated_s:.3f} s that its header states"

    def _remainder(self) -> str | None:
        if self._layout is None or (self.live and self.frames is not None):
            return None  # libsndfile's, or chunks behind the samples of a WAV
        rest = len(self._pending) if self._size is None else self._size - self._layout.data_offset
        left = rest % self._layout.frame_bytes
        return f"{self.name} ends within a sample; its last {left} bytes are left out" if left else None

    def close(self) -> None:
        """Let go of the file; standard input stays open."""
        self._closing.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _usable(block: np.ndarray) -> int:
    """How many samples of ``block [channels, n]`` come before the first that is no number, or too large for one."""
    if np.abs(block).max() <= MAX_AMPLITUDE:  # false for NaN as well
        return int(block.shape[1])
    return int(np.argmin((np.abs(block) <= MAX_AMPLITUDE).all(axis=0)))


def _unfinished(file: BinaryIO) -> WavLayout | None:
    """How samples lie, from where ``file`` then stands, in a WAV whose length was never filled in; else None.

    libsndfile takes a length of 0 at its word.
    """
    file.seek(0)
    with contextlib.suppress(NeedMore):
        layout = parse_header(file.read(_HEADER_BYTES))
        if layout is not None and layout.data_bytes is None:
            file.seek(layout.data_offset)
            return layout
    return None


def sndfile_reason(error: Exception) -> str:
    """libsndfile's message in one line, without its own prefixes."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return " ".join(text.split()) or "unknown reason"
