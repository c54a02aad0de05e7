"""Commands that are fed bit by bit, so that it is known what they have read when they are killed."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading

from waiting import PATIENCE_S, until


def unread(pipe: int) -> int:
    """Bytes that lie in a pipe."""
    held = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, held)
    return held[0]


class Fed:
    """A command of audiocodec that reads what it is given; what it writes is gathered."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "audiocodec", *arguments]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self._stdin, self._stdout = self.child.stdin.fileno(), self.child.stdout.fileno()
        self.out = bytearray()
        self.taken = 0
        """Bytes that it has read."""
        self._gathering = threading.Thread(target=self._gather, daemon=True)
        self._gathering.start()

    def _gather(self) -> None:
        while data := os.read(self._stdout, 1 << 16):
            self.out += data

    def feed(self, data: bytes, step: int) -> None:
        """Give ``data`` in pieces of ``step`` bytes, each when the one before was taken."""
        for start in range(0, len(data), step):
            view = memoryview(data)[start : start + step]
            while len(view):
                view = view[os.write(self._stdin, view) :]
            until(lambda: not unread(self._stdin), "the pipe is read")
            self.taken = start + step

    def kill(self) -> None:
        """As by ``kill -9``; returns when all is gathered that it had written."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self._gathering.join(PATIENCE_S)
        assert self.child.returncode == -signal.SIGKILL
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()
