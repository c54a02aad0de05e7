"""Live sound on the page of ``audiocodec demo``: through the codec and back, at rates that change, and what ends it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like
from demo_helpers import Client, eventually, logged_faults, running
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import audiocodec
from audiocodec.demo.limits import Limits
from audiocodec.demo.loop import Loop

MODEL = "speech-16k"
SECOND = 48_000


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running(Limits(live=2)) as one:
        yield one


@pytest.fixture
def faults() -> Iterator[list[str]]:
    with logged_faults() as told:
        yield told


def rates() -> list[int]:
    """Levels of the model's rates, the lowest first."""
    return [rate.base_levels for rate in sorted(audiocodec.load(MODEL).rates, key=lambda rate: rate.expected_bps)]


def looped(wave: np.ndarray, sample_rate: int, levels: int, then: dict[int, int] | None = None, loss: float = 0.0):
    """What comes of int16 samples, and how many milliseconds were on their way after each piece of 20 ms.

    ``then``: other levels, by the number of the piece before which they are set.
    """
    loop = Loop(audiocodec.load(MODEL), levels, sample_rate)
    piece, came, parts, waiting = sample_rate // 50, 0, [], []
    for number, start in enumerate(range(0, len(wave) // piece * piece, piece)):
        if then and number in then:
            loop.set_levels(then[number])
        parts.append(loop.feed(wave[start : start + piece], loss)[0])
        came += len(parts[-1])
        waiting.append(1000 * (start + piece - came) / sample_rate)
    return np.concatenate(parts).astype(np.float32) / 32768, waiting, parts


@pytest.mark.parametrize("sample_rate", [48000, 44100, 16000])
def test_the_loop_holds_little_and_gives_it_evenly(sample_rate: int) -> None:
    wave = (speech_like(2.0, sample_rate) * 32767).astype(np.int16)
    _, waiting, parts = looped(wave, sample_rate, rates()[0])
    # 10 ms of the codec; two resamplers of 6 ms each, which delay whole frames until the next piece
    assert max(waiting[5:]) < (10.1 if sample_rate == 16000 else 37)
    # A lump fits the 60 ms that the page holds back.
    assert {len(part) for part in parts[5:]} == {sample_rate // 50}


def test_the_rate_turns_without_a_gap_or_a_click() -> None:
    wave = (speech_like(3.0, SECOND, seed=7) * 32767).astype(np.int16)
    low, high = rates()[0], rates()[-1]
    before, waiting, _ = looped(wave, SECOND, high)
    after, _, _ = looped(wave, SECOND, low)
    turned, waiting_turned, _ = looped(wave, SECOND, high, {70: low, 71: rates()[1], 72: low})
    assert len(turned) == len(before)
    assert waiting_turned == waiting
    fade = 70 * 960 - 2000
    assert np.array_equal(turned[:fade], before[:fade])
    steepest = max(np.abs(np.diff(one)).max() for one in (before, after))
    assert np.abs(np.diff(turned[fade - 4000 : fade + 8000])).max() < 1.3 * steepest


def test_what_was_lost_before_the_rate_turned_is_made_up_for() -> None:
    wave = (speech_like(2.0, SECOND, seed=7) * 32767).astype(np.int16)
    low, high = rates()[0], rates()[-1]
    for loss in (0.3, 0.9):
        loop, out = Loop(audiocodec.load(MODEL), low, SECOND), 0
        for number in range(99):
            loop.set_levels(high if number % 20 > 9 else low)
            out += len(loop.feed(wave[number * 960 : (number + 1) * 960], loss)[0])
        out += len(loop.feed(wave[99 * 960 :], 0.0)[0])
        assert 100 * 960 - out == pytest.approx(SECOND * 0.0362, abs=SECOND * 0.021)


def test_live_sound_comes_back_through_the_codec(client: Client) -> None:
    wave = (speech_like(1.0, 48000, seed=7) * 32767).astype("<i2")
    levels = client.json("GET", f"/api/models/{MODEL}")[1]["usual"]
    heard, size, lost = 0, 0, 0
    with connect(f"ws://127.0.0.1:{client.port}/api/live", origin=client.url.rstrip("/")) as socket:
        socket.send(json.dumps({"model": MODEL, "levels": levels, "sample_rate": 48000, "loss": 0}))
        assert json.loads(socket.recv(10))["algorithmic_ms"] == pytest.approx(30.0)
        for number, start in enumerate(range(0, 48000, 960)):
            if number == 25:
                socket.send(json.dumps({"levels": levels, "loss": 1.0}))
            socket.send(struct.pack("<I", number) + wave[start : start + 960].tobytes())
            answer = socket.recv(10)
            assert struct.unpack_from("<I", answer)[0] == number
            _, _, coded, _, gone = struct.unpack_from("<IfIHH", answer)
            heard, size, lost = heard + (len(answer) - 16) // 2, size + coded, lost + gone
    assert 300 < size < 2000
    assert 20 <= lost <= 26
    assert 18000 < heard < 26000


@pytest.mark.parametrize("first", ["nothing", '{"model": "nobody", "levels": 1, "sample_rate": 48000}', "[]"])
def test_live_tells_what_is_wrong(client: Client, first: str) -> None:
    with connect(f"ws://127.0.0.1:{client.port}/api/live") as socket:
        socket.send(first)
        assert json.loads(socket.recv(10))["error"]


def test_a_silent_page_gives_its_place_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocodec.demo.live.SILENT_S", 0.1)
    with connect(f"ws://127.0.0.1:{client.port}/api/live") as socket:
        assert "nothing was heard" in json.loads(socket.recv(10))["error"]


def test_live_is_closed_to_other_pages(client: Client) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{client.port}/api/live", origin="https://evil.example")


def settings(**changes: object) -> str:
    return json.dumps({"model": MODEL, "levels": rates()[0], "sample_rate": 48000, "loss": 0} | changes)


ODD_FIRST = {
    "infinite": settings().replace(f'"levels": {rates()[0]}', '"levels": 1e999'),
    "huge": settings(levels=10**400),
    "deep": "[" * 100_000,
    "list": "[]",
    "model": settings(model=["a"]),
    "loss": settings(loss=float("nan")),
}


@pytest.mark.parametrize("name", ODD_FIRST)
def test_odd_settings_are_told_and_print_no_traceback(client: Client, name: str, faults: list[str]) -> None:
    with connect(f"ws://127.0.0.1:{client.port}/api/live") as live:
        live.send(ODD_FIRST[name])
        assert "no live audio" in json.loads(live.recv(30))["error"]
    assert faults == []


@pytest.mark.parametrize("second", ["[]", '"x"', "null", "{}", b"abc", b"abcde"])
def test_odd_messages_are_told_and_print_no_traceback(client: Client, second: str | bytes, faults: list[str]) -> None:
    with connect(f"ws://127.0.0.1:{client.port}/api/live") as live:
        live.send(settings())
        live.recv(30)
        live.send(second)
        assert "no live audio" in json.loads(live.recv(30))["error"]
    assert faults == []


def test_who_goes_after_an_odd_message_leaves_no_traceback(client: Client, faults: list[str]) -> None:
    for _ in range(5):
        with connect(f"ws://127.0.0.1:{client.port}/api/live", close_timeout=0.1) as live:
            live.send("[]")
            live.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            live.socket.close()
    assert_free(client)
    assert faults == []


def test_a_page_that_does_not_read_gives_its_place_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiocodec.demo.live.SILENT_S", 1.0)
    with ExitStack() as places:
        for _ in range(2):
            live = places.enter_context(deaf(client))
            live.sendall(frame(1, settings().encode()))
            threading.Thread(target=flood, args=(live,), daemon=True).start()
        assert_free(client)


def deaf(client: Client) -> socket.socket:
    """A connection for live sound that takes in next to nothing."""
    live = socket.socket()
    live.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    live.connect(("127.0.0.1", client.port))
    asked = ("GET /api/live HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade")
    asked += ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", "")
    live.sendall("\r\n".join(asked).encode())
    assert live.recv(12) == b"HTTP/1.1 101"
    return live


def frame(kind: int, data: bytes) -> bytes:
    """A WebSocket message in one frame (RFC 6455), whose mask changes nothing."""
    return struct.pack(">BBQ4x", 0x80 | kind, 0x80 | 127, len(data)) + data


def flood(live: socket.socket) -> None:
    """Send until the server wants no more: it waits to be read, or has closed."""
    with suppress(OSError):
        while True:
            live.sendall(frame(2, struct.pack("<I", 0) + bytes(2 * SECOND)))


def assert_free(client: Client) -> None:
    """Soon there is a place."""

    def free() -> bool:
        with suppress(ConnectionClosed), connect(f"ws://127.0.0.1:{client.port}/api/live") as live:
            live.send(settings())
            return "ready" in json.loads(live.recv(30))
        return False  # refused, and closed before anything could be sent

    eventually(free)
