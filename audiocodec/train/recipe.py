"""Everything a training run is told: the sections of a recipe, typed and strict, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from audiocodec.config import ModelConfig, Strict, VpConfig, load_settings, parse
from audiocodec.train.augment import AugmentConfig
from audiocodec.train.losses import LossConfig


class DataConfig(Strict):
    """Where training and validation audio come from. Relative paths are taken from the working directory."""

    train: list[str] | str = Field(description="folders, lists of audio files, or packed shards")
    validation: list[str] | str | None = Field(None, description="the same; none: a part of `train` is held back")
    held_back: float = Field(0.02, ge=0.0, le=0.5, description="fraction of the files of `train` held back")
    cache: str | None = Field(None, description="folder that keeps decoded samples, memory-mapped; none: in memory")
    memory_gb: float = Field(4.0, gt=0.0, description="bound on the decoded samples without a cache; 1 h takes 0.115")
    workers: int = Field(2, ge=1, description="threads that decode files at the start")
    initialise_minutes: float = Field(10.0, gt=0.0, description="of audio that give a new network its linear path")
    prefetch: int = Field(2, ge=0, le=64, description="batches prepared ahead by a thread; 0: in the loop itself")


class BatchConfig(Strict):
    """Size of one step's batch."""

    size: int = Field(8, ge=1)
    seconds: float = Field(1.0, gt=0.0, description="length of a crop; rounded to whole frames of the model")


class OptimiserConfig(Strict):
    """AdamW for everything, or Muon for the matrices and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0.0, description="of AdamW, at the top of the schedule")
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0.0, description="on weights of two and more dimensions")
    muon_learning_rate: float = Field(0.02, gt=0.0, description="of Muon, at the top of the schedule")
    muon_momentum: float = Field(0.95, ge=0.0, lt=1.0)
    clip: float = Field(1.0, gt=0.0, description="largest norm of the whole gradient; larger ones are scaled down")


class AdversarialConfig(Strict):
    """Discriminators and what the codec learns from them (train/adversarial.py)."""

    weight: float = Field(
        0.0, ge=0.0, description="norm of their gradient over that of the reconstruction loss; 0: no discriminators"
    )
    feature_weight: float = Field(2.0, ge=0.0, description="of feature matching against the adversarial loss")
    loss: Literal["hinge", "least_squares"] = "hinge"
    start: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of the run with the reconstruction loss alone")
    ramp_steps: int = Field(200, ge=0, description="steps after the start in which the weight rises from 0")
    every: int = Field(2, ge=1, description="the discriminators learn every n-th step")
    examples: int | None = Field(None, ge=1, description="how many of a batch are judged; none: all")
    windows: tuple[int, ...] = Field((256, 512, 1024), min_length=1, description="STFT windows, samples: one view each")
    channels: int = Field(16, ge=1, description="width of a view's layers")
    init_from: str | None = Field(
        None, description="training.safetensors of an earlier run whose discriminators go on; none: new ones"
    )
    learning_rate: float = Field(5e-4, gt=0.0, description="of the discriminators' AdamW, at the top of the schedule")
    betas: tuple[float, float] = (0.8, 0.99)
    clip: float = Field(1.0, gt=0.0, description="largest norm of the discriminators' gradient")
    balance_decay: float = Field(0.99, ge=0.0, lt=1.0, description="of the averaged norms that `weight` relates")

    @model_validator(mode="after")
    def _windows_are_wide_enough(self) -> AdversarialConfig:
        if min(self.windows) < 128 or any(window % 4 for window in self.windows):
            raise ValueError("windows: multiples of 4 of at least 128 samples")
        return self


class ScheduleConfig(Strict):
    """Learning rate over the run. The run ends at `steps` or `minutes`, whichever comes first."""

    steps: int | None = Field(None, ge=0)
    minutes: float | None = Field(None, gt=0.0, description="time in training, over all resumptions")
    warmup_steps: int = Field(100, ge=0, description="linear rise from zero")
    shape: Literal["cosine", "linear", "constant"] = "cosine"
    flat: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of the run at the full rate before the fall")
    final: float = Field(0.0, ge=0.0, le=1.0, description="learning rate at the end, as a fraction of the top")

    @model_validator(mode="after")
    def _ends(self) -> ScheduleConfig:
        if self.steps is None and self.minutes is None:
            raise ValueError("a schedule needs an end: set steps or minutes")
        return self


class LevelsConfig(Strict):
    """Base level counts, one drawn for each example of a batch."""

    counts: list[int] | None = Field(None, min_length=1, description="none: the level_settings of the model")
    weights: list[float] | None = Field(None, description="relative frequency of each count; none: all equal")


class ValidationConfig(Strict):
    """Measurements with the averaged weights on audio that is not trained on."""

    every_minutes: float | None = Field(10.0, gt=0.0)
    every_steps: int | None = Field(None, ge=1)
    clips: int = Field(16, ge=1, description="number of excerpts")
    seconds: float = Field(4.0, ge=1.0, description="length of an excerpt")
    counts: list[int] | None = Field(None, description="base level counts measured; none: those of `levels`")
    metrics: tuple[Literal["pesq", "stoi", "estoi"], ...] = ("pesq", "stoi", "estoi")
    best_by: Literal["loss", "pesq", "stoi", "estoi"] = "estoi"

    @model_validator(mode="after")
    def _best_is_measured(self) -> ValidationConfig:
        if self.best_by != "loss" and self.best_by not in self.metrics:
            raise ValueError(f"best_by names '{self.best_by}', which is not among the metrics")
        return self


class Recipe(Strict):
    """A whole training run. ``audiocodec train RECIPE`` reads it from YAML."""

    name: str = Field(min_length=1, description="name of the run; the default output folder is runs/NAME")
    seed: int = Field(0, ge=0)
    init_from: str | None = Field(None, description="folder of a model whose weights the run starts from")
    model: ModelConfig
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    batch: BatchConfig = BatchConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    adversarial: AdversarialConfig = AdversarialConfig()
    schedule: ScheduleConfig
    levels: LevelsConfig = LevelsConfig()
    clean_steps: int = Field(0, ge=0, description="first steps without any quantisation or perturbation")
    frame_loss: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of frames that the decoder is given as after a loss: the last one again"
    )
    ema_decay: float = Field(0.999, ge=0.0, lt=1.0, description="of the averaged weights; approached from below")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of matrix products; bfloat16: in the network only, never in bottleneck and losses"
    )
    compile: bool = Field(False, description="torch.compile network and loss: a minute or more of start-up")
    validation: ValidationConfig = ValidationConfig()
    checkpoint_seconds: float = Field(300.0, gt=0.0)
    log_steps: int = Field(50, ge=1, description="steps averaged into one line of the log")

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Base level counts that are trained."""
        return tuple(self.levels.counts or self.model.level_settings)

    @property
    def crop_samples(self) -> int:
        """Length of a crop: `batch.seconds` in whole frames of the model, one at least."""
        hop = self.model.hop_samples
        return max(1, round(self.batch.seconds * self.model.sample_rate / hop)) * hop

    @model_validator(mode="after")
    def _crops_hold_windows(self) -> Recipe:
        if self.adversarial.weight and max(self.adversarial.windows) > self.crop_samples:
            raise ValueError("adversarial.windows: none can be longer than a crop; see batch.seconds")
        return self

    @model_validator(mode="after")
    def _levels_hold_together(self) -> Recipe:
        if min(self.level_counts) < 2:
            raise ValueError("levels.counts: a level count is at least 2")
        weights = self.levels.weights
        if weights is not None and (len(weights) != len(self.level_counts) or min(weights) < 0.0 or sum(weights) <= 0):
            raise ValueError("levels.weights: one number of at least 0 for each level count, and not all 0")
        bottleneck = self.model.bottleneck
        if isinstance(bottleneck, VpConfig) and bottleneck.quantise_probability:
            odd = {*self.model.codebook_sizes_at(self.level_counts)} - {*bottleneck.codebooks}
            if odd:
                raise ValueError(f"levels.counts ask for a codebook of {min(odd)} words, which is not in codebooks")
        return self


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; ``overrides`` are ``section.key=value`` with the value in YAML.

    Raises:
        ConfigError: unreadable file, unknown key (names the nearest), value out of range, malformed override.
    """
    return load_settings(Recipe, path, overrides)


def with_end(recipe: Recipe, minutes: float | None, steps: int | None) -> Recipe:
    """The recipe with its end replaced: either of ``minutes`` and ``steps`` given discards the recipe's own end."""
    if minutes is None and steps is None:
        return recipe
    data = recipe.model_dump()
    data["schedule"].update(minutes=minutes, steps=steps)
    return parse(Recipe, data, "--minutes or --steps")


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values, every default written out."""
    return recipe.model_dump(mode="json")
