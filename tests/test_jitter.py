"""The jitter buffer: in order, in time, never waiting, never growing, whatever the network does."""

from __future__ import annotations

import numpy as np
import pytest
from badnetwork import Badness
from call_helpers import FRAME_S, HOP, RATE, SETTINGS, Listening
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.live.jitter import JitterBuffer, JitterSettings, SlotKind, Verdict


def test_a_perfect_network_costs_little_delay_and_loses_nothing():
    one = Listening(Badness(delay_s=0.1))
    one.run(20)
    assert one.numbers == list(range(len(one.numbers)))
    assert one.share(SlotKind.LOST) == 0
    assert one.latencies[-1] < 0.1 + FRAME_S + 0.04
    assert one.buffer.arrivals.lost == 0


@pytest.mark.parametrize("jitter_s", [0.03, 0.1])
def test_jitter_is_waited_for(jitter_s):
    one = Listening(Badness(delay_s=0.05, jitter_s=jitter_s))
    one.run(60)
    assert one.numbers == sorted(set(one.numbers))
    assert one.share(SlotKind.FRAME, of=200) > 0.98
    assert np.median(one.latencies[500:]) < 0.05 + FRAME_S + jitter_s + 0.035


def test_delay_comes_down_again_when_the_network_calms():
    one = Listening(Badness(jitter_s=0.2))
    one.run(20)
    rough = one.latencies[-1]
    one.link.impairment.badness = Badness()
    one.run(30)
    assert one.latencies[-1] < 0.08 < rough


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("delay_s", [None, 0.06])
@pytest.mark.parametrize("step_s", [0.03, 0.1, 0.5, 1.5])
def test_a_network_that_becomes_slower_for_good_is_heard_again_soon(delay_s, step_s, frames):
    one = Listening(Badness(delay_s=0.03), setup=JitterSettings(RATE, HOP, delay_s=delay_s), frames=frames)
    one.run(10)
    one.link.impairment.badness = Badness(delay_s=0.03 + step_s)
    before = len(one.slots)
    one.run(step_s + 1.5)
    assert one.share(SlotKind.FRAME, of=before + round((step_s + 0.5) / 0.02)) > 0.9
    assert one.numbers == sorted(set(one.numbers))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("delay_s", [None, 0.06])
def test_a_queue_that_fills_is_followed_and_one_that_empties_too(delay_s, frames):
    """A second of delay comes within five, as where somebody uploads a film, and goes as it came."""
    one = Listening(Badness(delay_s=0.03), setup=JitterSettings(RATE, HOP, delay_s=delay_s), frames=frames)
    one.run(5)
    for step in [*range(50), *range(50, 0, -1)]:
        one.link.impairment.badness = Badness(delay_s=0.03 + 0.02 * step)
        one.run(0.1)
    assert one.share(SlotKind.FRAME) > 0.7
    one.run(20)  # until it is forgotten, of 256 packets
    assert one.numbers == sorted(set(one.numbers))
    assert one.latencies[-1] < 0.03 + frames * FRAME_S + 0.1


@pytest.mark.parametrize("delay_s", [None, 0.06])
@pytest.mark.parametrize("skew", [-1e-3, 1e-3])
def test_clocks_that_drift_apart_are_followed_where_nothing_can_be_stretched(delay_s, skew):
    """Noise has no period to leave out or repeat; a frame now and then is concealed, or left out, instead."""
    one = Listening(Badness(delay_s=0.03), setup=JitterSettings(RATE, HOP, delay_s=delay_s), skew=skew)
    one.run(300, stretch=False)
    assert one.share(SlotKind.FRAME, of=100) > 0.99
    assert max(one.latencies) < 0.6


@pytest.mark.parametrize("skew", [-1e-3, -1e-4, 1e-4, 1e-3])
def test_clocks_that_drift_apart_stay_in_step(skew):
    """A thousandth is ten times what sound cards have; in five minutes it is 300 ms."""
    one = Listening(Badness(delay_s=0.02, jitter_s=0.01), skew=skew)
    one.run(300)
    assert one.share(SlotKind.FRAME, of=100) > 0.99
    assert max(one.latencies[500:]) < 0.12
    assert np.ptp(one.latencies[500:]) < 0.06


def test_numbers_wrap_without_a_trace():
    one = Listening(Badness(jitter_s=0.03), sequence=0xFFF0, timestamp=0xFFFFFFFF - 20 * HOP + 1)
    one.run(5)
    assert one.numbers == list(range(len(one.numbers)))
    assert one.buffer.arrivals.lost == 0
    assert one.buffer.astray == 0


def test_copies_take_the_place_of_what_is_lost():
    """At a loss of 10 % two copies leave a thousandth missing, and concealment the rest."""
    bad = Badness(loss=0.1, jitter_s=0.03, duplicates=0.02)
    without, with_two = Listening(bad), Listening(bad, spares=2)
    for one in (without, with_two):
        one.run(60)
        assert one.numbers == sorted(set(one.numbers))
    assert 0.06 < without.share(SlotKind.LOST, of=200) < 0.14
    assert with_two.share(SlotKind.LOST, of=200) < 0.02
    assert with_two.share(SlotKind.SPARE, of=200) > 0.06
    assert abs(with_two.buffer.arrivals.lost / with_two.buffer.arrivals.expected - 0.1) < 0.02
    assert with_two.buffer.duplicates > 0


@pytest.mark.parametrize("copies", [0, 1])
def test_what_no_delay_catches_is_not_waited_for(copies):
    """Every tenth packet is half a second late; a copy of it comes with the next."""
    one = Listening(Badness(), spares=copies)
    on_the_way = one.link.send
    one.link.send = lambda thing, now: on_the_way(thing, now + (0.5 if thing[0] % 10 == 3 else 0.0))
    one.run(30)
    assert one.buffer.wanted_s <= 0.02 + 0.02 * copies
    assert one.latencies[-1] < 0.06 + 0.02 * copies
    assert one.share(SlotKind.LOST, of=100) == pytest.approx(0.0 if copies else 0.1, abs=0.005)


def test_copies_are_waited_for_as_long_as_bursts_last_and_not_as_many_as_there_are():
    delays = {}
    for burst in (1.0, 3.0):
        one = Listening(Badness(loss=0.05, burst=burst), spares=15)
        one.run(60)
        assert one.share(SlotKind.LOST, of=100) < 0.01
        delays[burst] = np.median(one.latencies)
    assert delays[1.0] < 0.1  # of two in a row
    assert 0.12 < delays[3.0] < 0.22


def test_a_single_burst_is_no_reason_to_wait_for_so_many_copies():
    one = Listening(Badness(loss=0.02), spares=15)
    one.run(5)
    one.link.impairment.badness = Badness(loss=1.0)
    one.run(0.2)
    one.link.impairment.badness = Badness(loss=0.02)
    one.run(5)
    assert max(one.latencies) < 0.11


def test_packets_that_overtake_each_other_are_not_missing():
    waited = {}
    for copies in (0, 2):
        one = Listening(Badness(jitter_s=0.08), spares=copies)
        one.run(30)
        waited[copies] = np.median(one.latencies)
    assert waited[2] < waited[0] + 0.005


@pytest.mark.parametrize("frames", [2, 3])
def test_packets_of_several_frames(frames):
    one = Listening(Badness(jitter_s=0.01), frames=frames)
    one.run(20)
    assert one.numbers == list(range(len(one.numbers)))


def test_a_fixed_delay_is_kept_and_what_comes_later_is_not_waited_for():
    one = Listening(Badness(jitter_s=0.1), setup=JitterSettings(RATE, HOP, delay_s=0.05))
    one.run(30)
    assert one.buffer.late > 50
    assert one.numbers == sorted(set(one.numbers))
    assert abs(np.median(one.latencies[300:]) - FRAME_S - 0.05) < 0.025


def test_a_network_that_stalls_and_then_delivers_costs_no_frames():
    buffer, played = JitterBuffer(SETTINGS), []
    now = 0.0
    for number in range(400):
        now = number * FRAME_S
        if not 100 <= number < 110:  # 200 ms, all of which comes at once
            buffer.put(number, number * HOP, [number], now=now)
        if number == 110:
            for late in range(100, 110):
                buffer.put(late, late * HOP, [late], now=now)
        slot = buffer.take(now)
        if slot.kind is SlotKind.FRAME:
            played.append(slot.item)
    assert played == sorted(played)
    assert len(set(range(90, 120)) - set(played)) == 0


@pytest.mark.parametrize(("apart_s", "waited_for"), [(1.0, True), (20.0, False)])
def test_standstills_that_come_again_are_waited_for_and_a_single_one_is_not(apart_s, waited_for):
    buffer, held, wanted = JitterBuffer(SETTINGS), [], []
    for number in range(1500):
        now = number * FRAME_S
        held.append(number)
        if now % apart_s >= 0.2 or now < 5:  # for 200 ms nothing comes, then all of it
            for one in held:
                buffer.put(one, one * HOP, [one], now=now)
            held = []
        buffer.take(now)
        wanted.append(buffer.wanted_s)
    assert (np.median(wanted[500:]) > 0.15) == waited_for
    assert buffer.late == 0


def test_silence_ends_and_begins_without_loss():
    buffer, slots = JitterBuffer(SETTINGS), []
    sequence = 0
    for number in range(300):
        now = number * FRAME_S
        talking = number % 100 < 40
        if talking:
            buffer.put(sequence, number * HOP, [number], now=now)
            sequence += 1
        elif number % 100 == 40:
            buffer.put(sequence, number * HOP, [], now=now)
            sequence += 1
        slots.append(buffer.take(now))
    assert all(slot.kind is not SlotKind.LOST for slot in slots)
    assert [slot.item for slot in slots if slot.item is not None] == [n for n in range(300) if n % 100 < 40]


def test_a_sender_that_falls_silent_without_a_word_leaves_silence():
    one = Listening(Badness())
    one.run(2)
    one.link.impairment.badness = Badness(loss=1.0)
    one.run(3)
    assert one.slots[-1].kind is SlotKind.SILENCE
    one.link.impairment.badness = Badness()
    one.run(2)
    assert one.slots[-1].kind is SlotKind.FRAME


def test_a_packet_from_elsewhere_is_ignored_and_three_are_a_new_beginning():
    buffer = JitterBuffer(SETTINGS)
    for number in range(20):
        buffer.put(number, number * HOP, [number], now=number * FRAME_S)
    assert buffer.put(20, 20 * HOP + 7, ["odd"], now=0.4) is Verdict.ASTRAY
    assert buffer.put(20, 20 * HOP + HOP * 10**6, ["far"], now=0.4) is Verdict.ASTRAY
    assert buffer.put(20, 20 * HOP, [20], now=0.4) is Verdict.KEPT
    verdicts = [buffer.put(30000 + n, 10**9 + n * HOP, [n], now=0.5) for n in range(3)]
    assert verdicts == [Verdict.ASTRAY, Verdict.ASTRAY, Verdict.KEPT]


def test_packets_that_come_when_all_is_over_are_late_and_no_new_beginning():
    buffer = JitterBuffer(SETTINGS)
    held_up = (20, 21, 22)
    for number in range(200):
        if number not in held_up:
            buffer.put(5000 + number, number * HOP, [number], now=number * FRAME_S)
        buffer.take(number * FRAME_S)
    wanted_s = buffer.wanted_s
    for number in held_up:
        assert buffer.put(5000 + number, number * HOP, [number], now=4.0) is Verdict.LATE
    assert (buffer.late, buffer.astray, buffer.arrivals.lost) == (3, 0, 0)
    assert buffer.put(5000 + held_up[0], held_up[0] * HOP, [0], now=4.0) is Verdict.DUPLICATE
    assert buffer.wanted_s == wanted_s  # they say nothing of how late others will be
    assert buffer.put(5200, 200 * HOP, [200], now=4.0) is Verdict.KEPT
    assert buffer.take(4.0).item is not None
    # The number of a packet a thousand before, and the time of one a hundred before: they agree with each other alone.
    verdicts = [buffer.put(4200 + n, (100 + n) * HOP, [n], now=4.1) for n in range(3)]
    assert verdicts == [Verdict.ASTRAY, Verdict.ASTRAY, Verdict.KEPT]


U32 = st.integers(0, 0xFFFFFFFF)
PACKETS = st.tuples(
    st.integers(0, 60), st.floats(0, 0.05), st.integers(0, 3), st.integers(0, 4), st.booleans()
)  # which one, how long after the one before, frames, spares, whether the speaker asks


@settings(max_examples=200, deadline=None)
@given(st.lists(PACKETS, max_size=80), st.sampled_from([None, 0.0, 0.06]), U32)
def test_whatever_comes_nothing_is_played_out_of_order_or_twice(packets, delay_s, start):
    buffer = JitterBuffer(JitterSettings(RATE, HOP, delay_s=delay_s))
    now, played = 0.0, []
    for number, pause, frames, spares, asked in packets:
        now += pause
        place = number * 3
        buffer.put(
            number,
            (start + place * HOP) & 0xFFFFFFFF,
            [place + n for n in range(frames)],
            [place - spares + n for n in range(spares)],
            now=now,
        )
        assert len(buffer) <= 2 * (0.4 + 1.0) / FRAME_S
        if asked:
            played.append(buffer.take(now))
    for step in range(200):
        played.append(buffer.take(now + step * FRAME_S))
    numbers = [slot.item for slot in played if slot.item is not None]
    if buffer.astray < 3:
        assert numbers == sorted(set(numbers))
    assert not len(buffer)  # four seconds after the last packet all of it was played or given up
    assert played[-1].kind is SlotKind.SILENCE


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), U32, st.floats(0, 5), st.integers(0, 3)), max_size=100))
def test_hostile_numbers_neither_fill_nor_stop_it(packets):
    buffer, now = JitterBuffer(SETTINGS), 0.0
    for sequence, timestamp, pause, frames in packets:
        now += pause
        buffer.put(sequence, timestamp, [0] * frames, [0] * frames, now=now)
        assert len(buffer) <= 2 * (0.4 + 1.0) / FRAME_S + 2
        slot = buffer.take(now)
        assert (slot.item is None) == (slot.kind in (SlotKind.LOST, SlotKind.SILENCE))
        assert abs(slot.pace) <= (slot.item is not None)
        assert 0 <= buffer.wanted_s <= SETTINGS.most_s


def test_nothing_grows():
    one = Listening(Badness(loss=0.05, jitter_s=0.05, duplicates=0.05), spares=1)
    one.run(60)
    sizes = []
    for _ in range(10):
        one.slots, one.latencies = [], []
        one.run(30)
        arrivals = one.buffer.arrivals
        sizes.append(len(one.buffer) + len(arrivals._seen) + len(arrivals._order) + len(arrivals._transits))
        sizes[-1] += len(arrivals._missing._numbers)
    assert max(sizes) < 1024 * 2 + 256 + 80 + 102
