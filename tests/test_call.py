"""Calls: two sides in simulated time over a bad network, and two real ones over loopback."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from badnetwork import Badness
from call_helpers import STEP_S, A, B, Simulation
from conftest import speech_like

from audiocodec import load, models
from audiocodec.errors import UsageError
from audiocodec.live.jitter import JitterSettings, Verdict
from audiocodec.live.receiver import Receiver
from audiocodec.live.rtp import RtpPacket
from audiocodec.live.sender import Sender, lowest_rate
from audiocodec.live.session import Stage


def test_two_sides_find_each_other_and_hear_each_other(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(4)
    for side, session in call.sides.items():
        report = session.snapshot(call.now)
        assert session.stage is Stage.TALKING
        assert (report.lost_packets, report.late_packets, report.hostile_datagrams) == (0, 0, 0)
        assert report.received_packets > 180
        assert report.concealed_frames == 0
        assert report.round_trip_ms == pytest.approx(60, abs=15)
        assert np.abs(call.sound(side)[-16000:]).max() > 0.01


@pytest.mark.parametrize("lost", [0, 1, 8])
def test_a_last_hello_that_is_lost_costs_a_frame_of_the_first_word(tiny_codec, lost):
    call = Simulation(tiny_codec)
    link, left = call.links[A], [lost]
    send = link.send

    def lossy(data, now):
        if call.sides[A].stage is Stage.TALKING and data[0] >> 6 != 2 and left[0]:
            left[0] -= 1
        else:
            send(data, now)

    link.send = lossy
    call.run(2)
    sent, came = call.sides[A].snapshot(call.now), call.sides[B].snapshot(call.now)
    assert sent.sent_packets - came.received_packets <= 3 + lost  # two are under way
    hellos = [data for data in call.sent if data[0] >> 6 != 2 and data[4] & 15 == 1]
    assert len(hellos) < 10 + lost  # they end when the other side is heard, 60 ms later


def test_what_is_heard_is_what_a_stream_of_the_codec_gives(tiny_codec):
    """No loss: the call adds nothing to the codec but a delay."""
    from audiocodec.streaming import StreamDecoder, StreamEncoder

    call = Simulation(tiny_codec)
    spoken, heard, speak = [], call.heard[B], call.sides[A].speak
    call.sides[A].speak = lambda samples: spoken.append(samples) or speak(samples)
    call.run(0.5)
    encoder = StreamEncoder(tiny_codec, tiny_codec.choose_rate(levels=9))
    decoder = StreamDecoder(tiny_codec, live=True)
    decoder.push(encoder.header.pack())
    expected = np.concatenate([decoder.push(p)[0] for p in encoder.push(np.concatenate(spoken)[None])])
    sound = np.concatenate(heard)
    start = expected[:1280]  # before any frame may be stretched
    assert any(np.allclose(sound[at : at + 1280], start, atol=1e-5) for at in range(len(sound) - 1280))


@pytest.mark.parametrize("model", [model.name for model in models.list_models()])
def test_every_shipped_model_can_be_spoken_with(model):
    codec = load(model)
    call = Simulation(
        codec, Badness(loss=0.1, delay_s=0.02), speech_like(2.0, codec.sample_rate), codec.choose_rate(), redundancy=2
    )
    call.run(2)
    report = call.sides[B].snapshot(call.now)
    assert report.hostile_datagrams == 0
    assert report.recovered_frames > 0
    assert report.concealed_frames < 5
    assert np.abs(call.sound(B)).max() > 0.01


def test_redundancy_replaces_lost_frames_at_the_lowest_rate(tiny_codec):
    bad = Badness(loss=0.1, jitter_s=0.03, delay_s=0.02, duplicates=0.02)
    reports = {}
    for copies in (0, 2):
        call = Simulation(tiny_codec, bad, redundancy=copies)
        call.run(6)
        reports[copies] = call.sides[B].snapshot(call.now)
    assert reports[0].recovered_frames == 0
    assert reports[0].concealed_frames > 15
    assert reports[2].recovered_frames > 15
    assert reports[2].concealed_frames < reports[0].concealed_frames / 3
    assert reports[2].loss == pytest.approx(0.1, abs=0.05)
    assert reports[2].redundancy_received == 2


def test_a_packet_that_comes_twice_is_not_decoded_twice(tiny_codec):
    sender = Sender(tiny_codec, tiny_codec.rates[0])
    receiver = Receiver(tiny_codec, sender.header, sender.spare_levels, JitterSettings(16000, tiny_codec.hop_samples))
    parsed, parse = [], receiver._format.parse
    receiver._format.parse = lambda payload: parsed.append(payload) or parse(payload)
    packets = [RtpPacket.parse(data) for data in sender.push(speech_like(0.2))]
    for _ in range(2):
        verdicts = {receiver.receive(packet, 0.0) for packet in packets}
    assert verdicts == {Verdict.DUPLICATE}
    assert (len(parsed), receiver.jitter.duplicates) == (len(packets), len(packets))
    # The number of one that came, at another time: no repetition, but of another stream.
    assert receiver.receive(replace(packets[0], timestamp=10**6 + 7), 0.0) is Verdict.ASTRAY


def test_copies_cost_little(tiny_codec):
    voice, sizes = speech_like(3.0), {}
    for copies in (0, 1):
        sender = Sender(tiny_codec, tiny_codec.rates[-1], redundancy=copies)
        sizes[copies] = sum(map(len, sender.push(voice)))
    assert sizes[0] < sizes[1] < 1.6 * sizes[0]
    assert lowest_rate(tiny_codec).base_levels == 3


def test_several_frames_in_a_packet(tiny_codec):
    call = Simulation(tiny_codec, frames=3, redundancy=3)
    call.run(3)
    report = call.sides[B].snapshot(call.now)
    assert 40 < report.received_packets < 60
    assert report.played_frames > 120
    assert report.concealed_frames == 0


def test_silence_sends_next_to_nothing_and_a_talkspurt_is_marked(tiny_codec):
    voice = np.concatenate([speech_like(1.0), np.zeros(32000, np.float32), speech_like(1.0)])
    sender = Sender(tiny_codec, tiny_codec.rates[0], redundancy=2, sequence=65530, timestamp=2**32 - 640)
    packets = [RtpPacket.parse(data) for data in sender.push(voice)]
    assert len(packets) < 50 + 51 + 12
    marked = [number for number, packet in enumerate(packets) if packet.marker]
    assert marked[0] == 0
    assert len(marked) == 2
    first, second = (packets[number] for number in marked)
    assert (second.timestamp - first.timestamp) & 0xFFFFFFFF == 48000
    sequences = np.array([packet.sequence for packet in packets])
    assert (np.diff(sequences) % 65536 == 1).all()
    assert sender.push(np.zeros(100, np.float32)) == []


def test_silence_is_heard_as_silence(tiny_codec):
    voice = np.concatenate([speech_like(1.0), np.zeros(16000, np.float32)] * 3)
    call = Simulation(tiny_codec, voice=voice)
    call.run(4)
    report = call.sides[B].snapshot(call.now)
    assert report.concealed_frames == 0
    levels = np.abs(call.sound(B)).reshape(-1, 160).max(axis=1)
    assert (levels == 0).sum() > 100
    assert levels.max() > 0.01


@pytest.mark.parametrize("spoken", [159, 161])
def test_a_microphone_faster_or_slower_than_the_speaker_is_followed(tiny_codec, spoken):
    """One sample in 160, sixty times what sound cards differ by: without stretching 60 ms in ten seconds."""
    sender, voice = Sender(tiny_codec, tiny_codec.rates[0]), speech_like(10.5)
    receiver = Receiver(tiny_codec, sender.header, sender.spare_levels, JitterSettings(16000, tiny_codec.hop_samples))
    delays = []
    for step in range(1000):
        now = step * STEP_S
        for data in sender.push(voice[step * spoken : (step + 1) * spoken]):
            receiver.receive(RtpPacket.parse(data), now)
        assert len(receiver.pull(160, now)) == 160
        delays.append(receiver.jitter.delay_s)
    assert np.ptp(delays[300:]) < 0.045
    assert receiver.concealed_frames < 10


def test_hanging_up_ends_both_sides(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    call._post(A, call.sides[A].hang_up())
    call.run(0.2)
    assert call.sides[A].report.ended == "hung up"
    assert call.sides[B].report.ended == "the other side hung up"


def test_a_side_that_vanishes_ends_the_call(tiny_codec):
    call = Simulation(tiny_codec)
    call.run(1)
    call.links[A].impairment.badness = Badness(loss=1.0)
    call.run(11)
    assert call.sides[B].report.ended == "the other side fell silent"


def test_wrong_addresses_are_usage_errors():
    from audiocodec.cli.calling import address

    assert address("5004", None) == ("", 5004)
    assert address("127.0.0.1:0", None) == ("127.0.0.1", 0)
    assert address(None, "[::1]:99") == ("::1", 99)
    for listen, connect in ((None, None), ("1", "a:1"), ("x", None), ("70000", None), (None, "5004"), (None, "a:0")):
        with pytest.raises(UsageError):
            address(listen, connect)


def test_the_screen_shows_a_call(tiny_codec):
    from rich.console import Console

    from audiocodec.cli.call_view import Rates, table

    call = Simulation(tiny_codec)
    waiting = call.sides[B].snapshot(0.0)
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(waiting, 0, 0))
    call.run(3)
    report, rates = call.sides[B].snapshot(call.now), Rates()
    assert rates.of(report, 0.0) == (0.0, 0.0)
    console.print(table(report, *rates.of(report, 2.0)))
    text = console.export_text()
    for words in ("waiting", "192.0.2.1", "9 levels", "lost 0.0 %", "jitter"):
        assert words in text
    assert "192.0.2.1" in report.line()
