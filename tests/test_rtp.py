"""RTP packets, payloads and messages: what goes in comes out, and no bytes whatever do more than be refused."""

from __future__ import annotations

import numpy as np
import pytest
from bitstream_helpers import LEVELS, OTHER_LEVELS, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec.bitstream.header import StreamHeader
from audiocodec.errors import BitstreamError
from audiocodec.live import control
from audiocodec.live.control import Bye, Hello, Ping, Refusal, Refuse
from audiocodec.live.payload import Contents, PayloadFormat
from audiocodec.live.rtp import RtpPacket, Unwrapper, is_rtp

HEADER = StreamHeader(bytes(range(8)), 16000, 1, 320, 1, LEVELS, "range", None, 16000, 160, 20, 16)
U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@settings(deadline=None)
@given(U16, U32, U32, st.binary(max_size=64), st.booleans(), st.integers(0, 127))
def test_an_rtp_packet_comes_back(sequence, timestamp, ssrc, payload, marker, kind):
    packet = RtpPacket(sequence, timestamp, ssrc, payload, marker, kind)
    assert RtpPacket.parse(packet.pack()) == packet
    assert is_rtp(packet.pack())
    assert len(packet.pack()) == 12 + len(payload)


def test_the_bytes_are_those_of_rfc_3550():
    packet = RtpPacket(0x1234, 0x89ABCDEF, 0x01020304, b"voice", marker=True)
    assert packet.pack() == bytes.fromhex("80e1123489abcdef01020304") + b"voice"


def test_padding_extension_and_contributing_sources_of_others_are_skipped():
    fixed = bytes.fromhex("b261123489abcdef01020304")  # padding, extension, two sources
    data = fixed + bytes(8) + bytes.fromhex("beef0001") + bytes(4) + b"voice" + b"\0\0\3"
    assert RtpPacket.parse(data).payload == b"voice"


@pytest.mark.parametrize("data", [b"", b"\x80" * 11, bytes(12), bytes.fromhex("b0") + bytes(11)])
def test_what_is_no_rtp_is_refused(data):
    with pytest.raises(BitstreamError):
        RtpPacket.parse(data)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_an_error(data):
    try:
        packet = RtpPacket.parse(data)
    except BitstreamError:
        return
    assert len(packet.payload) <= len(data) - 12


@settings(deadline=None)
@given(st.integers(0, 1 << 40), st.lists(st.integers(-30000, 30000), max_size=50))
def test_counters_unwrap(start, steps):
    unwrapper = Unwrapper(16)
    unwrapper.advance(start)
    true = start
    for step in steps:
        value = unwrapper.near((true + step) & 0xFFFF)
        assert value == true + step
        unwrapper.advance(value)
        true = max(true, true + step)


def contents(frames: int, spares: int, seed: int = 0) -> Contents:
    rng = np.random.default_rng(seed)
    return Contents(
        rng.integers(0, LEVELS, (frames, 1, len(LEVELS))), rng.integers(0, OTHER_LEVELS, (spares, 1, len(LEVELS)))
    )


@pytest.mark.parametrize("entropy", [None, small_model()])
@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("spares", [0, 1, 15])
def test_a_payload_comes_back(entropy, frames, spares):
    coder = PayloadFormat(HEADER, OTHER_LEVELS, entropy)
    for seed in range(5):
        given = contents(frames, spares, seed)
        back = coder.parse(coder.pack(given))
        np.testing.assert_array_equal(back.frames, given.frames)
        np.testing.assert_array_equal(back.spares, given.spares)
        assert back.silence == (frames == 0)
    assert len(coder.pack(contents(0, 0))) == 1


def test_more_than_a_payload_holds_is_refused():
    coder = PayloadFormat(HEADER, OTHER_LEVELS, None)
    for frames, spares in ((4, 0), (1, 16)):
        with pytest.raises(ValueError, match="do not fit"):
            coder.pack(contents(frames, spares))


@settings(deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_payload_is_indices_or_an_error(data, coded):
    coder = PayloadFormat(HEADER, OTHER_LEVELS, MODEL if coded else None)
    try:
        found = coder.parse(data)
    except BitstreamError:
        return
    assert (found.frames < LEVELS).all()
    assert (found.spares < OTHER_LEVELS).all()
    assert len(found.frames) <= 3
    assert len(found.spares) <= 15


MODEL = small_model()
HELLO = Hello(7, 9, 2, 3, OTHER_LEVELS, HEADER)
MESSAGES = [
    HELLO,
    Refuse(7, Refusal.OTHER_MODEL, bytes(8)),
    Bye(0xFFFFFFFF, 1),
    Ping(3, 0xFFFFFFFF),
    Ping(3, 0, back=True),
]


def test_the_bytes_are_those_of_the_specification():
    """They are what two programs agree on: a change of them is another version."""
    frames = np.array([[[8, 4, 0, 32, 1]], [[0, 1, 0, 7, 0]]])
    coder = PayloadFormat(HEADER, OTHER_LEVELS, None)
    # Two frames raw and one copy; the copy is 2 bytes, raw; rows are numbers to the bases of their levels.
    assert coder.pack(Contents(frames, np.array([[[2, 1, 0, 63, 1]]]))).hex() == "11" + "04" + "7fe0" + "868d5a"
    assert coder.pack(contents(0, 0)).hex() == "80"
    assert Bye(1, 2).pack().hex() == "5650434c13" + "00000001" + "00000002" + "176f5aca"
    words = "00000007" + "00000009" + "23" + "05" + "0500007e02"
    assert HELLO.pack()[:-4] == bytes.fromhex("5650434c11" + words) + HEADER.pack()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_and_any_changed_byte_is_seen(message):
    data = message.pack()
    assert control.parse(data) == message
    assert not is_rtp(data)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        with pytest.raises(BitstreamError):
            control.parse(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(BitstreamError):
            control.parse(data[:end])


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(max_size=120))
def test_any_message_is_one_or_an_error(kind, body):
    """With a checksum that fits, as somebody who means harm would write it."""
    data = control.MAGIC + bytes([kind]) + body
    sealed = data + control.binascii.crc32(data).to_bytes(4, "big")
    for one in (data, sealed):
        try:
            control.parse(one)
        except BitstreamError:
            continue


@settings(deadline=None)
@given(st.integers(0, len(HELLO.pack()) - 5), st.integers(0, 255))
def test_a_hello_with_any_byte_changed_and_a_fitting_checksum_is_one_or_an_error(position, value):
    data = bytearray(HELLO.pack()[:-4])
    data[position] = value
    try:
        found = control.parse(bytes(data) + control.binascii.crc32(data).to_bytes(4, "big"))
    except BitstreamError:
        return
    if isinstance(found, Hello):
        assert found.header == HEADER  # it has a checksum of its own
