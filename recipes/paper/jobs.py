"""What is to be run: the settings of a scale and of the methods, and the training recipe of each run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from audiocodec.config import load_settings, load_yaml, parse
from audiocodec.config_baselines import PAPER_LEVELS
from audiocodec.errors import ConfigError
from audiocodec.strict import Strict
from audiocodec.train.recipe import Recipe, as_json

HERE = Path(__file__).resolve().parent
SCALAR = ("fsp", "fsq", "tokenbridge")
# The share of a batch that enters VP's queue in the paper; a short run has to take more to fill the queue at all.
PAPER_PUSH_FRACTION = 0.01
# Part of every hash: raised when what is measured, or how, changes in a way that the settings do not tell.
MEASUREMENT = 1
# Settings that came after runs were stored. At these values all is as it was, and so the hash is too.
ADDED_SINCE = {"vp": {"quantise_probability": 0.0}}
MODEL_ADDED_SINCE = {"learnt_noise": False, "band_edges": []}
RECIPE_ADDED_SINCE = {"frame_loss": 0.0}


class Method(Strict):
    """A row of the table: ``bottleneck`` without its size, which follows from K."""

    label: str
    bottleneck: dict[str, Any]


class Methods(Strict):
    """``methods.yaml``."""

    vector_dims: int | None = Field(None, ge=1)
    methods: dict[str, Method]
    ablations: dict[str, Method] = Field(default_factory=dict)

    def named(self, name: str) -> Method:
        """The method or ablation ``name``."""
        return self.methods[name] if name in self.methods else self.ablations[name]


class Scale(Strict):
    """``full.yaml``, ``reduced.yaml``: how large, how long, and what is measured."""

    name: str
    codes: tuple[int, ...] = Field(description="K, each one of the paper's")
    ablation_codes: tuple[int, ...] = (1024,)
    seeds: int = Field(2, ge=1)
    clips: int = Field(24, ge=1, description="excerpts of the held-back part that are measured")
    clip_seconds: float = Field(4.0, ge=1.0)
    fit_minutes: float = Field(8.0, gt=0.0, description="training audio for entropy tables and VP's codebook")
    fit_steps: int = Field(1500, ge=1, description="of the entropy tables")
    queue_full_at: float | None = Field(
        0.25, gt=0.0, lt=0.5, description="fraction of the run in which VP's queue fills; none: all latents enter it"
    )
    points_per_dim: float = Field(16.0, gt=0.0, description="of VP's queue for each word, see VpConfig; the paper's")
    recipe: dict[str, Any] = Field(description="over base.yaml: widths, steps, batch")


@dataclass(frozen=True)
class Job:
    """One run."""

    method: str
    codes: int
    seed: int
    ablation: bool
    recipe: Recipe
    settings: str
    """Hash of all that decides the result, but for the place of the data."""

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.method}-{self.codes}-{self.seed}"


def load_methods(path: Path = HERE / "methods.yaml") -> Methods:
    """Read ``methods.yaml``. Raises ConfigError."""
    return load_settings(Methods, path)


def load_scale(path: Path) -> Scale:
    """Read a scale. Raises ConfigError, also for a K that the paper has no levels for."""
    scale = load_settings(Scale, path)
    if odd := {*scale.codes, *scale.ablation_codes} - {*PAPER_LEVELS}:
        raise ConfigError(f"{path}: the paper has no levels for K = {min(odd)}; choose of {[*PAPER_LEVELS]}")
    return scale


def all_jobs(scale: Scale, methods: Methods, data: Mapping[str, Any], base: Path = HERE / "base.yaml") -> list[Job]:
    """Every run, the most useful first: one seed of all methods, then of the ablations, then further seeds.

    ``data`` goes into the recipes' section of that name.
    """
    rows = load_yaml(base)
    jobs = []
    for seed in range(scale.seeds):
        wanted = [(name, codes, False) for codes in scale.codes for name in methods.methods]
        wanted += [(name, codes, True) for codes in scale.ablation_codes for name in methods.ablations]
        for name, codes, ablation in wanted:
            recipe = _recipe(rows, scale, methods, name, codes, seed, data)
            jobs.append(Job(name, codes, seed, ablation, recipe, _hash(recipe, scale)))
    return jobs


def _recipe(
    base: Mapping[str, Any],
    scale: Scale,
    methods: Methods,
    name: str,
    codes: int,
    seed: int,
    data: Mapping[str, Any],
) -> Recipe:
    settings = _merged(base, scale.recipe)
    settings = _merged(settings, {"name": f"paper-{name}-{codes}-{seed}", "seed": seed, "data": data})
    bottleneck = dict(methods.named(name).bottleneck)
    settings["model"] = {**settings["model"], **_geometry(bottleneck, codes, methods.vector_dims)}
    recipe = parse(Recipe, settings, f"{name} at K = {codes}")
    if bottleneck["kind"] != "vp":
        return recipe
    bottleneck["points_per_dim"] = scale.points_per_dim
    bottleneck["push_fraction"] = _push_fraction(parse(Recipe, settings, name), scale)
    return parse(Recipe, settings, f"{name} at K = {codes}")


def _geometry(bottleneck: dict[str, Any], codes: int, vector_dims: int | None) -> dict[str, Any]:
    """The settings of a model that depend on method and K; ``bottleneck`` is given its size.

    FSP has its levels as offsets, at the one level count that is their product, as the baselines have: the network is
    told the level count, and so it is told the same by all scalar methods.
    """
    levels, kind = PAPER_LEVELS[codes], bottleneck["kind"]
    dims = len(levels) if kind in SCALAR or vector_dims is None else vector_dims
    made: dict[str, Any] = {"bottleneck": bottleneck, "envelope_dims": 0, "shape_dims": dims, "pitch": False}
    if kind == "fsp":
        count = math.prod(levels)
        made |= {"level_scale": [0.0] * dims, "level_offset": [*levels], "level_settings": [count]}
        return made | {"max_levels": max(levels)}
    bottleneck["levels" if kind in SCALAR else "codebook_size"] = codes
    # A baseline's levels replace these.
    return made | {"level_scale": [1.0], "level_settings": [codes], "max_levels": codes}


def _push_fraction(recipe: Recipe, scale: Scale) -> float:
    """So that the queue is full after the fraction ``queue_full_at`` of the run."""
    bottleneck, steps = recipe.model.bottleneck, recipe.schedule.steps
    assert bottleneck.kind == "vp"
    if scale.queue_full_at is None:
        return 1.0
    if steps is None:
        raise ConfigError(f"scale {scale.name}: the budget is one of steps; set recipe.schedule.steps")
    dims = recipe.model.dims // bottleneck.groups
    capacity = bottleneck.codebook_size * max(bottleneck.neighbours, round(bottleneck.points_per_dim * dims))
    latents = recipe.batch.size * recipe.crop_samples // recipe.model.hop_samples * steps * scale.queue_full_at
    if capacity > latents:
        raise ConfigError(
            f"scale {scale.name}: a queue of {capacity} latents is not full after {latents:.0f}, the fraction "
            f"{scale.queue_full_at} of a run; take more steps, larger batches or a larger queue_full_at"
        )
    return max(PAPER_PUSH_FRACTION, round(capacity / latents, 4))


def _hash(recipe: Recipe, scale: Scale) -> str:
    told = as_json(recipe)
    for name in ("train", "validation", "cache", "workers", "prefetch", "memory_gb"):  # place and speed decide nothing
        told["data"].pop(name)
    bottleneck = told["model"]["bottleneck"]
    sections = (
        (bottleneck, ADDED_SINCE.get(bottleneck["kind"], {})),
        (told["model"], MODEL_ADDED_SINCE),
        (told, RECIPE_ADDED_SINCE),
    )
    for settings, added in sections:
        for name, before in added.items():
            if settings[name] == before:
                settings.pop(name)
    measured = scale.model_dump(include={"clips", "clip_seconds", "fit_minutes", "fit_steps"})
    told = {"recipe": told, "measured": measured, "measurement": MEASUREMENT}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """``other`` over ``one``, section by section."""
    made = dict(one)
    for key, value in other.items():
        inner = made.get(key)
        made[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return made


def pending(jobs: Sequence[Job], finished: Mapping[str, str]) -> list[Job]:
    """Jobs without a result of the same settings; ``finished`` has the settings' hash of each result by name."""
    return [job for job in jobs if finished.get(job.name) != job.settings]
