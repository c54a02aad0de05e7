"""The audio of a run: what it trains on, batch by batch, and the excerpts that it is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from audiocodec.bottleneck.across import process_count
from audiocodec.errors import DataError
from audiocodec.train.augment import augment
from audiocodec.train.distributed import process_rank
from audiocodec.train.feed import Batch, LevelSampler, Purpose, generator_for
from audiocodec.train.recipe import Recipe
from audiocodec.train.shards import Corpus
from audiocodec.train.validate import Clip


@dataclass(frozen=True)
class Sources:
    """``clips``: excerpts for validation, [samples] float32 each; ``notes``: what the user should know."""

    train: Corpus
    clips: list[Clip]
    notes: list[str]


def open_sources(recipe: Recipe) -> Sources:
    """Open the corpora of a recipe and cut the validation excerpts.

    Raises:
        DataError: a missing source, no usable audio in one, or nothing left to train on.
    """
    data = recipe.data
    train = _open(recipe, data.train)
    held: Corpus | None
    if data.validation is not None:
        held = _open(recipe, data.validation)
    else:
        train, held = train.split(data.held_back)
    if held is None:
        raise DataError("there is nothing to validate on: set data.validation, or data.held_back above 0")
    config = recipe.validation
    samples = round(config.seconds * recipe.model.sample_rate)
    excerpts = held.crops(generator_for(0, 0, Purpose.VALIDATION), config.clips, samples)
    notes = [f"{_length(train)} of audio to train on, {_length(held)} to validate on"]
    if train.skipped:
        notes.append(f"skipped {train.skipped} unusable files, the first: {train.problems[0]}")
    return Sources(train, [np.asarray(clip, dtype=np.float32) for clip in excerpts], notes)


def _open(recipe: Recipe, sources: list[str] | str) -> Corpus:
    data = recipe.data
    cache = Path(data.cache) if data.cache is not None else None
    return Corpus.open(
        sources, rate=recipe.model.sample_rate, cache=cache, memory_gb=data.memory_gb, workers=data.workers
    )


def _length(corpus: Corpus) -> str:
    return f"{corpus.hours:.2f} h" if corpus.hours >= 0.1 else f"{3600 * corpus.hours:.1f} s"


class Feed:
    """Makes the batch of any step: crops, augmentation, level counts.

    Each of several processes makes the whole batch and keeps its part. Making only that part would be less work, but
    one crop may be mixed with another, and all share one sequence of draws: this way W processes train on exactly what
    one would, and a run may go on with another W.
    """

    def __init__(self, recipe: Recipe, corpus: Corpus, pin: bool) -> None:
        self._recipe, self._corpus, self._pin = recipe, corpus, pin
        self._levels = LevelSampler(recipe)

    def __call__(self, step: int) -> Batch:
        """The batch of ``step``, or this process's part of it."""
        recipe, size = self._recipe, self._recipe.batch.size
        crops = self._corpus.crops(generator_for(recipe.seed, step, Purpose.CROPS), size, recipe.crop_samples)
        draws = generator_for(recipe.seed, step, Purpose.AUGMENT)
        waves = augment(crops, draws, recipe.augment, recipe.model.sample_rate)
        batch = Batch(waves, self._levels(step, size)).part(process_rank(), process_count())
        return batch.pinned() if self._pin else batch

    def plain_crops(self, count: int, samples: int) -> Tensor:
        """[count, samples] float32 without augmentation, to initialise a network from."""
        return self._corpus.crops(generator_for(self._recipe.seed, 0, Purpose.INITIAL), count, samples)
