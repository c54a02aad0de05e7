"""Settings of the baseline bottlenecks, ``bottleneck: {kind: ...}``, and the levels that a model has with each.

A baseline is trained for one alphabet. So the levels of its model follow from it: ``level_scale``, ``level_offset``,
``level_settings`` and ``max_levels`` of a recipe are replaced (:func:`levels_from_baseline`), and a recipe made for
another kind is switched by the one line that names the kind. ``levels.counts`` of such a recipe is left out.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from audiocodec.strict import Strict

PAPER_LEVELS = {256: (8, 6, 5), 1024: (8, 5, 5, 5), 4096: (7, 5, 5, 5, 5), 16384: (8, 8, 8, 6, 5)}
"""The level sets of arXiv 2602.17133 by the codebook size that they stand for (4096 has 4375 codes, for one)."""

MAX_CODES = 65535


def _set_of(value: Any) -> Any:
    return PAPER_LEVELS.get(value, value) if isinstance(value, int) else value


Levels = Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(_set_of), Field(min_length=1)]
"""Levels of each dimension, or the size in ``PAPER_LEVELS`` that stands for them."""


class BaselineConfig(Strict):
    """What all baselines tell: the alphabets of a frame's tokens, and how they lie in a model's dimensions."""

    @property
    @abstractmethod
    def codes(self) -> int:
        """Size K of a codebook."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Alphabet of each token of a frame."""

    @abstractmethod
    def misfit(self, dims: int) -> str | None:
        """Why latents of ``dims`` dimensions cannot be coded; None if they can."""

    def level_line(self) -> dict[str, Any]:
        """The settings of a model that give it these alphabets, at one level count: K."""
        return {
            "level_scale": (0.0,) * len(self.sizes),
            "level_offset": tuple(map(float, self.sizes)),
            "level_settings": (self.codes,),
            "max_levels": max(self.sizes),
        }


class _Words(BaselineConfig):
    """Code words: one token for each of ``groups`` equal parts of the dimensions."""

    codebook_size: int = Field(1024, ge=2, le=MAX_CODES)
    groups: int = Field(1, ge=1, description="parts that the dimensions are split into, a token and a codebook each")
    commitment: float = Field(0.25, ge=0, description="beta: weight of the latents' distance to their words")

    @property
    def codes(self) -> int:
        """The codebook's size."""
        return self.codebook_size

    @property
    def sizes(self) -> tuple[int, ...]:
        """The codebook's size, for each group."""
        return (self.codebook_size,) * self.groups

    def misfit(self, dims: int) -> str | None:
        """Groups of unequal size."""
        return f"{dims} dimensions cannot be split into {self.groups} equal groups" if dims % self.groups else None


class VqVaeConfig(_Words):
    """VQ-VAE (arXiv 1711.00937): words learnt by gradient, eq. 3."""

    kind: Literal["vq-vae"] = "vq-vae"


class VqEmaConfig(_Words):
    """VQ-VAE whose words are moving averages (arXiv 1711.00937, appendix A.1)."""

    kind: Literal["vq-ema"] = "vq-ema"
    decay: float = Field(0.99, ge=0, lt=1)
    dead_below: float = Field(0.0, ge=0, description="words used less often are replaced by latents; 0: none are")
    kmeans_start: bool = Field(False, description="first words by k-means over the first batch")


class SimVqConfig(_Words):
    """SimVQ (arXiv 2411.02038): words are a frozen random table times a learnt linear map."""

    kind: Literal["simvq"] = "simvq"


class _Levelled(BaselineConfig):
    """Each dimension by itself, with its own number of levels: a token each."""

    levels: Levels = PAPER_LEVELS[1024]

    @property
    def codes(self) -> int:
        """The product of the levels."""
        return math.prod(self.levels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The levels."""
        return self.levels

    def misfit(self, dims: int) -> str | None:
        """Other than one level count a dimension."""
        if len(self.levels) == dims:
            return None
        return f"levels {list(self.levels)} are {len(self.levels)}, but envelope_dims and shape_dims make {dims}"

    @model_validator(mode="after")
    def _check(self) -> _Levelled:
        if self.codes > MAX_CODES:  # vector-quantize-pytorch lists all codes
            raise ValueError(f"levels {list(self.levels)} make more than {MAX_CODES} codes")
        return self


class FsqConfig(_Levelled):
    """FSQ (arXiv 2309.15505), symmetric and with noise (arXiv 2411.19842, section 3.2)."""

    kind: Literal["fsq"] = "fsq"
    noise: float = Field(0.5, ge=0, le=1, description="share of values that get noise in training, not rounding")


class TokenBridgeConfig(_Levelled):
    """TokenBridge (arXiv 2503.16430): a variational latent, cut after training at fixed percentiles."""

    kind: Literal["tokenbridge"] = "tokenbridge"
    kl_weight: float = Field(0.01, ge=0, description="of the divergence from a standard normal, mean over dimensions")


class _Stages(BaselineConfig):
    """Residual stages, a token each. At level count n + 1 a model uses the first n of them."""

    stages: int = Field(8, ge=1, le=255)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The alphabet of a stage, for each."""
        return (self.codes,) * self.stages

    def level_line(self) -> dict[str, Any]:
        """Level counts 2 to ``stages + 1``: training draws one for each example, as quantiser dropout does."""
        # scale * base + offset is at least `codes` for stages below base - 1, and negative for the others.
        scale = 2.0 * self.codes
        return {
            "level_scale": (scale,) * self.stages,
            "level_offset": tuple(-scale * (stage + 1.5) for stage in range(self.stages)),
            "level_settings": tuple(range(2, self.stages + 2)),
            "max_levels": self.codes,
        }


class ResidualVqConfig(_Stages):
    """Residual VQ as EnCodec has it (arXiv 2210.13438): moving averages, k-means start, unused words replaced."""

    kind: Literal["residual-vq"] = "residual-vq"
    codebook_size: int = Field(1024, ge=2, le=MAX_CODES)
    commitment: float = Field(0.25, ge=0, description="weight of the residuals' distance to their words")
    decay: float = Field(0.99, ge=0, lt=1)
    dead_below: float = Field(2.0, ge=0, description="words used less often are replaced by residuals; 0: none are")
    kmeans_start: bool = Field(True, description="first words by k-means over the first batch")

    @property
    def codes(self) -> int:
        """The codebook's size."""
        return self.codebook_size

    def misfit(self, dims: int) -> str | None:  # noqa: ARG002 (words have any dimension)
        """Nothing."""
        return None


class ResidualFsqConfig(_Stages, _Levelled):
    """Residual FSQ: each stage codes the rounding error of those before, in steps finer by its level counts."""

    kind: Literal["residual-fsq"] = "residual-fsq"


BASELINES: dict[str, type[BaselineConfig]] = {
    "vq-vae": VqVaeConfig,
    "vq-ema": VqEmaConfig,
    "simvq": SimVqConfig,
    "fsq": FsqConfig,
    "tokenbridge": TokenBridgeConfig,
    "residual-vq": ResidualVqConfig,
    "residual-fsq": ResidualFsqConfig,
}
"""By kind."""


def levels_from_baseline(data: Any) -> Any:
    """A model's settings as read, with the levels of its bottleneck in place of its own if that is a baseline."""
    bottleneck = data.get("bottleneck") if isinstance(data, dict) else None
    if isinstance(bottleneck, dict) and bottleneck.get("kind") in BASELINES:
        try:
            bottleneck = BASELINES[bottleneck["kind"]].model_validate(bottleneck)
        except ValidationError:  # told again, and by its place, when the whole is validated
            return data
    return {**data, **bottleneck.level_line()} if isinstance(bottleneck, BaselineConfig) else data
