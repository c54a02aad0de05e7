"""Bodies on their way in and out: who stalls, sending or reading, does not hold a place and its memory for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from audiocodec.demo.limits import Limits
from audiocodec.demo.pool import BusyError
from audiocodec.errors import AudiocodecError

T = TypeVar("T")
DRAIN = 4
"""A body that is too large is read to its end, up to so many times the limit: browsers show no answer before that."""
PIECE_BYTES = 1 << 16  # of an answer: the next is sent when the one before has room on its way


class StalledError(AudiocodecError):
    """Who sends or reads has stopped, or takes too long."""


async def in_time(step: Awaitable[T], seconds: float) -> T:
    """What ``step`` gives. Raises StalledError where that takes longer than ``seconds``."""
    try:
        return await asyncio.wait_for(step, seconds)
    except asyncio.TimeoutError:
        raise StalledError("the connection stalled; try again") from None


class Places:
    """So many of a kind at once, of so many bytes together; ``full`` is what those beyond are told."""

    def __init__(self, most: int, full: str, most_bytes: int | None = None) -> None:
        self._most, self._full, self._most_bytes = most, full, most_bytes
        self._taken = self._bytes = 0

    @contextmanager
    def one(self, size: int = 0) -> Iterator[None]:
        """Hold a place, and ``size`` bytes. Raises BusyError where there is no room beside those that are held."""
        heavy = self._most_bytes is not None and self._taken > 0 and self._bytes + size > self._most_bytes
        if heavy or self._taken >= self._most:
            raise BusyError(self._full)
        self._taken, self._bytes = self._taken + 1, self._bytes + size
        try:
            yield
        finally:
            self._taken, self._bytes = self._taken - 1, self._bytes - size


async def body(request: Request, limits: Limits) -> bytes | None:
    """The bytes sent, or None where they are more than ``limits.upload_bytes``.

    Raises:
        StalledError: nothing came for ``limits.stall_s``, or not all in ``limits.transfer_s``.
        ClientDisconnect: the sender has gone.
    """
    most = limits.upload_bytes
    end_s = time.monotonic() + limits.transfer_s
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= DRAIN * most:
        message = await in_time(request.receive(), min(limits.stall_s, end_s - time.monotonic()))
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= most:
            parts.append(part)
        else:
            parts.clear()
    return b"".join(parts) if size <= most else None


class Delivery(Response):
    """Bytes sent piece by piece, as they are read; it takes one of ``places`` while it is sent.

    Where nobody reads for ``limits.stall_s``, or not all in ``limits.transfer_s``, the connection is closed.
    """

    def __init__(self, data: bytes, kind: str, headers: dict[str, str], places: Places, limits: Limits) -> None:
        super().__init__(data, media_type=kind, headers=headers)
        self._places, self._limits = places, limits

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Send it. Raises BusyError, before anything is sent, where there is no place for it."""
        end_s = time.monotonic() + self._limits.transfer_s
        with self._places.one(len(self.body)):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, max(1, len(self.body)), PIECE_BYTES):
                piece = bytes(self.body[start : start + PIECE_BYTES])
                more = start + PIECE_BYTES < len(self.body)
                part = send({"type": "http.response.body", "body": piece, "more_body": more})
                try:
                    await in_time(part, min(self._limits.stall_s, end_s - time.monotonic()))
                except StalledError:
                    return  # an answer that is not complete: the server closes the connection
