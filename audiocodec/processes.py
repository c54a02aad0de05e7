"""Tasks spread over processes of this program: what several files, or recordings to evaluate, are done by.

A process that is killed costs the task it was at, and another takes its place. All of them end with their parent, in
whatever way that ends, and unwind what they are at: none leaves a temporary file unless it was killed itself.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from audiocodec.errors import AudiocodecError
from audiocodec.worker import Failed, Finished, Step, serve

Task = TypeVar("Task")
Result = TypeVar("Result")
Update = Callable[[float, "float | None"], None]
Make = Callable[[], Callable[[Any, Update], Result]]
Progress = Callable[[int, float, "float | None"], None]  # number of the task, then as Update has it
END_S = 30.0  # for what a process unwinds when it is told to end, on a machine with much else to do


class DiedError(AudiocodecError):
    """A process ended in the midst of a task."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of a task: its result, or an error; ``told`` is what was written to standard error meanwhile."""

    result: Result | None
    error: AudiocodecError | None
    told: str


def _untold(_number: int, _done_s: float, _total_s: float | None) -> None:
    pass


def spread(
    make: Make[Result], tasks: Sequence[Any], count: int, progress: Progress = _untold, ordered: bool = True
) -> Generator[Outcome[Result], None, None]:
    """Outcomes of the tasks, in their order or as they are done, by ``count`` processes; close it early to end them.

    Each process calls ``make`` once, which is pickled, and then what it gave with a task and a function for progress.

    Raises:
        AudiocodecError: ``make`` failed by it.
        BaseException: a task failed by something else.
    """
    pool = _Pool(make, tasks)
    done: dict[int, Outcome[Result]] = {}
    try:
        for turn in range(len(tasks)):
            while not done if not ordered else turn not in done:
                pool.fill(count)
                for number, message in pool.messages():
                    if isinstance(message, Step):
                        progress(number, message.done_s, message.total_s)
                    else:
                        done[number] = _outcome(message)
            yield done.pop(turn if ordered else next(iter(done)))
    finally:
        pool.end()


def _outcome(message: Any) -> Outcome[Any]:
    match message:
        case Finished(result, told):
            return Outcome(result, None, told)
        case Failed(error, told, _) if isinstance(error, AudiocodecError):
            return Outcome(None, error, told)
        case Failed(error, _, trace):
            raise error from RuntimeError(f"in a process of its own:\n{trace}")
    raise message.error  # refused to begin


class _Pool:
    """The processes, and the tasks that none has begun."""

    def __init__(self, make: Make[Any], tasks: Sequence[Any]) -> None:
        self._make = make
        self._left = deque(enumerate(tasks))
        self._at: dict[Connection, tuple[int, Any]] = {}  # who works, and at which task

    def fill(self, count: int) -> None:
        """Start processes for tasks that are left, up to ``count`` in all."""
        while self._left and len(self._at) < count:
            number, task = self._left.popleft()
            ours, process = _start(self._make)
            self._at[ours] = number, process
            self._give(ours, task)

    def messages(self) -> Iterator[tuple[int, Any]]:
        """Wait for some; whoever has finished a task is given the next."""
        for ours in wait(list(self._at)):
            assert isinstance(ours, Connection)
            number, process = self._at[ours]
            try:
                message = ours.recv()
            except (EOFError, OSError):
                message = Failed(_death(process), "", "")
                self._let_go(ours)
            if isinstance(message, Finished | Failed) and ours in self._at:
                if self._left:
                    following, task = self._left.popleft()
                    self._at[ours] = following, process
                    self._give(ours, task)
                else:
                    self._let_go(ours)
            yield number, message

    @staticmethod
    def _give(ours: Connection, task: Any) -> None:
        with suppress(OSError):  # it died; that shows when its answer is read
            ours.send(task)

    def _let_go(self, ours: Connection) -> None:
        """Of a process that has nothing to do, or is dead."""
        _, process = self._at.pop(ours)
        ours.close()  # which it sees, and ends
        process.join(END_S)

    def end(self) -> None:
        """Tell all that are left to end, and wait until they have unwound what they were at."""
        workers = [(ours, process) for ours, (_, process) in self._at.items()]
        self._at.clear()
        for ours, process in workers:
            ours.close()
            if os.name == "posix":  # elsewhere it would not unwind; it sees that the connection is closed
                process.terminate()
        for _, process in workers:
            process.join(END_S)
            if process.is_alive():
                process.kill()
                process.join()


def _start(make: Make[Any]) -> tuple[Connection, Any]:
    # spawn: a forked child inherits the thread pools of numeric libraries in a state that it cannot use
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(make, theirs), daemon=True)
    with _signals_held():
        process.start()
    theirs.close()  # the process then holds the only one, and its end shows on ours
    return ours, process


@contextmanager
def _signals_held() -> Iterator[None]:
    """A process begins with signals held back until it can unwind: Ctrl-C reaches all processes of a terminal."""
    if os.name != "posix":
        yield
        return
    from multiprocessing.resource_tracker import ensure_running

    ensure_running()  # it would be started along with the first process, and let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(process: Any) -> DiedError:
    process.join(END_S)
    code = process.exitcode
    how = f"by signal {-code}, perhaps for want of memory" if code is not None and code < 0 else f"with code {code}"
    return DiedError(f"the process that worked at it ended {how}; try fewer --jobs")
