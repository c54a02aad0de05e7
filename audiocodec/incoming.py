"""The bytes of a .vpc as they come, from a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from audiocodec.errors import AudioError
from audiocodec.output import STDIO

READ_BYTES = 16_384  # about a minute of audio at the middle rates, decoded between two steps of progress


class CountedBytes:
    """Reads a .vpc from a file or a pipe in pieces, and counts."""

    def __init__(self, file: BinaryIO) -> None:
        self.count = 0
        self._read = getattr(file, "read1", file.read)  # what has arrived: a live stream is played as it comes

    def __iter__(self) -> Iterator[bytes]:
        while data := self._read(READ_BYTES):
            self.count += len(data)
            yield data


@contextmanager
def open_bytes(source: str | Path) -> Iterator[CountedBytes]:
    """Open a .vpc; ``-`` is standard input, which stays open. Raises AudioError where it cannot be read."""
    if str(source) == STDIO:
        yield CountedBytes(sys.stdin.buffer)
        return
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise AudioError(f"cannot read {source}: {error.strerror or error}") from None
    with file:
        yield CountedBytes(file)
