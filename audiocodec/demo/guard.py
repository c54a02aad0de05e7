"""Who may ask, and what a page of ours may do: checks on every request, and headers on every answer.

A page on the web can make a browser ask 127.0.0.1 under a name of its own (DNS rebinding), so the name is checked; and
it can send requests and open sockets across origins, so those that say where they come from must come from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Awaitable, Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Refuses requests under a foreign name, or from another origin; adds HEADERS to what is answered.

    ``names`` are the host names that are ours; addresses are taken too where ``addresses`` is set, as a name that a
    stranger controls cannot be one.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], addresses: bool = False) -> None:
        self._app, self._names, self._addresses = app, frozenset(names), addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(headers, scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD"))
        if scope["type"] == "websocket":
            if refusal:
                await receive()
                return await send({"type": "websocket.close", "code": 1008, "reason": refusal})
            return await _until_the_end(self._app(scope, receive, send))

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in extra if pair[0] not in given)]
            await send(message)

        if not refusal:
            return await _until_the_end(self._app(scope, receive, send_guarded))
        body = json.dumps({"error": refusal}).encode()
        kinds = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send_guarded({"type": "http.response.start", "status": 403, "headers": kinds})
        await send_guarded({"type": "http.response.body", "body": body})

    def _refusal(self, headers: dict[str, str], changing: bool) -> str | None:
        host = headers.get("host", "")
        if not self._ours(host):
            return "this page is served under another name; open the address that the command printed"
        origin = headers.get("origin")
        if changing and origin is not None and _netloc(origin) != host:
            return "requests from other pages are refused"
        return None

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses or address.is_loopback


def _netloc(origin: str) -> str | None:
    """Host and port of an origin; None where it cannot be read."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


async def _until_the_end(answering: Awaitable[None]) -> None:
    """The server cancels what it can wait for no longer when it ends: that is no fault, and needs no traceback."""
    with contextlib.suppress(asyncio.CancelledError):
        await answering
