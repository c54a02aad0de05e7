"""What streams ask of networks, a block at a time: computed by itself, or with those of other streams as one batch.

A stream's work is a generator. It yields a `Step` where it needs the network, and is sent what that gave; whatever else
it yields is what it produces. So the stream does not know with whom it is computed, and no two of them ever meet.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from audiocodec.rates import RateSetting
    from audiocodec.runtime.base import Runtime

Product = TypeVar("Product")
Answer = tuple[NDArray[Any], Any]
"""What the network gave for a step: its rows, and the state after them."""


@dataclass(eq=False)
class Step:
    """A block: ``rows`` are ``[batch, frames * hop]`` to encode, ``[batch, frames, tokens]`` to decode, or
    ``[batch, frames, dims]`` to synthesise."""

    runtime: Runtime
    kind: Literal["encode", "decode", "synthesise"]
    rows: NDArray[Any]
    rates: Sequence[RateSetting]
    state: Any

    def run(self) -> Answer:
        """Compute it by itself."""
        answer: Answer = getattr(self.runtime, self.kind)(self.rows, self.rates, self.state)
        return answer

    @property
    def alike(self) -> tuple[int, str, int]:
        """Equal for steps that can be one batch: of one runtime, direction and length."""
        return id(self.runtime), "encode" if self.kind == "encode" else "decode", self.rows.shape[1]


Work = Generator[Step | Product, Any, None]


def run_together(steps: Sequence[Step]) -> list[Answer]:
    """Compute steps that are alike as one batch; the answer of each.

    They are what each gives by itself up to the rounding of products, whose order depends on the size of a batch.
    """
    if len(steps) == 1:
        return [steps[0].run()]
    if len({step.kind for step in steps}) > 1:
        steps = _as_latents(steps)
    runtime, sizes = steps[0].runtime, [len(step.rows) for step in steps]
    whole = Step(
        runtime,
        steps[0].kind,
        np.concatenate([step.rows for step in steps]),
        [rate for step in steps for rate in step.rates],
        runtime.join([step.state for step in steps]),
    )
    result, state = whole.run()
    return list(zip(_split(result, sizes), runtime.part(state, sizes), strict=True))


def run_each(steps: Sequence[Step]) -> list[Answer | Exception]:
    """As ``run_together``; where that fails each is computed by itself, and an error stands in the place of its own."""
    try:
        return list(run_together(steps))
    except Exception as error:
        return [error] if len(steps) == 1 else [_tried(step) for step in steps]


def _tried(step: Step) -> Answer | Exception:
    try:
        return step.run()
    except Exception as error:
        return error


def _as_latents(steps: Sequence[Step]) -> list[Step]:
    """Steps to decode as steps to synthesise, beside such: few frames are estimated, and are no batch of their own."""
    runtime, told = steps[0].runtime, [step for step in steps if step.kind == "decode"]
    rates = [rate for step in told for rate in step.rates]
    latents = runtime.latents(np.concatenate([step.rows for step in told]), rates)
    parts = iter(_split(latents, [len(step.rows) for step in told]))
    return [replace(step, kind="synthesise", rows=next(parts)) if step.kind == "decode" else step for step in steps]


def _split(rows: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    """So many rows each; ``np.split`` takes ten times as long."""
    return [rows[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def alone(work: Work[Product]) -> Iterator[Product]:
    """What a stream's work produces, each of its steps computed by itself."""
    answer: Answer | None = None
    while True:
        try:
            item = work.send(answer)
        except StopIteration:
            return
        answer = item.run() if isinstance(item, Step) else None
        if not isinstance(item, Step):
            yield item
