"""Many independent streams in one process: the blocks that are ready together run through the network as one batch.

They share weights and never meet: each has its own state, and an error of one is its own. `rounds` has how.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.runtime.steps import Work
from audiocodec.streaming.rounds import MOST_ROWS, Job, compute_round

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)

MOST_WAITING = 100
"""Pushes of one stream that wait in a group; two seconds of single frames, about a third of a megabyte."""

_MOST_EVERY_MS = 60_000


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
        most_rows: channels in a batch, 1 or more; with 1, each stream is computed by itself.

    Returns:
        What each push returns; an error that one of them raises stands in its place, and the others go on.

    Results are those of each stream alone up to the rounding of products, whose order depends on the batch: of half a
    million tokens of twenty streams (speech and music, both runtimes) none differed, and samples by 1e-6. A token may.

    Raises:
        UsageError: a stream is named twice, or ``most_rows`` is less than 1.
    """
    streams = [stream for stream, _ in pushes]
    return _results(streams, [stream.work(data) for stream, data in pushes], most_rows)


def flush_many(streams: Sequence[Stream[Any, Out]], most_rows: int = MOST_ROWS) -> list[Out | Exception]:
    """``stream.flush()`` of many streams at once; see `push_many`."""
    return _results(streams, [stream.final_work() for stream in streams], most_rows)


def _results(streams: Sequence[Stream[Any, Out]], works: Sequence[Work[Any]], most_rows: int) -> list[Out | Exception]:
    _check_rows(most_rows)
    if len({id(stream) for stream in streams}) < len(streams):
        raise UsageError("a stream is pushed to twice at once; join what belongs to it")
    jobs = [Job(work) for work in works]
    going = jobs
    while going:
        compute_round(going, most_rows)
        going = [job for job in going if not job.done]
    return [_result(stream, job) for stream, job in zip(streams, jobs, strict=True)]


def _check_rows(most_rows: int) -> None:
    if not most_rows >= 1:
        raise UsageError(f"a batch of at most {most_rows} rows holds nothing; 1 or more")


def _result(stream: Stream[Any, Out], job: Job) -> Out | Exception:
    try:
        return stream.joined(job.products) if job.error is None else job.error
    except Exception as error:
        return error


class Promise(Protocol):
    """What a `concurrent.futures.Future` offers to whoever computes its result."""

    def set_result(self, result: Any) -> None:
        """It is done."""

    def set_exception(self, exception: Exception) -> None:
        """It failed."""


@dataclass(eq=False)
class _Request:
    """What a stream is to do, and who waits for it."""

    stream: Stream[Any, Any]
    job: Job
    promise: Promise


class StreamGroup:
    """A thread that computes for many live streams, in rounds: what arrives meanwhile takes part in the next.

    So a stream alone waits for nothing, the more there are, the less each costs, and nobody waits for the backlog of
    another: a round computes one block of each stream. Any thread may push; what is pushed to one stream is done in
    that order. Use it as a context manager, or call `close`.

    What was accepted is done: a future cannot be cancelled. (Samples that vanished would move all that follow.) Its
    callbacks run in the group's thread: those that take long hold every stream up, and one that waits there for another
    result waits for ever. What they raise is reported as of any thread, and the group goes on.

    What is pushed waits in memory until its turn comes. Whoever takes each result before the next push, as a coroutine
    that awaits it does, has one push there and is slowed to what the machine can do. Of a stream that is pushed to
    regardless at most ``most_waiting`` are kept: a further push raises BacklogError at once, in threads and coroutines
    alike, and nothing ever blocks. The stream is as it was, other streams notice nothing; push again when a result has
    come, or end the stream: the machine is too slow for all that it was given.

    A service on Linux starts Python with ``MALLOC_MMAP_THRESHOLD_=262144 MALLOC_ARENA_MAX=1`` in its environment:
    batches of all sizes leave holes in glibc's heap otherwise, which grew by 30 MB in a minute.

    Args:
        most_rows: channels in a batch, 1 or more; with 1, every stream gives to the bit what it gives alone.
        every_ms: pushes are begun at least so long after those before, up to a minute, so that more is computed
            together. Where batches are small a frame costs up to three times as much; waiting costs latency instead.
        most_waiting: pushes of one stream, of any size, that wait besides the one being computed; 1 or more.

    Raises UsageError where one of them is outside that.
    """

    def __init__(self, most_rows: int = MOST_ROWS, every_ms: float = 0.0, *, most_waiting: int = MOST_WAITING) -> None:
        _check_rows(most_rows)
        if not 0 <= every_ms <= _MOST_EVERY_MS:  # false for NaN as well
            raise UsageError(f"pushes begun every {every_ms} ms; 0 to {_MOST_EVERY_MS} are possible")
        if not most_waiting >= 1:
            raise UsageError(f"a stream of which {most_waiting} pushes may wait could never be pushed to; 1 or more")
        self._most_rows, self._every_s, self._most_waiting = most_rows, every_ms / 1000, most_waiting
        self._process = os.getpid()
        self.answers: Any = None
        """Where those who wait in coroutines find theirs (`audiocodec.streaming.asynchronous`)."""
        # Between threads
        self._lock = threading.Lock()
        self._asked: SimpleQueue[_Request | None] = SimpleQueue()
        self._waiting: dict[Stream[Any, Any], int] = {}  # how many of each stream; none without any
        self._refusal: AudiocodecError | None = None  # why nothing is accepted any more
        self._closing, self._dropped = threading.Event(), False
        # Of the thread alone
        self._lines: dict[Stream[Any, Any], deque[_Request]] = {}  # streams with something to do, and what is to follow
        self._ready: list[_Request] = []  # the first of their line, to be begun
        self._going: list[_Request] = []
        self._due_s = float("-inf")
        self._thread = threading.Thread(target=self._serve, name="streams", daemon=True)
        self._thread.start()

    def push(self, stream: Stream[In, Out], data: In) -> Future[Out]:
        """The future result of ``stream.push(data)``, or what it raises; ``data`` must not change until then.

        Raises what ``ask`` does, and nothing was pushed then.
        """
        return self._future(stream, stream.work(data))

    def flush(self, stream: Stream[Any, Out]) -> Future[Out]:
        """The future result of ``stream.flush()``. Raises what ``ask`` does."""
        return self._future(stream, stream.final_work())

    def ask(self, stream: Stream[Any, Any], work: Work[Any], promise: Promise) -> None:
        """What ``push`` and ``flush`` do, for those who wait in a way of their own; kept in the group's thread.

        Raises:
            BacklogError: ``most_waiting`` of this stream wait already.
            UsageError: the group is closed, or was made by the process that this one was forked from.
            AudiocodecError: the group's thread has failed, by no error of a stream.
        """
        if os.getpid() != self._process:
            raise UsageError("a group of streams has its thread in the process that made it; make one behind the fork")
        with self._lock:
            if self._refusal is not None:
                raise _again(self._refusal)
            waiting = self._waiting.get(stream, 0)
            if waiting >= self._most_waiting:
                raise BacklogError(
                    f"{waiting} pushes to this stream wait already; take the result of one, then push again"
                )
            self._waiting[stream] = waiting + 1
            self._asked.put(_Request(stream, Job(work), promise))

    def close(self, *, drop: bool = False) -> None:
        """Accept nothing more, and end the thread once everything that was accepted is done.

        In a callback, which the thread itself runs, it does not wait for that; nor in a process forked since.

        Args:
            drop: end it now: results that are not there yet raise UsageError, and their streams are no more to be
                pushed to.
        """
        if os.getpid() != self._process:
            return
        with self._lock:
            self._refusal = self._refusal or UsageError("the group of streams is closed")
            self._dropped = self._dropped or drop
            self._closing.set()
            self._asked.put(None)  # whoever takes it sees that
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> StreamGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _future(self, stream: Stream[Any, Out], work: Work[Any]) -> Future[Out]:
        future: Future[Out] = Future()
        future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self.ask(stream, work, future)
        return future

    def _serve(self) -> None:
        """All of the thread."""
        try:
            while self._admit() and not self._dropped:
                compute_round((request.job for request in self._going), self._most_rows)
                self._answer()
        except BaseException as error:
            self._fail(AudiocodecError(f"the thread of a group of streams has failed ({error!r}); make another group"))
            raise
        self._fail(UsageError("the group of streams was closed before this was done"))

    def _admit(self) -> bool:
        """Begin what was asked for, the first of each stream; whether there is anything to do."""
        if not self._lines:
            if self._closing.is_set() and self._asked.empty():
                return False
            self._line_up(self._asked.get())
        if self._every_s and not self._closing.is_set():
            if not self._going:
                self._closing.wait(max(0.0, self._due_s - time.monotonic()))
            now = time.monotonic()
            if now < self._due_s:
                return True
            self._due_s = now + self._every_s
        while not self._asked.empty():
            self._line_up(self._asked.get())
        if self._ready:
            self._begin(self._ready)
            self._ready = []
        return bool(self._lines)

    def _line_up(self, request: _Request | None) -> None:
        """Behind what its stream is to do before; None only wakes the thread."""
        if request is None:
            return
        line = self._lines.get(request.stream)
        if line is None:
            self._lines[request.stream] = deque()
            self._ready.append(request)
        else:
            line.append(request)

    def _begin(self, requests: Iterable[_Request]) -> None:
        """They wait no more. Before anybody has their results: whoever pushes one at a time is never refused."""
        with self._lock:
            for request in requests:
                self._going.append(request)
                self._waiting[request.stream] -= 1
                if not self._waiting[request.stream]:
                    del self._waiting[request.stream]

    def _answer(self) -> None:
        """Give out the results that are there; what those streams are to do next is ready."""
        done = [request for request in self._going if request.job.done]
        self._going = [request for request in self._going if not request.job.done]
        for request in done:
            if line := self._lines[request.stream]:
                self._ready.append(line.popleft())
            else:
                del self._lines[request.stream]
            _settle(request.promise, _result(request.stream, request.job))

    def _fail(self, error: AudiocodecError) -> None:
        """Nothing goes on: tell all that wait, and those that will ask."""
        with self._lock:
            if self._refusal is None:
                self._refusal = error
            self._waiting.clear()
        while not self._asked.empty():
            self._line_up(self._asked.get())
        for request in [*self._going, *self._ready, *(one for line in self._lines.values() for one in line)]:
            _settle(request.promise, _again(error))
        self._going, self._ready, self._lines = [], [], {}


def _again(error: AudiocodecError) -> AudiocodecError:
    """One for each who is told: what is raised gathers a traceback."""
    return type(error)(*error.args)


def _settle(promise: Promise, outcome: Any) -> None:
    """Fulfil it. What its callbacks raise is theirs, and reported as threads report it."""
    try:
        if isinstance(outcome, Exception):
            promise.set_exception(outcome)
        else:
            promise.set_result(outcome)
    except BaseException:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
