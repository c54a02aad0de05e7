"""Blocks of many files as one batch of the network: what a GPU needs to be busy.

Each file is coded by a thread of its own, as if it were alone. A runtime that all of them share gathers the blocks that
they bring, runs them as one, and hands each file its rows and their state: files begin, end and fall silent whenever
they do. With twice as many threads as rows in a batch, one half is read, packed and written while the other computes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from audiocodec.codec import Codec
from audiocodec.errors import AudiocodecError
from audiocodec.runtime.steps import Step, run_together

if TYPE_CHECKING:
    from audiocodec.facts import ModelFacts
    from audiocodec.rates import RateSetting
    from audiocodec.runtime.base import Indices, Latents, Runtime, Samples

Job = TypeVar("Job")
Result = TypeVar("Result")
WAIT_S = 0.002  # for more blocks, once there is one: less than a GPU takes for a batch of them


class StoppedError(BaseException):
    """Raised in the threads of files that are not to be finished, so that they remove what they began."""


@dataclass(eq=False)
class _Request:
    """A block of one file, and where its thread waits for ``(rows, state)`` or an exception."""

    step: Step
    answer: SimpleQueue[Any] = field(default_factory=SimpleQueue)


class BatchedRuntime:
    """A runtime for threads that share it: gathers up to ``most`` of their rows (one a channel) into each batch.

    Bytes are those of each file alone up to the rounding of products, whose order depends on the size of a batch.
    """

    def __init__(self, runtime: Runtime, most: int) -> None:
        self._runtime, self._most = runtime, most
        self.name, self.facts = runtime.name, runtime.facts
        self._asked: SimpleQueue[_Request | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="batches", daemon=True)
        self._thread.start()

    name: str
    facts: ModelFacts

    @property
    def device(self) -> str:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.device

    def encoder_state(self, batch: int) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.encoder_state(batch)

    def decoder_state(self, batch: int, apart: bool = False) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.decoder_state(batch, apart)

    def tail(self, state: Any) -> Samples:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.tail(state)

    def encode(self, wave: Samples, rates: Sequence[RateSetting], state: Any) -> tuple[Indices, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._ask(Step(self._runtime, "encode", wave, rates, state))

    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._ask(Step(self._runtime, "decode", indices, rates, state))

    def latents(self, indices: Indices, rates: Sequence[RateSetting]) -> Latents:
        """See :class:`audiocodec.runtime.base.Runtime`; asked for after a loss alone, and not gathered."""
        return self._runtime.latents(indices, rates)

    def synthesise(self, latents: Latents, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._ask(Step(self._runtime, "synthesise", latents, rates, state))

    def join(self, states: Sequence[Any]) -> Any:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.join(states)

    def part(self, state: Any, sizes: Sequence[int]) -> list[Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._runtime.part(state, sizes)

    def close(self) -> None:
        """Stop whoever still asks, by StoppedError."""
        self._closed = True
        self._asked.put(None)
        self._thread.join()

    def _ask(self, step: Step) -> tuple[Any, Any]:
        if self._closed:
            raise StoppedError
        request = _Request(step)
        self._asked.put(request)
        if self._closed:  # meanwhile: nobody may be there to answer
            raise StoppedError
        answer = request.answer.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer[0], answer[1]

    def _serve(self) -> None:
        """All that the network computes, in a thread of its own."""
        while (first := self._asked.get()) is not None:
            groups: dict[Any, list[_Request]] = {}
            for request in (first, *self._more(len(first.step.rows))):
                groups.setdefault(request.step.alike, []).append(request)
            for group in groups.values():
                try:
                    answers: list[Any] = run_together([request.step for request in group])
                except Exception as error:
                    answers = [error] * len(group)
                for request, answer in zip(group, answers, strict=True):
                    request.answer.put(answer)
        with suppress(Empty):
            while True:
                if waiting := self._asked.get_nowait():
                    waiting.answer.put(StoppedError())

    def _more(self, rows: int) -> list[_Request]:
        """What comes within a moment, up to a batch."""
        found: list[_Request] = []
        end = time.monotonic() + WAIT_S
        with suppress(Empty):
            while rows < self._most:
                request = self._asked.get(timeout=max(end - time.monotonic(), 0.0))
                if request is None:
                    self._asked.put(None)  # for the next round
                    break
                found.append(request)
                rows += len(request.step.rows)
        return found


def batched(codec: Codec, most: int) -> Codec:
    """The same model for threads that share it; close its ``runtime`` at the end."""
    return Codec(BatchedRuntime(codec.runtime, most), codec.files)


def side_by_side(
    work: Callable[[Job], Result], jobs: Sequence[Job], codecs: Sequence[Codec], most: int
) -> Generator[Result | AudiocodecError, None, None]:
    """``work`` of each job in threads, results or errors in the order of the jobs; close it early to stop them.

    ``codecs`` are those that ``work`` uses, made by ``batched``: they are closed at the end.
    """
    pool = ThreadPoolExecutor(2 * most, thread_name_prefix="file")
    futures = [pool.submit(work, job) for job in jobs]
    try:
        for future in futures:
            try:
                yield future.result()
            except AudiocodecError as error:
                yield error
    finally:
        for future in futures:
            future.cancel()
        for codec in codecs:
            assert isinstance(codec.runtime, BatchedRuntime)
            codec.runtime.close()
        pool.shutdown()
