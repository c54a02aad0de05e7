"""Streams under asyncio: many at once, each what it is alone, and a loop that goes on."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
from conftest import speech_like
from test_groups import Gate, codec, folder, tokens  # noqa: F401 (fixtures among them)
from test_streaming import encode_cut

from audiocodec import (
    AsyncStreamDecoder,
    AsyncStreamEncoder,
    Codec,
    StreamDecoder,
    StreamEncoder,
    StreamGroup,
)
from audiocodec.errors import BitstreamError, UsageError
from audiocodec.streaming.groups import MOST_WAITING, BacklogError


async def cut(whole: np.ndarray | bytes, seed: int) -> AsyncIterator[np.ndarray | bytes]:
    """Pieces of random sizes, now and then after a while."""
    rng, at = np.random.default_rng(seed), 0
    size = whole.shape[1] if isinstance(whole, np.ndarray) else len(whole)
    while at < size:
        step = int(rng.choice((1, 50, 400, 3000)))
        yield whole[:, at : at + step] if isinstance(whole, np.ndarray) else whole[at : at + step]
        at += step
        await asyncio.sleep(0.001 * rng.integers(0, 3))


@pytest.mark.parametrize("most_rows", [1, 256])
def test_twenty_streams_at_once_under_asyncio(codec: Codec, most_rows: int) -> None:
    waves = [np.stack([speech_like(1.0, seed=n + 20 * c) for c in range(1 + n % 2)]) for n in range(20)]
    rate = codec.rates[1]
    alone = [encode_cut(codec, wave, rate=rate) for wave in waves]
    turns = 0

    async def talk(number: int, group: StreamGroup) -> tuple[bytes, list[np.ndarray]]:
        wave = waves[number]
        encoder = AsyncStreamEncoder(StreamEncoder(codec, rate, wave.shape[0]), group)
        data = b"".join([packet async for packet in encoder.packets(cut(wave, number))])
        decoder = AsyncStreamDecoder(StreamDecoder(codec), group)
        return data, [piece async for piece in decoder.samples(cut(alone[number], number), size=700)]

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async def everything() -> list[tuple[bytes, list[np.ndarray]]]:
        ticking = asyncio.create_task(tick())
        with StreamGroup(most_rows) as group:
            found = await asyncio.gather(*(talk(number, group) for number in range(20)))
        ticking.cancel()
        return found

    for wave, whole, (data, pieces) in zip(waves, alone, asyncio.run(everything()), strict=True):
        if most_rows == 1:
            assert data == whole
        else:
            assert (tokens(data, codec) == tokens(whole, codec)).mean() > 0.999
        assert {piece.shape[1] for piece in pieces[:-1]} == {700}
        sound, decoder = np.concatenate(pieces, axis=1), StreamDecoder(codec)
        wanted = np.concatenate([decoder.push(whole), decoder.flush()], axis=1)
        assert sound.shape == wanted.shape == wave.shape
        np.testing.assert_allclose(sound, wanted, atol=0 if most_rows == 1 else 1e-4, rtol=0)
    assert turns > 50  # the loop went on meanwhile


def test_an_error_reaches_whoever_awaits(tiny_codec: Codec) -> None:
    async def decode() -> None:
        with StreamGroup() as group:
            decoder = AsyncStreamDecoder(StreamDecoder(tiny_codec), group)
            await decoder.push(b"no such thing")

    with pytest.raises(BitstreamError):
        asyncio.run(decode())


def test_a_push_that_is_cancelled_is_done_and_holds_nobody_up(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its packets are missing as if lost on the way: nothing that was pushed vanishes, and time goes on."""
    wave = speech_like(2.0)[None]
    gate, cut = Gate(monkeypatch), np.split(wave, 20, axis=1)

    async def talk() -> tuple[list[list[bytes] | BaseException], list[bytes]]:
        with StreamGroup(most_rows=1) as group:
            stream = AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group)
            calls = [asyncio.create_task(stream.push(piece)) for piece in cut]
            await asyncio.to_thread(gate.wait)  # the first is being computed
            for call in (calls[0], calls[5], calls[6]):
                call.cancel()
            await asyncio.sleep(0)
            gate.open()
            other = AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group)
            return await asyncio.gather(*calls, return_exceptions=True), await other.push(wave)

    given, others = asyncio.run(talk())
    alone = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    wanted = [alone.push(piece) for piece in cut]
    for number, (ours, theirs) in enumerate(zip(given, wanted, strict=True)):
        if number in (0, 5, 6):
            assert isinstance(ours, asyncio.CancelledError)
        else:
            assert ours == theirs
    assert others == [packet for packets in wanted for packet in packets]


def test_pieces_have_a_size(tiny_codec: Codec) -> None:
    async def decode(size: int) -> None:
        with StreamGroup() as group:
            decoder = AsyncStreamDecoder(StreamDecoder(tiny_codec), group)
            async for _ in decoder.samples(cut(b"", 0), size):
                pass

    for size in (0, -5):
        with pytest.raises(UsageError, match="1 or more"):
            asyncio.run(decode(size))


def test_a_stream_that_nobody_waits_for_is_refused_and_the_loop_goes_on(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that is slow: what is pushed meanwhile is kept up to a bound, and told at once beyond it."""
    gate, wave = Gate(monkeypatch), speech_like(0.1)[None]

    async def flood() -> tuple[list[list[bytes] | BaseException], float]:
        with StreamGroup(most_rows=1) as group:
            encoder = AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group)
            decoder = AsyncStreamDecoder(StreamDecoder(tiny_codec), group)
            first = asyncio.create_task(encoder.push(wave))
            await asyncio.to_thread(gate.wait)
            pushes = [first, *(asyncio.create_task(encoder.push(wave)) for _ in range(10 * MOST_WAITING))]
            began = time.monotonic()
            await asyncio.sleep(0.01)  # all of them have had their turn
            stood = time.monotonic() - began
            refused = sum(push.done() for push in pushes)
            assert refused == 9 * MOST_WAITING
            another = asyncio.create_task(decoder.push(header))
            await asyncio.sleep(0)
            gate.open()
            given = await asyncio.gather(*pushes, return_exceptions=True)
            assert (await another).shape == (1, 0)
            await encoder.push(wave)  # a stream that was refused goes on
            return given, stood

    header = StreamEncoder(tiny_codec, tiny_codec.rates[0]).header.pack()
    given, stood = asyncio.run(flood())
    kept, beyond = given[: MOST_WAITING + 1], given[MOST_WAITING + 1 :]
    alone = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    assert kept == [alone.push(wave) for _ in kept]
    assert {type(error) for error in beyond} == {BacklogError}
    assert stood < 5  # nothing waited for the gate
