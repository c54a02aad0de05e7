"""FFmpeg's libraries through PyAV: samples to the bytes of a file and back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from types import ModuleType

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError, MissingExtraError


def pyav() -> ModuleType:
    """The package. Raises MissingExtraError with the remedy."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError(f"av does not import ({error}); run: pip install 'audiocodec[eval]'") from error
    return av


def absent_pyav() -> str | None:
    """Why PyAV cannot be used, with the remedy; None if it can."""
    try:
        pyav()
    except MissingExtraError as error:
        return str(error)
    return None


def has_encoder(name: str) -> bool:
    """Whether this build of PyAV can encode by ``name``, an encoder and not a format (``libmp3lame``, not ``mp3``).

    Raises MissingExtraError where PyAV is absent.
    """
    av = pyav()
    try:
        return bool(av.codec.Codec(name, "w").name == name)
    except Exception:  # PyAV's own exception types are only known once it imports
        return False


def pyav_identity() -> dict[str, str]:
    """Versions of PyAV and of the FFmpeg inside it."""
    av = pyav()
    return {"av": av.__version__, "ffmpeg": str(getattr(av, "ffmpeg_version_info", "unknown"))}


def encode(
    samples: npt.NDArray[np.floating],
    sample_rate: int,
    encoder: str,
    container: str,
    options: Mapping[str, str],
    rate_bps: int | None,
) -> bytes:
    """[samples] or [2, samples] -> the bytes of a file, from 16 bit integers as every encoder takes them.

    ``encoder``, ``container`` and ``options`` as FFmpeg names them; ``rate_bps`` None leaves the rate to the options.

    Raises:
        AudioError: the encoder refuses the sampling rate, the bit rate or an option.
    """
    av = pyav()
    buffer = io.BytesIO()
    layout = "mono" if samples.ndim == 1 else "stereo"
    try:
        with av.open(buffer, "w", format=container) as output:
            stream = output.add_stream(encoder, rate=sample_rate, layout=layout)
            if rate_bps is not None:
                stream.bit_rate = rate_bps
            stream.options = dict(options)
            pcm = np.clip(np.round(samples * 32767.0), -32768, 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm.T.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate = sample_rate
            # Without times of its own, an MP4 file would not say how much of its start is the encoder's delay.
            frame.pts, frame.time_base = 0, Fraction(1, sample_rate)
            for piece in (frame, None) if pcm.size else (None,):
                for packet in stream.encode(piece):
                    output.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise AudioError(f"{encoder} cannot code {sample_rate} Hz with {dict(options)}: {error}") from None
    return buffer.getvalue()


def decode(data: bytes, channels: int = 1) -> tuple[npt.NDArray[np.float64], int]:
    """Bytes of a file -> [samples], or [2, samples] of two ``channels``, and their rate.

    Encoder delay is trimmed where the container states it. Of a mono file that a decoder makes stereo, one is taken.

    Raises:
        AudioError: not audio that FFmpeg reads.
    """
    av = pyav()
    pieces, rate = [np.zeros((channels, 0))], 0
    try:
        with av.open(io.BytesIO(data)) as container:
            for frame in container.decode(audio=0):
                samples = frame.to_ndarray()
                if not frame.format.is_planar:
                    samples = samples.reshape(-1, frame.layout.nb_channels).T
                if len(samples) < channels:
                    raise AudioError("a file of two channels was decoded to one")
                # One format has decoders that give floats and such that give integers: the build decides who answers.
                scale = 1.0 if samples.dtype.kind == "f" else 1.0 / (1 << (8 * samples.dtype.itemsize - 1))
                pieces.append(samples[:channels].astype(np.float64) * scale)
                rate = frame.sample_rate
    except av.FFmpegError as error:
        raise AudioError(f"an encoded file cannot be decoded: {error}") from None
    if rate == 0:
        raise AudioError("an encoded file holds no audio; the recording is too short for this codec")
    wave = np.concatenate(pieces, axis=1)
    return (wave[0] if channels == 1 else wave), rate


def packet_bytes(data: bytes) -> int:
    """How many of the bytes of a file are packets of the codec, without the container."""
    av = pyav()
    with av.open(io.BytesIO(data)) as container:
        return sum(packet.size for packet in container.demux(audio=0))
