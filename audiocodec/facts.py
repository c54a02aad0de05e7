"""What a runtime must know of a model beside its graphs or its network; kept in ``runtime.json``. Needs no torch."""

from __future__ import annotations

import hashlib
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
# Of what the graphs compute: to be raised with every change of it, so that no runtime goes on with older ones.
EXPORTER = 1
_MOST = 1 << 16  # of anything that is counted: levels, frames, tokens


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

    def check(self, config: dict[str, Any]) -> None:
        """Raises ValueError for numbers that no model has, and for others than those of its stored ``config``."""
        counts = self.hop_samples, self.delay_samples, self.dims, self.tokens, self.noise_frames
        whole = (self.sample_rate, self.context_frames, *counts, *self.settings)
        if not isinstance(self.name, str) or any(type(value) is not int for value in whole):
            raise ValueError("a value of another type")
        hop = config.get("stem_hop", self.delay_samples)
        frames = config.get("stem_frames", self.hop_samples // max(self.delay_samples, 1))
        if (self.delay_samples, self.hop_samples) != (hop, hop * frames):
            raise ValueError("a hop that is not the config's")
        if self.sample_rate != config.get("sample_rate", self.sample_rate) or not 8000 <= self.sample_rate <= 48000:
            raise ValueError("a sampling rate that is not the config's")
        if any(not 1 <= count < _MOST for count in counts) or not 0 <= self.context_frames < _MOST:
            raise ValueError("a count out of range")
        if not self.settings or any(not 2 <= base < _MOST for base in self.settings):
            raise ValueError("no settings, or one out of range")
        for levels in self.settings.values():
            if len(levels) != self.tokens or any(type(n) is not int or not 1 <= n < _MOST for n in levels):
                raise ValueError("levels that do not fit the tokens")


@dataclass(frozen=True)
class GraphFile:
    """One graph as it was written."""

    sha256: str
    weights: tuple[str, ...]
    """Tensors of the model's weights that it takes; none where it carries its own."""

    def read(self, path: Path) -> bytes:
        """The graph. Raises ModelError if it is missing, or another than was written."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror or error}") from None
        if hashlib.sha256(data).hexdigest() != self.sha256:
            again = f"run `audiocodec export {path.parent}`, or pass --runtime torch"
            raise ModelError(f"{path} is not the graph that {RUNTIME} tells of; {again}")
        return data


@dataclass(frozen=True)
class ExportedFacts:
    """``runtime.json``: the facts, the graphs, what they were made from, and what they cost."""

    network: str
    """Digest of the config and the weights that the graphs were made from."""
    facts: ModelFacts
    graphs: dict[str, GraphFile]
    exporter: int = EXPORTER
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
    def read(cls, folder: Path, config: dict[str, Any]) -> ExportedFacts | None:
        """The facts of a model folder with this stored config; None where it was not exported.

        Raises:
            ModelError: the file is damaged, or contradicts the config.
        """
        path = folder / RUNTIME
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            facts, graphs = stored.pop("facts"), stored.pop("graphs", {})
            settings = {int(base): tuple(levels) for base, levels in facts.pop("settings").items()}
            read = cls(
                facts=ModelFacts(**facts, settings=settings),
                graphs={name: GraphFile(row["sha256"], tuple(row["weights"])) for name, row in graphs.items()},
                **stored,
            )
            read.facts.check(config)
            if any(not isinstance(value, int | float) for value in read.fill.values()):
                raise ValueError("a filling that is no number")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path} is damaged ({error}); run `audiocodec export {folder}` again") from None
        return read
