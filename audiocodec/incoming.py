"""Bytes as they come, from a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from audiocodec.ending import Ending
from audiocodec.errors import AudioError, BitstreamError, ModelError
from audiocodec.output import STDIO
from audiocodec.stdio import standard_input

READ_BYTES = 16_384  # of a .vpc: about a minute of audio at the middle rates, decoded between two steps of progress


class CountedBytes:
    """Reads a file or a pipe in pieces, and counts; ``ending``: whoever may ask a pipe to end before it does."""

    def __init__(self, file: BinaryIO, ending: Ending | None = None) -> None:
        self.count = 0
        self._file, self._ending = file, ending
        self._read = getattr(file, "read1", file.read)  # what has arrived: a live stream is played as it comes

    def some(self, most: int) -> bytes:
        """Between 1 and ``most`` bytes, as soon as any have arrived; none at the end, be it asked for or its own."""
        if self._ending is not None and not self._ending.wait(self._file):
            return b""
        data = bytes(self._read(most))
        self.count += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.some(READ_BYTES):
            yield data


@contextmanager
def open_bytes(source: str | Path, ending: Ending | None = None) -> Iterator[CountedBytes]:
    """Open a .vpc; ``-`` is standard input, which stays open.

    Raises:
        AudioError: it cannot be read.
        UsageError: there is no standard input.
    """
    if str(source) == STDIO:
        yield CountedBytes(standard_input(), ending)
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise AudioError(f"cannot read {source}: {error.strerror or error}") from None
    with file:
        yield CountedBytes(file, ending)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say which of several files an error is about."""
    try:
        yield
    except (BitstreamError, ModelError) as error:
        error.args = (f"{name}: {error}",)
        raise
