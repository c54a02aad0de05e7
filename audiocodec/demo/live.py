"""The microphone through encoder and decoder and back, over a WebSocket.

The page first sends a JSON object: ``model``, ``levels``, ``sample_rate``, ``loss``; later ones may change ``levels``
and ``loss``. Then it sends little-endian binary messages: a number (uint32), and 16-bit samples of one channel. Each is
answered with the number, milliseconds of computing (float32), bytes coded (uint32), packets and lost packets (uint16
each), and the samples decoded so far.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from audiocodec.audio import MAX_RATE, MIN_RATE, Resampler
from audiocodec.demo.limits import Limits
from audiocodec.errors import AudiocodecError, AudioError, UsageError
from audiocodec.streaming import StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.demo.studio import Studio

MOST_SAMPLES = 48_000  # in one message
SILENT_S = 20.0  # a microphone sends fifty messages a second
_NUMBER = struct.Struct("<I")
_ANSWER = struct.Struct("<IfIHH")


class Loop:
    """One microphone's way through the codec, at the rate of its page; frames are computed one at a time."""

    def __init__(self, codec: Codec, levels: int, sample_rate: int) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise UsageError(f"a microphone at {sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        self._codec = codec
        self._to_codec = Resampler(sample_rate, codec.sample_rate, 1, live=True)
        self._from_codec = Resampler(codec.sample_rate, sample_rate, 1, live=True)
        self._luck = np.random.default_rng()
        self._levels: int | None = None
        self.set_levels(levels)

    def set_levels(self, levels: int) -> None:
        """Go on at another rate: a stream of its own, since a stream keeps the rate that its header states."""
        if levels == self._levels:
            return
        rate, self._levels = self._codec.choose_rate(levels=levels), levels
        self._encoder = StreamEncoder(self._codec, rate, block_frames=1)
        self._decoder = StreamDecoder(self._codec, live=True)
        self._decoder.push(self._encoder.header.pack())

    def feed(self, samples: np.ndarray, loss: float) -> tuple[np.ndarray, int, int, int]:
        """int16 ``[n]`` to int16 ``[m]``; bytes coded, packets, and those of them that were lost."""
        wave = samples.astype(np.float32)[None] / 32768.0
        packets = self._encoder.push(self._to_codec.push(wave))
        lost = self._luck.random(len(packets)) < loss
        heard = [self._decoder.push(packet) for packet, gone in zip(packets, lost, strict=True) if not gone]
        out = self._from_codec.push(np.concatenate([np.zeros((1, 0), np.float32), *heard], axis=1))
        coded = np.clip(np.rint(out[0] * 32767.0), -32768, 32767).astype("<i2")
        return coded, sum(map(len, packets)), len(packets), int(lost.sum())


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
        except WebSocketDisconnect:
            pass
        except AudiocodecError as error:
            await _refuse(socket, str(error))
        except (ValueError, TypeError, KeyError, struct.error):
            await _refuse(socket, "the page sent something that is no live audio; reload it")
        finally:
            self._inside -= 1

    async def _talk(self, socket: WebSocket) -> None:
        settings = json.loads((await _received(socket)).get("text") or "")
        codec = await self._run(self._studio.codec, str(settings["model"]))
        loop = await self._run(Loop, codec, int(settings["levels"]), int(settings["sample_rate"]))
        loss = _loss(settings)
        ready = {"ready": True, "algorithmic_ms": 1000.0 * codec.latency_samples / codec.sample_rate}
        await socket.send_text(json.dumps(ready))
        end = time.monotonic() + self._limits.seconds
        while time.monotonic() < end:
            message = await _received(socket)
            if message.get("text"):
                changed = json.loads(message["text"])
                loss = _loss(changed)
                await self._run(loop.set_levels, int(changed["levels"]))
                continue
            await socket.send_bytes(await self._run(_answered, loop, message.get("bytes") or b"", loss))
        await _refuse(socket, f"live for {self._limits.seconds / 60:g} minutes, which is the most; begin again")

    async def _run(self, job: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, *arguments)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _answered(loop: Loop, data: bytes, loss: float) -> bytes:
    number = _NUMBER.unpack_from(data)[0]
    samples = np.frombuffer(data, "<i2", offset=_NUMBER.size)
    if len(samples) > MOST_SAMPLES:
        raise AudioError("the page sent more live audio at once than is taken; reload it")
    begin = time.perf_counter()
    out, size, packets, lost = loop.feed(samples, loss)
    return _ANSWER.pack(number, 1000.0 * (time.perf_counter() - begin), size, packets, lost) + out.tobytes()


def _loss(settings: dict[str, Any]) -> float:
    return min(max(float(settings.get("loss", 0.0)), 0.0), 1.0)


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
    await socket.send_text(json.dumps({"error": reason}))
    await socket.close(1000)
