"""Tasks spread over processes: results in order, deaths that cost one task, and an end that leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from waiting import alive, until

from audiocodec.errors import AudioError, BitstreamError, UsageError
from audiocodec.processes import DiedError, Outcome, spread

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def make() -> Callable[[object, Callable[[float, float | None], None]], object]:
    """What does a task by its name, in a process; must be found by name there."""
    return work


def work(task: object, update: Callable[[float, float | None], None]) -> object:
    match task:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            print("a word", file=sys.stderr)
            raise BitstreamError("damaged", 7)
        case "oops":
            raise ZeroDivisionError("oops")
        case Path():
            nap(task, update)
        case ("late", Path() as folder):
            with_a_late_signal(folder, update)
        case float():
            time.sleep(task)
    return task


def nap(folder: Path, update: Callable[[float, float | None], None]) -> None:
    """Take a minute, say who does it, and tidy up."""
    mark = folder / str(os.getpid())
    try:
        mark.touch()  # a signal may come as soon as it can be seen
        for second in range(600):
            time.sleep(0.1)
            update(second / 10, 60.0)
    finally:
        mark.unlink(missing_ok=True)


def with_a_late_signal(folder: Path, update: Callable[[float, float | None], None]) -> None:
    """Nap until the parent is seen to have left, and get its SIGTERM only when that is being unwound."""
    taken = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark = folder / "unwinding"
    try:
        nap(folder, update)
    finally:
        mark.touch()
        signal.signal(signal.SIGTERM, taken)
        os.kill(os.getpid(), signal.SIGTERM)
        mark.unlink()


def refuse() -> Callable[[object, object], object]:
    raise UsageError("no such rate")


def nothing(number: int, done_s: float, total_s: float | None) -> None:
    """Of progress."""


def test_results_and_errors_keep_their_order() -> None:
    outcomes = list(spread(make, [0.5, "fail", "a", 0.1, "b"], 2, nothing))
    assert [outcome.result for outcome in outcomes] == [0.5, None, "a", 0.1, "b"]
    failed = outcomes[1]
    assert isinstance(failed.error, BitstreamError)
    assert failed.error.position == 7
    assert failed.told == "a word\n"
    assert outcomes[0] == Outcome(0.5, None, "")


def test_one_that_dies_costs_its_task() -> None:
    outcomes = list(spread(make, ["die", "a", "die", "b"], 2, nothing))
    assert [outcome.result for outcome in outcomes] == [None, "a", None, "b"]
    assert isinstance(outcomes[2].error, DiedError)
    assert "signal 9" in str(outcomes[2].error)


def test_what_is_wrong_with_all_is_told_once() -> None:
    with pytest.raises(UsageError, match="no such rate"):
        list(spread(refuse, ["a", "b", "c"], 2, nothing))
    with pytest.raises(ZeroDivisionError, match="oops") as raised:
        list(spread(make, ["a", "oops", 60.0], 2, nothing))
    assert "test_processes.py" in str(raised.value.__cause__)  # where it happened


def test_a_consumer_that_leaves_ends_them(tmp_path: Path) -> None:
    seen: list[int] = []
    with closing(
        spread(make, ["a", tmp_path, tmp_path], 2, lambda number, done, total: seen.append(number))
    ) as results:
        assert next(results).result == "a"
        until(lambda: any(tmp_path.iterdir()), "one works")
    assert not any(tmp_path.iterdir())


def test_a_signal_does_not_break_into_the_unwinding(tmp_path: Path) -> None:
    with closing(spread(make, ["a", ("late", tmp_path)], 1, nothing)) as results:
        assert next(results).result == "a"
        until(lambda: any(tmp_path.iterdir()), "one works")
    assert not any(tmp_path.iterdir())


def test_an_audio_error_arrives_as_it_was() -> None:
    import pickle

    for error in (AudioError("a"), BitstreamError("b", 3)):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.exit_code) == (type(error), str(error), error.exit_code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("to_all", [False, True], ids=["parent", "group"])
def test_they_end_with_their_parent(tmp_path: Path, number: signal.Signals, to_all: bool) -> None:
    if to_all and number == signal.SIGKILL:
        pytest.skip("nobody can tidy up")
    marks = tmp_path / "marks"
    marks.mkdir()
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, sys; sys.path.insert(0, sys.argv[2])\n"
        "from audiocodec.cli.main import _signals_raised\n"
        "from audiocodec.processes import spread\n"
        "from test_processes import make, nothing\n"
        "if __name__ == '__main__':\n"
        "    with _signals_raised():\n"
        "        list(spread(make, [pathlib.Path(sys.argv[1])] * 4, 2, nothing))\n"
    )
    arguments = [sys.executable, str(program), str(marks), str(Path(__file__).parent)]
    child = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: len(list(marks.iterdir())) == 2, "both work")
    workers = [int(path.name) for path in marks.iterdir()]
    (os.killpg if to_all else os.kill)(child.pid, number)
    assert child.wait(30) != 0
    until(lambda: not any(map(alive, workers)), "both end")
    assert not any(marks.iterdir())
