"""Calls between real processes over loopback, and the ends of a call: files, devices, the ear."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from badnetwork import Badness, Proxy
from call_helpers import HOP, RATE
from conftest import ROOT, speech_like

from audiocodec.cli import main
from audiocodec.errors import AudioError
from audiocodec.live.ends import FileMicrophone, FileSpeaker
from audiocodec.live.stretch import lengthen, shorten

MODEL = str(ROOT / "pretrained" / "speech-16k")  # by ONNX Runtime, which starts in a tenth of torch's time


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(*words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "audiocodec", "call", "--model", MODEL, "--levels", "7", "--json", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


def ended(side: subprocess.Popen, code: int = 0) -> dict:
    out, err = side.communicate(timeout=60)
    assert side.returncode == code, err
    return json.loads(out)


def speaking(folder: Path, breaks_s: float | None = None) -> tuple[subprocess.Popen, subprocess.Popen, int]:
    """Who calls, who is called, and on which port: both speak for longer than a test takes, into a.wav and b.wav.

    ``breaks_s``: where the recording that the caller speaks is damaged.
    """
    wave = speech_like(60.0)
    soundfile.write(folder / "in.wav", wave, 16000)
    if breaks_s is not None:
        wave[round(16000 * breaks_s)] = np.nan
    soundfile.write(folder / "breaks.wav", wave, 16000, subtype="FLOAT")
    port = free_port()
    words = ("--in", str(folder / "in.wav"), "--out", str(folder / "b.wav"))
    called = started("--listen", f"127.0.0.1:{port}", *words)
    assert "listening" in called.stderr.readline()
    words = ("--in", str(folder / "breaks.wav"), "--out", str(folder / "a.wav"))
    caller = started("--connect", f"127.0.0.1:{port}", *words)
    for side in (called, caller):
        assert "speaking with 127.0.0.1" in side.stderr.readline()
    return caller, called, port


def test_two_processes_speak_over_a_bad_network(tmp_path):
    soundfile.write(tmp_path / "in.wav", speech_like(30.0, 22050), 22050)  # longer than the call on any machine
    port = free_port()
    voice = ("--in", str(tmp_path / "in.wav"), "--redundancy", "2")
    called = started("--listen", f"127.0.0.1:{port}", *voice, "--out", str(tmp_path / "b.wav"))
    assert "listening" in called.stderr.readline()
    with Proxy(port, Badness(loss=0.1, jitter_s=0.03, duplicates=0.05)) as proxy:
        caller = started(
            "--connect", f"127.0.0.1:{proxy.port}", *voice, "--out", str(tmp_path / "a.wav"),
            "--duration", "2.5",
        )  # fmt: skip
        first, second = ended(caller), ended(called)
    assert first["ended"] == "hung up"
    assert second["ended"] == "the other side hung up"
    for report, name in ((first, "a.wav"), (second, "b.wav")):
        assert report["received_packets"] > 50
        assert report["recovered_frames"] > 0
        wave, rate = soundfile.read(tmp_path / name)
        assert rate == 16000
        if not report["late_audio"]:  # else this machine stood still for seconds, which nobody makes up for
            assert len(wave) / rate == pytest.approx(report["seconds"], abs=1.0)
        assert np.abs(wave).max() > 0.01


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 0), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_ctrl_c_and_other_signals_end_both_sides_and_keep_what_was_heard(tmp_path, name, code):
    from waiting import until

    caller, called, _ = speaking(tmp_path)
    until(lambda: sum(path.stat().st_size for path in tmp_path.glob(".?.wav.*.part")) > 32000, "a second was heard")
    for _ in range(2):  # as `timeout` does it: to the program, and to its group
        called.send_signal(getattr(signal, name))
    assert ended(called, code)["ended"] == "hung up"
    assert ended(caller)["ended"] == "the other side hung up"
    for name in ("a.wav", "b.wav"):
        assert soundfile.info(tmp_path / name).duration > 0.2


def stranger() -> bytes:
    """A HELLO."""
    from audiocodec import load
    from audiocodec.live.session import Session
    from audiocodec.live.settings import CallSettings

    codec = load(MODEL)
    return Session(codec, CallSettings(codec.rates[0]), call=("127.0.0.1", 1)).tick(0.0)[0][0]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_nobody_has_called_leaves_no_recording(tmp_path, name):
    soundfile.write(tmp_path / "in.wav", speech_like(1.0), 16000)
    words = ("--in", str(tmp_path / "in.wav"), "--out", str(tmp_path / "out.wav"))
    called = started("--listen", "127.0.0.1:0", *words)
    heard = called.stderr.readline()
    assert "listening" in heard
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(60)
        one.sendto(stranger(), ("127.0.0.1", int(heard.split("port ")[1].split(";")[0])))
        one.recv(2048)  # it waits, and it answers; nobody takes it up
    called.send_signal(getattr(signal, name))
    out, err = called.communicate(timeout=60)
    assert (called.returncode, out, err) == (128 + getattr(signal, name), "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_a_call_in_which_nothing_was_heard_leaves_no_recording(tmp_path):
    with FileSpeaker(tmp_path / "out.wav", RATE) as ear:
        ear.start(0.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a system with IPv4 and IPv6")
@pytest.mark.parametrize("listening", ["", "127.0.0.1", "::1"])
@pytest.mark.parametrize("addresses", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"], ["::1"], ["127.0.0.1"]])
def test_whichever_addresses_a_name_has_the_one_who_listens_is_reached(monkeypatch, tiny_codec, listening, addresses):
    from audiocodec.live.line import Line
    from audiocodec.live.session import Session, Stage
    from audiocodec.live.settings import CallSettings

    if listening and listening not in addresses:
        pytest.skip("nobody is there")
    found = socket.getaddrinfo

    def lookup(host, *rest):
        return (
            [one for address in addresses for one in found(address, *rest)]
            if host == "b.example"
            else found(host, *rest)
        )

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    there = Line(listen=(listening, 0))
    here = Line(connect=("b.example", there.port))
    settings = CallSettings(tiny_codec.rates[0])
    called = Session(tiny_codec, settings)
    caller = Session(tiny_codec, settings, call=here.called[0], others=here.called[1:])
    for step in range(100):
        now = 0.1 * step
        for line, side in ((here, caller), (there, called)):
            line.send(side.tick(now))
            line.serve(side, lambda now=now: now, 0.01)
    here.close()
    there.close()
    assert (caller.stage, called.stage) == (Stage.TALKING, Stage.TALKING)
    assert {caller.report.peer, called.report.peer} <= set(addresses)
    assert caller.report.hostile_datagrams == called.report.hostile_datagrams == 0
    assert caller.report.round_trip_ms is not None


def test_nobody_there_and_nothing_to_play_on_are_told(tmp_path, capsys, monkeypatch):
    import audiocodec.cli.calling as calling

    soundfile.write(tmp_path / "in.wav", speech_like(0.5), 16000)
    files = ["--in", str(tmp_path / "in.wav"), "--out", str(tmp_path / "out.wav")]
    monkeypatch.setattr(calling, "_ANSWER_S", 0.3)
    assert main(["call", "--connect", f"127.0.0.1:{free_port()}", "--model", MODEL, *files]) == 1
    assert "no answer" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["call", "--listen", "127.0.0.1:0", "--model", MODEL, *files[:2]]) == 9
    assert "audiocodec[live]" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--delay-ms", "--min-delay-ms", "--max-delay-ms", "--duration"])
def test_what_is_no_number_is_refused(capsys, option):
    assert main(["call", "--connect", "127.0.0.1:9", "--model", MODEL, option, "nan"]) == 2
    assert f"'{option}': nan" in capsys.readouterr().err


@pytest.mark.parametrize("wave", ["voice", "quiet", "noise"])
def test_a_stretched_frame_has_no_click(wave):
    t = np.arange(HOP) / RATE
    frame = {
        "voice": 0.5 * np.sin(2 * np.pi * 150 * t) + 0.2 * np.sin(2 * np.pi * 300 * t),
        "quiet": np.zeros(HOP),
        "noise": np.random.default_rng(0).normal(0, 0.3, HOP),
    }[wave][None].astype(np.float32)
    for made, sign in ((shorten(frame, RATE), -1), (lengthen(frame, RATE), 1)):
        longer = sign * (made.shape[1] - HOP)
        assert longer >= (0 if wave == "noise" else 0.0025 * RATE)
        assert made[0, 0] == pytest.approx(frame[0, 0], abs=0.02)
        assert made[0, -1] == frame[0, -1]
        if wave == "voice":
            assert np.abs(np.diff(made[0])).max() < 1.3 * np.abs(np.diff(frame[0])).max()


def test_a_file_is_spoken_and_recorded_in_real_time(tmp_path):
    voice = speech_like(1.0)
    soundfile.write(tmp_path / "in.wav", voice, RATE, subtype="FLOAT")
    with FileMicrophone(tmp_path / "in.wav", RATE) as mouth, FileSpeaker(tmp_path / "out.wav", RATE) as ear:
        mouth.start(100.0)
        ear.start(100.0)
        parts = []
        for now in (100.0, 100.004, 100.5, 100.507, 101.2):
            parts.append(mouth.read(now))
            count, heard_at = ear.wanted(now)
            assert heard_at <= now
            ear.write(np.zeros(count, np.float32))
        assert [len(part) for part in parts] == [0, 0, 8000, 0, 11200]
        assert mouth.ended
        np.testing.assert_array_equal(np.concatenate(parts)[:RATE], voice)
        # A machine that slept for an hour goes on; it does not make up for it.
        assert len(mouth.read(4000.0)) == 0
        assert len(mouth.read(4000.105)) == 1600
        assert ear.wanted(4000.0)[0] == 0
    assert soundfile.info(tmp_path / "out.wav").frames == 19200


def test_a_broken_recording_is_spoken_as_far_as_it_goes(tmp_path):
    voice = speech_like(2.0)
    voice[20000] = np.nan
    soundfile.write(tmp_path / "in.wav", voice, RATE, subtype="FLOAT")

    def speak(error: BaseException | None = None) -> None:
        with FileMicrophone(tmp_path / "in.wav", RATE) as mouth:
            mouth.start(0.0)
            np.testing.assert_array_equal(mouth.read(1.5), np.pad(voice[:20000], (0, 4000)))
            assert mouth.ended
            if error is not None:
                raise error

    with pytest.raises(AudioError, match=r"sample 20000"):
        speak()
    with pytest.raises(KeyboardInterrupt):
        speak(KeyboardInterrupt())


@pytest.mark.parametrize("error", [AudioError("bad"), ZeroDivisionError("bad"), KeyboardInterrupt()])
def test_whatever_ends_a_call_what_was_heard_is_kept_but_by_a_signal_that_aborts(tmp_path, error):
    def hear() -> None:
        with FileSpeaker(tmp_path / "out.wav", RATE) as ear:
            ear.start(0.0)
            ear.write(np.zeros(800, np.float32))
            raise error

    with pytest.raises(type(error)) as raised:
        hear()
    kept = not isinstance(error, KeyboardInterrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"] * kept
    assert ("what was heard until then is kept in" in str(raised.value)) == isinstance(error, AudioError)
    if kept:
        assert soundfile.info(tmp_path / "out.wav").frames == 800


def test_a_call_whose_recording_breaks_ends_with_what_was_heard(tmp_path):
    caller, called, _ = speaking(tmp_path, breaks_s=1.0)
    assert ended(called)["ended"] == "the other side hung up"
    out, err = caller.communicate(timeout=60)
    assert (caller.returncode, out) == (4, "")
    assert f"what was heard until then is kept in {tmp_path / 'a.wav'}" in err
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5


def test_a_pipe_cannot_be_spoken(tmp_path, monkeypatch):
    import io

    data = io.BytesIO()
    soundfile.write(data, np.zeros(100), RATE, format="WAV")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data.getvalue())))
    with pytest.raises(AudioError, match="waiting"):
        FileMicrophone("-", RATE)
