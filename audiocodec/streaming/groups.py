"""Many independent streams in one process: the blocks that are ready together run through the network as one batch.

They share weights and never meet: each has its own state, and an error of one is its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import numpy as np

from audiocodec.errors import BitstreamError, UsageError
from audiocodec.runtime.steps import Step, Work, run_together

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

MOST_ROWS = 128
"""Of a batch, one for each channel: a frame of each took 0.51 ms with 8, 0.39 with 32, 0.35 with 128 and 256."""

MOST_SAMPLES = 1 << 24
"""Of sound, in all channels, that one push may stand for; 17 minutes at 16 kHz. Seven bytes can say five of silence,
and nothing is given out before a push is done: a few hundred bytes of a stranger would take the memory of all."""

MOST_WAITING = 100
"""Pushes of one stream that wait in a group; two seconds of single frames, about a third of a megabyte."""


class BacklogError(UsageError):
    """A push that was refused because too many before it wait; the stream is as it was."""


class Stream(Protocol[In_contra, Out_co]):
    """What a `StreamEncoder` (samples in, packets out) and a `StreamDecoder` (bytes in, samples out) have in common."""

    def work(self, data: In_contra) -> Work[Any]:
        """``push``, its steps yielded."""

    def final_work(self) -> Work[Any]:
        """``flush``, its steps yielded."""

    def joined(self, products: list[Any]) -> Out_co:
        """What ``push`` returns, of what its work produced."""


def push_many(pushes: Sequence[tuple[Stream[In, Out], In]], most_rows: int = MOST_ROWS) -> list[Out | Exception]:
    """``stream.push(data)`` of many streams at once, the results in their order.

    Args:
        pushes: encoders with samples ``[channels, n]``, decoders with bytes; each stream at most once. Models, rates
            and sizes may differ; what is of one model and block length is computed together.
        most_rows: channels in a batch; with 1, each stream is computed by itself.

    Returns:
        What each push returns; an error that one of them raises stands in its place, and the others go on. Bytes that
        stand for more than ``MOST_SAMPLES`` of sound are one (BitstreamError): push fewer at a time.

    Results are those of each stream alone up to the rounding of products, whose order depends on the batch: of half a
    million tokens of twenty streams (speech and music, both runtimes) none differed, and samples by 1e-6. A token may.

    Raises:
        UsageError: a stream is named twice.
    """
    _check_once([stream for stream, _ in pushes])
    outcomes = _together([stream.work(data) for stream, data in pushes], most_rows)
    return [_result(stream, outcome) for (stream, _), outcome in zip(pushes, outcomes, strict=True)]


def flush_many(streams: Sequence[Stream[Any, Out]], most_rows: int = MOST_ROWS) -> list[Out | Exception]:
    """``stream.flush()`` of many streams at once; see `push_many`."""
    _check_once(streams)
    outcomes = _together([stream.final_work() for stream in streams], most_rows)
    return [_result(stream, outcome) for stream, outcome in zip(streams, outcomes, strict=True)]


def _check_once(streams: Sequence[Stream[Any, Any]]) -> None:
    if len({id(stream) for stream in streams}) < len(streams):
        raise UsageError("a stream is pushed to twice at once; join what belongs to it")


def _result(stream: Stream[Any, Out], outcome: list[Any] | Exception) -> Out | Exception:
    return outcome if isinstance(outcome, Exception) else stream.joined(outcome)


def _together(works: Sequence[Work[Any]], most_rows: int) -> list[list[Any] | Exception]:
    """What each produces, or its error; in rounds, in each of which every stream that goes on has one step computed."""
    jobs = [_Job(work) for work in works]
    asked = {place: step for place, job in enumerate(jobs) if (step := job.advance(None))}
    while asked:
        following: dict[int, Step] = {}
        for places in _batches(asked, most_rows):
            try:
                answers = run_together([asked[place] for place in places])
            except Exception as error:
                for place in places:
                    jobs[place].outcome = error
                continue
            for place, answer in zip(places, answers, strict=True):
                if step := jobs[place].advance(answer):
                    following[place] = step
        asked = following
    return [job.outcome for job in jobs]


class _Job:
    """A stream's work, and what came of it so far."""

    __slots__ = ("_products", "_samples", "_work", "outcome")

    def __init__(self, work: Work[Any]) -> None:
        self._work, self._samples = work, 0
        self._products: list[Any] = []
        self.outcome: list[Any] | Exception = self._products

    def advance(self, answer: Any) -> Step | None:
        """Go on to the next step, if there is one."""
        send = self._work.send
        try:
            while not isinstance(item := send(answer), Step):
                self._take(item)
                answer = None
        except StopIteration:
            return None
        except Exception as error:
            self.outcome = error
            self._work.close()
            return None
        return item

    def _take(self, product: Any) -> None:
        """Raises BitstreamError where it is too much sound."""
        self._products.append(product)
        if isinstance(product, np.ndarray):
            self._samples += product.size
            if self._samples > MOST_SAMPLES:
                raise BitstreamError(f"bytes pushed at once stand for more than {MOST_SAMPLES} samples; push fewer")


def _batches(asked: dict[int, Step], most_rows: int) -> list[list[int]]:
    """The places whose steps are computed together."""
    groups: dict[Any, list[list[int]]] = {}
    rows: dict[Any, int] = {}
    for place, step in asked.items():
        key, size = step.alike, len(step.rows)
        if key not in groups or rows[key] + size > most_rows:
            groups.setdefault(key, []).append([])
            rows[key] = 0
        groups[key][-1].append(place)
        rows[key] += size
    return [places for batches in groups.values() for places in batches]


class Promise(Protocol):
    """What a `concurrent.futures.Future` offers to whoever computes its result."""

    def set_running_or_notify_cancel(self) -> bool:
        """Whether anybody still waits for it."""

    def set_result(self, result: Any) -> None:
        """It is done."""

    def set_exception(self, exception: Exception) -> None:
        """It failed."""


@dataclass(eq=False)
class _Request:
    """What a stream is to do, and who waits for it."""

    stream: Stream[Any, Any]
    work: Work[Any]
    promise: Promise


class StreamGroup:
    """A thread that computes for many live streams: what arrives while it is busy is the next batch.

    So a stream alone waits for nothing, and the more there are, the less each costs. Any thread may push; what is
    pushed to one stream is done in that order. Use it as a context manager, or call `close`.

    What is pushed waits in memory until its turn comes. Whoever takes each result before the next push, as a coroutine
    that awaits it does, has one push there and is slowed to what the machine can do. Of a stream that is pushed to
    regardless at most ``most_waiting`` are kept: a further push raises BacklogError at once, in threads and coroutines
    alike, and nothing ever blocks. The stream is as it was, other streams notice nothing; push again when a result has
    come, or end the stream: the machine is too slow for all that it was given.

    A service on Linux starts Python with ``MALLOC_MMAP_THRESHOLD_=262144 MALLOC_ARENA_MAX=1`` in its environment:
    batches of all sizes leave holes in glibc's heap otherwise, which grew by 30 MB in a minute.

    Args:
        most_rows: channels in a batch; with 1, every stream gives to the bit what it gives alone.
        every_ms: a batch begins at least so long after the one before, so that more is computed together. Where batches
            are small a frame costs up to three times as much; waiting costs latency instead.
        most_waiting: pushes of one stream, of any size, that wait besides the one being computed; 1 or more.

    Raises UsageError where ``most_waiting`` is less.
    """

    def __init__(self, most_rows: int = MOST_ROWS, every_ms: float = 0.0, *, most_waiting: int = MOST_WAITING) -> None:
        if most_waiting < 1:
            raise UsageError(f"a stream of which {most_waiting} pushes may wait could never be pushed to; 1 or more")
        self._most_rows, self._every_s, self._most_waiting = most_rows, every_ms / 1000, most_waiting
        self._asked: SimpleQueue[_Request | None] = SimpleQueue()
        self._waiting: dict[Stream[Any, Any], int] = {}  # how many of each stream; none without any
        self._closed = False
        self.answers: Any = None
        """Where those who wait in coroutines find theirs (`audiocodec.streaming.asynchronous`)."""
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="streams", daemon=True)
        self._thread.start()

    def push(self, stream: Stream[In, Out], data: In) -> Future[Out]:
        """The future result of ``stream.push(data)``, or what it raises; ``data`` must not change until then.

        Raises what ``ask`` does, and nothing was pushed then.
        """
        future: Future[Out] = Future()
        self.ask(stream, stream.work(data), future)
        return future

    def flush(self, stream: Stream[Any, Out]) -> Future[Out]:
        """The future result of ``stream.flush()``. Raises what ``ask`` does."""
        future: Future[Out] = Future()
        self.ask(stream, stream.final_work(), future)
        return future

    def ask(self, stream: Stream[Any, Any], work: Work[Any], promise: Promise) -> None:
        """What ``push`` and ``flush`` do, for those who wait in a way of their own; kept in the group's thread.

        Raises:
            BacklogError: ``most_waiting`` of this stream wait already.
            UsageError: the group is closed.
        """
        with self._lock:
            if self._closed:
                raise UsageError("the group of streams is closed")
            waiting = self._waiting.get(stream, 0)
            if waiting >= self._most_waiting:
                raise BacklogError(
                    f"{waiting} pushes to this stream wait already; take the result of one, then push again"
                )
            self._waiting[stream] = waiting + 1
            self._asked.put(_Request(stream, work, promise))

    def close(self) -> None:
        """End the thread once everything that was asked is done."""
        with self._lock:
            self._closed = True
            self._asked.put(None)
        self._thread.join()

    def __enter__(self) -> StreamGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        """All of the thread."""
        waiting: list[_Request] = []
        ending, begun_s = False, float("-inf")
        while waiting or not ending:
            arrived = [] if waiting or ending else [self._asked.get()]
            if self._every_s and not ending:
                time.sleep(max(0.0, begun_s + self._every_s - time.monotonic()))
                begun_s = time.monotonic()
            try:
                while True:
                    arrived.append(self._asked.get_nowait())
            except Empty:
                pass
            ending = ending or None in arrived
            waiting += [request for request in arrived if request]
            # The first of each stream, which does one thing after the other
            now = {request.stream: request for request in reversed(waiting)}
            waiting = [request for request in waiting if request is not now[request.stream]]
            self._begin(now)
            self._do([request for request in now.values() if request.promise.set_running_or_notify_cancel()])

    def _begin(self, streams: Iterable[Stream[Any, Any]]) -> None:
        """One of each waits no more. Before anybody has its result: whoever pushes one at a time is never refused."""
        with self._lock:
            for stream in streams:
                self._waiting[stream] -= 1
                if not self._waiting[stream]:
                    del self._waiting[stream]

    def _do(self, requests: Sequence[_Request]) -> None:
        outcomes = _together([request.work for request in requests], self._most_rows)
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Exception):
                request.promise.set_exception(outcome)
            else:
                request.promise.set_result(request.stream.joined(outcome))
