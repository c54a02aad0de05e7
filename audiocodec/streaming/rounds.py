"""Works of several streams in rounds, in each of which every stream that goes on has one step computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from audiocodec.runtime.steps import Step, Work, run_each

MOST_ROWS = 128
"""Of a batch, one for each channel: a frame of each took 0.51 ms with 8, 0.39 with 32, 0.35 with 128 and 256."""

_MOST_PRODUCTS = 64  # of one work in a round: hours of silence, coded or decoded without the network, hold nobody up


class Job:
    """A stream's work on its way: what it produced, and the step it waits for; at last ``done``, maybe by an error."""

    __slots__ = ("_work", "done", "error", "products", "step")

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self.products: list[Any] = []
        self.step: Step | None = None
        self.error: Exception | None = None
        self.done = False

    def advance(self, answer: Any = None) -> None:
        """Go on to the next step, to the end, or for as long as one may without a step."""
        try:
            for _ in range(_MOST_PRODUCTS):
                item = self._work.send(answer)
                if isinstance(item, Step):
                    self.step = item
                    return
                self.products.append(item)
                answer = None
        except StopIteration:
            self.done = True
        except Exception as error:
            self.fail(error)
        self.step = None

    def fail(self, error: Exception) -> None:
        """It ends here."""
        self.error, self.done, self.step = error, True, None
        self._work.close()


def compute_round(jobs: Iterable[Job], most_rows: int) -> None:
    """Compute a step of each job that is not done; an error of one is its own."""
    asked = []
    for job in jobs:
        if job.step is None:
            job.advance()
        if job.step is not None:
            asked.append(job)
    for batch in _batches(asked, most_rows):
        for job, answer in zip(batch, run_each([job.step for job in batch]), strict=True):  # type: ignore[misc]
            if isinstance(answer, Exception):
                job.fail(answer)
            else:
                job.advance(answer)


def _batches(jobs: Iterable[Job], most_rows: int) -> list[list[Job]]:
    """Those whose steps are computed together."""
    groups: dict[Any, list[list[Job]]] = {}
    rows: dict[Any, int] = {}
    for job in jobs:
        assert job.step is not None
        key, size = job.step.alike, len(job.step.rows)
        if key not in groups or rows[key] + size > most_rows:
            groups.setdefault(key, []).append([])
            rows[key] = 0
        groups[key][-1].append(job)
        rows[key] += size
    return [batch for batches in groups.values() for batch in batches]
