"""Temporary files beside outputs, and which of them were left by processes that were killed.

Whoever writes one holds a lock on it (flock(2)) until it has its final name or is gone; the system takes the lock away
when a process ends, however it ends. A file is a leftover only if it is a regular one of this user's and its lock can
be had. Where there are no locks (Windows, some network file systems) nothing is taken for one.

The names are few, so that leftovers are found without reading a folder that may hold a hundred thousand files:

- ``.talk.wav.1.part`` can be made again, and is removed when ``talk.wav`` is next written;
- ``.talk.vpc.recorded-1.part`` came from a pipe or a call and cannot be had again: it is kept, and told of.
"""

from __future__ import annotations

import math
import os
import secrets
import stat
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

_NUMBERS = range(1, 9)
_PATIENCE_S = 1.0  # others hold the lock of a file that is new only to see whether it is a leftover
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # network locks ask for writing


def places(target: Path, recording: bool) -> Iterator[Path]:
    """Where to write what becomes ``target``, a path without links: the first of these that is free."""
    for number in count(1) if recording else (*_NUMBERS, secrets.token_hex(4)):
        yield _place(target, recording, number)


def _place(target: Path, recording: bool, number: int | str) -> Path:
    return target.with_name(f".{target.name[:200]}.{'recorded-' if recording else ''}{number}.part")


def claim(descriptor: int) -> bool:
    """Show that the process of a new file lives, as long as this is open; False where it was taken for a leftover."""
    deadline = time.monotonic() + _PATIENCE_S
    while fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        except OSError:  # no locks here
            break
    return True


def left_behind(target: str | Path) -> list[Path]:
    """Recordings to ``target`` whose process was killed before they had that name."""
    real, found, missing = Path(target).resolve(), [], 0
    for number in count(1):
        path = _place(real, True, number)
        if os.path.lexists(path):
            missing = 0
            found += [path] if _is_left(path) else []
        elif (missing := missing + 1) == len(_NUMBERS):  # some may have been taken away
            break
    return found


def sweep(target: Path) -> None:
    """Remove what killed processes left of ``target``, a path without links, and can be made again."""
    for number in _NUMBERS:
        _is_left(_place(target, False, number), remove=True)


def take_back(path: Path) -> None:
    """Remove a file that was being made as a signal came, if it is there: it is empty, and nobody's."""
    _is_left(path, remove=True, most_bytes=0)


def told_of(target: str | Path) -> tuple[str, ...]:
    """A line on what `left_behind` finds, and what to do with it; none where there is nothing."""
    found = left_behind(target)
    if not found:
        return ()
    use = "decode" if Path(target).suffix.lower() == ".vpc" else "rename and play"
    names = ", ".join(map(str, found))
    return (f"{names}: recorded by a process that was killed; {use} what you miss, and remove it",)


def _is_left(path: Path, remove: bool = False, most_bytes: float = math.inf) -> bool:
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:  # nearly always: there is none
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = os.fstat(descriptor)
        ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid() and about.st_nlink == 1
        # Another may have removed it meanwhile, and begun anew under its name
        left = ours and about.st_size <= most_bytes and os.path.samestat(about, os.lstat(path))
        if left and remove:
            path.unlink()
        return left
    except OSError:  # somebody writes it
        return False
    finally:
        os.close(descriptor)
