"""Samples without a header, as arecord, ffmpeg and sox pass them on; their names are ffmpeg's."""

from __future__ import annotations

from dataclasses import dataclass

from audiocodec.audio.wav import WavLayout
from audiocodec.errors import UsageError

# name -> (libsndfile's name of the sample format, bytes of a sample)
RAW_FORMATS = {
    "u8": ("PCM_U8", 1),
    "s16le": ("PCM_16", 2),
    "s24le": ("PCM_24", 3),
    "s32le": ("PCM_32", 4),
    "f32le": ("FLOAT", 4),
    "f64le": ("DOUBLE", 8),
}


def raw_subtype(name: str) -> str:
    """libsndfile's name for the samples of a raw format. Raises UsageError for one that is not known."""
    if name not in RAW_FORMATS:
        raise UsageError(f"{name} is no raw format; choose one of {', '.join(RAW_FORMATS)}")
    return RAW_FORMATS[name][0]


@dataclass(frozen=True)
class RawFormat:
    """What a header would say: ``name`` is one of `RAW_FORMATS`, channels are interleaved."""

    name: str
    sample_rate: int
    channels: int = 1

    @property
    def layout(self) -> WavLayout:
        """As that of a WAV stream that begins with its samples, and goes on until it ends."""
        return WavLayout(self.sample_rate, self.channels, raw_subtype(self.name), RAW_FORMATS[self.name][1], 0, None)
