"""Codecs that come as command line programs of Debian: Codec2 and LC3."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiocodec.errors import AudioError
from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.peers.process import missing_tools, run_tool, tool_fingerprint
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.systems import Coded, Stopwatch

_CODEC2_RATE = 8_000
_CODEC2_HEADER_BYTES = 7  # of a .c2 file: magic, version, mode, flags
# Mode by bits a second: its name, bits a frame, milliseconds a frame, and its delay in milliseconds. The delay is
# where STOI peaks over shifts in steps of 5 ms, the same for every recording. It is not searched by correlation:
# Codec2 makes up the phases of its harmonics, and the best correlation lay anywhere from 10 to 45 ms.
_CODEC2: dict[int, tuple[str, int, int, int]] = {
    450: ("450", 18, 40, 30),
    700: ("700C", 28, 40, 30),
    1200: ("1200", 48, 40, 20),
    1300: ("1300", 52, 40, 20),
    1400: ("1400", 56, 40, 20),
    1600: ("1600", 64, 40, 20),
    2400: ("2400", 48, 20, 20),
    3200: ("3200", 64, 20, 20),
}
CODEC2_BPS = tuple(float(bps) for bps in _CODEC2)

_LC3_FRAME_HEADER_BYTES = 2
_LC3_FRAME_MS = 10
_LC3_RATES = (8_000, 16_000, 24_000, 32_000, 48_000)


@dataclass(frozen=True)
class Codec2:
    """Codec2 by ``c2enc`` and ``c2dec``: a vocoder for radio, at 8 kHz.

    ``payload_bytes`` counts the bits of the frames (a frame of 28 bits is stored in 4 bytes), ``file_bytes`` the .c2
    file.
    """

    bps: int

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "codec2"

    @property
    def setting(self) -> str:
        """The mode, which is its bit rate in bits a second."""
        return _CODEC2[self.bps][0]

    def identity(self) -> dict[str, str]:
        """The programs, and the mode."""
        return {"c2enc": tool_fingerprint("c2enc"), "c2dec": tool_fingerprint("c2dec"), "mode": self.setting}

    def run(self, source: Path, folder: Path) -> Coded:
        """Code ``source`` through raw 16 bit files in ``folder``."""
        mode, frame_bits, frame_ms, delay_ms = _CODEC2[self.bps]
        raw, coded, decoded = folder / "codec2.raw", folder / "codec2.c2", folder / "codec2-decoded.raw"
        samples, sample_rate = read_mono(source)
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            _write_raw(raw, samples, sample_rate, frame_ms, delay_ms)
            run_tool(["c2enc", mode, str(raw), str(coded)])
        with decoding:
            run_tool(["c2dec", mode, str(coded), str(decoded)])
            output = np.fromfile(decoded, "<i2") / 32768.0
        file_bytes = coded.stat().st_size
        frames = (file_bytes - _CODEC2_HEADER_BYTES) // -(-frame_bits // 8)
        start = delay_ms * _CODEC2_RATE // 1000
        return Coded(
            samples=output[start : start + -(-len(samples) * _CODEC2_RATE // sample_rate)],
            sample_rate=_CODEC2_RATE,
            file_bytes=file_bytes,
            payload_bytes=-(-frames * frame_bits // 8),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            delay_s=0.0,  # just trimmed
        )


def _write_raw(path: Path, samples: np.ndarray, sample_rate: int, frame_ms: int, delay_ms: int) -> None:
    """[samples] as raw 16 bit integers at 8 kHz, with silence behind to flush the decoder; c2enc drops part frames."""
    pcm = resample(samples, sample_rate, _CODEC2_RATE)
    frame, delay = (ms * _CODEC2_RATE // 1000 for ms in (frame_ms, delay_ms))
    padded = np.zeros(-(-(len(pcm) + delay) // frame) * frame)
    padded[: len(pcm)] = pcm
    np.clip(np.round(padded * 32767.0), -32768, 32767).astype("<i2").tofile(path)


def absent_codec2() -> str | None:
    """Why Codec2 cannot run here, with the remedy; None if it can."""
    return missing_tools(("c2enc", "c2dec"), "on Debian run: apt install codec2")


@dataclass(frozen=True)
class Lc3:
    """LC3 (Bluetooth LE Audio) by Google's ``elc3`` and ``dlc3``: frames of 10 ms, all of one size.

    Recordings enter at the lowest of its rates that holds their band, and at no more than 24 kHz below 32 kbps (on
    music at 16 kbps that gave STOI .832, and 48 kHz .821), 32 kHz below 64 kbps. Its decoder trims the delay.
    ``payload_bytes`` are the frames, ``file_bytes`` the program's own file with 2 bytes a frame on top.
    """

    kbps: float

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "lc3"

    @property
    def setting(self) -> str:
        """The bit rate."""
        return f"{self.kbps:g}"

    def identity(self) -> dict[str, str]:
        """The programs, and what decides the outcome."""
        return {
            "elc3": tool_fingerprint("elc3"),
            "dlc3": tool_fingerprint("dlc3"),
            "bps": str(round(self.kbps * 1000)),
            "frame_ms": str(_LC3_FRAME_MS),
        }

    def run(self, source: Path, folder: Path) -> Coded:
        """Code ``source`` through WAV files in ``folder``."""
        import soundfile

        wav, coded, decoded = folder / "lc3.wav", folder / "lc3.lc3", folder / "lc3-decoded.wav"
        samples, sample_rate = read_mono(source)
        widest = 24_000 if self.kbps < 32 else 32_000 if self.kbps < 64 else 48_000
        rate = next(rate for rate in _LC3_RATES if rate >= min(sample_rate, widest))
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            soundfile.write(str(wav), resample(samples, sample_rate, rate), rate, subtype="PCM_16")
            bps, frame_ms = str(round(self.kbps * 1000)), str(_LC3_FRAME_MS)
            run_tool(["elc3", "-b", bps, "-m", frame_ms, str(wav), str(coded)])
        with decoding:
            run_tool(["dlc3", str(coded), str(decoded)])
            output, output_rate = read_mono(decoded)
        file_bytes = coded.stat().st_size
        return Coded(
            samples=output,
            sample_rate=output_rate,
            file_bytes=file_bytes,
            payload_bytes=_lc3_payload(coded.read_bytes()),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            delay_s=0.0,  # dlc3 trims it: nothing but 0 was ever found by correlation
        )


def _lc3_payload(data: bytes) -> int:
    """Bytes in the frames of an .lc3 file; each stands behind its size."""
    position, payload = int.from_bytes(data[2:4], "little"), 0  # the header's own size is its second word
    while position < len(data):
        size = int.from_bytes(data[position : position + 2], "little")
        payload += size
        position += _LC3_FRAME_HEADER_BYTES + size
    if position != len(data):
        raise AudioError("an .lc3 file ends within a frame; is this elc3 of liblc3?")
    return payload


def absent_lc3() -> str | None:
    """Why LC3 cannot run here, with the remedy; None if it can."""
    return missing_tools(("elc3", "dlc3"), "on Debian run: apt install liblc3-tools")
