"""Lyra v2 (SoundStream with a GAN decoder): its three TFLite networks by LiteRT."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError
from audiocodec.evaluate.metrics import SPEECH_RATE, resample
from audiocodec.evaluate.peers.process import fingerprint
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.systems import Coded, Stopwatch

_FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")
_FRAME_SAMPLES = 320  # 20 ms
_FLUSH_FRAMES = 2  # of silence behind the recording: what the networks hold back
_BITS_PER_INDEX = 4
_INDICES = 46  # the quantizer's networks know no other number; unused ones are -1
_MAX_DELAY_S = 0.04
# kbps as Lyra names them -> quantizers in use; 50 frames a second of 4 bits each
_QUANTIZERS = {3.2: 16, 6.0: 30, 9.2: 46}
LYRA_KBPS = tuple(_QUANTIZERS)


@dataclass(frozen=True)
class Lyra:
    """Lyra v2 at 16 kHz. ``folder`` holds ``soundstream_encoder``, ``quantizer`` and ``lyragan``, each ``.tflite``.

    Lyra has no file format: ``payload_bytes`` is frames x indices x 4 bits, and ``file_bytes`` the same. Frames of the
    comfort noise that the C++ library sends in pauses (DTX, off by default) are not made.
    """

    kbps: float
    folder: Path

    @property
    def codec(self) -> str:
        """Name in tables."""
        return "lyra-v2"

    @property
    def setting(self) -> str:
        """The bit rate."""
        return f"{self.kbps:g}"

    def identity(self) -> dict[str, str]:
        """Version of the interpreter, the networks, and the number of quantizers."""
        networks = {name: fingerprint(self.folder / name) for name in _FILES}
        version = importlib.metadata.version("ai-edge-litert")
        return {"ai-edge-litert": version, "quantizers": str(_QUANTIZERS[self.kbps]), **networks}

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """Code ``source`` frame by frame; nothing is written to ``folder``."""
        samples, sample_rate = read_mono(source)
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            packets = _encode(self.folder, resample(samples, sample_rate, SPEECH_RATE), _QUANTIZERS[self.kbps])
        with decoding:
            decoded = _decode(self.folder, packets)
        payload_bytes = -(-len(packets) * _QUANTIZERS[self.kbps] * _BITS_PER_INDEX // 8)
        return Coded(
            samples=decoded,
            sample_rate=SPEECH_RATE,
            file_bytes=payload_bytes,
            payload_bytes=payload_bytes,
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            max_delay_s=_MAX_DELAY_S,
        )


def _encode(folder: Path, samples: npt.NDArray[np.floating], quantizers: int) -> list[npt.NDArray[np.int32]]:
    """[samples] at 16 kHz -> indices [46, 1, 1] of each frame."""
    encoder = _network(folder, _FILES[0]).get_signature_runner("serving_default")
    quantize = _network(folder, _FILES[1]).get_signature_runner("encode")
    frames = -(-len(samples) // _FRAME_SAMPLES) + _FLUSH_FRAMES
    padded = np.zeros((frames, 1, _FRAME_SAMPLES), np.float32)
    padded.reshape(-1)[: len(samples)] = np.clip(samples, -1.0, 1.0)
    count = np.int32(quantizers)
    packets = []
    for frame in padded:
        features = encoder(input_audio=frame)["output_0"]
        packets.append(quantize(input_frames=features, num_quantizers=count)["output_0"])
    return packets


def _decode(folder: Path, packets: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.float64]:
    """Indices of each frame -> [samples] at 16 kHz."""
    dequantize = _network(folder, _FILES[1]).get_signature_runner("decode")
    generator = _network(folder, _FILES[2]).get_signature_runner("serving_default")
    pieces = []
    for indices in packets:
        features = dequantize(encoding_indices=indices)["output_0"]
        pieces.append(generator(input_audio=features)["output_0"][0])
    return np.concatenate(pieces).astype(np.float64)


def _network(folder: Path, name: str) -> Any:
    """A fresh interpreter: the convolutions' past lives inside, so that one serves one recording."""
    from ai_edge_litert.interpreter import Interpreter

    path = folder / name
    try:
        with _quiet():
            network = Interpreter(str(path), num_threads=1)
            network.allocate_tensors()
            return network
    except (ValueError, RuntimeError) as error:
        raise AudioError(f"{path} is not a network of Lyra v2 ({error})") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's announcement of its delegate.

    It is written by C++ to the process's standard error; the package has no setting for it, and its errors come as
    exceptions. So the descriptor itself points elsewhere for these milliseconds.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def absent_lyra(folder: Path | None) -> str | None:
    """Why Lyra cannot run here, with the remedy; None if it can."""
    if folder is None:
        return f"its networks are not part of this package; pass --lyra FOLDER with {', '.join(_FILES)}"
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        return f"{folder} lacks {' and '.join(missing)}; pass --lyra FOLDER with {', '.join(_FILES)}"
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "ai-edge-litert is not installed; run: pip install 'audiocodec[peers]'"
    return None
