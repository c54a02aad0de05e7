"""Live streams under asyncio: the work is done in a thread, so that the event loop goes on.

Streams that share a `StreamGroup` are computed together whenever several have something to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from audiocodec.streaming.decoder import StreamDecoder
    from audiocodec.streaming.encoder import StreamEncoder
    from audiocodec.streaming.groups import StreamGroup

Samples = NDArray[np.float32]


class AsyncStreamEncoder:
    """A `StreamEncoder` whose methods are awaited.

    Cancelling a ``push`` does not undo it: the stream may have gone on, and its packets are lost with the call.

    Args:
        encoder: the stream; nobody else pushes to it.
        group: where it is computed, with the others there.
    """

    def __init__(self, encoder: StreamEncoder, group: StreamGroup) -> None:
        self.encoder, self._group = encoder, group

    async def push(self, samples: Samples) -> list[bytes]:
        """``[channels, n]``, any ``n``; the packets that they finish. Raises what ``StreamEncoder.push`` does."""
        return await asyncio.wrap_future(self._group.push(self.encoder, samples))

    async def flush(self) -> list[bytes]:
        """The packets of what is left."""
        return await asyncio.wrap_future(self._group.flush(self.encoder))

    async def packets(self, source: AsyncIterable[Samples], total_samples: int | None = None) -> AsyncIterator[bytes]:
        """A whole stream as it comes: its header, the packets of what ``source`` gives, and its end.

        ``total_samples``: as of ``StreamEncoder.end``; where it is known only at the end, push, flush and end yourself.
        No more is taken from ``source`` than is asked for here.
        """
        yield self.encoder.header.pack()
        async for samples in source:
            for packet in await self.push(samples):
                yield packet
        for packet in await self.flush():
            yield packet
        yield self.encoder.end(total_samples)


class AsyncStreamDecoder:
    """A `StreamDecoder` whose methods are awaited; cancelling a ``push`` does not undo it.

    Args:
        decoder: the stream; nobody else pushes to it.
        group: where it is computed, with the others there.
    """

    def __init__(self, decoder: StreamDecoder, group: StreamGroup) -> None:
        self.decoder, self._group = decoder, group

    async def push(self, data: bytes) -> Samples:
        """Bytes, any number of them; the samples ``[channels, n]`` that they complete.

        Raises what ``StreamDecoder.push`` does.
        """
        return await asyncio.wrap_future(self._group.push(self.decoder, data))

    async def flush(self) -> Samples:
        """The rest."""
        return await asyncio.wrap_future(self._group.flush(self.decoder))

    async def samples(self, source: AsyncIterable[bytes], size: int | None = None) -> AsyncIterator[Samples]:
        """A whole stream as it comes, ``[channels, n]`` at the model's rate.

        ``size``: samples in each, but for the last, which has what is left; default: as they come, at least one.
        """
        held: list[Samples] = []
        async for piece in self._pieces(source):
            held.append(piece)
            if size is None or sum(part.shape[1] for part in held) >= size:
                whole = np.concatenate(held, axis=1)
                step = size or whole.shape[1]
                last = whole.shape[1] // step * step
                for start in range(0, last, step):
                    yield whole[:, start : start + step]
                held = [whole[:, last:]] if last < whole.shape[1] else []
        if held:
            yield np.concatenate(held, axis=1)

    async def _pieces(self, source: AsyncIterable[bytes]) -> AsyncIterator[Samples]:
        """None of them empty: before the header even the number of channels is not known."""
        async for data in source:
            if (piece := await self.push(data)).shape[1]:
                yield piece
        if (piece := await self.flush()).shape[1]:
            yield piece
