"""The header: small, bounded, checked, and honest about versions."""

from __future__ import annotations

import binascii
import dataclasses

import pytest
from bitstream_helpers import make_header
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.bitstream import SOURCE_BITS, TITLE, StreamHeader, StreamReader
from audiocodec.bitstream.header import MAGIC, MAX_HEADER
from audiocodec.errors import BitstreamError


def resealed(data: bytes) -> bytes:
    """The header with its checksum made right again, after a change to its fields."""
    return data[:-4] + binascii.crc32(data[:-4]).to_bytes(4, "big")


def test_everything_fits_44_bytes() -> None:
    assert len(make_header(levels=(9,) * 24, total_samples=10**9, pre_skip=320, pre_roll=20).pack()) <= 44


HEADERS = st.builds(
    make_header,
    fingerprint=st.binary(min_size=8, max_size=8),
    sample_rate=st.integers(1, 1 << 24),
    channels=st.integers(1, 255),
    hop_samples=st.integers(1, 1 << 20),
    block_frames=st.integers(1, 65536),
    levels=st.lists(st.one_of(st.integers(1, 3), st.integers(1, 65535)), min_size=1, max_size=256).map(tuple),
    mode=st.sampled_from(["raw", "range"]),
    total_samples=st.one_of(st.none(), st.integers(0, (1 << 40) - 2)),
    source_rate=st.integers(1, 1 << 24),
    pre_skip=st.integers(0, 1 << 24),
    pre_roll=st.integers(0, 1 << 20),
    packet_frames=st.integers(0, 10).map(lambda power: 1 << power),
    records=st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=40)), max_size=4).map(tuple),
)


LEVEL = st.one_of(st.integers(1, 3), st.integers(1, 65535))
COUPLED = st.builds(
    lambda header, pairs: dataclasses.replace(
        header, channels=2, levels=tuple(a for a, _ in pairs), side_levels=tuple(b for _, b in pairs)
    ),
    HEADERS,
    st.lists(st.tuples(LEVEL, st.one_of(st.just(1), LEVEL)), min_size=1, max_size=256),
)


@settings(max_examples=120, deadline=None)
@given(st.one_of(HEADERS, COUPLED), st.binary(max_size=10))
def test_round_trip(header: StreamHeader, behind: bytes) -> None:
    data = header.pack()
    assert StreamHeader.unpack(data + behind) == (header, len(data))
    assert len(dataclasses.replace(header, total_samples=None).pack()) == len(data)  # so that it can be patched


def test_records_are_kept_and_may_be_unknown() -> None:
    header = make_header(records=((TITLE, "Grüße".encode()), (SOURCE_BITS, b"\x18"), (999, b"later")))
    again, _ = StreamHeader.unpack(header.pack())
    assert again.title == "Grüße"
    assert dict(again.records)[SOURCE_BITS] == b"\x18"


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 0},
        {"levels": ()},
        {"levels": (0,)},
        {"levels": (65536,)},
        {"levels": (2,) * 257},
        {"fingerprint": b"short"},
        {"mode": "zip"},
        {"packet_frames": 3},
        {"packet_frames": 2048},
        {"total_samples": 1 << 40},
        {"sample_rate": 0},
        {"source_rate": 1 << 25},
        {"hop_samples": 0},
    ],
)
def test_values_out_of_bounds_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BitstreamError):
        make_header(**changes)


def test_header_too_long_is_refused() -> None:
    with pytest.raises(BitstreamError, match="long"):
        make_header(records=((TITLE, bytes(MAX_HEADER)),)).pack()


@pytest.mark.parametrize("coupled", [{}, {"channels": 2, "side_levels": (3, 3, 1, 1, 1)}])
def test_every_cut_and_every_flipped_bit_is_noticed(coupled: dict[str, object]) -> None:
    data = make_header(records=((TITLE, b"name"),), **coupled).pack()
    for size in range(len(data)):
        with pytest.raises(BitstreamError):
            StreamHeader.unpack(data[:size])
    for bit in range(8 * len(data)):
        if bit // 8 == 8 and bit % 8 < 4:
            continue  # the minor version: any is read, and the checksum, which covers it, is tested below
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError) as caught:
            StreamHeader.unpack(bytes(bad))
        assert caught.value.position is not None
    bad = bytearray(data)
    bad[8] ^= 1
    with pytest.raises(BitstreamError, match="checksum"):
        StreamHeader.unpack(bytes(bad))


def test_versions() -> None:
    data = bytearray(make_header().pack())
    data[8] = 0x1F
    assert StreamHeader.unpack(resealed(bytes(data)))[0] == make_header()  # an unknown minor is read
    data[8] = 0x30
    with pytest.raises(BitstreamError, match=r"version 3\.0.*update"):
        StreamHeader.unpack(resealed(bytes(data)))


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(HEADERS, COUPLED), st.lists(st.tuples(st.integers(8, 16384), st.integers(0, 255)), min_size=1, max_size=5)
)
def test_fields_that_lie_under_a_right_checksum_give_a_header_or_are_refused(
    header: StreamHeader, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(header.pack())
    for at, value in changes:
        data[8 + at % (len(data) - 12)] = value
    try:
        again, size = StreamHeader.unpack(resealed(bytes(data)))
    except BitstreamError:
        return
    assert StreamHeader.unpack(again.pack())[0] == again  # what was read can be said
    assert size == len(data)


def test_reserved_bits_are_checked() -> None:
    data = bytearray(make_header().pack())
    for flags in (data[10] | 2, data[10] | 8, 0xB1):
        bad = bytearray(data)
        bad[10] = flags
        with pytest.raises(BitstreamError, match="reserved"):
            StreamHeader.unpack(resealed(bytes(bad)))


def test_text_mode_is_named_as_the_cause() -> None:
    with pytest.raises(BitstreamError, match="line endings"):
        StreamHeader.unpack(make_header().pack().replace(b"\r\n", b"\n"))
    with pytest.raises(BitstreamError, match=r"not a \.vpc"):
        StreamHeader.unpack(b"RIFF....WAVEfmt ")
    assert len(MAGIC) == 8


def test_a_reader_does_not_wait_for_a_header_that_cannot_be() -> None:
    reader = StreamReader(lambda header: None)
    with pytest.raises(BitstreamError, match=r"not a \.vpc"):
        reader.push(b"R")
    reader = StreamReader(lambda header: None)
    with pytest.raises(BitstreamError, match="more than a header"):
        reader.push(MAGIC + b"\x10\xff\xff\x7f")


def test_total_frames_hold_length_and_delay() -> None:
    assert make_header(total_samples=0).total_frames == 0
    assert make_header(total_samples=None).total_frames is None
    assert make_header(total_samples=1).total_frames == 1
    assert make_header(total_samples=44100, pre_skip=0).total_frames == 50
    assert make_header(total_samples=44100, pre_skip=1).total_frames == 51
