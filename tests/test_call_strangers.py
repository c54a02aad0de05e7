"""Who may begin a call, change it or end it: everybody else is refused, or ignored and counted."""

from __future__ import annotations

import numpy as np
from badnetwork import Badness
from call_helpers import A, B, Simulation

from audiocodec.errors import ModelError
from audiocodec.live.control import Bye, Ping, Refusal, Refuse
from audiocodec.live.rtp import MAX_DATAGRAM, RtpPacket
from audiocodec.live.session import Session, Stage
from audiocodec.live.settings import CallSettings

C = ("192.0.2.3", 5004)


def test_another_model_is_refused_on_both_sides(tiny_codec):
    other = type(tiny_codec).of(tiny_codec.net)
    caller = Session(other, CallSettings(other.rates[0]), call=B)
    called = Session(tiny_codec, CallSettings(tiny_codec.rates[0]))
    [(hello, _)] = caller.tick(0.0)
    [(refusal, _)] = called.receive(hello, A, 0.0)
    assert called.stage is Stage.WAITING
    assert other.fingerprint.hex() in called.notices[0]
    assert caller.receive(refusal, B, 0.0) == []
    assert isinstance(caller.problem, ModelError)
    assert tiny_codec.fingerprint.hex() in str(caller.problem)
    assert "--model" in str(caller.problem)


def test_a_third_party_is_told_that_the_line_is_busy_and_heard_by_nobody(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    third = ("192.0.2.3", 1)
    stranger = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), call=B, ssrc=33)
    [(hello, _)] = stranger.tick(0.0)
    [(refusal, where)] = call.sides[B].receive(hello, third, call.now)
    assert where == third
    assert stranger.receive(refusal, B, 0.0) == []
    assert "busy" in str(stranger.problem)
    for data in (Bye(11, 22).pack(), Ping(11, 0).pack(), RtpPacket(0, 0, 11, b"\x80").pack()):
        assert call.sides[B].receive(data, third, call.now) == []
    assert call.sides[B].stage is Stage.TALKING
    assert call.sides[B].report.hostile_datagrams == 3


def test_a_caller_who_does_not_hear_the_answer_gets_no_call(tiny_codec):
    """Nothing is kept or sent on for an address that somebody made up, and an answer is not much longer."""
    called = Session(tiny_codec, CallSettings(tiny_codec.rates[-1]))
    for number in range(50):
        stranger = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), call=B)
        [(hello, _)] = stranger.tick(0.0)
        answers = called.receive(hello, ("198.51.100.1", number), 0.0)
        assert sum(len(data) for data, _ in answers) <= 3 * len(hello)
    assert called.stage is Stage.WAITING
    assert called.tick(1.0) == []


def begun(codec, ssrc: int, called: Session, source) -> tuple[Session, bytes]:
    """A caller for whom the call has begun, and the HELLO that would begin it for the other side."""
    caller = Session(codec, CallSettings(codec.rates[0]), call=B, ssrc=ssrc)
    [(hello, _)] = caller.tick(0.0)
    [(answer, _)] = called.receive(hello, source, 0.0)
    [(last, _)] = caller.receive(answer, B, 0.0)
    assert caller.stage is Stage.TALKING
    return caller, last


def test_of_two_callers_at_once_the_later_one_is_told_that_the_line_is_busy(tiny_codec):
    called = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), ssrc=22)
    first, hello_of_first = begun(tiny_codec, 11, called, A)
    second, hello_of_second = begun(tiny_codec, 33, called, C)
    assert called.receive(hello_of_first, A, 0.1) == []
    [(refusal, where)] = called.receive(hello_of_second, C, 0.1)
    assert where == C
    assert first.receive(refusal, B, 0.2) == []  # it names the SSRC of the other one
    assert second.receive(refusal, B, 0.2) == []
    assert (first.stage, called.stage, second.stage) == (Stage.TALKING, Stage.TALKING, Stage.OVER)
    assert "busy" in str(second.problem)
    assert second.report.hostile_datagrams == 0
    assert second.hang_up() == []


def test_who_was_heard_in_the_call_refuses_it_no_more(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    refusal = Refuse(11, Refusal.BUSY, tiny_codec.fingerprint).pack()
    assert call.sides[A].receive(refusal, B, call.now) == []
    assert call.sides[A].stage is Stage.TALKING
    assert call.sides[A].report.hostile_datagrams == 1


def test_a_caller_speaks_with_the_address_that_answers_first(tiny_codec):
    deaf = ("2001:db8::1", 5004, 0, 0)
    called = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), ssrc=22)
    caller = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), call=deaf, others=[B, C], ssrc=11)
    hellos = caller.tick(0.0)
    assert [where for _, where in hellos] == [deaf, B, C]
    answers = [
        called.receive(data, source, 0.0) for (data, _), source in zip(hellos[1:], (A, ("192.0.2.1", 6)), strict=True)
    ]
    [[(first, _)], [(second, _)]] = answers
    [(last, where)] = caller.receive(first, B, 0.1)
    assert where == B
    assert caller.receive(second, C, 0.1) == []
    assert called.receive(last, A, 0.1) == []
    [(refusal, _)] = called.receive(hellos[2][0], ("192.0.2.1", 6), 0.1)  # a HELLO that took the longer way
    assert caller.receive(refusal, C, 0.2) == []
    assert (caller.stage, caller.problem, caller.report.peer) == (Stage.TALKING, None, B[0])
    assert {where for _, where in caller.tick(0.3)} == {B}
    assert caller.report.hostile_datagrams == called.report.hostile_datagrams == 0


def test_longer_datagrams_than_any_that_is_sent_are_ignored(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    for size, heard in ((MAX_DATAGRAM, True), (MAX_DATAGRAM + 4, False), (2048, False)):
        [(data, _)] = call.sides[A].speak(call.voice[:320])
        words = (size - len(data)) // 4 - 1
        padded = (
            bytes([data[0] | 0x10]) + data[1:12] + b"\xbe\xde" + words.to_bytes(2, "big") + bytes(4 * words) + data[12:]
        )
        before = call.sides[B].snapshot(call.now).received_packets
        assert call.sides[B].receive(padded, A, call.now) == []
        assert call.sides[B].snapshot(call.now).received_packets == before + heard
    assert call.sides[B].report.hostile_datagrams == 2


def test_hostile_datagrams_are_counted_and_change_nothing(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    rng = np.random.default_rng(0)
    voice = [data for data in call.sent if data[0] >> 6 == 2][:20]
    for _ in range(1500):
        kind = rng.integers(4)
        if kind == 0:
            data = rng.bytes(int(rng.integers(0, 200)))
        elif kind == 1:
            data = RtpPacket(int(rng.integers(65536)), int(rng.integers(2**32)), 11, rng.bytes(12)).pack()
        elif kind == 2:
            data = bytearray(voice[int(rng.integers(len(voice)))])
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        else:
            data = [Refuse(22, Refusal.BUSY, bytes(8)), Ping(99, 1), Bye(11, 23)][int(rng.integers(3))].pack()
        call.sides[B].receive(bytes(data), A, call.now)
        assert len(call.sides[B].hear(16, call.now)) == 16
    assert call.sides[B].stage is Stage.TALKING
    assert call.sides[B].report.hostile_datagrams > 300
    call.run(3)
    assert np.abs(call.sound(B)[-16000:]).max() > 0.01
    assert np.isfinite(call.sound(B)).all()


def test_a_lost_hello_is_said_again(tiny_codec):
    call = Simulation(tiny_codec, Badness(loss=0.6, delay_s=0.02))
    call.run(6)
    assert {side.stage for side in call.sides.values()} == {Stage.TALKING}


def test_a_hello_in_the_name_of_the_one_called_is_no_answer(tiny_codec):
    """Whoever did not see ours cannot know the SSRC that an answer repeats."""
    caller = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), call=B, ssrc=5)
    other = type(tiny_codec).of(tiny_codec.net)
    for codec in (tiny_codec, other):
        [(forged, _)] = Session(codec, CallSettings(codec.rates[0]), call=A).tick(0.0)
        assert caller.receive(forged, B, 0.0) == []
    assert caller.stage is Stage.WAITING
    assert caller.problem is None


def test_a_hello_of_ourselves_is_no_call(tiny_codec):
    caller = Session(tiny_codec, CallSettings(tiny_codec.rates[0]), call=B, ssrc=5)
    [(hello, _)] = caller.tick(0.0)
    assert caller.receive(hello, B, 0.0) == []
    assert caller.stage is Stage.WAITING
