"""Worker processes end with whoever started them, in whatever way that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import alive, until

from audiocodec.errors import AudiocodecError
from audiocodec.evaluate.workers import spread

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def nap(folder: Path, seconds: float) -> float:
    """A job that takes its time, says who does it, and tidies up."""
    mark = folder / str(os.getpid())
    try:
        mark.touch()  # a signal may come as soon as it can be seen
        time.sleep(seconds)
    finally:
        mark.unlink(missing_ok=True)
    return seconds


def die(_job: None, _task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def started(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A program with two workers at a long job, and their process ids."""
    program = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[2])\n"
        "from audiocodec.cli.main import _signals_raised\n"
        "from audiocodec.evaluate.workers import spread\n"
        "from test_workers import nap\n"
        "if __name__ == '__main__':\n"
        "    with _signals_raised():\n"
        "        list(spread(nap, pathlib.Path(sys.argv[1]), [300.0] * 4, 2))\n"
    )
    path = folder.parent / "program.py"
    path.write_text(program)
    folder.mkdir()
    child = subprocess.Popen([sys.executable, str(path), str(folder), str(Path(__file__).parent)], stderr=-3)
    until(lambda: len(list(folder.iterdir())) == 2, "both work")
    return child, [int(path.name) for path in folder.iterdir()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    child, workers = started(tmp_path / "marks")
    child.send_signal(number)
    assert child.wait(60) != 0
    until(lambda: not any(map(alive, workers)), "both end")
    if number != signal.SIGKILL:
        assert not list((tmp_path / "marks").iterdir())  # each tidied up


def test_results_come_as_they_are_done_and_a_killed_worker_is_said(tmp_path: Path) -> None:
    assert sorted(spread(nap, tmp_path, [0.02, 0.01, 0.0], 2)) == [0.0, 0.01, 0.02]
    with pytest.raises(AudiocodecError, match="fewer workers"):
        list(spread(die, None, [1, 2], 2))
