"""What commands that are scripts have in common: one line for a user's mistake, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from audiocodec.errors import AudiocodecError


def exit_code_of(work: Callable[[], object]) -> int:
    """Do ``work``: 0 when done, else the code of what went wrong after a line that says it; 130 after Ctrl-C.

    For work that goes on where it was stopped when it is started again.
    """
    try:
        work()
    except AudiocodecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
