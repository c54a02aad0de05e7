"""Settings, typed and strict: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from audiocodec.config_baselines import (
    BASELINES,
    BaselineConfig,
    FsqConfig,
    ResidualFsqConfig,
    ResidualVqConfig,
    SimVqConfig,
    TokenBridgeConfig,
    VqEmaConfig,
    VqVaeConfig,
    levels_from_baseline,
)
from audiocodec.errors import ConfigError
from audiocodec.strict import Strict

PITCH_SEARCH_HZ = 4000
"""The pitch is searched at about this rate: harmonics to 1 kHz decide it, and lags cost a quarter."""


S = TypeVar("S", bound=Strict)


def parse(kind: type[S], data: Any, where: str) -> S:
    """Validate ``data`` as settings of type ``kind``.

    Raises:
        ConfigError: names each bad key as ``a.b.c``, and for an unknown one the nearest known key.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping of settings, found {type(data).__name__}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_describe(kind, e["loc"], e["type"], e["msg"]) for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(problems)) from None


def load_yaml(path: Path) -> Any:
    """Read a YAML file safely.

    Raises:
        ConfigError: if it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def load_settings(kind: type[S], path: Path, overrides: Sequence[str] = ()) -> S:
    """Read settings from YAML; ``overrides`` are ``section.key=value`` with the value in YAML.

    Raises:
        ConfigError: unreadable file, unknown key (names the nearest), value out of range, malformed override.
    """
    data = load_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(data).__name__}")
    for override in overrides:
        _set(data, override)
    return parse(kind, data, str(path))


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"cannot read the setting '{override}'; write it as section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of '{override}' is not valid YAML") from None
    for part in parts[:-1]:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"cannot set '{key.strip()}': '{part}' is a value, not a section")
        data = inner
    data[parts[-1]] = value


def _describe(kind: type[Strict], loc: tuple[int | str, ...], error_type: str, message: str) -> str:
    dotted, _ = _walk(kind, loc)
    if error_type != "extra_forbidden":
        return f"{dotted}: {message}"
    _, known = _walk(kind, loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.0)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown key '{dotted}'{hint}"


def _walk(kind: type[Strict], loc: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """The place as its reader wrote it, ``a.b.c``, and the keys that are known there."""
    kinds, names = [kind], []
    for part in loc:
        if len(kinds) > 1:  # one of several kinds of settings: the part is not in the file, but says which was tried
            kinds = [k for k in kinds if "kind" in k.model_fields and k.model_fields["kind"].default == part]
            continue
        names.append(str(part))
        if not isinstance(part, int):  # an item of a list: its fields were found with the list's
            field = kinds[0].model_fields.get(part) if kinds else None
            kinds = _kinds_in(field.annotation) if field else []
    return ".".join(names), [name for k in kinds[:1] for name in k.model_fields]


def _kinds_in(annotation: Any) -> list[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return [annotation]
    return [kind for inner in get_args(annotation) for kind in _kinds_in(inner)]


class FspConfig(Strict):
    """Finite scalar perturbation (arXiv 2602.17133)."""

    kind: Literal["fsp"] = "fsp"
    activation: Literal["tanh", "normal", "sigmoid", "laplace"] = "tanh"
    eta: float = Field(1.0, gt=0, le=4, description="width of the perturbation in quantisation steps")
    quantise_probability: float = Field(0.5, ge=0, le=1, description="share of vectors quantised instead of perturbed")
    draw: Literal["vector", "element"] = "vector"
    mean_weight: float = Field(0.1, ge=0)
    variance_weight: float = Field(0.07, ge=0)


class VpConfig(Strict):
    """Vector perturbation (arXiv 2602.17133): no codebook while training, any codebook afterwards."""

    kind: Literal["vp"] = "vp"
    groups: int = Field(1, ge=1, description="parts that the dimensions are split into, a token and a codebook each")
    codebook_size: int = Field(
        1024, ge=2, le=65535, description="words that the queue has latents for; radii are scaled to others"
    )
    codebooks: tuple[int, ...] = Field((), description="sizes of the codebooks stored with the model")
    queue: bool = Field(True, description="keep the latents that training needs; a finished model has none")
    points_per_dim: float = Field(16.0, gt=0, description="latents kept a code word and dimension: M = this times d")
    push_fraction: float = Field(0.01, gt=0, le=1, description="share of a batch's latents that enters the queue")
    neighbours: int = Field(8, ge=1, description="k of the density estimate")
    eta: float = Field(1.1, gt=0, le=4, description="radius over the M-th neighbour's distance; see calibrate.py")
    accept: Literal["metropolis", "always"] = "metropolis"
    quantise_probability: float = Field(
        0.0, ge=0, le=1, description="share of vectors that the stored codebooks quantise instead: a last stage"
    )
    search: Literal["index", "exact"] = Field("index", description="on the CPU; other devices search exactly")
    mean_weight: float = Field(0.1, ge=0)
    variance_weight: float = Field(0.07, ge=0)

    @model_validator(mode="after")
    def _check(self) -> VpConfig:
        if any(not 2 <= size <= 65535 for size in self.codebooks) or len({*self.codebooks}) < len(self.codebooks):
            raise ValueError(f"codebooks must be different sizes from 2 to 65535, not {self.codebooks}")
        if self.quantise_probability and not self.codebooks:
            raise ValueError("quantise_probability needs codebooks: name their sizes, those of the model to start from")
        return self


def _bottleneck_kind(value: Any) -> str:
    """The kind that a mapping or a config names; FSP where it names none, as before there was another."""
    return str(value.get("kind", "fsp") if isinstance(value, dict) else getattr(value, "kind", "fsp"))


BottleneckConfig = Annotated[
    Annotated[FspConfig, Tag("fsp")]
    | Annotated[VpConfig, Tag("vp")]
    | Annotated[VqVaeConfig, Tag("vq-vae")]
    | Annotated[VqEmaConfig, Tag("vq-ema")]
    | Annotated[SimVqConfig, Tag("simvq")]
    | Annotated[FsqConfig, Tag("fsq")]
    | Annotated[TokenBridgeConfig, Tag("tokenbridge")]
    | Annotated[ResidualVqConfig, Tag("residual-vq")]
    | Annotated[ResidualFsqConfig, Tag("residual-fsq")],
    Discriminator(
        _bottleneck_kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"there is no such kind of bottleneck; choose fsp or vp, or of {', '.join(BASELINES)}",
    ),
]


class ModelConfig(Strict):
    """Everything that determines a network's shape; geometry is derived from it, never stated twice."""

    name: str = "speech-16k"
    sample_rate: int = Field(16000, ge=8000, le=48000)
    stem: Literal["mdct", "learnt"] = Field("mdct", description="initial values of the strided stem")
    stem_hop: int = Field(160, ge=8, description="stride of the stem, samples; its kernel is twice as long")
    stem_frames: int = Field(2, ge=1, description="stem frames stacked into one token frame")
    bands: int = Field(21, ge=4, description="envelope bands")
    band_edges: tuple[int, ...] = Field((), description="edges of the bands in stem bins; empty: by the mel scale")
    envelope_dims: int = Field(12, ge=0)
    shape_dims: int = Field(24, ge=0)
    linear_path: bool = True
    pitch: bool = Field(True, description="one more dimension for the pitch, and a harmonic source in the decoder")
    stem_width: int = Field(192, ge=8, description="channels at the stem's frame rate")
    frame_width: int = Field(256, ge=8, description="channels at the token frame rate")
    encoder_units: tuple[int, int] = Field((2, 2), description="residual units at the stem's rate and the frame rate")
    decoder_units: tuple[int, int] = Field((3, 3), description="residual units at the frame rate and the stem's rate")
    kernel: int = Field(5, ge=1, description="taps of the depthwise convolutions")
    expansion: int = Field(2, ge=1)
    noise_frames: int = Field(61, ge=1, description="period of the decoder's fixed noise, token frames; prime")
    learnt_noise: bool = Field(False, description="train the fixed noise too: its level in each band steadies")
    level_scale: tuple[float, ...] = Field(..., description="levels of each dimension over the base level count")
    level_offset: tuple[float, ...] = Field((), description="added to scale times base; empty: zeros")
    level_settings: tuple[int, ...] = Field((3, 5, 7, 9, 13, 17, 25, 33), description="base level counts on offer")
    max_levels: int = Field(64, ge=2, le=65535)
    file_block_frames: int = Field(16, ge=1, le=255, description="ignored; of the first version")
    bottleneck: BottleneckConfig = FspConfig()

    @property
    def hop_samples(self) -> int:
        """Samples per token frame."""
        return self.stem_hop * self.stem_frames

    @property
    def frame_rate(self) -> float:
        """Token frames per second."""
        return self.sample_rate / self.hop_samples

    @property
    def dims(self) -> int:
        """Values of a latent: envelope, shape, and last the pitch."""
        return self.envelope_dims + self.shape_dims + self.pitch

    @property
    def tokens(self) -> int:
        """Integers per frame: one for each dimension (FSP), for each group of dimensions and the pitch (VP), or as many
        as a baseline has."""
        if isinstance(self.bottleneck, BaselineConfig):
            return len(self.bottleneck.sizes)
        return self.bottleneck.groups + self.pitch if isinstance(self.bottleneck, VpConfig) else self.dims

    def levels(self, base: int) -> tuple[int, ...]:
        """Alphabet of each token of a frame at base level count ``base``; 1 means that the token is absent."""
        pairs = zip(self.level_scale, self.offsets, strict=True)
        return tuple(max(1, min(self.max_levels, math.floor(base * s + o + 0.5))) for s, o in pairs)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Sizes of the codebooks that the level settings of a VP model ask for, smallest first."""
        return self.codebook_sizes_at(self.level_settings)

    def codebook_sizes_at(self, bases: Sequence[int]) -> tuple[int, ...]:
        """Sizes of the codebooks that a VP model needs at base level counts ``bases``, smallest first."""
        groups = self.bottleneck.groups if isinstance(self.bottleneck, VpConfig) else 0
        return tuple(sorted({size for base in bases for size in self.levels(base)[:groups]} - {1}))

    @property
    def offsets(self) -> tuple[float, ...]:
        """``level_offset``, zeros where it is empty."""
        return self.level_offset or (0.0,) * len(self.level_scale)

    @model_validator(mode="before")
    @classmethod
    def _take_levels(cls, data: Any) -> Any:
        return levels_from_baseline(data)

    @model_validator(mode="after")
    def _check_baseline(self) -> ModelConfig:
        if isinstance(self.bottleneck, BaselineConfig):
            if self.pitch:
                raise ValueError(f"{self.bottleneck.kind} codes learnt dimensions alone; set pitch: false")
            if problem := self.bottleneck.misfit(self.dims):
                raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _check_groups(self) -> ModelConfig:
        if isinstance(self.bottleneck, VpConfig):
            learnt = self.dims - self.pitch
            if learnt % self.bottleneck.groups:
                raise ValueError(f"{learnt} dimensions cannot be split into {self.bottleneck.groups} equal groups")
            fitting = len(self.level_scale) == len(self.offsets) == self.tokens
            if not fitting or not self.level_settings:
                return self  # the next check says so
            sizes = {*self.codebook_sizes}
            if self.max_levels < max(self.level_settings):
                raise ValueError(f"max_levels is {self.max_levels}, less than the largest of level_settings")
            complete = not self.bottleneck.queue or self.bottleneck.quantise_probability > 0
            if complete and (odd := sizes - {*self.bottleneck.codebooks}):
                raise ValueError(f"level_settings ask for a codebook of {min(odd)} words, which is not in codebooks")
        return self

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        for name, values in (("level_scale", self.level_scale), ("level_offset", self.offsets)):
            if len(values) != self.tokens:
                what = "groups" if isinstance(self.bottleneck, VpConfig) else "dimensions"
                raise ValueError(f"{name} has {len(values)} values, but the model has {self.tokens} {what}")
        if not self.envelope_dims + self.shape_dims:
            raise ValueError("envelope_dims and shape_dims are both 0: nothing would be learnt")
        if self.bands > self.stem_hop:
            raise ValueError(f"{self.bands} bands cannot share the {self.stem_hop} bins of the stem")
        edges = self.band_edges
        if edges and (len(edges) != self.bands + 1 or edges[0] != 0 or edges[-1] != self.stem_hop):
            raise ValueError(f"band_edges needs {self.bands + 1} values from 0 to stem_hop, {self.stem_hop}")
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError("band_edges must rise")
        stride = max(1, round(self.sample_rate / PITCH_SEARCH_HZ))
        if self.pitch and self.hop_samples % stride:
            raise ValueError(
                f"the pitch search takes every {stride}th sample at {self.sample_rate} Hz, so the hop of "
                f"{self.hop_samples} samples must be a multiple of {stride} (or pitch: false)"
            )
        settings = self.level_settings
        if not settings or min(settings) < 2:
            raise ValueError("level_settings must name at least one base level count, of 2 or more")
        if len({self.levels(base) for base in settings}) < len(settings):
            raise ValueError("two of level_settings give the same levels, so no stream could tell which it was made by")
        return self
