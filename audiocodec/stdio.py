"""Standard input and output, which ``-`` names, in programs that may have been started without them (``>&-``)."""

from __future__ import annotations

import io
import os
import sys
from typing import BinaryIO

from audiocodec.errors import UsageError


class _Nowhere(io.TextIOWrapper):
    """Stands in for a standard stream that is closed: nothing comes, and what is written is gone."""


def standard_input() -> BinaryIO:
    """Its bytes. Raises UsageError where there is none."""
    if sys.stdin is None or isinstance(sys.stdin, _Nowhere):
        raise UsageError("standard input is closed, and - means to read it; name an input file")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Its bytes. Raises UsageError where there is none."""
    if sys.stdout is None or isinstance(sys.stdout, _Nowhere):
        raise UsageError("standard output is closed, and - means to write to it; name an output file")
    return sys.stdout.buffer


def fill_in() -> None:
    """Put something that does nothing in the place of each standard stream that is closed.

    Else a file that is opened later gets its number, and what libraries print, its content; and ``print`` to a standard
    error that is None goes to standard output, which may carry data.
    """
    for name, mode in (("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: SIM115 - it gets the lowest number that is free: the one it is for
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, _Nowhere(stream, encoding="utf-8", errors="backslashreplace"))
