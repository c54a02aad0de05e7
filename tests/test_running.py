"""Running packets: a decoder that does not know the length plays them whole, and still ends at the exact sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bitstream_helpers import make_header
from conftest import speech_like

from audiocodec.bitstream.header import RUNNING, StreamHeader, running_fields
from audiocodec.bitstream.packet import Kind, Packet
from audiocodec.bitstream.scanner import PacketScanner
from audiocodec.errors import UsageError
from audiocodec.streaming import StreamDecoder, StreamEncoder

HOP, DELAY = 320, 160
LENGTHS = [0, 1, 159, 160, 161, 319, 320, 321, 480, 481, 639, 640, 800, 801, 960, 961, 1120, 1280, 6400, 6401, 6561]


def encoded(codec, wave, packet_frames: int) -> tuple[StreamEncoder, list[bytes]]:
    """The packets of ``wave [n]``, the end packet last."""
    encoder = StreamEncoder(codec, codec.rates[0], packet_frames=packet_frames, running=True)
    return encoder, [*encoder.push(wave[None]), *encoder.flush(), encoder.end()]


def decoded(codec, header: StreamHeader, packets: list[bytes]) -> list[np.ndarray]:
    """What each packet brings ``[1, n]``, and last the rest."""
    decoder = StreamDecoder(codec)
    decoder.push(header.pack())
    pieces = [*map(decoder.push, packets), decoder.flush()]
    assert not decoder.problems
    return pieces


def packets_in(header: StreamHeader, data: bytes) -> list[Packet]:
    scanner = PacketScanner(header, 0)
    scanner.feed(data)
    found = list(scanner.items())
    assert all(isinstance(item, Packet) for item in found)
    return found


@pytest.mark.parametrize("packet_frames", [1, 2, 3, 10])
@pytest.mark.parametrize("ending", ["voice", "silence"])
def test_a_running_stream_ends_at_the_exact_sample(tiny_codec, packet_frames, ending):
    """Of any length, in voice and in silence, what is heard is what a decoder gives that knows the length."""
    for samples in LENGTHS:
        wave = speech_like(0.5)[:samples]
        if ending == "silence":
            wave[samples // 3 :] = 0.0
        encoder, packets = encoded(tiny_codec, wave, packet_frames)
        sound = np.concatenate(decoded(tiny_codec, encoder.header, packets), axis=1)
        assert sound.shape == (1, samples)
        known = dataclasses.replace(encoder.header, total_samples=samples)
        np.testing.assert_array_equal(sound, np.concatenate(decoded(tiny_codec, known, packets), axis=1))


@pytest.mark.parametrize("packet_frames", [1, 2, 3, 10])
def test_the_last_packet_is_none_that_runs(tiny_codec, packet_frames):
    for samples in LENGTHS[1:]:
        encoder, packets = encoded(tiny_codec, speech_like(0.5)[:samples], packet_frames)
        needed = dataclasses.replace(encoder.header, total_samples=samples).total_frames
        *coded, end = packets_in(encoder.header, b"".join(packets))
        assert end.kind is Kind.END
        assert coded
        for packet in coded:
            assert packet.frames != packet_frames or packet.first_frame + packet.frames < needed
        assert coded[-1].first_frame + coded[-1].frames == end.first_frame
        # Only where packets have one frame must there be one more than are needed, and never two
        assert needed <= end.first_frame <= needed + (packet_frames == 1)


@pytest.mark.parametrize("packet_frames", [1, 2, 3])
def test_nothing_of_a_running_packet_is_held_back(tiny_codec, packet_frames):
    """Neither of one with voice nor of one with silence; without the promise a frame is."""
    wave = speech_like(1.2)
    wave[30 * HOP :] = 0.0
    encoder, packets = encoded(tiny_codec, wave, packet_frames)
    found = packets_in(encoder.header, b"".join(packets))
    heard = 0
    for packet, piece in zip(found, decoded(tiny_codec, encoder.header, packets), strict=False):
        heard += piece.shape[1]
        if packet.frames == packet_frames:
            assert heard == (packet.first_frame + packet.frames) * HOP - DELAY
    assert {packet.kind for packet in found if packet.frames == packet_frames} >= {Kind.SILENCE}
    unpromised = dataclasses.replace(encoder.header, records=())
    first = decoded(tiny_codec, unpromised, packets)[0].shape[1]
    assert first == max(0, packet_frames * HOP - DELAY - HOP)


def test_what_ends_without_an_end_packet_keeps_all_of_its_sound(tiny_codec):
    encoder, packets = encoded(tiny_codec, speech_like(0.5), 2)
    decoder = StreamDecoder(tiny_codec)
    pieces = [decoder.push(encoder.header.pack() + b"".join(packets[:5])), decoder.flush()]
    assert np.concatenate(pieces, axis=1).shape[1] == 10 * HOP - DELAY
    assert "without an end packet" in decoder.problems[0]


def test_a_lost_last_packet_adds_nothing_behind_the_end(tiny_codec):
    """What is concealed in its place is held back as it would be itself."""
    for samples in LENGTHS[8:]:
        encoder, packets = encoded(tiny_codec, speech_like(0.5)[:samples], 2)
        decoder = StreamDecoder(tiny_codec)
        decoder.push(encoder.header.pack())
        heard = sum(piece.shape[1] for piece in [*map(decoder.push, [*packets[:-2], packets[-1]]), decoder.flush()])
        assert heard == samples
        assert decoder.lost_frames > 0


def test_the_promise_is_a_record_of_the_next_minor_version():
    header = make_header(**running_fields(2))
    assert (header.running_frames, header.packet_frames) == (2, 4)
    assert header.pack()[8] == 0x11
    assert StreamHeader.unpack(header.pack())[0] == header
    assert make_header(channels=2, side_levels=make_header().levels, **running_fields(2)).pack()[8] == 0x21
    assert make_header().pack()[8] == 0x10
    for damaged in (b"", b"\0", b"\2\2", b"\x80", b"\x80\0"):
        assert make_header(records=((RUNNING, damaged),)).running_frames is None


def test_only_streams_frame_by_frame_can_run(tiny_codec):
    with pytest.raises(UsageError, match="blocks of 1 frame"):
        StreamEncoder(tiny_codec, tiny_codec.rates[0], block_frames=8, running=True)
    with pytest.raises(UsageError, match="at most 1023"):
        StreamEncoder(tiny_codec, tiny_codec.rates[0], packet_frames=1024, running=True)
