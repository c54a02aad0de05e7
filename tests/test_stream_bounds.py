"""Streams at their bounds: what fails amid a push, what a few bytes stand for, arguments that make no stream."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like
from test_groups import folder  # noqa: F401 (a fixture)

import audiocodec
from audiocodec import AsyncStreamDecoder, Codec, StreamDecoder, StreamEncoder, StreamGroup, push_many
from audiocodec.errors import BitstreamError, ModelError, UsageError
from audiocodec.runtime.onnx_runtime import OnnxRuntime
from audiocodec.stereo import MidSide
from audiocodec.streaming import limits

WAVE = speech_like(0.2)[None]  # ten frames


@pytest.fixture
def failing(folder: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """A codec whose network fails at its sixth frame."""
    codec, calls = audiocodec.load(folder, runtime="onnx"), []

    def at_times(compute):
        def computed(*arguments):
            calls.append(1)
            if len(calls) == 6:
                raise RuntimeError("out of memory")
            return compute(*arguments)

        return computed

    for name in ("encode", "decode"):
        monkeypatch.setattr(OnnxRuntime, name, at_times(getattr(OnnxRuntime, name)))
    codec.calls = calls
    return codec


def test_an_encoder_that_failed_amid_a_push_says_so_from_then_on(failing: Codec) -> None:
    encoder, frame = StreamEncoder(failing, failing.rates[0]), WAVE[:, : failing.hop_samples]
    with pytest.raises(RuntimeError):
        encoder.push(WAVE)
    for again in (lambda: encoder.push(frame), encoder.flush):
        with pytest.raises(UsageError, match="begin another stream"):
            again()
    with pytest.raises(UsageError):
        encoder.end()
    assert isinstance(push_many([(encoder, frame)])[0], UsageError)


def test_a_decoder_that_failed_amid_a_push_says_so_from_then_on(failing: Codec) -> None:
    failing.calls += [1] * 6
    encoder = StreamEncoder(failing, failing.rates[0])
    packets = encoder.push(WAVE)
    failing.calls.clear()
    decoder = StreamDecoder(failing, live=True)
    with pytest.raises(RuntimeError):
        decoder.push(encoder.header.pack() + b"".join(packets))
    for again in (lambda: decoder.push(packets[0]), lambda: list(decoder.pieces(b"")), decoder.flush):
        with pytest.raises(UsageError, match="begin another stream"):
            again()


def silent_stream(codec: Codec, frames: int = 60) -> tuple[bytes, int]:
    """A little speech and ``frames`` of silence in a few bytes; samples that it stands for."""
    encoder = StreamEncoder(codec, codec.rates[0])
    said = encoder.header.pack() + b"".join(encoder.push(WAVE))
    first = 10
    for start in range(first, first + frames, 15):
        said += encoder._packets.silence(start, 15)
    return said, (first + frames) * codec.hop_samples - codec.delay_samples


@pytest.mark.parametrize("how", ["alone", "many", "group", "async"])
def test_a_few_bytes_of_silence_do_not_take_the_memory_of_all(tiny_codec, how, monkeypatch):
    """A push gives so many samples, and the rest with those after it."""
    monkeypatch.setattr(limits, "MOST_SAMPLES", 25 * tiny_codec.hop_samples)
    monkeypatch.setattr("audiocodec.streaming.decoder._ZERO_FRAMES", 4)
    said, samples = silent_stream(tiny_codec)
    decoder, got = StreamDecoder(tiny_codec, live=True), []
    with StreamGroup() as group:
        pushed = {
            "alone": decoder.push,
            "many": lambda data: push_many([(decoder, data)])[0],
            "group": lambda data: group.push(decoder, data).result(),
        }
        if how == "async":
            got = asynchronous(decoder, group, said)
        else:
            got.append(pushed[how](said))
            while decoder.more:
                got.append(pushed[how](b""))
    assert len(got) == 3
    assert max(piece.shape[1] for piece in got) <= 29 * tiny_codec.hop_samples
    whole = np.concatenate(got, axis=1)
    assert whole.shape[1] == samples
    np.testing.assert_array_equal(
        whole, np.concatenate(list(StreamDecoder(tiny_codec, live=True).pieces(said)), axis=1)
    )


def asynchronous(decoder: StreamDecoder, group: StreamGroup, data: bytes) -> list[np.ndarray]:
    import asyncio

    async def source():
        yield data

    async def samples() -> list[np.ndarray]:
        return [piece async for piece in AsyncStreamDecoder(decoder, group).samples(source())]

    return asyncio.run(samples())


def test_where_the_bound_is_the_end_no_piece_is_empty(tiny_codec, monkeypatch):
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    said = encoder.header.pack() + b"".join(encoder.push(WAVE))
    samples = StreamDecoder(tiny_codec, live=True).push(said).shape[1]
    monkeypatch.setattr(limits, "MOST_SAMPLES", samples)
    with StreamGroup() as group:
        pieces = asynchronous(StreamDecoder(tiny_codec, live=True), group, said)
    assert [piece.shape[1] for piece in pieces] == [samples]


def test_what_waits_comes_before_what_is_pushed_next(tiny_codec, monkeypatch):
    monkeypatch.setattr(limits, "MOST_SAMPLES", 25 * tiny_codec.hop_samples)
    said, samples = silent_stream(tiny_codec)
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    encoder._next_frame = 70
    more = encoder.push(WAVE)
    decoder = StreamDecoder(tiny_codec, live=True)
    got = [decoder.push(data) for data in (said, *more)]
    assert not decoder.more
    whole = np.concatenate(got, axis=1)
    assert whole.shape[1] == samples + 10 * tiny_codec.hop_samples
    np.testing.assert_array_equal(
        whole, np.concatenate(list(StreamDecoder(tiny_codec, live=True).pieces(said + b"".join(more))), axis=1)
    )


def test_the_end_gives_so_much_or_says_how_to_take_it(tiny_codec, monkeypatch):
    said, samples = silent_stream(tiny_codec)
    monkeypatch.setattr(limits, "MOST_SAMPLES", 25 * tiny_codec.hop_samples)
    decoder = StreamDecoder(tiny_codec, live=True)
    first = decoder.push(said)
    for _ in range(2):
        with pytest.raises(BitstreamError, match="final_pieces"):
            decoder.flush()
    assert first.shape[1] + sum(piece.shape[1] for piece in decoder.final_pieces()) == samples
    assert tiny_codec.decompress(tiny_codec.compress(np.zeros(40000, np.float32), 16000))[0].shape == (1, 40000)


def test_pieces_that_are_not_taken_come_with_the_next(tiny_codec):
    said, samples = silent_stream(tiny_codec)
    decoder = StreamDecoder(tiny_codec, live=True)
    pieces = decoder.pieces(said)
    taken = sum(next(pieces).shape[1] for _ in range(3))
    del pieces
    assert decoder.more
    assert taken + decoder.push(b"").shape[1] == samples


def test_nothing_is_pushed_to_a_decoder_that_is_flushed(tiny_codec):
    said, _ = silent_stream(tiny_codec)
    decoder = StreamDecoder(tiny_codec)
    decoder.push(said)
    decoder.flush()
    for push in (decoder.push, lambda data: list(decoder.pieces(data)), decoder.events):
        with pytest.raises(UsageError, match="flushed"):
            push(said)
    assert isinstance(push_many([(decoder, said)])[0], UsageError)
    with StreamGroup() as group, pytest.raises(UsageError, match="flushed"):
        group.push(decoder, said).result()


def test_a_header_that_was_refused_stays_refused_and_nothing_is_kept(tiny_codec, folder):  # noqa: F811
    other = audiocodec.load(folder, runtime="onnx")
    for decoder, data, error in (
        (StreamDecoder(tiny_codec), b"no such thing", BitstreamError),
        (StreamDecoder(other), StreamEncoder(tiny_codec, tiny_codec.rates[0]).header.pack(), ModelError),
    ):
        told = []
        for _ in range(5):
            with pytest.raises(error) as caught:
                decoder.push(data)
            told.append((str(caught.value), len(caught.traceback)))
            assert len(decoder._reader._early) == 0
        assert len(set(told[1:])) == 1
        assert told[0][0] == told[1][0]
        with pytest.raises(error):
            decoder.flush()


def test_problems_are_counted_and_the_first_kept(tiny_codec):
    said, _ = silent_stream(tiny_codec)
    decoder = StreamDecoder(tiny_codec, live=True)
    decoder.push(said)
    again = StreamEncoder(tiny_codec, tiny_codec.rates[0]).push(WAVE)
    for _ in range(50):
        decoder.push(b"".join(again))
    assert decoder.problem_count == 50 * len(again)
    assert len(decoder.problems) == limits.MOST_PROBLEMS


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 0},
        {"channels": -1},
        {"channels": 256},
        {"packet_frames": 0},
        {"packet_frames": -1},
        {"mode": "zip"},
        {"block_frames": 0},
    ],
)
def test_what_makes_no_stream_is_refused(tiny_codec, arguments):
    with pytest.raises(UsageError):
        StreamEncoder(tiny_codec, tiny_codec.rates[0], **arguments)


def test_a_rate_of_another_codec_is_refused(tiny_codec):
    foreign = dataclasses.replace(tiny_codec.rates[0], levels=(3, 3))
    for rate, channels in ((foreign, 1), (MidSide(tiny_codec.rates[0], foreign), 2)):
        with pytest.raises(UsageError, match="choose_rate"):
            StreamEncoder(tiny_codec, rate, channels)


def test_a_stream_ends_once_it_is_flushed(tiny_codec):
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    packets = encoder.push(WAVE[:, :3100])
    with pytest.raises(UsageError, match="flush"):
        encoder.end()
    packets += encoder.flush()
    for total in (-1, 1 << 40):
        with pytest.raises(UsageError, match="possible"):
            encoder.end(total)
    data = encoder.header.pack() + b"".join([*packets, encoder.end()])
    assert tiny_codec.decompress(data)[0].shape == (1, 3100)


def test_decoding_a_file_names_the_first_problems_and_counts_all(tiny_codec, tmp_path, capsys):
    from audiocodec.cli.jobs import warn
    from audiocodec.transcode import decode_file

    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    packets = encoder.push(speech_like(5.0)[None])
    (tmp_path / "a.vpc").write_bytes(encoder.header.pack() + b"".join(packet + packet for packet in packets))
    report = decode_file(tiny_codec, tmp_path / "a.vpc", tmp_path / "a.wav")
    assert len(report.problems) == limits.MOST_PROBLEMS
    assert report.uncounted == len(packets) + 1 - limits.MOST_PROBLEMS  # each came twice, and no end
    warn(report.problems, report.uncounted)
    assert f"and {len(packets) + 1 - 5} more" in capsys.readouterr().err
