"""Mid and side in the format: tokens there and back, a side that is absent, what is hostile or damaged."""

from __future__ import annotations

import binascii
import dataclasses
import io

import numpy as np
import pytest
from bitstream_helpers import (
    LEVELS,
    OTHER_LEVELS,
    coupled_tokens,
    make_file,
    make_header,
    read_all,
    small_model,
    tokens_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import audiocodec
from audiocodec.bitstream import FileReader, Frames, Lost, PacketEncoder, StreamHeader
from audiocodec.bitstream.rawcoder import pack_raw
from audiocodec.codec import Codec
from audiocodec.errors import BitstreamError, ModelError, UsageError
from audiocodec.stereo import MidSide
from audiocodec.streaming import StreamDecoder, StreamEncoder

SILENT = (1,) * len(LEVELS)
COUPLED = [
    make_header(channels=2, mode=mode, side_levels=side) for mode in ("raw", "range") for side in (OTHER_LEVELS, SILENT)
]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return audiocodec.load("speech-16k")


@pytest.mark.parametrize("header", COUPLED, ids=str)
def test_tokens_round_trip(header: StreamHeader) -> None:
    tokens, model = coupled_tokens(header, 57), small_model()
    data = make_file(header, tokens, 20, model)
    events = read_all(data, model, [3, 50, 90, 91])
    assert not any(isinstance(event, Lost) for event in events)
    assert np.array_equal(tokens_of(events), tokens)
    reader = FileReader(io.BytesIO(data), lambda header: model)
    assert reader.seek(45) == 40
    assert np.array_equal(next(e for e in reader if isinstance(e, Frames)).indices, tokens[40:57])


def test_raw_payloads_are_those_of_two_streams() -> None:
    header = COUPLED[0]
    tokens = coupled_tokens(header, 9)
    data = PacketEncoder(header).frames(0, tokens)
    assert data[5:-2] == pack_raw(tokens[:, :1], LEVELS) + pack_raw(tokens[:, 1:], OTHER_LEVELS)


def test_an_absent_side_takes_no_bytes() -> None:
    model = small_model()
    for mode in ("raw", "range"):
        both = make_header(channels=2, mode=mode, side_levels=SILENT)
        tokens = coupled_tokens(both, 30)
        alone = PacketEncoder(make_header(mode=mode), model).frames(0, tokens[:, :1])
        assert PacketEncoder(both, model).frames(0, tokens)[:-2] == alone[:-2]
        with pytest.raises(ValueError, match="outside its levels"):
            PacketEncoder(both, model).frames(0, tokens + np.array([[[0], [1]]]))


def test_equal_channels_are_not_for_mid_and_side() -> None:
    header = make_header(channels=2, mode="raw", side_levels=LEVELS)
    mono = PacketEncoder(make_header(mode="raw")).frames(0, coupled_tokens(header, 5)[:, :1])
    body = bytes([mono[0], mono[1] | 4]) + mono[2:-2]
    packet = body + binascii.crc_hqx(body, header.packet_seed).to_bytes(2, "big")
    assert any(isinstance(event, Lost) for event in read_all(header.pack() + packet))
    equal = np.repeat(coupled_tokens(header, 5)[:, :1], 2, axis=1)
    assert not PacketEncoder(header).frames(0, equal)[1] & 4


def test_hostile_couplings_are_refused() -> None:
    def resealed(data: bytes) -> bytes:
        return data[:-4] + binascii.crc32(data[:-4]).to_bytes(4, "big")

    for channels in (1, 3, 255):
        with pytest.raises(BitstreamError, match="two channels"):
            make_header(channels=channels, side_levels=LEVELS)
    for side in ((), LEVELS[:-1], (0, *LEVELS[1:]), (70000, *LEVELS[1:])):
        with pytest.raises(BitstreamError):
            make_header(channels=2, side_levels=side)
    header = make_header(channels=2, side_levels=OTHER_LEVELS)
    plain, data = dataclasses.replace(header, side_levels=None).pack(), bytearray(header.pack())
    at = 10 + len(plain) - 10 - 4 - 5  # behind the levels: five bytes of length and the checksum follow in a plain one
    assert data[at] == 1
    for coupling in (0, 2, 127):
        data[at] = coupling
        with pytest.raises(BitstreamError, match=f"coupling {coupling} is unknown: update"):
            StreamHeader.unpack(resealed(bytes(data)))
    data[at], data[8] = 1, 0x10  # the coupling is then read as a length and records, which it is not
    with pytest.raises(BitstreamError):
        StreamHeader.unpack(resealed(bytes(data)))


def test_levels_that_the_model_does_not_have_are_refused(codec: Codec) -> None:
    with pytest.raises(UsageError, match="no mid and side"):
        StreamEncoder(codec, MidSide(codec.rates[0], None), 1)
    header = StreamEncoder(codec, MidSide(codec.rates[3], codec.rates[0]), 2).header
    other = (2, *codec.rates[0].levels[1:])
    for lying in (dataclasses.replace(header, side_levels=other), dataclasses.replace(header, levels=other)):
        with pytest.raises(ModelError, match="none that its model offers"):
            StreamDecoder(codec).push(lying.pack())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(range(4)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
)
def test_damage_gives_indices_or_says_where_they_are_missing(
    which: int, changes: list[tuple[int, int]], cut: int
) -> None:
    header, model = COUPLED[which], small_model()
    size = len(header.pack())
    data = bytearray(make_file(header, coupled_tokens(header, 30), 7, model))
    for at, value in changes:
        data[size + at % (len(data) - size)] = value
    for event in read_all(bytes(data[: max(size, len(data) - cut)]), model):
        if isinstance(event, Frames):
            levels = np.array([header.levels, header.side_levels])
            assert event.indices.shape[1:] == levels.shape
            assert (event.indices < levels).all()
