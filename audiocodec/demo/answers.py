"""What requests ask and answers look like: numbers checked, errors that people can read."""

from __future__ import annotations

import math
import unicodedata
from importlib.resources import files
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from audiocodec.demo.pool import AbandonedError, BusyError
from audiocodec.demo.store import Coding, ForgottenError
from audiocodec.demo.transfer import StalledError
from audiocodec.errors import AudiocodecError, UsageError

MOST_NAME = 120
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static(name: str) -> Response:
    """A part of the page. Raises HTTPException where it has no such part."""
    suffix = name[name.rfind(".") :] if "." in name else ""
    place = files("audiocodec.demo") / "static" / name
    if suffix not in _TYPES or "/" in name or "\\" in name or not place.is_file():
        raise HTTPException(404)
    return Response(place.read_bytes(), media_type=_TYPES[suffix])


def told(coding: Coding) -> dict[str, Any]:
    """What a visitor is told of one of our codings."""
    facts = {"model": coding.model, "levels": coding.levels, "bytes": len(coding.data), "kbps": coding.kbps}
    return facts | {"use": coding.use}


def error(status: int, message: str) -> JSONResponse:
    """A refusal in words."""
    return JSONResponse({"error": message}, status_code=status)


def number(request: Request, name: str, least: float, most: float) -> float:
    """A number of the query. Raises UsageError where it is none, or out of range."""
    try:
        value = float(request.query_params[name])
    except (KeyError, ValueError):
        raise UsageError(f"the request lacks a number {name}") from None
    if not math.isfinite(value) or not least <= value <= most:
        raise UsageError(f"{name} is {value:g}, outside {least:g} to {most:g}")
    return value


def clean_name(name: str) -> str:
    """The last part of a visitor's file name, without what cannot be printed."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    return printable[:MOST_NAME] or "recording"


async def said(_: Request, problem: Exception) -> Response:
    """What we raise on purpose, as its message."""
    status = 503 if isinstance(problem, BusyError) else 404 if isinstance(problem, ForgottenError) else 422
    return error(status, str(problem))


async def stalled(_: Request, problem: Exception) -> Response:
    """Too slow; what is still on its way is not read, so the connection cannot serve another request."""
    answer = error(408, str(problem))
    answer.headers["connection"] = "close"
    return answer


async def refused(_: Request, problem: Exception) -> Response:
    """What the framework refuses: an address or a method that is not there."""
    assert isinstance(problem, HTTPException)
    return error(problem.status_code, f"{problem.detail.lower()}; reload the page")


async def gone(_: Request, __: Exception) -> Response:
    """Nobody reads this."""
    return Response(status_code=400)


async def fault(_: Request, __: Exception) -> Response:
    """A fault of our own: its traceback goes to the terminal, never to a visitor."""
    return error(500, "this is a fault of the page's own; the terminal that serves it says more")


HANDLERS: dict[Any, Any] = {
    AudiocodecError: said,
    StalledError: stalled,
    HTTPException: refused,
    AbandonedError: gone,
    ClientDisconnect: gone,
    Exception: fault,
}
