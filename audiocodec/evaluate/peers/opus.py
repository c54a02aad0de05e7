"""Opus (RFC 6716): libopus through PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from audiocodec.evaluate.metrics import SPEECH_RATE, resample
from audiocodec.evaluate.peers.libopus import libopus_version
from audiocodec.evaluate.peers.pyav import absent_pyav, decode, encode, has_encoder, packet_bytes, pyav_identity
from audiocodec.evaluate.recordings import channel_count, read_audio
from audiocodec.evaluate.systems import Coded, Stopwatch

_OPUS_RATE = 48_000  # Opus's own rate


@dataclass(frozen=True)
class Opus:
    """libopus by PyAV, 20 ms frames, in an Ogg file; ``application`` is ``voip`` for speech or ``audio`` for music.

    Below 9 kbps its voice mode leaves out what lies above 4 to 6 kHz; from 9 on it keeps 8 kHz, from about 16 on more.
    So recordings above 16 kHz enter at 48 kHz; others at 16 kHz. Ogg states the encoder's delay, and decoding trims it.
    """

    kbps: float
    variable: bool = True
    application: Literal["voip", "audio"] = "voip"

    stereo: ClassVar[bool] = True

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "opus"

    @property
    def setting(self) -> str:
        """The bit rate asked of the encoder, and how strictly it is kept."""
        return f'"{self.kbps:g}" {"VBR" if self.variable else "CBR"} {self.application}'

    def identity(self) -> dict[str, str]:
        """Versions, and every option."""
        return {**pyav_identity(), "libopus": libopus_version(), "bps": str(round(self.kbps * 1000)), **self._options()}

    def _options(self) -> dict[str, str]:
        return {"application": self.application, "vbr": "on" if self.variable else "off", "frame_duration": "20"}

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """Encode ``source`` to Ogg Opus in memory and decode it; nothing is written to ``folder``."""
        samples, sample_rate = read_audio(source)
        rate = _OPUS_RATE if sample_rate > SPEECH_RATE else SPEECH_RATE
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            resampled = resample(samples.T, sample_rate, rate).T
            data = encode(resampled, rate, "libopus", "ogg", self._options(), round(self.kbps * 1000))
        with decoding:
            decoded, decoded_rate = decode(data, channel_count(samples))
        return Coded(
            samples=decoded,
            sample_rate=decoded_rate,
            file_bytes=len(data),
            payload_bytes=packet_bytes(data),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            # Not searched: the high-pass filter of voice mode turns the phase of low notes, by up to 2 ms
            delay_s=0.0,
        )


def absent_opus() -> str | None:
    """Why Opus cannot run here, with the remedy; None if it can."""
    if reason := absent_pyav():
        return reason
    if not has_encoder("libopus"):
        return "this build of PyAV has no libopus encoder; run: pip install --upgrade av"
    return None
