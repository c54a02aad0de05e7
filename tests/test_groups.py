"""Many streams at once: each is what it is alone, whatever the others do, in batches, threads and coroutines."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like
from test_runtime import built

import audiocodec
from audiocodec import (
    Codec,
    StreamDecoder,
    StreamEncoder,
    StreamGroup,
    flush_many,
    push_many,
)
from audiocodec.batches import batched, side_by_side
from audiocodec.bitstream import Frames, StreamReader
from audiocodec.errors import AudioError, BitstreamError, UsageError
from audiocodec.runtime import rows
from audiocodec.runtime.onnx_runtime import OnnxRuntime
from audiocodec.stereo import MidSide
from audiocodec.streaming import groups
from audiocodec.streaming.groups import BacklogError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("groups") / "m")


@pytest.fixture(params=["onnx", "torch"])
def codec(request: pytest.FixtureRequest, folder: Path) -> Codec:
    return audiocodec.load(folder, runtime=request.param)


def encoders(codec: Codec) -> list[tuple[StreamEncoder, np.ndarray]]:
    """Of unlike rates, channels, couplings and blocks, with what each is to encode; one falls silent."""
    low, high = codec.rates[0], codec.rates[-1]
    found = []
    for number, (rate, channels, block) in enumerate(
        [(low, 1, 1), (high, 1, 1), (low, 2, 1), (MidSide(high, low), 2, 1), (low, 1, 1), (high, 2, 8), (low, 1, 8)]
    ):
        wave = np.stack([speech_like(1.5, seed=10 * number + channel) for channel in range(channels)])
        if number == 4:
            wave[:, 6000:17000] = 0
        found.append((StreamEncoder(codec, rate, channels, block_frames=block), wave))
    return found


def encode_together(codec: Codec, most_rows: int) -> list[bytes]:
    """The streams of ``encoders``, pushed together in pieces of unlike sizes."""
    rng = np.random.default_rng(0)
    streams = encoders(codec)
    coded = [[encoder.header.pack()] for encoder, _ in streams]
    at = [0] * len(streams)
    while any(start < wave.shape[1] for start, (_, wave) in zip(at, streams, strict=True)):
        pushes = []
        for place, (encoder, wave) in enumerate(streams):
            size = int(rng.choice((0, 100, 320, 1000, 4000)))
            pushes.append((encoder, wave[:, at[place] : at[place] + size]))
            at[place] += size
        for packets, given in zip(coded, push_many(pushes, most_rows), strict=True):
            assert isinstance(given, list)
            packets += given
    for packets, given, (encoder, _) in zip(
        coded, flush_many([encoder for encoder, _ in streams], most_rows), streams, strict=True
    ):
        assert isinstance(given, list)
        packets += [*given, encoder.end()]
    return [b"".join(packets) for packets in coded]


def encode_alone(codec: Codec) -> list[bytes]:
    """The same, one after the other."""
    return [
        b"".join([encoder.header.pack(), *encoder.push(wave), *encoder.flush(), encoder.end()])
        for encoder, wave in encoders(codec)
    ]


def tokens(data: bytes, codec: Codec) -> np.ndarray:
    reader = StreamReader(lambda header: codec.entropy)
    events = reader.push(data) + reader.close()
    return np.concatenate([event.indices.ravel() for event in events if isinstance(event, Frames)])


def test_states_join_and_part(codec: Codec) -> None:
    runtime, rate = codec.runtime, codec.rates[0]
    waves = [np.stack([speech_like(0.1, seed=3 * n + row) for row in range(n)]) for n in (1, 2, 3)]
    states = [runtime.encode(wave, [rate] * len(wave), runtime.encoder_state(len(wave)))[1] for wave in waves]
    parted = runtime.part(runtime.join(states), [1, 2, 3])
    for wave, state, again in zip(waves, states, parted, strict=True):
        one, _ = runtime.encode(wave, [rate] * len(wave), state)
        other, _ = runtime.encode(wave, [rate] * len(wave), again)
        np.testing.assert_array_equal(one, other)


def test_a_stream_that_is_paused_keeps_its_rows_and_not_those_of_its_batch() -> None:
    whole = {"a": np.arange(40.0).reshape(20, 2), "b": np.arange(20)}
    parts = rows.part(whole, [1, 3] * 5)
    batch = weakref.ref(whole["a"])
    del whole
    assert batch() is not None
    kept = parts[1]
    del parts
    assert batch() is None
    np.testing.assert_array_equal(rows.arrays(kept, {})["a"], np.arange(2.0, 8.0).reshape(3, 2))
    np.testing.assert_array_equal(rows.arrays(rows.join([kept, kept]), {})["b"], [1, 2, 3, 1, 2, 3])


def test_what_goes_on_together_is_not_copied() -> None:
    whole = {"a": np.arange(12.0).reshape(6, 2)}
    first, second, third = rows.part(whole, [1, 2, 3])
    room: rows.Arrays = {}
    joined = rows.arrays(rows.join([first, second, third]), room)["a"]
    assert joined is whole["a"]
    assert np.shares_memory(rows.arrays(rows.join([second, third]), room)["a"], whole["a"])
    assert not room
    other = rows.arrays(rows.join([third, first, second]), room)["a"]
    assert not np.shares_memory(other, whole["a"])
    np.testing.assert_array_equal(other, whole["a"][[3, 4, 5, 0, 1, 2]])
    fewer = rows.arrays(rows.join([third, first]), room)["a"]
    assert np.shares_memory(fewer, other)
    np.testing.assert_array_equal(fewer, whole["a"][[3, 4, 5, 0]])
    kept = rows.part(rows.join([third, first]), [2, 2])  # which are nobody else's, wherever copies lie
    rows.arrays(rows.join([second, first]), room)
    np.testing.assert_array_equal(rows.arrays(kept[1], {})["a"], whole["a"][[5, 0]])


def test_a_batch_is_kept_for_those_that_wait_and_not_for_those_that_go_on() -> None:
    whole = {"a": np.arange(20.0).reshape(10, 2)}
    parts = rows.part(whole, [1] * 10)
    batch = weakref.ref(whole["a"])
    joined = rows.join(parts[:8])  # two of ten wait, which are few
    waiting = parts[8:]
    del whole, parts
    assert batch() is not None
    del joined
    assert batch() is None
    np.testing.assert_array_equal(rows.arrays(rows.join(waiting), {})["a"], [[16.0, 17.0], [18.0, 19.0]])


def test_what_a_batch_gave_is_not_where_the_next_is_put_together(folder: Path) -> None:
    codec = audiocodec.load(folder, runtime="onnx")
    runtime, rates = codec.runtime, [codec.rates[0]] * 3
    wave = np.stack([speech_like(0.1, seed=row)[: codec.hop_samples] for row in range(3)])
    heard, said = runtime.encoder_state(3), runtime.decoder_state(3)
    for order in ([2, 0, 1], [1, 2, 0], [2, 1, 0]):
        parted, spoken = runtime.part(heard, [1, 1, 1]), runtime.part(said, [1, 1, 1])
        indices, heard = runtime.encode(wave, rates, runtime.join([parted[row] for row in order]))
        sound, said = runtime.decode(indices, rates, runtime.join([spoken[row] for row in order]))
        before = [array.copy() for array in (sound, *heard.values(), *said.values())]
        runtime.encode(wave[::-1], rates, runtime.join(parted[::-1]))
        runtime.decode(indices[::-1], rates, runtime.join(spoken[::-1]))
        for array, copy in zip((sound, *heard.values(), *said.values()), before, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_encoders_together_are_as_each_alone(codec: Codec) -> None:
    alone = encode_alone(codec)
    assert encode_together(codec, most_rows=1) == alone
    for ours, theirs in zip(encode_together(codec, most_rows=256), alone, strict=True):
        one, other = tokens(ours, codec), tokens(theirs, codec)
        assert one.shape == other.shape
        assert (one == other).mean() > 0.999


def test_decoders_together_are_as_each_alone(codec: Codec) -> None:
    coded = encode_alone(codec)
    lost = bytearray(coded[0])
    lost[len(lost) // 2] ^= 255
    coded.append(bytes(lost))
    alone = [StreamDecoder(codec) for _ in coded]
    wanted = [np.concatenate([one.push(data), one.flush()], axis=1) for one, data in zip(alone, coded, strict=True)]
    for most_rows, tolerance in ((1, 0), (256, 1e-4)):
        rng = np.random.default_rng(1)
        decoders = [StreamDecoder(codec) for _ in coded]
        heard: list[list[np.ndarray]] = [[] for _ in coded]
        at = [0] * len(coded)
        while any(start < len(data) for start, data in zip(at, coded, strict=True)):
            sizes = [int(rng.choice((0, 10, 100, 1000))) for _ in coded]
            cut = [data[start : start + size] for data, start, size in zip(coded, at, sizes, strict=True)]
            at = [start + size for start, size in zip(at, sizes, strict=True)]
            given = push_many(list(zip(decoders, cut, strict=True)), most_rows)
            for pieces, piece in zip(heard, given, strict=True):
                assert isinstance(piece, np.ndarray)
                pieces += [piece] if piece.shape[1] else []
        for pieces, piece, whole in zip(heard, flush_many(decoders, most_rows), wanted, strict=True):
            assert isinstance(piece, np.ndarray)
            np.testing.assert_allclose(np.concatenate([*pieces, piece], axis=1), whole, atol=tolerance, rtol=0)
        assert [one.lost_frames for one in decoders] == [one.lost_frames for one in alone]
        assert decoders[-1].lost_frames


def test_an_error_is_its_stream_s(tiny_codec: Codec) -> None:
    wave = speech_like(0.1)[None]
    good, bad = StreamEncoder(tiny_codec, tiny_codec.rates[0]), StreamEncoder(tiny_codec, tiny_codec.rates[0])
    packets, error = push_many([(good, wave), (bad, np.full_like(wave, np.nan))])
    assert packets == StreamEncoder(tiny_codec, tiny_codec.rates[0]).push(wave)
    assert isinstance(error, AudioError)
    assert push_many([(bad, wave)]) == [packets]  # it goes on as if nothing had been pushed
    data = good.header.pack() + b"".join(packets)
    error, sound = push_many([(StreamDecoder(tiny_codec), b"no such thing"), (StreamDecoder(tiny_codec), data)])
    assert isinstance(error, BitstreamError)
    np.testing.assert_array_equal(sound, StreamDecoder(tiny_codec).push(data))
    with pytest.raises(UsageError, match="twice"):
        push_many([(good, wave), (good, wave)])
    assert push_many([]) == []


def test_what_a_network_fails_by_is_told_to_each_of_its_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = audiocodec.load(folder, runtime="onnx")
    wave = speech_like(0.1)[None]
    first, second = StreamEncoder(codec, codec.rates[0]), StreamEncoder(codec, codec.rates[0])

    def fail(*_: object) -> None:
        raise AudioError("no")

    with monkeypatch.context() as patch:
        patch.setattr(OnnxRuntime, "encode", fail)
        assert [str(error) for error in push_many([(first, wave), (second, wave)])] == ["no", "no"]


def test_files_in_threads_share_a_graph(folder: Path) -> None:
    alone = audiocodec.load(folder, runtime="onnx")
    together = batched(alone, 4)
    waves = [speech_like(1.0 + 0.3 * seed, seed=seed) for seed in range(4)]
    coded = list(side_by_side(together.compress, waves, [together], 4))
    for wave, data in zip(waves, coded, strict=True):
        assert isinstance(data, bytes)
        assert (tokens(data, alone) == tokens(alone.compress(wave), alone)).mean() > 0.999


def test_a_group_that_waits_computes_more_at_once(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch waits for nothing; what is pushed before the next may begin is in that one."""
    wave, together = speech_like(0.2)[None], []
    compute = groups.compute_round

    def counted(jobs, most_rows):
        jobs = list(jobs)
        together.append(len(jobs))
        compute(jobs, most_rows)

    monkeypatch.setattr(groups, "compute_round", counted)
    streams = [StreamEncoder(tiny_codec, tiny_codec.rates[0]) for _ in range(9)]
    with StreamGroup(every_ms=3000.0) as group:
        first = group.push(streams[0], wave).result()  # the second batch begins three seconds later
        others = [group.push(stream, wave) for stream in streams[1:]]
        assert [other.result() for other in others] == [first] * 8
    assert set(together) == {1, 8}
    assert together == sorted(together)


def test_a_group_keeps_the_order_of_each_stream(tiny_codec: Codec) -> None:
    waves = [speech_like(0.5, seed=seed)[None] for seed in range(4)]
    streams = [StreamEncoder(tiny_codec, tiny_codec.rates[0]) for _ in waves]
    with StreamGroup(most_rows=1) as group:
        futures = [
            [group.push(stream, wave[:, at : at + 500]) for at in range(0, wave.shape[1], 500)]
            for stream, wave in zip(streams, waves, strict=True)
        ]
        ends = [group.flush(stream) for stream in streams]
    for wave, pushed, end in zip(waves, futures, ends, strict=True):
        alone = StreamEncoder(tiny_codec, tiny_codec.rates[0])
        assert [packet for future in [*pushed, end] for packet in future.result()] == alone.push(wave) + alone.flush()
    with pytest.raises(UsageError, match="closed"):
        group.push(streams[0], waves[0])


class Gate:
    """Lets a group compute nothing while it is shut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compute = groups.compute_round
        self._open, self._reached = threading.Event(), threading.Event()

        def guarded(jobs, most_rows):
            self._reached.set()
            assert self._open.wait(30)
            compute(jobs, most_rows)

        monkeypatch.setattr(groups, "compute_round", guarded)
        self.open = self._open.set

    def wait(self) -> None:
        """Until something is to be computed."""
        assert self._reached.wait(30)


def test_of_a_stream_that_is_pushed_to_regardless_a_few_pushes_are_kept(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, wave = Gate(monkeypatch), speech_like(1.0)[None]
    quick, other = (StreamEncoder(tiny_codec, tiny_codec.rates[0]) for _ in range(2))
    pieces = [wave[:, at : at + 500].copy() for at in range(0, wave.shape[1], 500)]
    kept = [weakref.ref(piece) for piece in pieces]
    with StreamGroup(most_rows=1, most_waiting=3) as group:
        futures = [group.push(quick, pieces[0])]
        gate.wait()  # the first is being computed
        futures += [group.push(quick, piece) for piece in pieces[1:4]]
        for piece in pieces[4:]:
            with pytest.raises(BacklogError, match="3 pushes"):
                group.push(quick, piece)
        with pytest.raises(BacklogError):
            group.flush(quick)
        del piece, pieces
        assert sum(piece() is not None for piece in kept) <= 4
        others = group.push(other, wave)
        gate.open()
        given = [packet for future in futures for packet in future.result()]
        assert given == StreamEncoder(tiny_codec, tiny_codec.rates[0]).push(wave[:, :2000])
        assert len(others.result()) > len(given)
        group.push(quick, wave).result()  # and it goes on
        assert not group._waiting


def test_whoever_takes_each_result_is_never_refused(tiny_codec: Codec) -> None:
    wave = speech_like(1.0)[None]
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    with StreamGroup(most_waiting=1) as group:
        for at in range(0, wave.shape[1], 100):
            group.push(encoder, wave[:, at : at + 100]).result()
    with pytest.raises(UsageError, match="1 or more"):
        StreamGroup(most_waiting=0)
