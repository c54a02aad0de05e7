"""Other codecs, run in the same evaluation over the same files: Opus, through PyAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.evaluate.metrics import SPEECH_RATE, resample
from audiocodec.evaluate.systems import Coded, Stopwatch, System, read_mono

# Below 9 kbps Opus's voice mode leaves out what lies above 4 to 6 kHz; from 9 on it keeps 8 kHz.
OPUS_KBPS: tuple[float, ...] = (6, 8, 9, 12, 16)
_OPUS_RATE = 48_000  # Opus's own rate


def peer_systems(names: Sequence[str]) -> list[System]:
    """The systems that ``names`` ask for: ``opus``, or ``opus:6,12`` with bit rates in kbps.

    Raises:
        UsageError: an unknown peer, or a rate that it does not have.
    """
    systems: list[System] = []
    for name in names:
        peer, _, rates = name.partition(":")
        if peer != "opus":
            raise UsageError(f"unknown peer '{peer}'; known: opus (or with rates in kbps: opus:6,12)")
        systems += [Opus(kbps) for kbps in (_parse_rates(rates) if rates else OPUS_KBPS)]
    return systems


def absent_reason(name: str) -> str | None:
    """Why the peer cannot run here, with the remedy; None if it can."""
    try:
        av = _pyav()
        av.codec.Codec("libopus", "w")
    except MissingExtraError as error:
        return str(error)
    except Exception as error:  # PyAV's own exception types are only known once it imports
        return f"{name}: this build of PyAV has no libopus encoder ({error}); run: pip install --upgrade av"
    return None


@dataclass(frozen=True)
class Opus:
    """libopus by PyAV: voice mode, variable bit rate, 20 ms frames, in an Ogg file.

    Recordings above 16 kHz enter at 48 kHz, so that Opus may use the band above 8 kHz where it has the bits (from
    about 16 kbps on); others enter at 16 kHz.
    """

    kbps: float

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "opus"

    @property
    def setting(self) -> str:
        """The bit rate asked of the encoder."""
        return f'"{self.kbps:g}" VBR voip'

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """Encode ``source`` to Ogg Opus in memory and decode it; nothing is written to ``folder``."""
        samples, sample_rate = read_mono(source)
        rate = _OPUS_RATE if sample_rate > SPEECH_RATE else SPEECH_RATE
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            data, payload_bytes = _encode(resample(samples, sample_rate, rate), rate, round(self.kbps * 1000))
        with decoding:
            decoded, decoded_rate = _decode(data)
        return Coded(
            samples=decoded,
            sample_rate=decoded_rate,
            file_bytes=len(data),
            payload_bytes=payload_bytes,
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
        )


def _encode(samples: npt.NDArray[np.floating], sample_rate: int, rate_bps: int) -> tuple[bytes, int]:
    """[samples] -> the bytes of an Ogg Opus file, and how many of them are packets."""
    av = _pyav()
    buffer = io.BytesIO()
    payload_bytes = 0
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=sample_rate, layout="mono")
        stream.bit_rate = rate_bps
        stream.options = {"application": "voip", "vbr": "on", "frame_duration": "20"}
        pcm = np.clip(np.round(samples * 32767.0), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = sample_rate
        for piece in (frame, None) if pcm.size else (None,):
            for packet in stream.encode(piece):
                payload_bytes += packet.size
                container.mux(packet)
    return buffer.getvalue(), payload_bytes


def _decode(data: bytes) -> tuple[npt.NDArray[np.float64], int]:
    """Bytes of an Ogg Opus file -> [samples] without the encoder's delay, and their rate."""
    av = _pyav()
    pieces, rate = [np.zeros(0)], _OPUS_RATE
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()[0]
            # FFmpeg's own decoder gives floats, libopus's 16 bit integers: which of them answers depends on the build.
            scale = 1.0 if samples.dtype.kind == "f" else 1.0 / 32768.0
            pieces.append(samples.astype(np.float64) * scale)
            rate = frame.sample_rate
    return np.concatenate(pieces), rate


def _parse_rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"'{text}' is not a list of bit rates in kbps; write for instance opus:6,12") from None
    for kbps in rates:
        if not 6 <= kbps <= 256:
            raise UsageError(f"Opus codes mono from 6 to 256 kbps, not {kbps:g}; write for instance opus:6,12")
    return rates


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(f"av does not import ({error}); run: pip install 'audiocodec[eval]'") from error
    return av
