"""AAC, HE-AAC and MP3: encoders of FFmpeg, by PyAV where its build has them, else by the ``ffmpeg`` program."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.peers.process import run_tool
from audiocodec.evaluate.peers.pyav import absent_pyav, decode, encode, has_encoder, packet_bytes, pyav_identity
from audiocodec.evaluate.recordings import channel_count, read_audio
from audiocodec.evaluate.systems import TRIMMED_DELAY_S, Coded, Stopwatch

Backend = Literal["PyAV", "ffmpeg"]


@dataclass(frozen=True)
class Format:
    """How FFmpeg is asked for a codec. ``encoders`` in order of preference; one that is absent is passed over.

    ``widest`` are (below so many kbps a channel, sampling rate in Hz): few bits are better spent on a narrower band,
    as the codec's own guides say. ``upsample``: to exactly that rate, for codecs that know no other at those bits.
    """

    encoders: tuple[str, ...]
    container: str
    widest: tuple[tuple[float, int], ...]
    options: Mapping[str, str] = field(default_factory=dict)
    upsample: bool = False
    max_delay_s: float = TRIMMED_DELAY_S

    def sample_rate(self, kbps: float, source_rate: int) -> int:
        """What a recording at ``source_rate`` enters at, in Hz."""
        widest = next(rate for below, rate in self.widest if kbps < below)
        if self.upsample:
            return widest
        return next(rate for rate in _RATES if rate >= min(source_rate, widest, _RATES[-1]))


_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_ANY = float("inf")
_WIDEST = ((24, 16_000), (48, 24_000), (64, 32_000), (_ANY, 48_000))
FORMATS: dict[str, Format] = {
    "aac": Format(("aac",), "mp4", _WIDEST),
    # Rates for mono out of libfdk-aac's table (aacenc_lib.h, "HE-AAC v1"). The decoder's band replication is late by
    # some 20 ms that no file states.
    "he-aac": Format(
        ("libfdk_aac", "aac_at"),
        "mp4",
        ((12, 24_000), (18, 32_000), (_ANY, 48_000)),
        {"profile": "aac_he"},
        upsample=True,
        max_delay_s=0.1,
    ),
    "mp3": Format(("libmp3lame",), "mp3", _WIDEST),
}
AAC_KBPS = (8, 320)
HE_AAC_KBPS = (8, 64)
MP3_KBPS = (8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0, 64.0, 80.0, 96.0, 112.0, 128.0, 160.0)  # of MPEG-2; most of MPEG-1


@dataclass(frozen=True)
class Ffmpeg:
    """A codec of :data:`FORMATS` at a constant bit rate, in its usual container; FFmpeg's decoder trims the delay."""

    name: str
    kbps: float

    stereo: ClassVar[bool] = True

    @property
    def codec(self) -> str:
        """Name in tables."""
        return self.name

    @property
    def setting(self) -> str:
        """The bit rate asked of the encoder."""
        return f"{self.kbps:g}"

    def identity(self) -> dict[str, str]:
        """Which encoder of which FFmpeg, and every option."""
        backend, encoder = find_encoder(self.name) or ("absent", "absent")
        program = {"program": _ffmpeg_version()} if backend == "ffmpeg" else {}
        form = FORMATS[self.name]
        rates = {"bps": str(round(self.kbps * 1000)), "widest": str(form.widest)}
        return {"by": backend, "encoder": encoder, **rates, **form.options, **program, **pyav_identity()}

    def run(self, source: Path, folder: Path) -> Coded:
        """Encode ``source``, through files in ``folder`` where the program does it, and decode it by PyAV."""
        form = FORMATS[self.name]
        samples, sample_rate = read_audio(source)
        rate = form.sample_rate(self.kbps / channel_count(samples), sample_rate)
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            resampled = resample(samples.T, sample_rate, rate).T
            data = _encode(self.name, resampled, rate, round(self.kbps * 1000), folder)
        with decoding:
            decoded, decoded_rate = decode(data, channel_count(samples))
        return Coded(
            samples=decoded,
            sample_rate=decoded_rate,
            file_bytes=len(data),
            payload_bytes=packet_bytes(data),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            max_delay_s=form.max_delay_s,
        )


def _encode(name: str, samples: npt.NDArray[np.floating], rate: int, rate_bps: int, folder: Path) -> bytes:
    import soundfile

    form = FORMATS[name]
    backend, encoder = find_encoder(name) or ("ffmpeg", form.encoders[0])
    if backend == "PyAV":
        return encode(samples, rate, encoder, form.container, form.options, rate_bps)
    wav, coded = folder / "ffmpeg.wav", folder / f"ffmpeg.{form.container}"
    soundfile.write(str(wav), samples.T, rate, subtype="PCM_16")
    options = [word for key, value in form.options.items() for word in (f"-{key}:a", value)]
    settings = ["-c:a", encoder, "-b:a", str(rate_bps), *options, "-f", form.container]
    run_tool(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(wav), *settings, str(coded)])
    return coded.read_bytes()


def find_encoder(name: str) -> tuple[Backend, str] | None:
    """Who encodes a codec of :data:`FORMATS` here, and by which encoder; None where nobody does."""
    encoders = FORMATS[name].encoders
    for encoder in encoders:
        if has_encoder(encoder):
            return "PyAV", encoder
    program = shutil.which("ffmpeg")
    for encoder in encoders:
        if program and encoder in _program_encoders(program):
            return "ffmpeg", encoder
    return None


@functools.lru_cache
def _program_encoders(program: str) -> frozenset[str]:
    """The names of the encoders that an ``ffmpeg`` program was built with."""
    said = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False)
    return frozenset(line.split()[1] for line in said.stdout.splitlines() if len(line.split()) > 1)


def _ffmpeg_version() -> str:
    said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("Copyright")[0].strip()


def absent_ffmpeg(name: str) -> str | None:
    """Why a codec of :data:`FORMATS` cannot run here, with the remedy; None if it can."""
    if reason := absent_pyav():
        return reason
    if find_encoder(name):
        return None
    encoders = " or ".join(FORMATS[name].encoders)
    return f"neither PyAV nor an ffmpeg on PATH encodes by {encoders}; install an ffmpeg built with it"
