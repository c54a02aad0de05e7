"""What is evaluated: systems that turn a recording into bytes and bytes into a recording."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError, BitstreamError, DataError

if TYPE_CHECKING:
    from audiocodec.bitstream import EntropyModel
    from audiocodec.codec import Codec, RateSetting

TRIMMED_DELAY_S = 0.002  # shorter than any pitch period
Histograms = list[npt.NDArray[np.int64]]  # per dimension of the bottleneck: how often each level was used


@dataclass(frozen=True)
class Coded:
    """One recording after coding and decoding.

    ``samples`` [samples] at ``sample_rate``; sizes in bytes; times in CPU seconds over all threads.
    ``raw_bytes`` is the size of the same file in ``raw`` mode, ``histograms`` the use of the levels: None for peers.
    ``max_delay_s`` bounds the search for the best alignment with the original: wide for codecs that do not say what
    delay they have, narrow for file formats that trim it, whose decoders must not be moved by a pitch period that
    happens to correlate better.
    """

    samples: npt.NDArray[np.float64]
    sample_rate: int
    file_bytes: int
    payload_bytes: int
    encode_seconds: float
    decode_seconds: float
    raw_bytes: int | None = None
    frames: int | None = None
    histograms: Histograms | None = None
    max_delay_s: float = TRIMMED_DELAY_S


class System(Protocol):
    """A codec at one rate; instances travel to worker processes, so they pickle."""

    @property
    def codec(self) -> str:
        """Name of the codec in tables."""
        ...

    @property
    def setting(self) -> str:
        """Name of the rate in tables."""
        ...

    def run(self, source: Path, folder: Path) -> Coded:
        """Code the mono file ``source`` and decode it again, with intermediate files in ``folder``."""
        ...


@dataclass
class Stopwatch:
    """CPU seconds of this process, all threads together, spent inside ``with watch:`` blocks."""

    seconds: float = 0.0
    _start: float = field(default=0.0, repr=False)

    def __enter__(self) -> Stopwatch:
        self._start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._start


def read_mono(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Read a whole audio file, channels averaged, as ([samples], sample_rate).

    Raises:
        AudioError: the file is not audio that soundfile reads.
    """
    import soundfile

    with _reading(path):
        samples, sample_rate = soundfile.read(str(path), dtype="float64", always_2d=True)
    return samples.mean(axis=1), sample_rate


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import soundfile

    try:
        yield
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path} cannot be read as audio ({error}); move it out of the folder") from None


def list_audio(folder: Path) -> list[Path]:
    """The audio files below ``folder``, sorted by path, chosen by suffix (hidden files and folders left out).

    Raises:
        DataError: the folder does not exist or holds no audio.
    """
    import soundfile

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; pass a folder of audio files")
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".oga", ".opus", ".mp3"}
    suffixes -= {".raw", ".sd2"}  # headerless, or with its header in another file
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder} holds no audio files; pass a folder with WAV, FLAC, Ogg, Opus or MP3 files in it")
    return found


@contextmanager
def mono_file(source: Path, folder: Path) -> Iterator[Path]:
    """A mono version of ``source``: itself where it is mono, else a float WAV mixed down into ``folder``."""
    import soundfile

    with _reading(source):
        channels = soundfile.info(str(source)).channels
    if channels == 1:
        yield source
        return
    samples, sample_rate = read_mono(source)
    mixed = folder / "mono.wav"
    soundfile.write(str(mixed), samples, sample_rate, subtype="FLOAT")
    yield mixed
    mixed.unlink()


@dataclass
class Vpc:
    """This project's codec at one rate setting, through the files that ``audiocodec encode`` and ``decode`` write."""

    model: Codec
    rate: RateSetting

    @property
    def codec(self) -> str:
        """Name of the model."""
        return str(self.model.config.name)

    @property
    def setting(self) -> str:
        """Base level count of the rate."""
        return f"{self.rate.base_levels} levels"

    def run(self, source: Path, folder: Path) -> Coded:
        """Write ``source`` as .vpc in both coding modes, and decode the entropy coded one."""
        from audiocodec.transcode import decode_file, encode_file

        coded, raw, decoded = folder / "coded.vpc", folder / "raw.vpc", folder / "decoded.wav"
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            encode_file(self.model, source, coded, self.rate, mode="range", force=True)
        encode_file(self.model, source, raw, self.rate, mode="raw", force=True)
        with decoding:
            decode_file(self.model, coded, decoded, force=True)
        samples, sample_rate = read_mono(decoded)
        data = coded.read_bytes()
        payload_bytes, frames, histograms = token_statistics(data, self.model.entropy)
        return Coded(
            samples=samples,
            sample_rate=sample_rate,
            file_bytes=len(data),
            payload_bytes=payload_bytes,
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            raw_bytes=raw.stat().st_size,
            frames=frames,
            histograms=histograms,
        )


def token_statistics(data: bytes, entropy: EntropyModel | None) -> tuple[int, int, Histograms]:
    """From the bytes of a .vpc file: payload bytes, coded frames, and for each dimension how often each level occurs.

    Silence has no tokens and counts nowhere. Raises BitstreamError where the file is damaged.
    """
    from audiocodec.bitstream import StreamHeader
    from audiocodec.bitstream.packet import Kind, Packet, PacketDecoder
    from audiocodec.bitstream.scanner import PacketScanner

    header, start = StreamHeader.unpack(data)
    decoder, scanner = PacketDecoder(header, entropy), PacketScanner(header, start)
    scanner.feed(data[start:])
    scanner.final = True
    payload_bytes = frames = 0
    histograms = [np.zeros(count, np.int64) for count in header.levels]
    for item in scanner.items():
        if not isinstance(item, Packet):
            raise BitstreamError(item.reason, item.position)
        if item.kind in (Kind.RAW, Kind.RANGE):
            payload_bytes += len(item.payload)
            frames += item.frames
            indices = decoder.indices(item)
            for dim, histogram in enumerate(histograms):
                histogram += np.bincount(indices[:, :, dim].ravel(), minlength=len(histogram))
    return payload_bytes, frames, histograms
