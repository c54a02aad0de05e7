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
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from audiocodec.codec import Codec
from audiocodec.errors import AudiocodecError

if TYPE_CHECKING:
    from audiocodec.facts import ModelFacts
    from audiocodec.rates import RateSetting
    from audiocodec.runtime.base import Indices, Samples
    from audiocodec.runtime.torch_runtime import TorchRuntime

Job = TypeVar("Job")
Result = TypeVar("Result")
WAIT_S = 0.002  # for more blocks, once there is one: less than a GPU takes for a batch of them


class StoppedError(BaseException):
    """Raised in the threads of files that are not to be finished, so that they remove what they began."""


@dataclass(eq=False)
class _Request:
    """A block of one file, and where its thread waits for ``(rows, state)`` or an exception."""

    kind: Literal["encode", "decode"]
    rows: NDArray[Any]
    rates: Sequence[RateSetting]
    state: Any
    answer: SimpleQueue[Any] = field(default_factory=SimpleQueue)


class BatchedRuntime:
    """A runtime for threads that share it: gathers up to ``most`` of their rows (one a channel) into each batch.

    Bytes are those of each file alone up to the rounding of products, whose order depends on the size of a batch.
    """

    def __init__(self, runtime: TorchRuntime, most: int) -> None:
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
        return self._ask(_Request("encode", wave, rates, state))

    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: Any) -> tuple[Samples, Any]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._ask(_Request("decode", indices, rates, state))

    def close(self) -> None:
        """Stop whoever still asks, by StoppedError."""
        self._closed = True
        self._asked.put(None)
        self._thread.join()

    def _ask(self, request: _Request) -> tuple[Any, Any]:
        if self._closed:
            raise StoppedError
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
            groups: dict[tuple[str, int], list[_Request]] = {}
            for request in (first, *self._more(len(first.rows))):
                groups.setdefault((request.kind, request.rows.shape[1]), []).append(request)
            for group in groups.values():
                try:
                    answers = self._run(group)
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
                rows += len(request.rows)
        return found

    def _run(self, group: list[_Request]) -> list[Any]:
        sizes = [len(request.rows) for request in group]
        compute = self._runtime.encode if group[0].kind == "encode" else self._runtime.decode
        rates = [rate for request in group for rate in request.rates]
        rows = np.concatenate([request.rows for request in group])
        result, state = compute(rows, rates, _joined([request.state for request in group]))
        ends = np.cumsum(sizes)[:-1]
        return list(zip(np.split(result, ends), _parted(state, sizes), strict=True))


def _joined(states: Sequence[Any]) -> Any:
    """States of several batches, tuples in tuples of tensors ``[batch, ...]``, as that of one."""
    if isinstance(states[0], torch.Tensor):
        return torch.cat(list(states))
    return tuple(_joined(parts) for parts in zip(*states, strict=True))


def _parted(state: Any, sizes: list[int]) -> list[Any]:
    """The inverse."""
    if isinstance(state, torch.Tensor):
        return list(state.split(sizes))
    if not state:
        return [()] * len(sizes)
    return list(zip(*(_parted(part, sizes) for part in state), strict=True))


def batched(codec: Codec, most: int) -> Codec:
    """The same model for threads that share it; close its ``runtime`` at the end."""
    from audiocodec.runtime.torch_runtime import TorchRuntime

    assert isinstance(codec.runtime, TorchRuntime), "only torch computes batches of files"
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
