"""The microphone through encoder and decoder and back, over a WebSocket.

The page first sends a JSON object: ``model``, ``levels``, ``sample_rate``, ``loss``; later ones may change ``levels``
and ``loss``. Then it sends little-endian binary messages: a number (uint32), and 16-bit samples of one channel. Each is
answered with the number, milliseconds of computing (float32), bytes coded (uint32), packets and lost packets (uint16
each), and the samples decoded so far.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from audiocodec.demo.limits import Limits
from audiocodec.demo.loop import Loop
from audiocodec.demo.transfer import StalledError, in_time
from audiocodec.errors import AudiocodecError, AudioError, UsageError

if TYPE_CHECKING:
    from audiocodec.demo.studio import Studio

MOST_SAMPLES = 48_000  # in one message
SILENT_S = 20.0  # a microphone sends fifty messages a second, and its page reads as many
MOST_NUMBER = 2**31
ODD = "the page sent something that is no live audio; reload it"
_NUMBER = struct.Struct("<I")
_ANSWER = struct.Struct("<IfIHH")


class LiveDoor:
    """Lets a few microphones in at once, each with a thread that the rest of the page's work cannot take."""

    def __init__(self, studio: Studio, limits: Limits) -> None:
        self._studio, self._limits = studio, limits
        self._threads = ThreadPoolExecutor(limits.live, thread_name_prefix="demo-live")
        self._inside = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one page until it leaves."""
        await socket.accept()
        if self._inside >= self._limits.live:
            return await _refuse(socket, "as many microphones are live as this machine takes; try again later")
        self._inside += 1
        try:
            await self._talk(socket)
        except (WebSocketDisconnect, StalledError):
            pass  # nobody would read a reason
        except AudiocodecError as error:
            await _refuse(socket, str(error))
        finally:
            self._inside -= 1

    async def _talk(self, socket: WebSocket) -> None:
        settings = _settings(await _received(socket))
        model, levels, rate = settings.get("model"), _integer(settings, "levels"), _integer(settings, "sample_rate")
        if not isinstance(model, str):
            raise UsageError(ODD)
        codec = await self._run(self._studio.codec, model)
        loop = await self._run(Loop, codec, levels, rate)
        loss = _loss(settings)
        ready = {"ready": True, "algorithmic_ms": 1000.0 * codec.latency_samples / codec.sample_rate}
        await in_time(socket.send_text(json.dumps(ready)), SILENT_S)
        end = time.monotonic() + self._limits.seconds
        while time.monotonic() < end:
            message = await _received(socket)
            if message.get("text"):
                changed = _settings(message)
                loss = _loss(changed)
                await self._run(loop.set_levels, _integer(changed, "levels"))
                continue
            answer = await self._run(_answered, loop, message.get("bytes") or b"", loss)
            # A page that does not read holds a place as much as one that does not send.
            await in_time(socket.send_bytes(answer), SILENT_S)
        await _refuse(socket, f"live for {self._limits.seconds / 60:g} minutes, which is the most; begin again")

    async def _run(self, job: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, *arguments)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _answered(loop: Loop, data: bytes, loss: float) -> bytes:
    if len(data) < _NUMBER.size or len(data) % 2:
        raise AudioError(ODD)
    number = _NUMBER.unpack_from(data)[0]
    samples = np.frombuffer(data, "<i2", offset=_NUMBER.size)
    if len(samples) > MOST_SAMPLES:
        raise AudioError("the page sent more live audio at once than is taken; reload it")
    begin = time.perf_counter()
    out, size, packets, lost = loop.feed(samples, loss)
    return _ANSWER.pack(number, 1000.0 * (time.perf_counter() - begin), size, packets, lost) + out.tobytes()


def _settings(message: Message) -> dict[str, Any]:
    """The JSON object of a message. Raises UsageError where it holds none."""
    try:
        settings = json.loads(message.get("text") or "")
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise UsageError(ODD)
    return settings


def _integer(settings: dict[str, Any], name: str) -> int:
    value = settings.get(name)
    # An infinity, NaN and an integer of a thousand digits all fail the comparison.
    if not isinstance(value, (int, float)) or not abs(value) < MOST_NUMBER:
        raise UsageError(ODD)
    return int(value)


def _loss(settings: dict[str, Any]) -> float:
    """The share of packets to be lost, 0 to 1."""
    value = settings.get("loss", 0.0)
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(ODD)
    return float(value)


async def _received(socket: WebSocket) -> Message:
    """The next message; a page that sends none holds a place that another could have. Raises WebSocketDisconnect."""
    try:
        message = await asyncio.wait_for(socket.receive(), SILENT_S)
    except asyncio.TimeoutError:
        raise UsageError(f"nothing was heard of the microphone for {SILENT_S:g} seconds; begin again") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return message


async def _refuse(socket: WebSocket, reason: str) -> None:
    """Say why, and close; where the page has gone meanwhile, or does not read, nothing is said."""
    with contextlib.suppress(WebSocketDisconnect, StalledError, RuntimeError):
        await in_time(socket.send_text(json.dumps({"error": reason})), SILENT_S)
        await in_time(socket.close(1000), SILENT_S)
