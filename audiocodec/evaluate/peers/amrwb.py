"""AMR-WB (ITU-T G.722.2), the wideband voice of mobile telephony: VisualOn's encoder, FFmpeg's decoder."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError
from audiocodec.evaluate.metrics import SPEECH_RATE, resample
from audiocodec.evaluate.peers.pyav import absent_pyav, decode, pyav_identity
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.systems import Coded, Stopwatch

AMR_WB_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)  # modes 0 to 8
_LIBRARY = "vo-amrwbenc"
_MAGIC = b"#!AMR-WB\n"  # RFC 4867, section 5
_FRAME_SAMPLES = 320  # 20 ms
_DELAY_SAMPLES = 95  # look-ahead and filters; found on every recording
_MAX_PACKET_BYTES = 61


@dataclass(frozen=True)
class AmrWb:
    """AMR-WB at 16 kHz without DTX, by the library that FFmpeg too encodes with, where FFmpeg was built with it.

    Neither PyAV's nor Debian's FFmpeg is, so the library is called directly (``E_IF_*`` of its ``enc_if.h``).
    ``payload_bytes`` are packets with their byte of frame type, as in telephony (RFC 4867); ``file_bytes`` is an .awb
    file, 9 bytes more.
    """

    kbps: float

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "amr-wb"

    @property
    def setting(self) -> str:
        """The mode, which is its bit rate without the byte of frame type (0.4 kbps)."""
        return f"{self.kbps:g}"

    def identity(self) -> dict[str, str]:
        """The encoder's library by its versioned name (it states no other), the mode, the decoder's version."""
        return {
            _LIBRARY: str(ctypes.util.find_library(_LIBRARY)),
            "mode": str(AMR_WB_KBPS.index(self.kbps)),
            **pyav_identity(),
        }

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """Encode ``source`` to an .awb file in memory and decode it; nothing is written to ``folder``."""
        samples, sample_rate = read_mono(source)
        _library()  # looked for by starting other programs: not part of the encoder's time
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            wideband = resample(samples, sample_rate, SPEECH_RATE)
            data = _encode(wideband, AMR_WB_KBPS.index(self.kbps))
        with decoding:
            decoded, rate = decode(data)
        return Coded(
            samples=decoded[_DELAY_SAMPLES : _DELAY_SAMPLES + len(wideband)],
            sample_rate=rate,
            file_bytes=len(data),
            payload_bytes=len(data) - len(_MAGIC),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
        )


def _encode(samples: npt.NDArray[np.floating], mode: int) -> bytes:
    """[samples] at 16 kHz -> the bytes of an .awb file, with silence behind to flush the decoder."""
    library = _library()
    if library is None:
        raise AudioError(f"the library {_LIBRARY} is gone since the evaluation began")
    frames = -(-(len(samples) + _DELAY_SAMPLES) // _FRAME_SAMPLES)
    pcm = np.zeros((frames, _FRAME_SAMPLES), np.int16)
    pcm.reshape(-1)[: len(samples)] = np.clip(np.round(samples * 32767.0), -32768, 32767)
    packet = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
    packets = [_MAGIC]
    state = library.E_IF_init()
    try:
        for frame in pcm:
            size = library.E_IF_encode(state, mode, frame.ctypes.data, packet, 0)  # 0: no DTX
            packets.append(packet.raw[:size])
    finally:
        library.E_IF_exit(state)
    return b"".join(packets)


@functools.lru_cache
def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library(_LIBRARY)
    if name is None:
        return None
    library = ctypes.CDLL(name)
    library.E_IF_init.restype = ctypes.c_void_p
    library.E_IF_encode.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.E_IF_exit.argtypes = [ctypes.c_void_p]
    return library


def absent_amr_wb() -> str | None:
    """Why AMR-WB cannot run here, with the remedy; None if it can."""
    if ctypes.util.find_library(_LIBRARY) is None:
        return f"the library {_LIBRARY} is not installed; on Debian run: apt install libvo-amrwbenc0"
    return absent_pyav()
