"""WAV as it comes through a pipe: a header of unknown length first, then samples for as long as they flow.

libsndfile has to seek, so a pipe is parsed here; files are read by libsndfile. Both are written here: libsndfile has to
know beforehand whether a file outgrows the 32 bits that WAV counts its bytes in. The layout is that of "Multimedia
Programming Interface and Data Specifications 1.0" (Microsoft / IBM 1991) with WAVE_FORMAT_EXTENSIBLE and the RF64 chunk
``ds64`` of EBU Tech 3306.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from audiocodec.errors import AudioError

# (format tag, bits) -> libsndfile's name of the sample format
_SUBTYPES = {
    (1, 8): "PCM_U8",
    (1, 16): "PCM_16",
    (1, 24): "PCM_24",
    (1, 32): "PCM_32",
    (3, 32): "FLOAT",
    (3, 64): "DOUBLE",
}
_EXTENSIBLE = 0xFFFE
_OPEN = 0xFFFFFFFF
_DS64 = struct.Struct("<QQQI")  # bytes behind the first eight, bytes of samples, samples, and a table left empty
# Writers that cannot seek back leave 0, 0xFFFFFFFF (ffmpeg), 0x7FFFF000 or so (sox), 0x80000000 (arecord).
_UNKNOWN_FROM = 0x7FFF0000
# Chunks that lie behind the samples, by which a recording of none is told from one whose length was left 0.
_BEHIND = frozenset(
    (b"LIST", b"id3 ", b"ID3 ", b"JUNK", b"PAD ", b"_PMX", b"bext", b"cue ", b"fact", b"iXML", b"inst", b"smpl")
)


class NeedMore(Exception):  # noqa: N818 - a signal, not an error
    """The header goes on beyond the bytes given."""


@dataclass(frozen=True)
class WavLayout:
    """Where and how the samples of a WAV stream lie."""

    sample_rate: int
    channels: int
    subtype: str
    bytes_per_sample: int
    data_offset: int
    data_bytes: int | None  # None: until the stream ends

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * self.bytes_per_sample

    def to_float(self, data: bytes) -> np.ndarray:
        """Whole frames of bytes -> float32 [channels, n], integers scaled to [-1, 1)."""
        width = self.bytes_per_sample
        samples: np.ndarray
        if self.subtype == "PCM_U8":
            samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
        elif self.subtype == "PCM_24":
            # Three bytes become the top three of a 32-bit integer, so that the sign needs no work.
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")[:, 0].astype(np.float32) / 2.0**31
        elif self.subtype.startswith("PCM"):
            samples = np.frombuffer(data, f"<i{width}").astype(np.float32) / 2.0 ** (8 * width - 1)
        else:
            with np.errstate(over="ignore"):  # a double beyond float32 becomes infinity, which the reader refuses
                samples = np.frombuffer(data, f"<f{width}").astype(np.float32)
        return np.ascontiguousarray(samples.astype(np.float32).reshape(-1, self.channels).T)


def parse_header(data: bytes) -> WavLayout | None:
    """Read a WAV header from the first bytes of a stream.

    Returns:
        The layout, or None where this is no WAV or one that only libsndfile can read (ADPCM, mu-law, ...).

    Raises:
        NeedMore: the header is longer than ``data``.
        AudioError: the header contradicts itself.
    """
    if _take(data, 0, 4) not in (b"RIFF", b"RF64") or _take(data, 8, 4) != b"WAVE":
        return None
    fmt, long_bytes, at = None, None, 12
    while True:
        name, size = _take(data, at, 4), _u32(data, at + 4)
        if name == b"data":
            break
        if name == b"fmt ":
            fmt = _take(data, at + 8, min(size, 40))
        elif name == b"ds64":
            long_bytes = struct.unpack("<Q", _take(data, at + 16, 8))[0]
        at += 8 + size + (size & 1)
    if fmt is None or len(fmt) < 16:
        raise AudioError("the WAV header has no 'fmt ' chunk before its samples; it is damaged")
    if size == 0 and _take(data, at + 8, 4) not in _BEHIND:
        size = _UNKNOWN_FROM
    return _layout(fmt, at + 8, _data_bytes(size, long_bytes))


def _layout(fmt: bytes, data_offset: int, data_bytes: int | None) -> WavLayout | None:
    tag, channels, sample_rate, _, block_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        tag = struct.unpack_from("<H", fmt, 24)[0]  # the first two bytes of the sub-format's GUID
    subtype = _SUBTYPES.get((tag, bits))
    if subtype is None or channels == 0 or block_bytes != channels * bits // 8:
        return None
    return WavLayout(sample_rate, channels, subtype, bits // 8, data_offset, data_bytes)


def _data_bytes(size: int, long_bytes: int | None) -> int | None:
    if long_bytes is not None and size == 0xFFFFFFFF:
        return long_bytes if 0 < long_bytes < 2**62 else None
    return size if size < _UNKNOWN_FROM else None


def build_header(
    sample_rate: int, channels: int, subtype: str, total_samples: int | None, roomy: bool = False
) -> bytes:
    """The header of a WAV stream; its length is left open (0xFFFFFFFF) where ``total_samples`` is None or too many.

    A ``roomy`` one has a chunk of nothing, in the place of which ``ds64`` makes it RF64 where samples are too many: it
    is as long for any number of them, and can be written again once that is known.
    """
    tag, bits = next(key for key, name in _SUBTYPES.items() if name == subtype)
    frame_bytes = channels * bits // 8
    samples = total_samples or 0
    data_bytes = samples * frame_bytes
    chunks = _chunk(b"fmt ", "<HHIIHH", tag, channels, sample_rate, sample_rate * frame_bytes, frame_bytes, bits)
    if tag != 1:  # of all but integers the standard asks for the length once more
        chunks += _chunk(b"fact", "<I", min(samples, _OPEN) if total_samples is not None else _OPEN)
    riff_bytes = 4 + (8 + _DS64.size) * roomy + len(chunks) + 8 + data_bytes + (data_bytes & 1)
    known = total_samples is not None and riff_bytes < _OPEN
    long = total_samples is not None and riff_bytes >= _OPEN and roomy
    if long:
        chunks = _chunk(b"ds64", _DS64.format, riff_bytes, data_bytes, samples, 0) + chunks
    elif roomy:
        chunks = _chunk(b"JUNK", _DS64.format, 0, 0, 0, 0) + chunks
    ends = (riff_bytes, data_bytes) if known else (_OPEN, _OPEN)
    beginning = struct.pack("<4sI4s", b"RF64" if long else b"RIFF", ends[0], b"WAVE")
    return beginning + chunks + struct.pack("<4sI", b"data", ends[1])


def _chunk(name: bytes, layout: str, *values: int) -> bytes:
    return struct.pack("<4sI", name, struct.calcsize(layout)) + struct.pack(layout, *values)


def _take(data: bytes, at: int, size: int) -> bytes:
    if len(data) < at + size:
        raise NeedMore
    return data[at : at + size]


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack("<I", _take(data, at, 4))[0])
