"""What a runtime must know of a model beside its graphs or its network; kept in ``runtime.json``. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.errors import ModelError

if TYPE_CHECKING:
    from audiocodec.nn.model import CodecNet

RUNTIME = "runtime.json"
ENCODER, DECODER, QUANTISER, DEQUANTISER = "encoder.onnx", "decoder.onnx", "quantiser.onnx", "dequantiser.onnx"
GRAPHS = (ENCODER, DECODER, QUANTISER, DEQUANTISER)


@dataclass(frozen=True)
class ModelFacts:
    """A model's geometry and its rate settings."""

    name: str
    sample_rate: int
    hop_samples: int
    """Samples a token frame."""
    delay_samples: int
    """By how much the decoder's output lags behind the input: the overlap of the stem."""
    context_frames: int
    """Past token frames that one output sample depends on: what a seek must decode first."""
    dims: int
    tokens: int
    noise_frames: int
    """Period of the decoder's fixed noise."""
    settings: dict[int, tuple[int, ...]]
    """Alphabets of a frame's tokens, by base level count."""

    @property
    def frame_rate(self) -> float:
        """Token frames a second."""
        return self.sample_rate / self.hop_samples

    @classmethod
    def of(cls, net: CodecNet) -> ModelFacts:
        """Those of a network."""
        config = net.config
        return cls(
            name=config.name,
            sample_rate=config.sample_rate,
            hop_samples=config.hop_samples,
            delay_samples=net.delay_samples,
            context_frames=net.decoder_context_frames,
            dims=config.dims,
            tokens=config.tokens,
            noise_frames=config.noise_frames,
            settings={base: config.levels(base) for base in config.level_settings},
        )


@dataclass(frozen=True)
class ExportedFacts:
    """``runtime.json``: the facts, what the graphs were made from, and what they cost."""

    network: str
    """Digest of the config and the weights that the graphs were made from."""
    facts: ModelFacts
    fill: dict[str, float] = field(default_factory=dict)
    """What each input of state is filled with at the beginning of a stream, where that is not 0."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Of encoder and decoder."""
    macs_per_second: dict[str, float] = field(default_factory=dict)
    """Multiply-accumulates a second of audio, of encoder and decoder."""

    def to_json(self) -> str:
        """The file's contents."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, folder: Path) -> ExportedFacts | None:
        """The facts of a model folder, None where it was not exported. Raises ModelError for a damaged file."""
        path = folder / RUNTIME
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            facts = stored.pop("facts")
            settings = {int(base): tuple(levels) for base, levels in facts.pop("settings").items()}
            return cls(facts=ModelFacts(**facts, settings=settings), **stored)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} is damaged ({error}); run `audiocodec export {folder}` again") from None
