"""Readers that stall: whoever writes for them waits, and holds no more than it did."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like
from test_pipes import MODEL, RAW, command, integers, through

pytest.importorskip("fcntl", reason="pipes of POSIX")
import fcntl

from kill_helpers import unread
from waiting import until

from audiocodec import AsyncStreamDecoder, AsyncStreamEncoder, Codec, StreamDecoder, StreamEncoder, StreamGroup

SMALL = 4096


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have one size")
def test_an_encoder_whose_reader_stalls_takes_no_more(tmp_path: Path) -> None:
    """Between two small pipes: both fill, and what stood still goes on without a gap when the reader does."""
    data = integers(np.tile(speech_like(20.0), 2))
    options = ("encode", "-q", "-", "-", *MODEL, "--levels", "36", *RAW)
    wanted, _ = through(data, *options)
    assert len(wanted) > 4 * SMALL
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, SMALL)
    child = subprocess.Popen(command(*options), stdin=subprocess.PIPE, stdout=theirs)
    os.close(theirs)
    assert child.stdin is not None
    given = 0

    def feed() -> None:
        nonlocal given
        assert child.stdin is not None
        for start in range(0, len(data), SMALL):
            given += os.write(child.stdin.fileno(), data[start : start + SMALL])
        child.stdin.close()

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    until(lambda: unread(ours) > SMALL - 200, "the output has no room for a packet")
    until(lambda: not select.select([], [child.stdin], [], 1.0)[1], "the input is full")
    stood = given
    assert stood < len(data) / 2
    with os.fdopen(ours, "rb") as reader:
        assert reader.read() == wanted
    feeding.join(60)
    assert child.wait(timeout=60) == 0
    assert given == len(data)


def test_a_coroutine_takes_from_its_source_what_is_asked_of_it(tiny_codec: Codec) -> None:
    wave, taken = speech_like(2.0), 0

    async def source() -> AsyncIterator[np.ndarray]:
        nonlocal taken
        for start in range(0, len(wave), 320):
            taken += 1
            yield wave[None, start : start + 320]

    async def slowly() -> None:
        with StreamGroup() as group:
            encoder = AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group)
            decoder = AsyncStreamDecoder(StreamDecoder(tiny_codec, live=True), group)
            heard = decoder.samples(encoder.packets(source()))
            for blocks in range(1, 10):
                await heard.__anext__()
                await asyncio.sleep(0.01)  # time to run ahead, for whatever would
                assert taken <= blocks + 1

    asyncio.run(slowly())


def live_socket(port: int) -> socket.socket:
    """A WebSocket of the demo's page by hand, since clients read ahead by themselves; ready for live audio."""
    one = socket.socket()
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        one.setsockopt(socket.SOL_SOCKET, option, 1 << 16)
    one.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answered(one, b"\r\n\r\n")
    settings = {"model": "speech-16k", "levels": 7, "sample_rate": 16000, "loss": 0}
    one.sendall(message(json.dumps(settings).encode(), 1))
    answered(one, b"ready")
    return one


def answered(one: socket.socket, what: bytes) -> None:
    answer = b""
    while what not in answer:
        more = one.recv(4096)
        assert more, answer
        answer += more


def message(data: bytes, kind: int) -> bytes:
    """A client's WebSocket message, masked by zeros."""
    size = bytes([128 | len(data)]) if len(data) < 126 else bytes([128 | 126]) + struct.pack(">H", len(data))
    return bytes([128 | kind]) + size + bytes(4) + data


def test_a_page_that_does_not_read_is_read_no_more() -> None:
    demo_helpers = pytest.importorskip("demo_helpers")
    samples = bytes(2 * 320)
    most = 40_000_000
    with demo_helpers.running() as client, live_socket(client.port) as one:
        one.setblocking(False)
        sent = 0
        while sent < most and select.select([], [one], [], 5.0)[1]:
            sent += one.send(message(struct.pack("<I", sent & 0xFFFF) + samples, 2) * 50)
        # Buffers of the system and 32 messages of the server's: it stopped reading when nobody took its answers.
        assert sent < most
