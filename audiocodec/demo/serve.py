"""The server: one process, listening where it is told to, until it is interrupted."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from audiocodec.demo.app import make_app
from audiocodec.demo.limits import Limits
from audiocodec.demo.studio import Load
from audiocodec.errors import UsageError

LOCAL = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # to listen at, and where this machine finds it
MOST_MESSAGE = 1 << 18  # bytes of live audio at once


def serve(load: Load, host: str, port: int, limits: Limits, open_browser: bool = False) -> None:
    """Serve the page at ``host`` and ``port`` (0: any that is free) until a signal ends it.

    Raises:
        UsageError: nothing can listen there.
    """
    listening = listen(host, port)
    url = address(host, listening.getsockname()[1])
    if host not in LOCAL:
        print(
            f"warning: at {host} everyone who reaches this machine can use the page, unencrypted and without a "
            "password; browsers give it no microphone there",
            file=sys.stderr,
        )
    print(f"audiocodec demo at {url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    with listening:
        server(load, host, limits).run(sockets=[listening])


def server(load: Load, host: str, limits: Limits) -> uvicorn.Server:
    """The server, not yet running."""
    names = () if host in (*LOCAL, *EVERYWHERE) else (host.lower(),)
    app, end = make_app(load, limits, (*names, socket.gethostname().lower()), any_address=host not in LOCAL)
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        ws_max_size=MOST_MESSAGE,
        timeout_graceful_shutdown=2,
        lifespan="on",
    )
    logging.getLogger("uvicorn.error").addFilter(_no_fault)
    return _Server(end, config)


def _no_fault(record: logging.LogRecord) -> bool:
    """Nothing is said of an answer that was left incomplete: it was, where nobody read it."""
    return not record.getMessage().startswith("ASGI callable returned without completing response")


class _Server(uvicorn.Server):
    """Calls ``end`` before it waits for requests that are being answered: they would not end by themselves in time."""

    def __init__(self, end: Callable[[], None], config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._end()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already, so that a browser may be opened at once. Raises UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"nothing can listen at {host}, port {port} ({reason}); pass another --port") from None


def address(host: str, port: int) -> str:
    """What to open in a browser."""
    shown = EVERYWHERE.get(host, host)
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"
