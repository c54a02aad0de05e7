"""Streams under asyncio: many at once, each what it is alone, and a loop that goes on."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from conftest import speech_like
from test_groups import codec, folder, tokens  # noqa: F401 (fixtures among them)
from test_streaming import encode_cut

from audiocodec import (
    AsyncStreamDecoder,
    AsyncStreamEncoder,
    Codec,
    StreamDecoder,
    StreamEncoder,
    StreamGroup,
)
from audiocodec.errors import BitstreamError


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


def test_a_push_that_is_cancelled_holds_nobody_up(tiny_codec: Codec) -> None:
    wave = speech_like(0.5)[None]

    async def talk() -> list[bytes]:
        with StreamGroup() as group:
            gone = AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group)
            calls = [asyncio.create_task(gone.push(wave)) for _ in range(5)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            return await AsyncStreamEncoder(StreamEncoder(tiny_codec, tiny_codec.rates[0]), group).push(wave)

    assert asyncio.run(talk()) == StreamEncoder(tiny_codec, tiny_codec.rates[0]).push(wave)
