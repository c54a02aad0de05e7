"""Ogg Vorbis: libvorbis, the reference encoder, inside soundfile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.peers.pyav import packet_bytes, pyav_identity
from audiocodec.evaluate.recordings import channel_count, read_audio
from audiocodec.evaluate.systems import Coded, Stopwatch

_HIGHEST_RATE = 48_000
_BLOCK_SAMPLES = 65_536


@dataclass(frozen=True)
class Vorbis:
    """libvorbis at a quality from 0 to 10, at the recording's own sampling rate up to 48 kHz.

    FFmpeg's own Vorbis encoder, the only one in PyAV, is no match for it and would make a peer of straw.
    """

    quality: float

    stereo: ClassVar[bool] = True

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "vorbis"

    @property
    def setting(self) -> str:
        """The quality, as ``oggenc -q`` takes it."""
        return f"q{self.quality:g}"

    def identity(self) -> dict[str, str]:
        """Version of libsndfile, which contains libvorbis, and the quality."""
        import soundfile

        return {"libsndfile": soundfile.__libsndfile_version__, "quality": f"{self.quality:g}", **pyav_identity()}

    def run(self, source: Path, folder: Path) -> Coded:
        """Code ``source`` through an Ogg file in ``folder``."""
        import soundfile

        coded = folder / "vorbis.ogg"
        samples, sample_rate = read_audio(source)
        rate = min(sample_rate, _HIGHEST_RATE)
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            level = 1.0 - self.quality / 10.0
            options = {"format": "OGG", "subtype": "VORBIS", "compression_level": level}
            resampled = resample(samples.T, sample_rate, rate)
            with soundfile.SoundFile(str(coded), "w", rate, channel_count(samples), **options) as file:
                # In blocks: libvorbis keeps a whole one on its stack
                for start in range(0, len(resampled), _BLOCK_SAMPLES):
                    file.write(resampled[start : start + _BLOCK_SAMPLES])
        with decoding:
            decoded, decoded_rate = read_audio(coded)
        data = coded.read_bytes()
        return Coded(
            samples=decoded,
            sample_rate=decoded_rate,
            file_bytes=len(data),
            payload_bytes=packet_bytes(data),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
        )
