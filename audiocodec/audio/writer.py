"""Writing audio block by block; a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from audiocodec.audio.raw import RAW_FORMATS, raw_subtype
from audiocodec.audio.reader import AudioReader, sndfile_reason
from audiocodec.audio.wav import build_header
from audiocodec.errors import AudioError, OutputError, UsageError
from audiocodec.output import STDIO, OutputFile, describe

# extension -> (libsndfile format, default subtype)
FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
}
_INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_FLOATS = {"FLOAT", "DOUBLE"}
_SAMPLE_BYTES = dict(RAW_FORMATS.values())  # of those that are written without libsndfile


class _Sink:
    """What libsndfile writes to. Its callbacks cannot raise: a full disk, or Ctrl-C, is remembered and raised after."""

    def __init__(self, out: OutputFile) -> None:
        self._out = out
        self.failure: BaseException | None = None

    def _try(self, method: str, *arguments: object) -> int:
        if self.failure is not None:
            return 0  # what libsndfile does about it would go wherever the failure left the file
        try:
            return int(getattr(self._out, method)(*arguments))
        except BaseException as error:
            self.failure = self.failure or error
            return 0

    def write(self, data: bytes) -> int:
        return self._try("write", bytes(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try("seek", offset, whence)

    def tell(self) -> int:
        return self._try("tell")

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


class AudioWriter:
    """Writes float32 blocks ``[channels, n]`` to a file, or to ``-`` as WAV; the extension chooses the format.

    ``raw``: samples of this raw format and nothing else, whatever the extension. ``recording``: see `OutputFile`.

    Integers are rounded after clipping to full scale; ``FLOAT`` and ``DOUBLE`` keep what lies beyond. Leaving the
    ``with`` block by an exception leaves no file, but of a ``recording`` what there was room for.

    Raises:
        OutputError: an extension, subtype or rate that cannot be written, or a place that cannot be written to.
    """

    def __init__(
        self,
        target: str | Path,
        sample_rate: int,
        channels: int,
        subtype: str | None = None,
        force: bool = False,
        total_samples: int | None = None,
        raw: str | None = None,
        recording: bool = False,
    ) -> None:
        self.samples_written = 0
        self._rate, self._channels, self._total = sample_rate, channels, total_samples
        self._out = OutputFile(target, force, recording)
        if recording:
            self._out.rescue = self._rescued
        self.name = self._out.name
        self.format, self.subtype = choose_format(target, subtype, raw)
        self._plain = self.format == "WAV" and self.subtype in _SAMPLE_BYTES
        self._outgrows = total_samples is None or total_samples * channels * 8 >= 2**32  # what WAV counts in 32 bits
        self._sink: _Sink | None = None
        self._sound: soundfile.SoundFile | None = None

    def __enter__(self) -> AudioWriter:
        self._out.__enter__()
        try:
            self._begin()
        except BaseException as error:
            self._out.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _begin(self) -> None:
        if self.format == "RAW":
            return
        if self._plain:
            self._out.write(self._header(self._total))
            return
        if not self._out.seekable():
            raise OutputError(f"{self.name} cannot seek, and only WAV can be written there")
        self._sink = _Sink(self._out)
        try:
            self._sound = soundfile.SoundFile(
                self._sink, "w", self._rate, self._channels, self.subtype, format=self.format
            )
        except soundfile.LibsndfileError as error:
            self._sink.check()
            raise OutputError(
                f"{self.name}: {self.format} {self.subtype} cannot hold {self._rate} Hz with {self._channels} channels "
                f"({sndfile_reason(error)}); write .wav or .flac instead"
            ) from None

    def _header(self, samples: int | None) -> bytes:
        roomy = self._outgrows and self._out.seekable()
        return build_header(self._rate, self._channels, self.subtype, samples, roomy)

    @property
    def bytes_written(self) -> int:
        """Bytes of the output; of a file, once the ``with`` block has ended."""
        return self._out.bytes_written

    def write(self, block: np.ndarray) -> None:
        """Append ``block``, float [channels, n]."""
        assert block.ndim == 2, block.shape
        assert block.shape[0] == self._channels, block.shape
        samples = self._convert(block.T)
        self.samples_written += len(samples)
        if self._sound is None:
            self._out.write(_wav_bytes(samples, self.subtype))
            return
        assert self._sink is not None
        try:
            self._sound.write(samples)
        except (soundfile.LibsndfileError, AssertionError):
            self._sink.check()
            raise
        self._sink.check()

    def _convert(self, samples: np.ndarray) -> np.ndarray:
        bits = _INTEGER_BITS.get(self.subtype)
        if bits is None:
            return np.ascontiguousarray(samples if self.subtype in _FLOATS else samples.clip(-1, 1), np.float32)
        # libsndfile truncates; rounding here halves the error. It takes the top bits of a 32-bit integer.
        scale = 2.0 ** (bits - 1)
        integers = np.rint(samples.astype(np.float64) * scale).clip(-scale, scale - 1).astype(np.int64)
        return np.ascontiguousarray(integers << (32 - bits)).astype(np.int32)

    def _fill_in(self) -> None:
        """Write the header of a file again, with the length that the samples turned out to have."""
        if self._out.tell() % 2:
            self._out.write(b"\0")
        self._out.seek(0)
        self._out.write(self._header(self.samples_written))

    def _rescued(self, path: Path) -> bool:
        """Make a whole file of what lies at ``path``, which needs no more room; False where there is no sound in it."""
        if not self._plain and self.format != "RAW":
            with contextlib.suppress(AudioError), AudioReader(path) as reader:
                return next(iter(reader), None) is not None
            return False
        header = self._header(None) if self._plain else b""
        frame_bytes = self._channels * _SAMPLE_BYTES[self.subtype]
        samples = max(path.stat().st_size - len(header), 0) // frame_bytes
        if self._plain:
            samples -= samples * frame_bytes % 2  # there may be no room for the byte that would make it even
        os.truncate(path, len(header) + samples * frame_bytes)
        if self._plain:
            with open(path, "r+b", buffering=0) as file:
                file.write(self._header(samples))
        return samples > 0

    def _hold_nothing(self) -> None:
        """Give a file without samples what libsndfile leaves out, or refuse it where the format has no such thing."""
        if self.samples_written or (self.format not in ("FLAC", "MP3") and self.subtype != "OPUS"):
            return
        if self.format != "FLAC":
            raise OutputError(f"{self.name}: a recording of no samples cannot be {self.format}; write .wav instead")
        self._out.seek(0)
        self._out.write(_empty_flac(self._rate, self._channels, _INTEGER_BITS[self.subtype]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._sound is not None and self._sink is not None:
                self._sound.close()
                if kind is None:
                    self._sink.check()
                    self._hold_nothing()
            elif self._plain and kind is None and self._out.seekable():
                self._fill_in()
        except BaseException as failure:
            self._out.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._out.__exit__(kind, error, trace)


def _empty_flac(sample_rate: int, channels: int, bits: int) -> bytes:
    """A FLAC file of no samples: the marker and one STREAMINFO block (RFC 9639, section 8.2)."""
    geometry = sample_rate << 44 | (channels - 1) << 41 | (bits - 1) << 36  # then 36 bits of length: 0
    block_samples = (4096).to_bytes(2, "big")
    return b"fLaC\x80\x00\x00\x22" + block_samples * 2 + bytes(6) + geometry.to_bytes(8, "big") + bytes(16)


def choose_format(target: str | Path, subtype: str | None = None, raw: str | None = None) -> tuple[str, str]:
    """The libsndfile format and subtype for an output, from its extension; ``-`` and devices get WAV.

    ``raw`` names a raw format instead.

    Raises:
        OutputError: an extension that cannot be written, or a subtype that its format cannot hold.
        UsageError: no such raw format, or a subtype beside it.
    """
    if raw is not None:
        if subtype is not None:
            raise UsageError(f"{raw} says what samples are; leave --subtype away")
        return "RAW", raw_subtype(raw)
    suffix = Path(target).suffix.lower()
    bare = str(target) == STDIO or (Path(target).exists() and not Path(target).is_file())
    if not bare and suffix not in FORMATS:
        raise OutputError(f"{target}: the extension '{suffix}' names no audio format; use {', '.join(FORMATS)}")
    file_format, default = FORMATS[".wav" if suffix not in FORMATS else suffix]
    chosen = (subtype or default).upper()
    pipe_ok = not bare or chosen in _INTEGER_BITS or chosen in _FLOATS
    if not (pipe_ok and soundfile.check_format(file_format, chosen)):
        known = ", ".join(soundfile.available_subtypes(file_format))
        raise OutputError(f"{describe(target, True)}: {file_format} has no subtype {chosen}; choose one of {known}")
    return file_format, chosen


def _wav_bytes(samples: np.ndarray, subtype: str) -> bytes:
    """[n, channels] as AudioWriter converts them -> little-endian bytes as WAV stores them."""
    if subtype in _FLOATS:
        return samples.astype("<f4" if subtype == "FLOAT" else "<f8").tobytes()
    if subtype == "PCM_U8":
        return ((samples >> 24) + 128).astype(np.uint8).tobytes()
    if subtype == "PCM_16":
        return (samples >> 16).astype("<i2").tobytes()
    keep = _INTEGER_BITS[subtype] // 8
    return samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - keep :].tobytes()
