"""Audio in and out, block by block: reading, writing and resampling in memory that does not grow with the length."""

from audiocodec.audio.raw import RAW_FORMATS, RawFormat, raw_subtype
from audiocodec.audio.reader import BLOCK_SAMPLES, MAX_CHANNELS, MAX_RATE, MIN_RATE, AudioReader
from audiocodec.audio.resample import Resampler, resampled_length
from audiocodec.audio.writer import FORMATS, AudioWriter, choose_format

__all__ = [
    "BLOCK_SAMPLES",
    "FORMATS",
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "RAW_FORMATS",
    "AudioReader",
    "AudioWriter",
    "RawFormat",
    "Resampler",
    "choose_format",
    "raw_subtype",
    "resampled_length",
]
