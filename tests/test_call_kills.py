"""One side of a call is killed: the other goes on, says so, and can be called again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("fcntl", reason="signals of POSIX")
from call_helpers import A, B, Simulation
from test_call_ends import ended, speaking, started
from waiting import until

from audiocodec.live.rtp import RtpPacket, is_rtp
from audiocodec.live.session import Session, Stage
from audiocodec.live.settings import CallSettings

C = ("192.0.2.1", 6000)  # the host of A, another port
STRANGER = ("192.0.2.9", 5004)


def talking(codec) -> Simulation:
    call = Simulation(codec)
    call.run(2.0)
    assert call.sides[B].stage is Stage.TALKING
    return call


def kill(call: Simulation) -> None:
    """A says nothing more, not even farewell."""
    call.links[A].send = lambda thing, now: None


def hello(call: Simulation, source, ssrc: int) -> Session:
    """Somebody calls B, and both exchange what begins a call."""
    other = Session(call.codec, CallSettings(call.codec.choose_rate(levels=9)), call=B, ssrc=ssrc)
    ((first, _),) = other.tick(call.now)
    for answer, _ in call.sides[B].receive(first, source, call.now):
        for second, _ in other.receive(answer, B, call.now):
            call.sides[B].receive(second, source, call.now)
    return other


def test_the_other_side_goes_on_and_falls_silent(tiny_codec):
    call = talking(tiny_codec)
    before = call.sides[B].snapshot(call.now).concealed_frames
    kill(call)
    start = len(call.heard[B])
    call.run(5.0)
    assert call.sides[B].stage is Stage.TALKING
    assert call.sides[B].snapshot(call.now).concealed_frames > before
    after = np.concatenate(call.heard[B][start:])
    assert len(after) == 5 * tiny_codec.sample_rate  # in step
    assert after[: tiny_codec.hop_samples].any()
    assert not after[-tiny_codec.sample_rate :].any()
    call.run(6.0)
    assert call.sides[B].report.ended == "the other side fell silent"


def test_who_was_killed_may_call_again_and_nobody_else(tiny_codec):
    call = talking(tiny_codec)
    kill(call)
    call.run(1.0)
    assert "busy" in str(hello(call, C, 33).problem)  # it may yet be there
    call.run(2.0)
    assert "busy" in str(hello(call, STRANGER, 44).problem)
    back = hello(call, C, 55)
    assert back.stage is Stage.TALKING
    heard = []
    for step in range(200):
        call.now += 0.01
        piece = call.voice[160 * step : 160 * step + 160]
        for data, _ in call.sides[B].speak(piece):
            back.receive(data, B, call.now)
        for data, _ in back.speak(piece):
            call.sides[B].receive(data, C, call.now)
        heard.append((call.sides[B].hear(160, call.now), back.hear(160, call.now)))
    for one in zip(*heard, strict=True):
        assert np.abs(np.concatenate(one)).max() > 0.01
    assert call.sides[B].stage is Stage.TALKING
    assert call.sides[B].snapshot(call.now).hostile_datagrams == 0
    # Whoever was taken for dead is heard no more.
    call.sides[B].receive(call.sides[A].speak(call.voice[:320])[0][0], A, call.now)
    assert call.sides[B].report.hostile_datagrams == 1


def test_the_counts_of_a_call_go_on_when_the_other_side_comes_back(tiny_codec):
    call = talking(tiny_codec)
    first = next(data for data in call.sent if is_rtp(data) and RtpPacket.parse(data).ssrc == 11)
    call.sides[B].receive(first, A, call.now)  # comes twice
    kill(call)
    call.run(2.5)
    before = dict(call.sides[B].snapshot(call.now).as_dict())
    again = hello(call, C, 33)
    call.now += 0.1
    for data, _ in again.speak(call.voice[: 50 * tiny_codec.hop_samples]):
        call.sides[B].receive(data, C, call.now)
    call.sides[B].hear(20 * tiny_codec.hop_samples, call.now)
    after = call.sides[B].snapshot(call.now)
    assert after.received_packets == before["received_packets"] + 50
    assert after.duplicate_packets == before["duplicate_packets"] == 1
    assert after.played_frames > before["played_frames"] > 50
    assert after.concealed_frames >= before["concealed_frames"] > 0
    assert after.received_bytes > before["received_bytes"]
    assert (after.lost_packets, after.loss) == (0, 0)


def test_processes_that_are_killed_are_outlived(tmp_path: Path) -> None:
    caller, called, port = speaking(tmp_path)
    voice = ("--in", str(tmp_path / "in.wav"))
    until(lambda: sum(path.stat().st_size for path in tmp_path.glob(".b.wav.*.part")) > 32000, "a second was heard")
    caller.kill()
    caller.communicate()
    report = ended(called)
    assert report["ended"] == "the other side fell silent"
    assert report["concealed_frames"] > 0
    if not report["late_audio"]:  # else this machine stood still for seconds, which nobody makes up for
        assert soundfile.info(tmp_path / "b.wav").duration == pytest.approx(report["seconds"], abs=1.0)
    assert not (tmp_path / "a.wav").exists()
    again = started("--listen", f"127.0.0.1:{port}", *voice, "--out", str(tmp_path / "c.wav"), "--duration", "1")
    assert "listening" in again.stderr.readline()  # the port is free at once
    restarted = started("--connect", f"127.0.0.1:{port}", *voice, "--out", str(tmp_path / "a.wav"))
    told = restarted.stderr.readline()
    assert f"{tmp_path / '.a.wav.recorded-1.part'}: recorded by a process that was killed" in told
    assert ended(again)["ended"] == "hung up"
    assert ended(restarted)["ended"] == "the other side hung up"
    assert soundfile.info(tmp_path / ".a.wav.recorded-1.part").frames > 12000  # about what b.wav has
