"""Batches for each step. Every random draw of step n comes from a generator seeded with (seed, n, purpose).

So a batch is a function of the step alone: preparing ahead in a thread, resuming a killed run, validating in between
and sharing it between processes change nothing about what the network sees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from audiocodec.train.recipe import Recipe


class Purpose(IntEnum):
    """What a generator of a step is for; the draws of one never shift those of another."""

    CROPS = 0
    AUGMENT = 1
    LEVELS = 2
    NETWORK = 3
    INITIAL = 4
    VALIDATION = 5
    ADVERSARY = 6


def seed_for(seed: int, step: int, purpose: Purpose, rank: int = 0) -> int:
    """A seed for torch's own generators for one purpose at one step, well mixed.

    Processes of another ``rank`` have another one; the first has that of a process by itself.
    """
    entropy = (seed, step, int(purpose), rank) if rank else (seed, step, int(purpose))
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1


def generator_for(seed: int, step: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one purpose at one step."""
    return np.random.default_rng((seed, step, int(purpose)))


@dataclass(frozen=True)
class Batch:
    """waves: [batch, samples] float32; levels: [batch] int64 base level counts."""

    waves: Tensor
    levels: Tensor

    def pinned(self) -> Batch:
        """The same in memory that a GPU can fetch by itself."""
        return Batch(self.waves.pin_memory(), self.levels.pin_memory())

    def part(self, rank: int, count: int) -> Batch:
        """The ``rank``-th of ``count`` equal parts: every ``count``-th example.

        Dealt like cards, so that the first examples of the batch are the first of each part: discriminators that judge
        some of a batch (``adversarial.examples``) then judge the same ones however many processes there are.
        """
        return self if count == 1 else Batch(self.waves[rank::count].clone(), self.levels[rank::count].clone())


class LevelSampler:
    """Draws a base level count for each example."""

    def __init__(self, recipe: Recipe) -> None:
        self._counts = np.array(recipe.level_counts, dtype=np.int64)
        weights = np.array(recipe.levels.weights or [1.0] * len(self._counts), dtype=np.float64)
        self._shares = weights / weights.sum()
        self._seed = recipe.seed

    def __call__(self, step: int, batch: int) -> Tensor:
        """[batch] int64 for ``step``."""
        generator = generator_for(self._seed, step, Purpose.LEVELS)
        return torch.from_numpy(generator.choice(self._counts, size=batch, p=self._shares))


@contextmanager
def prefetched(make: Callable[[int], Batch], ahead: int) -> Iterator[Callable[[int], Batch]]:
    """A function like ``make`` that must be called with consecutive steps, ``ahead`` of which are prepared early."""
    if ahead == 0:
        yield make
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="feed") as pool:
        waiting: deque[tuple[int, Future[Batch]]] = deque()

        def take(step: int) -> Batch:
            start = waiting[-1][0] + 1 if waiting else step
            for later in range(start, step + ahead + 1):
                waiting.append((later, pool.submit(make, later)))
            expected, future = waiting.popleft()
            assert expected == step, "steps must be taken in order"
            return future.result()

        try:
            yield take
        finally:
            for _, future in waiting:
                future.cancel()
