"""A group of streams when one of them, or whoever waits for it, misbehaves: the others notice nothing."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from conftest import speech_like
from test_groups import Gate, folder  # noqa: F401 (a fixture)

import audiocodec
from audiocodec import Codec, StreamDecoder, StreamEncoder, StreamGroup, flush_many, push_many
from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.runtime.onnx_runtime import OnnxRuntime
from audiocodec.streaming import groups

WAVE = speech_like(0.2)[None]


def encoder(codec: Codec) -> StreamEncoder:
    return StreamEncoder(codec, codec.rates[0])


def rounds_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many streams take part in each round, from here on."""
    compute, found = groups.compute_round, []

    def counted(jobs, most_rows):
        jobs = list(jobs)
        found.append(len(jobs))
        compute(jobs, most_rows)

    monkeypatch.setattr(groups, "compute_round", counted)
    return found


def test_nobody_waits_for_the_backlog_of_another(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    hop, packets = tiny_codec.hop_samples, encoder(tiny_codec).push(speech_like(10.0)[None])
    rounds = rounds_of(monkeypatch)
    late, live = (StreamDecoder(tiny_codec, live=True) for _ in range(2))
    with StreamGroup() as group:
        for stream in (late, live):
            group.push(stream, encoder(tiny_codec).header.pack()).result()
        backlog = group.push(late, b"".join(packets))
        for number, packet in enumerate(packets[:5], 1):
            group.push(live, packet).result()
            assert rounds.count(2) == number  # one round of both, at once
        assert not backlog.done()
        following = group.push(late, b"")
        assert backlog.result().shape[1] == len(packets) * hop - tiny_codec.delay_samples
        assert following.result().shape == (1, 0)


def test_silence_that_takes_no_network_holds_nobody_up(tiny_codec: Codec) -> None:
    silent, live = encoder(tiny_codec), encoder(tiny_codec)
    with StreamGroup() as group:
        hours = group.push(silent, np.zeros((1, 4000 * tiny_codec.hop_samples), np.float32))
        assert group.push(live, WAVE).result() == encoder(tiny_codec).push(WAVE)
        assert not hours.done()
        assert len(hours.result()) == 4000


def test_where_a_batch_fails_each_of_it_is_tried_alone(
    folder,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = audiocodec.load(folder, runtime="onnx")
    streams, compute = [encoder(codec) for _ in range(3)], OnnxRuntime.encode

    def fail(runtime, wave, rates, state):
        if any(float(abs(row).max()) > 5 for row in wave):
            raise RuntimeError("too loud")
        return compute(runtime, wave, rates, state)

    monkeypatch.setattr(OnnxRuntime, "encode", fail)
    first, error, last = push_many([(streams[0], WAVE), (streams[1], WAVE * 100), (streams[2], WAVE)], most_rows=8)
    assert isinstance(error, RuntimeError)
    assert first == last == encoder(codec).push(WAVE)
    with StreamGroup() as group:
        assert group.push(streams[0], WAVE).result() == push_many([(streams[2], WAVE)])[0]
        with pytest.raises(UsageError, match="begin another stream"):
            group.push(streams[1], WAVE).result()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_callback_raises_is_not_the_group_s(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: Future) -> None:
        raise SystemExit

    gate = Gate(monkeypatch)
    with StreamGroup() as group:
        future = group.push(encoder(tiny_codec), WAVE)
        future.add_done_callback(leave)
        gate.open()
        assert future.result(30)
        assert group.push(encoder(tiny_codec), WAVE).result(30)


def test_results_that_cannot_be_joined_are_an_error_of_their_stream(tiny_codec: Codec) -> None:
    class Broken(StreamEncoder):
        def joined(self, packets):
            raise ValueError("no")

    broken = Broken(tiny_codec, tiny_codec.rates[0])
    error, packets = push_many([(broken, WAVE), (encoder(tiny_codec), WAVE)])
    assert isinstance(error, ValueError)
    assert packets
    with StreamGroup() as group:
        with pytest.raises(ValueError, match="no"):
            group.push(broken, WAVE).result(30)
        assert group.push(encoder(tiny_codec), WAVE).result(30) == packets


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_the_thread_fails_nobody_waits_for_ever(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    going, reached = threading.Event(), threading.Event()

    def fail(jobs, most_rows):
        reached.set()
        assert going.wait(30)
        raise MemoryError("all gone")

    monkeypatch.setattr(groups, "compute_round", fail)
    streams = [encoder(tiny_codec) for _ in range(3)]
    group = StreamGroup()
    futures = [group.push(streams[0], WAVE)]
    assert reached.wait(30)
    futures += [group.push(stream, WAVE) for stream in streams]
    going.set()
    for future in futures:
        with pytest.raises(AudiocodecError, match="all gone"):
            future.result(30)
    with pytest.raises(AudiocodecError, match="make another group"):
        group.push(streams[0], WAVE)
    group.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_group_is_of_the_process_that_made_it(tiny_codec: Codec) -> None:
    with StreamGroup() as group:
        stream = encoder(tiny_codec)
        child = os.fork()
        if not child:
            told = 1
            try:
                group.push(stream, WAVE)
            except UsageError as error:
                group.close()  # waits for no thread
                told = 0 if "fork" in str(error) else 2
            finally:
                os._exit(told)
        deadline = time.monotonic() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended == (child, 0)
        assert group.push(stream, WAVE).result()


@pytest.mark.parametrize("every_ms", [float("inf"), float("nan"), -5, 1e300])
def test_what_no_group_can_keep_to_is_refused(tiny_codec: Codec, every_ms: float) -> None:
    with pytest.raises(UsageError, match="0 to 60000"):
        StreamGroup(every_ms=every_ms)
    for most_rows in (0, -1):
        with pytest.raises(UsageError, match="1 or more"):
            StreamGroup(most_rows)
        with pytest.raises(UsageError, match="1 or more"):
            push_many([(encoder(tiny_codec), WAVE)], most_rows)
        with pytest.raises(UsageError, match="1 or more"):
            flush_many([encoder(tiny_codec)], most_rows)


def test_closing_does_not_wait_for_the_next_batch_s_time(tiny_codec: Codec) -> None:
    began = time.monotonic()
    with StreamGroup(every_ms=60_000) as group:
        stream = encoder(tiny_codec)
        group.push(stream, WAVE).result()
        last = group.push(stream, WAVE)
        while not group._lines:  # the thread has seen it, and waits
            time.sleep(0.001)
    assert last.result()
    assert time.monotonic() - began < 30


def test_a_future_that_was_accepted_cannot_be_cancelled(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with StreamGroup() as group:
        stream = encoder(tiny_codec)
        futures = [group.push(stream, WAVE) for _ in range(3)]
        assert not any(future.cancel() for future in futures)
        gate.open()
    alone = encoder(tiny_codec)
    assert [future.result() for future in futures] == [alone.push(WAVE) for _ in futures]


def test_closing_at_once_drops_what_is_not_done(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, other = encoder(tiny_codec), encoder(tiny_codec)
    group = StreamGroup()
    done = group.push(other, WAVE).result(30)
    gate = Gate(monkeypatch)
    futures = [group.push(stream, WAVE) for _ in range(3)]
    gate.wait()  # the first is being computed
    threading.Thread(target=lambda: group._closing.wait(30) and gate.open()).start()
    group.close(drop=True)
    for future in futures:
        with pytest.raises(UsageError, match="closed before"):
            future.result(0)
    with pytest.raises(UsageError, match="begin another stream"):
        stream.push(WAVE)
    assert done == encoder(tiny_codec).push(WAVE)
    other.push(WAVE)


def test_a_callback_may_close_the_group(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, group = Gate(monkeypatch), StreamGroup()
    closed: Future[None] = Future()

    def close(_: Future) -> None:
        try:
            closed.set_result(group.close())
        except BaseException as error:
            closed.set_exception(error)

    first = group.push(encoder(tiny_codec), WAVE)
    gate.wait()
    first.add_done_callback(close)
    second = group.push(encoder(tiny_codec), WAVE)  # accepted before: is done
    gate.open()
    closed.result(30)
    assert second.result(30) == first.result()
    with pytest.raises(UsageError, match="closed"):
        group.push(encoder(tiny_codec), WAVE)
    group.close()
