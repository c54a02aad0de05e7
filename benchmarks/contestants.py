"""Other codecs that ours is timed beside: EnCodec 24 kHz with random weights, and Lyra v2."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import common
from common import Step

ENCODEC_RATE, ENCODEC_KBPS = 24_000, 6.0
LYRA_RATE, LYRA_KBPS = 16_000, 3.2  # of its three rates the fastest, and the nearest to the default of ours
LYRA_FOLDER = common.REPOSITORY.parent / "shared" / "peers" / "lyra"


def encodec_model() -> Any:
    """EnCodec 24 kHz as published, with random weights."""
    import torch

    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        # encodec imports torchaudio at its top and uses it only to read files, which is not done here. PyPI's
        # torchaudio does not load beside a CPU build of torch, and that must not stop the benchmark.
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    from encodec import EncodecModel

    torch.manual_seed(0)
    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.set_target_bandwidth(ENCODEC_KBPS)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_()  # all zero before training, and then every search would be a tie
    return model.eval()


def encodec_steps(audio: Path, seconds: float) -> dict[str, Step]:
    """Its encoding and its decoding of the same speech: network and residual quantiser, the whole at once."""
    import torch

    torch.set_num_threads(1)
    model = encodec_model()
    speech = torch.from_numpy(common.looped_speech(audio, ENCODEC_RATE, seconds))[None, None, :]
    kept: dict[str, Any] = {}

    def encode() -> None:
        with torch.inference_mode():
            kept["frames"] = model.encode(speech)

    def decode() -> None:
        with torch.inference_mode():
            model.decode(kept["frames"])

    return {"encode": encode, "decode": decode}


def absent_lyra(folder: Path) -> str | None:
    """Why Lyra cannot run here; None if it can."""
    from audiocodec.evaluate.peers.lyra import absent_lyra

    return absent_lyra(folder)


def lyra_steps(folder: Path, audio: Path, seconds: float) -> dict[str, Step]:
    """Its three networks, frame by frame as they are made for; no bytes are packed and no file is written."""
    # As evaluation runs them: what these are to be compared with is the codec that stands in its tables.
    from audiocodec.evaluate.peers.lyra import _QUANTIZERS, _decode, _encode

    speech = common.looped_speech(audio, LYRA_RATE, seconds)
    kept: dict[str, Any] = {}

    def encode() -> None:
        kept["packets"] = _encode(folder, speech, _QUANTIZERS[LYRA_KBPS])

    def decode() -> None:
        _decode(folder, kept["packets"])

    return {"encode": encode, "decode": decode}
