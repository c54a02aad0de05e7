"""An end that is asked for from outside, as Ctrl-C does of a recording: what waits for a pipe goes on as at its end."""

from __future__ import annotations

import os
import select
from typing import BinaryIO


class Ending:
    """Asked for once, by a signal handler or another thread. Close it when nobody waits any more."""

    def __init__(self) -> None:
        self.signum: int | None = None
        """What asked, where that was a signal."""
        self.asked = False
        self.live = False
        """Whether there is a stream that can end: its reader says so once it has begun."""
        self._wake = os.pipe()  # a byte in it ends a wait: a flag alone would not be seen until more audio comes

    def ask(self, signum: int | None = None) -> None:
        """Let the stream end here."""
        if not self.asked:
            self.asked, self.signum = True, signum
            os.write(self._wake[1], b".")

    def wait(self, pipe: BinaryIO) -> bool:
        """Wait until ``pipe`` has something, or ends; False if it is not to be read any more.

        Elsewhere than on POSIX only sockets can be waited for so: there the end is seen when something comes.
        """
        if self.asked or os.name != "posix":
            return not self.asked
        try:
            descriptor = pipe.fileno()
        except (AttributeError, OSError):  # nothing of the operating system's, and it will not wait
            return True
        select.select([descriptor, self._wake[0]], [], [])
        return not self.asked

    def close(self) -> None:
        """Let go of what it waits by."""
        for descriptor in self._wake:
            os.close(descriptor)
