"""Neural codecs by their own packages: EnCodec, DAC, Mimi, SNAC."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import types
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.systems import Coded, Stopwatch

if TYPE_CHECKING:
    import torch

_ENCODEC_WEIGHTS = "encodec_24khz-d7cc33bc.th"  # the digits begin its SHA-256
_ENCODEC_URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{_ENCODEC_WEIGHTS}"
_CONNECT_S = 5.0


@dataclass(frozen=True)
class Adapter:
    """How a package is called: a waveform [1, 1, samples] <-> code indices, tensors of any shape.

    ``weights`` names what is loaded, for the record; ``bits`` are those of one index. ``load`` gets the weights, from
    the package's cache or its server.
    """

    package: str
    distribution: str
    weights: str
    sample_rate: int
    bits: int
    load: Callable[[], Any]
    encode: Callable[[Any, torch.Tensor, float], list[torch.Tensor]]
    decode: Callable[[Any, list[torch.Tensor]], torch.Tensor]
    max_delay_s: float = 0.02


@dataclass(frozen=True)
class Neural:
    """A codec of :data:`ADAPTERS` at a bit rate in kbps.

    None of these packages has a file of bare packets: ``payload_bytes`` counts the bits of the indices, without entropy
    coding, and ``file_bytes`` is the same.
    """

    name: str
    kbps: float

    @property
    def codec(self) -> str:
        """Name in tables."""
        return self.name

    @property
    def setting(self) -> str:
        """The bit rate."""
        return f"{self.kbps:g}"

    def identity(self) -> dict[str, str]:
        """Version of the package, and which weights."""
        adapter = ADAPTERS[self.name]
        version = importlib.metadata.version(adapter.distribution)
        return {adapter.distribution: version, "torch": importlib.metadata.version("torch"), "weights": adapter.weights}

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """Code ``source`` in one piece; nothing is written to ``folder``."""
        import torch

        adapter, model = ADAPTERS[self.name], load(self.name)
        samples, sample_rate = read_mono(source)
        encoding, decoding = Stopwatch(), Stopwatch()
        with torch.inference_mode():
            with encoding:
                resampled = resample(samples, sample_rate, adapter.sample_rate).astype(np.float32)
                codes = adapter.encode(model, torch.from_numpy(resampled)[None, None], self.kbps)
            with decoding:
                decoded = adapter.decode(model, codes).reshape(-1).double().numpy()
        payload_bytes = -(-sum(code.numel() for code in codes) * adapter.bits // 8)
        return Coded(
            samples=decoded,
            sample_rate=adapter.sample_rate,
            file_bytes=payload_bytes,
            payload_bytes=payload_bytes,
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            max_delay_s=adapter.max_delay_s,
        )


@functools.lru_cache(maxsize=1)
def load(name: str) -> Any:
    """The model of a codec of :data:`ADAPTERS`, kept for the next recording."""
    return ADAPTERS[name].load()


def absent_neural(name: str) -> str | None:
    """Why a codec of :data:`ADAPTERS` cannot run here, with the remedy; None if it can. Loads its weights."""
    adapter = ADAPTERS[name]
    if importlib.util.find_spec(adapter.package) is None:
        return f"the package {adapter.package} is not installed; run: pip install {adapter.distribution}"
    try:
        load(name)
    except Exception as error:  # whatever a foreign package, its cache or its server come up with
        problem = " ".join(str(error).split())[:200] or type(error).__name__
        where = f"the package {adapter.package} or its weights {adapter.weights}"
        return f"{where} cannot be loaded: {problem}; check the package, and run this once with a network"
    return None


def _encodec_load() -> Any:
    """The package's own loading unpickles whatever lies in the cache, and waits long where there is no network."""
    import torch

    with _any_torchaudio():
        from encodec import EncodecModel
    path = Path(torch.hub.get_dir()) / "checkpoints" / _ENCODEC_WEIGHTS
    if not path.exists():
        _download(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # weight_norm's successor is the package's business
        model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


@contextlib.contextmanager
def _any_torchaudio() -> Iterator[None]:
    """EnCodec imports torchaudio at its top and uses it only to read files, which is not done here.

    PyPI's torchaudio does not load beside a CPU build of torch: an empty module stands in for it then.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        try:
            yield
        finally:
            del sys.modules["torchaudio"]
    else:
        yield


def _download(path: Path) -> None:
    """EnCodec's weights (93 MB) to ``path``, as a whole or not at all."""
    with urllib.request.urlopen(_ENCODEC_URL, timeout=_CONNECT_S) as answer:
        data = answer.read()
    if not hashlib.sha256(data).hexdigest().startswith(path.stem.partition("-")[2]):
        raise ValueError(f"{_ENCODEC_URL} is not what its name says")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)


def _encodec_encode(model: Any, wave: torch.Tensor, kbps: float) -> list[torch.Tensor]:
    model.set_target_bandwidth(kbps)
    return [codes for codes, _ in model.encode(wave)]


def _dac_load() -> Any:
    import dac

    return dac.DAC.load(dac.utils.download(model_type="24khz")).eval()


def _dac_encode(model: Any, wave: torch.Tensor, kbps: float) -> list[torch.Tensor]:
    # 75 frames a second of 10 bits a codebook
    padded = model.preprocess(wave, model.sample_rate)
    return [model.encode(padded, n_quantizers=round(kbps / 0.75))[1]]


def _mimi_load() -> Any:
    from transformers import MimiModel

    return MimiModel.from_pretrained("kyutai/mimi").eval()


def _mimi_encode(model: Any, wave: torch.Tensor, kbps: float) -> list[torch.Tensor]:
    # 12.5 frames a second of 11 bits a codebook
    return [model.encode(wave, num_quantizers=round(kbps / 0.1375)).audio_codes]


def _snac_load() -> Any:
    from snac import SNAC

    return SNAC.from_pretrained("hubertsiuzdak/snac_24khz").eval()


ENCODEC_KBPS = (1.5, 3.0, 6.0, 12.0, 24.0)
DAC_KBPS = (1.5, 3.0, 6.0, 12.0, 24.0)
MIMI_KBPS = (0.55, 1.1, 2.2, 4.4)
SNAC_KBPS = (0.98,)
ADAPTERS: dict[str, Adapter] = {
    "encodec": Adapter(
        package="encodec",
        distribution="encodec",
        weights=_ENCODEC_WEIGHTS,
        sample_rate=24_000,
        bits=10,
        load=_encodec_load,
        encode=_encodec_encode,
        decode=lambda model, codes: model.decode([(code, None) for code in codes]),
    ),
    "dac": Adapter(
        package="dac",
        distribution="descript-audio-codec",
        weights="24khz",
        sample_rate=24_000,
        bits=10,
        load=_dac_load,
        encode=_dac_encode,
        decode=lambda model, codes: model.decode(model.quantizer.from_codes(codes[0])[0]),
    ),
    "mimi": Adapter(
        package="transformers",
        distribution="transformers",
        weights="kyutai/mimi",
        sample_rate=24_000,
        bits=11,
        load=_mimi_load,
        encode=_mimi_encode,
        decode=lambda model, codes: model.decode(codes[0]).audio_values,
    ),
    "snac": Adapter(
        package="snac",
        distribution="snac",
        weights="hubertsiuzdak/snac_24khz",
        sample_rate=24_000,
        bits=12,
        load=_snac_load,
        encode=lambda model, wave, _: model.encode(wave),
        decode=lambda model, codes: model.decode(codes),
    ),
}
