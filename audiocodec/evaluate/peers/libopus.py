"""libopus itself, one packet at a time: what FFmpeg hides, a decoder that is told of lost packets.

The library is that of PyAV's wheel, or the system's. Numbers of requests are those of ``opus_defines.h`` (RFC 6716 and
https://opus-codec.org/docs/opus_api-1.5/).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import AudioError, MissingExtraError
from audiocodec.evaluate.metrics import SPEECH_RATE
from audiocodec.evaluate.peers.pyav import absent_pyav, pyav

Samples = NDArray[np.float32]
Control = Literal["variable", "constrained", "constant"]

FRAME_S = 0.02
_MOST_BYTES = 1275  # of a packet of one frame (RFC 6716, 3.2.1)
_VOIP = 2048
_SET_BITRATE, _SET_VBR, _SET_COMPLEXITY, _SET_FEC, _SET_LOSS, _SET_DTX = 4002, 4006, 4010, 4012, 4014, 4016
_SET_VBR_CONSTRAINT, _GET_LOOKAHEAD, _SET_DRED_DURATION = 4020, 4027, 4050


@dataclass(frozen=True)
class OpusSettings:
    """Speech in packets of 20 ms, as a call would set Opus up; ``loss_percent`` is what the encoder is told to expect.

    In-band FEC (a coarser copy of the frame before) is put in where the rate and the expected loss make it worth while
    to the encoder; ``Control`` says how strictly the rate is kept.
    """

    bitrate_bps: int
    loss_percent: int = 0
    fec: bool = True
    control: Control = "variable"
    complexity: int = 10
    sample_rate: int = SPEECH_RATE

    @property
    def frame_samples(self) -> int:
        """Samples a packet."""
        return round(FRAME_S * self.sample_rate)


class OpusEncoder:
    """Frames ``[frame_samples]`` to packets.

    Raises:
        MissingExtraError: there is no libopus, with the remedy.
        AudioError: it refuses the settings.
    """

    def __init__(self, settings: OpusSettings) -> None:
        self.settings = settings
        self._library, failed = libopus(), ctypes.c_int()
        make = self._library.opus_encoder_create
        self._encoder = ctypes.c_void_p(make(settings.sample_rate, 1, _VOIP, ctypes.byref(failed)))
        _check(self._library, failed.value, f"an encoder at {settings.sample_rate} Hz")
        weakref.finalize(self, self._library.opus_encoder_destroy, self._encoder)
        wanted = {
            _SET_BITRATE: settings.bitrate_bps,
            _SET_VBR: int(settings.control != "constant"),
            _SET_VBR_CONSTRAINT: int(settings.control == "constrained"),
            _SET_COMPLEXITY: settings.complexity,
            _SET_FEC: int(settings.fec),
            _SET_LOSS: settings.loss_percent,
            _SET_DTX: 0,
        }
        for request, value in wanted.items():
            _check(self._library, self._control(request, ctypes.c_int(value)), f"{settings} (request {request})")

    def _control(self, request: int, value: Any) -> int:
        return int(self._library.opus_encoder_ctl(self._encoder, request, value))

    @property
    def delay_samples(self) -> int:
        """By how much what the decoder gives is late, at the sample rate of the settings."""
        found = ctypes.c_int()
        _check(self._library, self._control(_GET_LOOKAHEAD, ctypes.byref(found)), "the question how late it is")
        return found.value

    @property
    def takes_dred(self) -> bool:
        """Whether this build has deep redundancy: a copy of a second of speech in every packet (since 1.5)."""
        return self._control(_SET_DRED_DURATION, ctypes.c_int(1)) == 0

    def encode(self, frame: Samples) -> bytes:
        """One packet of ``[frame_samples]`` in [-1, 1]. Raises AudioError."""
        size = self.settings.frame_samples
        if frame.shape != (size,):
            raise AudioError(f"a frame {frame.shape} for Opus; it takes ({size},)")
        given, packet = np.ascontiguousarray(frame, np.float32), ctypes.create_string_buffer(_MOST_BYTES)
        got = self._library.opus_encode_float(self._encoder, _pointer(given), size, packet, _MOST_BYTES)
        _check(self._library, got, "a frame")
        return packet.raw[:got]


class OpusDecoder:
    """Packets to frames ``[frame_samples]``, lost ones concealed. Raises as :class:`OpusEncoder`.

    ``complexity`` above 4 lets a build that has it conceal by a network (since 1.5).
    """

    def __init__(self, sample_rate: int = SPEECH_RATE, complexity: int = 10) -> None:
        self._library, failed = libopus(), ctypes.c_int()
        self._decoder = ctypes.c_void_p(self._library.opus_decoder_create(sample_rate, 1, ctypes.byref(failed)))
        _check(self._library, failed.value, f"a decoder at {sample_rate} Hz")
        weakref.finalize(self, self._library.opus_decoder_destroy, self._decoder)
        self._samples = round(FRAME_S * sample_rate)
        # Before 1.5 a decoder had no such setting, and refuses it: then there is nothing to set.
        self._library.opus_decoder_ctl(self._decoder, _SET_COMPLEXITY, ctypes.c_int(complexity))

    def decode(self, packet: bytes | None, following: bytes | None = None) -> Samples:
        """``[frame_samples]`` of a packet, or of a lost one (None): by its copy in ``following``, else concealed.

        Raises:
            AudioError: the packet is damaged.
        """
        data = following if packet is None else packet
        wave = np.zeros(self._samples, np.float32)
        copied = int(packet is None and data is not None)
        size = len(data) if data is not None else 0
        got = self._library.opus_decode_float(self._decoder, data, size, _pointer(wave), self._samples, copied)
        _check(self._library, got, "a packet")
        return wave[:got]


def encode_packets(samples: Samples, settings: OpusSettings) -> tuple[list[bytes], int]:
    """Packets of ``samples`` [n], the last filled with silence, and the delay in samples of what they decode to."""
    encoder, size = OpusEncoder(settings), settings.frame_samples
    whole = np.pad(samples, (0, -len(samples) % size)).astype(np.float32)
    return [encoder.encode(frame) for frame in whole.reshape(-1, size)], encoder.delay_samples


def decode_packets(packets: Sequence[bytes | None], complexity: int = 10, sample_rate: int = SPEECH_RATE) -> Samples:
    """``[n]`` samples of packets, a frame later than they come: a lost one (None) is taken from the one behind it."""
    decoder = OpusDecoder(sample_rate, complexity)
    behind = [*packets[1:], None]
    waves = [decoder.decode(packet, following) for packet, following in zip(packets, behind, strict=True)]
    return np.concatenate([np.zeros(0, np.float32), *waves])


def has_copy(packet: bytes) -> bool:
    """Whether a packet carries a copy of the frame before it (in-band FEC, LBRR). Needs libopus 1.5."""
    return bool(libopus().opus_packet_has_lbrr(packet, len(packet)))


def capabilities() -> dict[str, bool | str]:
    """The version of libopus, and whether it was built with ``dred`` and with ``deep_plc``: found by trying."""
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(SPEECH_RATE) * 0.05) * 0.3 + 0.01 * rng.standard_normal(SPEECH_RATE)
    packets, _ = encode_packets(tone.astype(np.float32), OpusSettings(16_000, fec=False))
    holed: list[bytes | None] = [packet if number % 5 < 3 else None for number, packet in enumerate(packets)]
    plain, deep = (decode_packets(holed, complexity) for complexity in (0, 10))
    return {
        "libopus": libopus_version(),
        "dred": OpusEncoder(OpusSettings(16_000)).takes_dred,
        "deep_plc": not np.array_equal(plain, deep),
    }


def libopus_version() -> str:
    """What the library calls itself; ``unknown`` where PyAV was built against one that is not found."""
    if absent_libopus():
        return "unknown"
    return str(libopus().opus_get_version_string().decode("ascii")).removeprefix("libopus ")


def absent_libopus() -> str | None:
    """Why libopus cannot be called here, with the remedy; None if it can."""
    try:
        libopus()
    except MissingExtraError as error:
        return str(error)
    return None


@lru_cache(maxsize=1)
def libopus() -> ctypes.CDLL:
    """The library, its functions declared. Raises MissingExtraError with the remedy."""
    path = _library_path()
    try:
        library = ctypes.CDLL(path)
        number, pointer = ctypes.c_int, ctypes.c_void_p
        floats, text, got = ctypes.POINTER(ctypes.c_float), ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)
        declared: dict[str, tuple[Any, list[Any]]] = {
            "opus_get_version_string": (text, []),
            "opus_strerror": (text, [number]),
            "opus_encoder_create": (pointer, [ctypes.c_int32, number, number, got]),
            "opus_encoder_destroy": (None, [pointer]),
            "opus_encoder_ctl": (number, [pointer, number]),  # and what the request takes
            "opus_encode_float": (ctypes.c_int32, [pointer, floats, number, text, ctypes.c_int32]),
            "opus_decoder_create": (pointer, [ctypes.c_int32, number, got]),
            "opus_decoder_destroy": (None, [pointer]),
            "opus_decoder_ctl": (number, [pointer, number]),
            "opus_decode_float": (number, [pointer, text, ctypes.c_int32, floats, number, number]),
        }
        for name, (result, arguments) in declared.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise MissingExtraError(f"{path} is no libopus ({error}); run: pip install --upgrade av") from None
    return library


def _library_path() -> str:
    """PyAV's own copy, which its wheel lays beside the package; else that of the system."""
    if absent_pyav() is None:
        beside = Path(str(pyav().__file__)).resolve().parent.parent / "av.libs"
        for library in sorted(beside.glob("libopus*")):
            return str(library)
    found = ctypes.util.find_library("opus")
    if found is None:
        raise MissingExtraError("there is no libopus; run: pip install 'audiocodec[eval]' (or install libopus0)")
    return found


def _pointer(wave: Samples) -> Any:
    return wave.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def _check(library: ctypes.CDLL, code: int, what: str) -> None:
    if code < 0:
        raise AudioError(f"libopus refuses {what}: {library.opus_strerror(code).decode('ascii')}")
