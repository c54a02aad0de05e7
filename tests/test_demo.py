"""The page of ``audiocodec demo`` over HTTP: what it takes, makes, refuses and forgets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like
from demo_helpers import Client, left_on_disk, running, samples_of, wav_bytes

import audiocodec
from audiocodec.bitstream import StreamHeader
from audiocodec.cli.main import main
from audiocodec.demo.limits import Limits
from audiocodec.demo.serve import address
from audiocodec.streaming import StreamEncoder

MODEL = "speech-16k"


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running(Limits(upload_bytes=400_000, seconds=6.0)) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_left(scratch: Path) -> Iterator[None]:
    yield
    assert left_on_disk(scratch) == []


def test_the_page_and_its_parts_are_served_and_nothing_else(client: Client) -> None:
    status, headers, page = client.ask("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = page.decode()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    for name in ("app.js", "style.css", "icon.svg"):
        assert client.ask("GET", f"/static/{name}")[0] == 200
    for path in ("/static/app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/", "/nothing"):
        status, _, data = client.ask("GET", path)
        assert (status, list(json.loads(data))) == (404, ["error"])


def test_a_recording_goes_all_the_way(client: Client) -> None:
    told = client.upload(wav_bytes(3.0, 22050), "../../my <b>talk</b>.wav")
    assert told["name"] == "b>.wav"  # the last part of what looks like a path
    assert (told["kind"], told["sample_rate"], told["channels"]) == ("audio", 22050, 1)
    assert told["seconds"] == pytest.approx(3.0)
    original = samples_of(client.ask("GET", client.of(told, "audio/original"))[2])
    assert (len(original[0]), original[1]) == (66150, 22050)
    rates = client.json("GET", f"/api/models/{MODEL}")[1]["rates"]
    sizes = []
    for rate in (rates[0], rates[-1]):
        query = {"model": MODEL, "levels": rate["levels"]}
        status, coding = client.json("POST", client.of(told, "coding"), **query)
        assert status == 200
        assert sum(count for _, count in coding["use"]) <= coding["bytes"]
        assert sum(length for length, _ in coding["use"]) == pytest.approx(3.0, abs=0.1)
        status, headers, data = client.ask("GET", client.of(told, "file"), **query)
        assert headers["content-disposition"] == "attachment; filename*=UTF-8''b%3E.vpc"
        assert len(data) == coding["bytes"]
        wave, rate_hz = audiocodec.load(MODEL).decompress(data)
        heard, heard_hz = samples_of(client.ask("GET", client.of(told, "audio/ours"), loss=0, seed=1, **query)[2])
        assert (rate_hz, heard_hz, wave.shape[1]) == (22050, 22050, len(heard))
        np.testing.assert_allclose(heard[:, 0], np.clip(wave[0], -1, 1), atol=2e-3)
        sizes.append(coding["bytes"])
    assert sizes[0] < sizes[1]


def test_a_coded_file_is_played_and_stereo_stays_stereo(client: Client) -> None:
    wave = np.stack([speech_like(1.5, 24000, seed=1), speech_like(1.5, 24000, seed=2)])
    codec = audiocodec.load(MODEL)
    data = codec.compress(wave, 24000, bitrate_kbps=3)
    told = client.upload(data, "small.vpc")
    assert (told["kind"], told["channels"], told["picked"], told["sample_rate"]) == ("vpc", 2, MODEL, 24000)
    query = {"model": MODEL, "levels": told["levels"]}
    heard, rate = samples_of(client.ask("GET", client.of(told, "audio/ours"), loss=0, seed=0, **query)[2])
    assert (heard.shape, rate) == ((36000, 2), 24000)
    assert client.ask("GET", client.of(told, "file"), **query)[2] == data
    status, answer = client.json("POST", client.of(told, "coding"), model=MODEL, levels=told["levels"] + 1)
    assert (status, answer["error"]) == (422, "a .vpc plays at the rate that it was made with")


def test_of_a_damaged_file_the_rest_is_played(client: Client) -> None:
    codec, wave = audiocodec.load(MODEL), speech_like(4.0)
    encoder = StreamEncoder(codec, codec.choose_rate(), packet_frames=50, total_samples=len(wave))
    data = bytearray(b"".join([encoder.header.pack(), *encoder.push(wave), *encoder.flush(), encoder.end()]))
    data[-40] ^= 255
    told = client.upload(bytes(data), "hurt.vpc")
    assert "damaged" in told["notices"][0]
    assert told["seconds"] == pytest.approx(4.0)
    short = bytearray(audiocodec.load(MODEL).compress(speech_like(1.0), 16000))
    short[-20] ^= 255
    status, answer = client.json("POST", "/api/recordings", bytes(short), name="hurt.vpc")
    assert (status, "no sound that can be decoded: it is damaged" in answer["error"]) == (422, True)


def test_losses_are_those_of_the_seed_and_are_concealed(client: Client) -> None:
    told = client.upload(wav_bytes(4.0, seed=3))
    query = {"model": MODEL, "levels": client.json("GET", f"/api/models/{MODEL}")[1]["usual"]}

    def hear(loss: float, seed: int) -> tuple[int, int, np.ndarray]:
        _, headers, data = client.ask("GET", client.of(told, "audio/ours"), loss=loss, seed=seed, **query)
        return int(headers["x-packets"]), int(headers["x-lost"]), samples_of(data)[0][:, 0]

    whole = hear(0.0, 1)[2]
    packets, lost, first = hear(0.2, 1)
    assert packets == pytest.approx(200, abs=3)
    assert 0.1 < lost / packets < 0.3
    assert len(first) == len(whole) == 64000
    again, other = hear(0.2, 1)[2], hear(0.2, 2)[2]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    fewer = hear(0.05, 1)[1]
    assert 0 < fewer < lost
    assert np.abs(first - whole).max() > 0.01


@pytest.mark.parametrize(("rate", "seconds"), [(22050, 2.0), (96000, 1.0)])
def test_where_all_is_lost_there_is_silence(client: Client, rate: int, seconds: float) -> None:
    told = client.upload(wav_bytes(seconds, rate, 2))
    query = {"model": MODEL, "levels": client.json("GET", f"/api/models/{MODEL}")[1]["usual"], "seed": 1}
    whole, _ = samples_of(client.ask("GET", client.of(told, "audio/ours"), loss=0, **query)[2])
    status, headers, data = client.ask("GET", client.of(told, "audio/ours"), loss=1, **query)
    heard, heard_hz = samples_of(data)
    assert (status, heard.shape, heard_hz) == (200, whole.shape, min(rate, 48000))
    assert whole.any()
    assert not heard.any()
    assert headers["x-lost"] == headers["x-packets"] != "0"


def test_opus_stands_beside_it_at_its_bytes(client: Client) -> None:
    pytest.importorskip("av", reason="Opus needs PyAV")
    told = client.upload(wav_bytes(4.0, 24000, seed=4))
    query = {"model": MODEL, "levels": client.json("GET", f"/api/models/{MODEL}")[1]["rates"][-1]["levels"]}
    ours = client.json("POST", client.of(told, "coding"), **query)[1]
    opus = client.json("POST", client.of(told, "opus"), **query)[1]
    assert opus["bytes"] == pytest.approx(ours["bytes"], rel=0.25)
    heard, rate = samples_of(client.ask("GET", client.of(told, "audio/opus"), **query)[2])
    assert len(heard) / rate == pytest.approx(4.0, abs=0.07)


@pytest.mark.parametrize(
    ("name", "data", "status", "message"),
    [
        ("letter.wav", b"Dear reader, this is no sound at all. " * 50, 422, "letter.wav is not audio that can be read"),
        ("nothing.wav", b"", 422, "nothing.wav is empty"),
        ("silent.wav", wav_bytes(0.0), 422, "silent.wav holds no sound"),
        ("long.wav", wav_bytes(8.0, 8000), 422, "long.wav is longer than 6 seconds"),
        ("large.wav", bytes(500_000), 413, "large.wav is larger than 0.4 MB"),
        ("huge.wav", bytes(5_000_000), 413, "huge.wav is larger than 0.4 MB"),
        ("letter.vpc", b"not a stream", 422, "letter.vpc cannot be read as a .vpc file: it is not a .vpc stream"),
        ("cut.vpc", b"\x89VPC\r\n\x1a\n", 422, "cut.vpc cannot be read as a .vpc file: the stream ends"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(
    client: Client, name: str, data: bytes, status: int, message: str
) -> None:
    try:
        found = client.json("POST", "/api/recordings", data, name=name)
    except (BrokenPipeError, ConnectionResetError):
        assert len(data) > 4 * 400_000  # so much too large that it is not read to its end
        return
    assert found[0] == status
    assert found[1]["error"].startswith(message)
    assert "Traceback" not in found[1]["error"]
    assert "audiocodec-demo" not in found[1]["error"]


def test_a_long_stream_in_few_bytes_is_refused(client: Client) -> None:
    data = audiocodec.load(MODEL).compress(np.zeros(16000 * 60, np.float32), 16000)
    assert len(data) < 200
    assert "longer than 6 seconds" in client.json("POST", "/api/recordings", data, name="a.vpc")[1]["error"]


@pytest.mark.parametrize(
    ("what", "query", "status"),
    [
        ("coding", {"model": "nobody", "levels": 5}, 422),
        ("coding", {"model": "/etc", "levels": 5}, 422),
        ("coding", {"model": MODEL, "levels": 3.5}, 422),
        ("coding", {"model": MODEL}, 422),
        ("coding", {"model": MODEL, "levels": "nan"}, 422),
        ("nothing", {}, 404),
    ],
)
def test_odd_requests_are_refused_in_words(client: Client, what: str, query: dict, status: int) -> None:
    told = client.upload(wav_bytes(0.3))
    found = client.json("POST", client.of(told, what), **query)
    assert found[0] == status
    assert found[1]["error"]


def test_what_has_no_sound_is_not_there(client: Client) -> None:
    told = client.upload(wav_bytes(0.3))
    query = {"model": MODEL, "levels": 5, "loss": 0, "seed": 0}
    status, answer = client.json("GET", client.of(told, "audio/anything"), **query)
    assert (status, list(answer)) == (404, ["error"])


def test_only_this_machine_and_only_this_page_may_ask(client: Client) -> None:
    for host, status in (("evil.example", 403), (f"localhost:{client.port}", 200), ("[::1]", 200), ("10.0.0.1", 403)):
        assert client.ask("GET", "/api/about", headers={"Host": host})[0] == status
    here = f"http://127.0.0.1:{client.port}"
    for origin, status in (("https://evil.example", 403), ("null", 403), (here, 201)):
        assert client.ask("POST", "/api/recordings", wav_bytes(0.2), {"Origin": origin}, name="a.wav")[0] == status


def test_two_visitors_at_once_do_not_meet(client: Client) -> None:
    found: dict[int, np.ndarray] = {}
    levels = client.json("GET", f"/api/models/{MODEL}")[1]["usual"]

    def visit(seed: int) -> None:
        told = client.upload(wav_bytes(2.0, seed=seed), f"{seed}.wav")
        query = {"model": MODEL, "levels": levels}
        data = client.ask("GET", client.of(told, "file"), **query)[2]
        wave = audiocodec.load(MODEL).decompress(data)[0][0]
        heard = samples_of(client.ask("GET", client.of(told, "audio/ours"), loss=0, seed=0, **query)[2])[0][:, 0]
        np.testing.assert_allclose(heard, np.clip(wave, -1, 1), atol=2e-3)
        found[seed] = heard

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in (5, 6)]
    for one in visitors:
        one.start()
    for one in visitors:
        one.join()
    assert set(found) == {5, 6}
    assert not np.allclose(found[5], found[6], atol=0.01)


def test_a_recording_is_forgotten_when_its_page_goes(client: Client) -> None:
    told = client.upload(wav_bytes(0.3))
    assert client.ask("GET", client.of(told, "progress"))[0] == 200
    assert client.ask("POST", client.of(told, "forget"))[0] == 204
    status, answer = client.json("GET", client.of(told, "progress"))
    assert (status, answer["error"]) == (404, "this recording is no longer kept here; drop it again")


def test_a_port_that_is_taken_is_told(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--port", str(client.port)]) == 2
    assert "pass another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("me.lan", "me.lan")],
)
def test_the_address_that_is_printed_is_one_that_answers(host: str, shown: str) -> None:
    assert address(host, 80) == f"http://{shown}:80/"


def test_a_stated_length_is_bounded_by_what_is_there(client: Client) -> None:
    data = audiocodec.load(MODEL).compress(speech_like(1.0), 16000)
    header, start = StreamHeader.unpack(data)
    for total in (16000 * 3, 2**40 - 2):
        told = client.upload(replace(header, total_samples=total).pack() + data[start:], "long.vpc")
        assert told["seconds"] == pytest.approx(1.0, abs=0.03)
        assert "ends before the length that it states" in told["notices"][0]
    assert client.upload(data, "whole.vpc")["notices"] == []
