"""A folder that is gone with its process, even where that is killed and can clean up nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# It waits at a pipe whose other end closes with us, however we end.
_WAIT_AND_REMOVE = 'read -r line; rm -rf -- "$1"'


@contextmanager
def removed_after_death(folder: str) -> Iterator[None]:
    """While the block lasts, ``folder`` is removed where this process dies; elsewhere than on POSIX it is not."""
    waiting = None
    if os.name == "posix":
        with suppress(OSError):
            # A session of its own: what ends us by our group, as Ctrl-C does, must not end it too.
            waiting = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT_AND_REMOVE, "sh", folder], stdin=subprocess.PIPE, start_new_session=True
            )
    try:
        yield
    finally:
        if waiting is not None:
            waiting.kill()
            waiting.communicate()
