"""Streams: the same events for any cutting, damage that costs only itself, nothing but BitstreamError."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from bitstream_helpers import (
    LEVELS,
    comparable,
    make_file,
    make_header,
    random_tokens,
    read_all,
    samples_for,
    small_model,
    tokens_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.bitstream import (
    End,
    Frames,
    Header,
    Lost,
    PacketEncoder,
    Silence,
    StreamHeader,
    StreamReader,
)
from audiocodec.bitstream.packet import MAX_RUN_FRAMES, Kind, seal
from audiocodec.bitstream.varint import pack_varint
from audiocodec.errors import BitstreamError

MODEL = small_model()
HEADER = make_header()
TOKENS = random_tokens(130)
STREAM = make_file(HEADER, TOKENS, model=MODEL)
START = len(HEADER.pack())


def packets_of(header: StreamHeader, tokens: np.ndarray, packet: int) -> list[bytes]:
    encoder = PacketEncoder(header, MODEL)
    return [encoder.frames(first, tokens[first : first + packet]) for first in range(0, len(tokens), packet)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from(["raw", "range"]),
    st.integers(1, 40),
    st.integers(0, 90),
    st.integers(0, 1000),
    st.lists(st.integers(0, 2000), max_size=10),
)
def test_round_trip(channels: int, mode: str, packet: int, frames: int, seed: int, cuts: list[int]) -> None:
    header = make_header(channels=channels, mode=mode)
    tokens = random_tokens(frames, channels, seed=seed)
    data = make_file(header, tokens, packet, MODEL)
    events = read_all(data, MODEL, [min(cut, len(data)) for cut in cuts])
    assert isinstance(events[0], Header)
    assert events[-1] == End(samples_for(header, frames))
    assert not any(isinstance(event, Lost) for event in events)
    assert frames == 0 or np.array_equal(tokens_of(events), tokens)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cuttings_and_mutations_give_the_same_events(data: st.DataObject) -> None:
    stream = bytearray(STREAM)
    for _ in range(data.draw(st.integers(0, 4))):
        stream[data.draw(st.integers(START, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=30))
    whole, pieces = read_all(bytes(stream), MODEL), read_all(bytes(stream), MODEL, cuts)
    assert comparable(whole) == comparable(pieces)
    assert comparable(whole) == comparable(read_all(bytes(stream), MODEL, list(range(len(stream)))))


def test_overhead_of_packets() -> None:
    def overhead(frames: int, first: int) -> int:
        header = make_header(mode="raw", levels=(256,) * 3)
        tokens = np.zeros((frames, 1, 3), np.int64)
        return len(PacketEncoder(header).frames(first, tokens)) - 3 * frames

    assert overhead(1, 100) == 7  # live, the first seconds
    assert overhead(5, 10000) == 8
    assert overhead(200, 10000) == 10
    assert len(PacketEncoder(HEADER).silence(10000, 100)) == 7


def test_range_pays_and_is_what_these_streams_use() -> None:
    assert len(STREAM) < 0.95 * len(make_file(make_header(mode="raw"), TOKENS))
    assert STREAM[START + 1] & 3 == Kind.RANGE


def test_range_never_costs_more_than_raw() -> None:
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, LEVELS, (200, 1, 5))  # nothing to predict
    raw = make_file(make_header(mode="raw"), tokens)
    assert len(make_file(HEADER, tokens, model=MODEL)) <= len(raw)


def test_equal_channels_are_coded_once() -> None:
    tokens = random_tokens(100)
    two = make_header(channels=2)
    data = make_file(two, np.repeat(tokens, 2, axis=1), 100, MODEL)
    assert len(data) <= len(make_file(HEADER, tokens, 100, MODEL)) + 1
    assert np.array_equal(tokens_of(read_all(data, MODEL)), np.repeat(tokens, 2, axis=1))


def test_silence_and_live_end() -> None:
    encoder = PacketEncoder(HEADER, MODEL)
    data = HEADER.pack() + encoder.silence(0, 10) + encoder.frames(10, TOKENS[:4]) + encoder.silence(14, 40000)
    events = read_all(data, MODEL)
    assert events[1] == Silence(0, 10)
    assert isinstance(events[2], Frames)
    assert events[2].first_frame == 10
    runs = [event for event in events[3:] if isinstance(event, Silence)]
    assert sum(run.frames for run in runs) == 40000
    assert max(run.frames for run in runs) <= MAX_RUN_FRAMES
    assert events[-1] == End(None)
    assert isinstance(events[-2], Lost)
    assert "without an end" in events[-2].reason


def test_each_damaged_packet_costs_only_itself() -> None:
    packets = packets_of(HEADER, TOKENS, 20)
    at = START
    for number, packet in enumerate(packets):
        for offset in (0, 1, 2, 3, len(packet) // 2, len(packet) - 1):
            bad = bytearray(STREAM)
            bad[at + offset] ^= 0x55
            events = read_all(bytes(bad), MODEL)
            lost = [event for event in events if isinstance(event, Lost)]
            frames = min(20, len(TOKENS) - 20 * number)
            assert [(e.first_frame, e.position) for e in lost] == [(20 * number, at)]
            # Damage in the last packet shows at the end of the stream, whose length the header gives.
            assert lost[0].frames in (frames, 0 if number == len(packets) - 1 else frames)
            kept = np.concatenate([TOKENS[: 20 * number], TOKENS[20 * number + 20 :]])
            assert np.array_equal(tokens_of(events), kept)
        at += len(packet)


def test_lost_inserted_repeated_and_swapped_packets() -> None:
    packets = packets_of(HEADER, TOKENS, 20)
    head = STREAM[:START]

    def lost(order: list[bytes]) -> list[tuple[int, int]]:
        events = read_all(head + b"".join(order), MODEL)
        return [(e.first_frame, e.frames) for e in events if isinstance(e, Lost)]

    assert lost(packets) == []
    assert lost(packets[:2] + packets[3:]) == [(40, 20)]
    assert lost([*packets[:2], b"some junk", *packets[2:]]) == [(40, 0)]
    assert lost([*packets[:3], packets[1], *packets[3:]]) == [(60, 0)]
    assert lost([packets[0], packets[2], packets[1], *packets[3:]]) == [(20, 20), (60, 0)]
    assert lost([*packets, b"more"]) == [(130, 0)]


def test_cut_streams_say_so_and_give_what_they_hold() -> None:
    sizes = np.cumsum([START] + [len(packet) for packet in packets_of(HEADER, TOKENS, 20)])
    for size in range(START, len(STREAM), 7):
        events = read_all(STREAM[:size], MODEL)
        whole = int(np.searchsorted(sizes, size, side="right")) - 1
        assert sum(len(e.indices) for e in events if isinstance(e, Frames)) == 20 * whole
        assert any(isinstance(e, Lost) and "early" in e.reason for e in events)
    for size in range(START):
        with pytest.raises(BitstreamError, match="within its header"):
            read_all(STREAM[:size], MODEL)


def test_packets_of_another_configuration_do_not_fit() -> None:
    other = make_header(levels=(9, 5, 1, 33, 3))
    stray = PacketEncoder(other).frames(0, random_tokens(20, levels=other.levels))
    events = read_all(HEADER.pack() + stray, MODEL)
    assert not any(isinstance(event, Frames) for event in events)


def test_tables_that_are_missing_are_told() -> None:
    with pytest.raises(BitstreamError, match="no tables"):
        read_all(make_header(levels=(4, 4, 1, 4, 4)).pack(), MODEL)
    with pytest.raises(BitstreamError, match="no tables"):
        read_all(STREAM, None)


def test_claims_are_checked_before_they_cost_anything() -> None:
    header = make_header(levels=(1,) * 5, mode="raw")
    seed = header.packet_seed
    hour = 1 << 60
    claims = [
        seal(Kind.SILENCE, pack_varint(0) + pack_varint(hour), seed),
        seal(Kind.RAW, pack_varint(0) + pack_varint(hour) + pack_varint(0), seed),
        seal(Kind.RANGE, pack_varint(0) + pack_varint(5) + pack_varint(hour), seed),
        seal(Kind.END, pack_varint(0) + pack_varint(hour), seed),
        seal(Kind.SILENCE, pack_varint(hour) + pack_varint(5), seed),
        seal(Kind.END, pack_varint(0) + pack_varint(6) + b"\x05\xff\xff\x0e\0\0", seed),
    ]
    tracemalloc.start()
    for claim in claims:
        for event in read_all(header.pack() + claim):
            assert getattr(event, "frames", 0) <= MAX_RUN_FRAMES
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_many_false_packet_starts_take_time_in_proportion() -> None:
    # Each claims the longest payload there is, so that a checksum over each would cost the square of the length.
    header = make_header(levels=(65535,) * 64, mode="raw")
    start = seal(Kind.RAW, pack_varint(0) + pack_varint(511) + pack_varint(512 * 128), header.packet_seed)[:-2]

    def seconds(count: int) -> float:
        began = time.process_time()
        read_all(header.pack() + start * count)
        return time.process_time() - began

    seconds(1000)
    assert seconds(60000) < 5.0


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_header(data: bytes) -> None:
    events = read_all(STREAM[:START] + data, MODEL)
    assert isinstance(events[-1], End)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        read_all(data, MODEL)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2), st.binary(max_size=40), st.integers(0, 200), st.integers(0, 20), st.booleans())
def test_any_payload_with_a_right_checksum(kind: int, payload: bytes, first: int, frames: int, long: bool) -> None:
    header = make_header(channels=2)
    fields = pack_varint(first) + pack_varint(frames) + pack_varint(len(payload)) + payload
    events = read_all(header.pack() + seal(kind | (4 if long else 0), fields, header.packet_seed), MODEL)
    assert isinstance(events[-1], End)
    for event in events:
        if isinstance(event, Frames):
            assert ((event.indices >= 0) & (event.indices < np.array(LEVELS))).all()


def test_a_closed_reader_takes_no_more() -> None:
    reader = StreamReader(lambda header: MODEL)
    reader.push(STREAM)
    assert reader.close()[-1] == End(samples_for(HEADER, 130))
    assert reader.close() == []
    with pytest.raises(ValueError, match="closed"):
        reader.push(b"")


def test_indices_outside_their_levels_are_our_own_mistake() -> None:
    encoder = PacketEncoder(HEADER, MODEL)
    absent = np.array([[[int(count == 1) for count in LEVELS]]])
    assert absent.any()
    for bad in (np.full((1, 1, 5), 9), np.full((1, 1, 5), -1), absent):
        with pytest.raises(ValueError, match="outside its levels"):
            encoder.frames(0, bad)
    for bad in (np.zeros((1, 2, 5), int), np.zeros((1, 5), int)):
        with pytest.raises(ValueError, match="shape"):
            encoder.frames(0, bad)
