"""The page's server in a thread, and a client that sends what a browser would."""

from __future__ import annotations

import http.client
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
from conftest import speech_like

from audiocodec.cli.loading import Loader, Placing

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'audiocodec[demo]'")
pytest.importorskip("uvicorn", reason="the page's packages are not installed: pip install 'audiocodec[demo]'")
pytest.importorskip("websockets", reason="the page's packages are not installed: pip install 'audiocodec[demo]'")
from audiocodec.demo.limits import Limits
from audiocodec.demo.serve import listen, server


def wav_bytes(seconds: float = 2.0, rate: int = 16000, channels: int = 1, seed: int = 0) -> bytes:
    """A recording to upload."""
    wave = np.stack([speech_like(seconds, rate, seed=seed + channel) for channel in range(channels)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def samples_of(wav: bytes) -> tuple[np.ndarray, int]:
    """``[samples, channels]`` and their rate."""
    return soundfile.read(io.BytesIO(wav), always_2d=True)


class Client:
    """Asks the server one thing at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: bytes | None = None, **query: Any) -> tuple[int, Any]:
        """Status and what was answered."""
        status, _, data = self.ask(method, path, body, **query)
        return status, json.loads(data)

    def upload(self, data: bytes, name: str = "talk.wav") -> dict[str, Any]:
        """What is told of a recording that is taken."""
        status, told = self.json("POST", "/api/recordings", data, name=name)
        assert status == 201, told
        return told

    def of(self, told: dict[str, Any], what: str) -> str:
        """An address of a recording."""
        return f"/api/recordings/{told['key']}/{what}"


@contextmanager
def running(limits: Limits | None = None) -> Iterator[Client]:
    """The server at a free port of this machine."""
    listening = listen("127.0.0.1", 0)
    one = server(Loader(Placing("onnx")), "127.0.0.1", limits or Limits())
    thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Client(listening.getsockname()[1])
    finally:
        one.should_exit = True
        thread.join(10)
        listening.close()


def left_on_disk(folder: Path) -> list[str]:
    """What lies in a folder of temporary files."""
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def logged_faults() -> Iterator[list[str]]:
    """What the server would print of its own faults, tracebacks among it."""
    told: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(f"{record.getMessage()}{record.exc_info or ''}")

    keeper, logger = Keeper(logging.ERROR), logging.getLogger("uvicorn.error")
    logger.addHandler(keeper)
    try:
        yield told
    finally:
        logger.removeHandler(keeper)


def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is true, on a machine that may be busy."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)
