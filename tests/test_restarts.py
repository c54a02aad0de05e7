"""A sender that starts again on the same connection: a live decoder goes on with its new stream."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import speech_like
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodec import Codec, StreamDecoder, StreamEncoder
from audiocodec.bitstream import End, Header, StreamHeader, StreamReader
from audiocodec.bitstream.header import MAGIC
from audiocodec.errors import BitstreamError, ModelError


def stream(codec: Codec, seed: int, ended: bool = False, frames: int = 20, **options: int) -> bytes:
    encoder = StreamEncoder(codec, codec.rates[seed % len(codec.rates)], **options)
    wave = np.stack([speech_like(frames / codec.frame_rate, seed=seed)] * encoder.channels)
    packets = encoder.push(wave)
    return b"".join([encoder.header.pack(), *packets, *([*encoder.flush(), encoder.end()] if ended else [])])


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("damage", [b"", b"\xb5\xc0", b"\x89\x89VP", b"\xb5" * 50])
def test_every_stream_of_a_connection_is_played(tiny_codec: Codec, ended: bool, damage: bytes) -> None:
    streams = [stream(tiny_codec, seed, ended) for seed in range(3)]
    streams.append(stream(tiny_codec, 3, ended, total_samples=20 * tiny_codec.hop_samples))
    wanted = []
    for data in streams:
        alone = StreamDecoder(tiny_codec, live=True)
        wanted.append(alone.push(data))
    decoder = StreamDecoder(tiny_codec, live=True)
    np.testing.assert_array_equal(decoder.push(damage.join(streams)), np.concatenate(wanted, axis=1))
    assert decoder.total_samples == alone.total_samples
    assert decoder.header == alone.header
    if not damage:
        assert decoder.problem_count == (0 if ended else 3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12), st.binary(max_size=40), st.integers(0, 100))
def test_the_same_bytes_give_the_same_events_however_they_are_cut(tiny_codec, cuts, noise, torn) -> None:
    data = stream(tiny_codec, 1)[: -torn or None] + noise + stream(tiny_codec, 2, ended=True) + noise + MAGIC + noise
    events = StreamReader(lambda _: tiny_codec.entropy, restarts=True)
    whole = events.push(data) + events.close()
    cut, at = StreamReader(lambda _: tiny_codec.entropy, restarts=True), 0
    found = []
    for end in [*sorted(cuts), len(data)]:
        found += cut.push(data[at:end])
        at = max(at, end)
    assert found + cut.close() == whole
    assert sum(isinstance(event, Header) for event in whole) == sum(isinstance(event, End) for event in whole) == 2


def test_in_a_file_a_second_header_is_damage(tiny_codec: Codec) -> None:
    data = stream(tiny_codec, 1) + stream(tiny_codec, 2)
    decoder = StreamDecoder(tiny_codec)
    sound = np.concatenate([decoder.push(data), decoder.flush()], axis=1)
    assert sound.shape[1] == 20 * tiny_codec.hop_samples - tiny_codec.delay_samples
    assert decoder.problem_count


def test_lost_frames_and_half_a_block_before_a_restart_are_heard(tiny_codec: Codec) -> None:
    """What came is played; nothing is made up for what the first stream did not say."""
    hop, delay = tiny_codec.hop_samples, tiny_codec.delay_samples
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0], block_frames=4, packet_frames=4)
    packets = encoder.push(speech_like(0.3)[None]) + encoder.flush()
    decoder = StreamDecoder(tiny_codec, live=True)
    first = decoder.push(encoder.header.pack() + packets[0] + packets[2])
    assert first.shape[1] == 12 * hop - delay
    second = decoder.push(stream(tiny_codec, 2))
    assert second.shape[1] == 20 * hop - delay
    assert decoder.lost_frames == 4


def test_a_stream_that_does_not_follow_is_refused(tiny_codec: Codec) -> None:
    mono, stereo = stream(tiny_codec, 0), stream(tiny_codec, 0, channels=2)
    decoder = StreamDecoder(tiny_codec, live=True)
    assert decoder.push(mono).shape[1]
    for _ in range(3):
        with pytest.raises(BitstreamError, match="2 channels at 16000 Hz follows one of 1 channels at 16000 Hz"):
            decoder.push(stereo)
    foreign = StreamEncoder(tiny_codec, tiny_codec.rates[0]).header
    decoder = StreamDecoder(tiny_codec, live=True)
    decoder.push(mono)
    with pytest.raises(ModelError):
        decoder.push(dataclasses.replace(foreign, fingerprint=b"another1").pack())


def test_headers_that_are_false_starts_cost_little(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their checksums are bounded as those of packets: a quarter of a megabyte of headers that claim 16 kB each."""
    false, read = MAGIC + bytes([0x10, 0x80, 0x7D]), []
    reader = StreamReader(lambda _: tiny_codec.entropy, restarts=True)
    reader.push(stream(tiny_codec, 1))
    unpack = StreamHeader.unpack
    monkeypatch.setattr(StreamHeader, "unpack", lambda data: (read.append(len(data)), unpack(data))[1])
    reader.push(false * (1 << 14))
    assert read
    assert sum(read) < 34 * len(false) * (1 << 14) + (1 << 19)
