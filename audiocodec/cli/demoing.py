"""``demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from audiocodec.cli.options import Runtime, RuntimeChoice

_EPILOG = """Examples:

  audiocodec demo --open

  audiocodec demo --port 8000 --minutes 3
"""
PORT = 7860


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(demo)


def demo(
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="0: any that is free.")] = PORT,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Any but 127.0.0.1 lets other machines in.")
    ] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, max=60.0, help="Longest recording.")] = 10.0,
    megabytes: Annotated[float, typer.Option("--megabytes", min=0.1, max=500.0, help="Largest upload.")] = 50.0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Recordings worked on at once.")] = 2,
    runtime: Runtime = RuntimeChoice.auto,
) -> None:
    """Serve a page to hear the codec: recordings or the microphone, every rate, Opus, lost packets, live.

    It works without a network. Recordings are kept in memory and forgotten half an hour after their last use; while one
    is worked on, it also lies in a temporary folder, which is removed with the end of that job.
    """
    from audiocodec.cli.loading import Loader, Placing
    from audiocodec.cli.options import set_threads
    from audiocodec.errors import MissingExtraError
    from audiocodec.runtime.choose import installed

    for package in ("starlette", "uvicorn", "websockets"):
        if not installed(package):
            raise MissingExtraError(f"the page needs {package}; pip install 'audiocodec[demo]'")
    from audiocodec.demo.limits import Limits
    from audiocodec.demo.serve import serve

    set_threads(1)
    limits = Limits(seconds=minutes * 60.0, upload_bytes=round(megabytes * 1e6), workers=workers)
    serve(Loader(Placing(runtime.value)), host, port, limits, open_browser)
