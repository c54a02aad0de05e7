"""Temporary files of processes that were killed: those that can be made again are removed, and no others ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="locks of POSIX")
import fcntl

from audiocodec import leftovers
from audiocodec.errors import OutputError
from audiocodec.leftovers import left_behind, told_of
from audiocodec.output import OutputFile


def killed_writing(target: Path, recording: bool = False) -> None:
    """By a process that is then gone as by ``kill -9``."""

    def write() -> None:
        with OutputFile(target, force=True, recording=recording) as out:
            out.write(b"half")
            if not recording:  # what is recorded is handed on at once
                out.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=write)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("recording", [False, True])
def test_a_signal_as_a_file_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: bool):
    def interrupted(*arguments: int) -> int:
        made = opened(*arguments)
        if arguments[1] & os.O_EXCL:
            raise KeyboardInterrupt
        return made

    opened = os.open
    with OutputFile(tmp_path / "b.vpc", recording=recording) as another:
        monkeypatch.setattr(os, "open", interrupted)
        for name in ("a.vpc", "b.vpc"):
            with pytest.raises(KeyboardInterrupt), OutputFile(tmp_path / name, recording=recording):
                pass
        assert names(tmp_path) == [another._temporary.name]
    killed = tmp_path / ".c.vpc.recorded-1.part"
    killed.write_bytes(b"x")
    leftovers.take_back(killed)  # as where a signal came and it was there already
    assert killed.exists()


def test_what_can_be_made_again_is_removed_and_a_recording_is_told_of(tmp_path: Path) -> None:
    target = tmp_path / "a.vpc"
    killed_writing(target)
    killed_writing(target)
    killed_writing(target, recording=True)
    killed_writing(tmp_path / "b.vpc")
    assert names(tmp_path) == [
        ".a.vpc.recorded-1.part",
        ".b.vpc.1.part",
    ]  # the second and third removed what they found
    killed_writing(target, recording=True)
    kept = [tmp_path / f".a.vpc.recorded-{number}.part" for number in (1, 2)]
    assert left_behind(target) == kept
    (line,) = told_of(target)
    assert line.startswith(f"{kept[0]}, {kept[1]}: ")
    with OutputFile(target):
        pass
    assert left_behind(target) == kept
    assert kept[0].read_bytes() == b"half"
    for path in kept:
        path.unlink()
    assert told_of(target) == ()
    assert left_behind("-") == []


@pytest.mark.parametrize("recording", [False, True])
def test_of_two_who_write_one_output_neither_takes_the_other_for_dead(tmp_path: Path, recording: bool) -> None:
    target = tmp_path / "a.vpc"
    with OutputFile(target, force=True, recording=recording) as one:
        one.write(b"one")
        with OutputFile(target, force=True, recording=recording) as other:
            other.write(b"other")
            assert len(names(tmp_path)) == 2
            assert left_behind(target) == []
        assert target.read_bytes() == b"other"
    assert target.read_bytes() == b"one"
    assert names(tmp_path) == ["a.vpc"]


def test_until_it_has_its_name_a_file_is_its_writer_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed before it is renamed; another who begins between the two must not remove it."""
    target, replace = tmp_path / "a.vpc", os.replace

    def after_another(*places: object) -> None:
        leftovers.sweep(target.resolve())
        replace(*places)

    monkeypatch.setattr(os, "replace", after_another)
    with OutputFile(target) as out:
        out.write(b"whole")
    assert target.read_bytes() == b"whole"
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with OutputFile(target, force=True):
            pass
    assert not descriptors or len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_taken_for_a_leftover_as_it_was_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock it looks like one."""
    target, lock, removed = tmp_path / "a.vpc", fcntl.flock, []

    def after_another(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(True)
            leftovers.sweep(target.resolve())
        lock(descriptor, how)

    with monkeypatch.context() as patch:
        patch.setattr(leftovers.fcntl, "flock", after_another)
        with OutputFile(target) as out:
            out.write(b"whole")
    assert removed
    assert names(tmp_path) == ["a.vpc"]
    assert target.read_bytes() == b"whole"


def test_whoever_looks_whether_a_new_file_is_one_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / ".a.vpc.recorded-1.part"
    with open(place, "wb") as ours, open(place, "rb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        done = threading.Timer(0.1, fcntl.flock, (theirs, fcntl.LOCK_UN))
        done.start()
        assert leftovers.claim(ours.fileno())
        done.join()
        fcntl.flock(ours, fcntl.LOCK_UN)
        fcntl.flock(theirs, fcntl.LOCK_EX)
        monkeypatch.setattr(leftovers, "_PATIENCE_S", 0.05)
        assert not leftovers.claim(ours.fileno())


def link(place: Path) -> None:
    (place.parent / "precious").write_bytes(b"x")
    place.symlink_to(place.parent / "precious")


def hard_link(place: Path) -> None:
    (place.parent / "precious").write_bytes(b"x")
    os.link(place.parent / "precious", place)


@pytest.mark.parametrize("make", [link, hard_link, Path.mkdir, os.mkfifo])
def test_what_no_writer_makes_is_left_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    place = tmp_path / ".a.vpc.1.part"
    make(place)
    before = names(tmp_path)
    with OutputFile(tmp_path / "a.vpc") as out:
        out.write(b"whole")
    assert names(tmp_path) == sorted([*before, "a.vpc"])


def test_another_user_s_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.vpc"
    killed_writing(target)
    killed_writing(target, recording=True)
    (tmp_path / ".a.vpc.1.part").write_bytes(b"theirs")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with OutputFile(target):
        pass
    assert (tmp_path / ".a.vpc.1.part").read_bytes() == b"theirs"
    assert left_behind(target) == []


def test_where_there_are_no_locks_nothing_is_taken_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.vpc"
    (tmp_path / ".a.vpc.1.part").write_bytes(b"x")

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    for patch, value in (((leftovers.fcntl, "flock"), fail), ((leftovers, "fcntl"), None)):
        with monkeypatch.context() as without:
            without.setattr(*patch, value)
            with OutputFile(target, force=True) as out:
                out.write(b"whole")
        assert names(tmp_path) == [".a.vpc.1.part", "a.vpc"]


def test_with_all_names_taken_there_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.vpc"
    for _ in range(9):
        killed_writing(target, recording=True)
    assert len(left_behind(target)) == len(names(tmp_path)) == 9
    monkeypatch.setattr(leftovers, "places", lambda *_: [left_behind(target)[0]])
    with pytest.raises(OutputError, match="cannot write"), OutputFile(target, recording=True):
        pass
