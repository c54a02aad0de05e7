"""Running another program on a file: without a shell, with a time limit, and with one line said when it fails."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import AudioError

TIMEOUT_S = 600.0


def run_tool(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
    """Run ``command`` and wait for it; what it prints is kept only to explain a failure.

    Raises:
        AudioError: it cannot be started, fails, or takes longer than ``timeout_s``; it is killed then, with whatever
            it started itself.
    """
    # A file, not a pipe: a grandchild that outlives the program would keep a pipe open, and us waiting for its end.
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        except OSError as error:
            raise AudioError(f"{shlex.join(command)} cannot be started: {error.strerror}") from None
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AudioError(
                f"{shlex.join(command)} was stopped after {timeout_s:g} s; raise its timeout_s or shorten the recording"
            ) from None
        finally:
            _end(child)
        if status != 0:
            raise AudioError(f"{shlex.join(command)} failed with exit status {status}: {_last_line(said)}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the program and its children, which share its process group; nothing happens where all have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_line(said: BinaryIO) -> str:
    said.seek(0)
    # Progress bars overwrite their line by carriage returns; only a recent part can matter
    lines = said.read()[-4096:].decode("utf-8", "replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def missing_tools(names: Sequence[str], remedy: str) -> str | None:
    """Why programs cannot be run, with the remedy; None where all of ``names`` are found."""
    missing = [name for name in names if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found on PATH; {remedy}" if missing else None


def fingerprint(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256: programs and networks that state no version are told apart by it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def tool_fingerprint(name: str) -> str:
    """:func:`fingerprint` of a program as found on PATH; ``absent`` where it is not."""
    found = shutil.which(name)
    return fingerprint(Path(found)) if found else "absent"
