"""Visitors of ``audiocodec demo`` who stall, or stay when it ends: they hold up nobody for long."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from demo_helpers import Client, eventually, logged_faults, running, wav_bytes

from audiocodec.demo.limits import Limits

LIMITS = Limits(uploads=2, listeners=1, stall_s=1.0, transfer_s=60.0)


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running(LIMITS) as one:
        yield one


@pytest.fixture
def faults() -> Iterator[list[str]]:
    with logged_faults() as told:
        yield told


def begun(client: Client, request: str, small: bool = False) -> socket.socket:
    """A connection on which a request, or a part of it, was sent. ``small``: it takes in a little at a time."""
    connection = socket.socket()
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", client.port))
    connection.sendall(request.replace("\n", "\r\n").encode())
    return connection


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def upload(name: str, length: int) -> str:
    return f"POST /api/recordings?name={name} HTTP/1.1\nHost: localhost\nContent-Length: {length}\n\n"


def test_uploads_that_stall_give_their_places_up(client: Client, faults: list[str]) -> None:
    stalled = [begun(client, upload("a.wav", 1000) + "abc") for _ in range(LIMITS.uploads)]
    for connection in stalled:
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"stalled" in answer
        connection.close()
    client.upload(wav_bytes(0.3))
    assert faults == []


def test_an_upload_takes_so_long_at_most(scratch: Path) -> None:
    with running(Limits(stall_s=60.0, transfer_s=1.0)) as client:
        connection = begun(client, upload("a.wav", 10**6))
        done = threading.Event()

        def drip() -> None:
            while not done.wait(0.05):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert connection.recv(12) == b"HTTP/1.1 408"
        finally:
            done.set()
            dripping.join()
            connection.close()


def noise(seconds: float) -> bytes:
    """A recording whose size the buffers of a connection do not hold."""
    file = io.BytesIO()
    wave = np.random.default_rng(0).integers(-9000, 9000, (round(48000 * seconds), 2), np.int16)
    soundfile.write(file, wave, 48000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def test_who_does_not_read_holds_no_memory(client: Client, faults: list[str]) -> None:
    told = client.upload(noise(60.0))
    path = client.of(told, "audio/original")
    request = f"GET {path} HTTP/1.1\nHost: localhost\n\n"
    whole = len(client.ask("GET", path)[2])
    reading = begun(client, request, small=True)
    assert reading.recv(12) == b"HTTP/1.1 200"  # on its way, and not read from now on
    refused = begun(client, request.replace("\n\n", "\nConnection: close\n\n"))
    assert b"several people are being sent sound" in answer_of(refused)
    eventually(lambda: client.ask("GET", path)[0] == 200)
    assert len(answer_of(reading)) < whole / 2  # the rest was let go
    for connection in (reading, refused):
        connection.close()
    assert faults == []


def test_answers_hold_so_many_bytes_together(scratch: Path) -> None:
    """Beside one that is held there goes out what fits, and one larger than all may go out alone."""
    with running(Limits(listening_bytes=12_000_000, stall_s=60.0)) as client:
        large, larger, small = (client.of(client.upload(noise(long_s)), "audio/original") for long_s in (60, 70, 1))
        reading = begun(client, f"GET {large} HTTP/1.1\nHost: localhost\n\n", small=True)
        assert reading.recv(12) == b"HTTP/1.1 200"  # on its way, and not read from now on
        status, _, told = client.ask("GET", large)
        assert status == 503
        assert "several people are being sent sound" in json.loads(told)["error"]
        assert client.ask("GET", small)[0] == 200
        reading.close()
        eventually(lambda: client.ask("GET", larger)[0] == 200)


def test_an_origin_that_cannot_be_read_is_refused(client: Client, faults: list[str]) -> None:
    status, _, data = client.ask("POST", "/api/recordings", wav_bytes(0.2), {"Origin": "http://["}, name="a.wav")
    assert (status, json.loads(data)) == (403, {"error": "requests from other pages are refused"})
    assert faults == []


def test_ctrl_c_ends_it_while_it_codes_and_an_upload_stalls(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "audiocodec", "demo", "--port", "0"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", server.stderr.readline())
            assert found
            client = Client(int(found[1]))
            told = client.upload(noise(120.0))
            levels = client.json("GET", "/api/models/speech-16k")[1]["usual"]
            path = f"{client.of(told, 'coding')}?model=speech-16k&levels={levels}"
            coding = begun(client, f"POST {path} HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n")
            stalled = begun(client, upload("a.wav", 1000) + "abc")
            eventually(lambda: client.json("GET", client.of(told, "progress"))[1]["stage"] == "encoding")
            server.send_signal(signal.SIGINT)
            printed = server.communicate(timeout=60)[1]
        finally:
            server.kill()
    for connection in (coding, stalled):
        connection.close()
    assert "Traceback" not in printed
    assert "Cancelled" not in printed.replace("Cancel 1 running", "")
