"""Live streams under asyncio: the work is done in a thread, so that the event loop goes on.

Streams that share a `StreamGroup` are computed together whenever several have something to do. Await each push before
the next: then a stream that is too quick is slowed down. One that does not is refused once too many wait.

What was pushed is done, whether or not whoever awaits it is cancelled: the stream goes on behind it, and what it gave
is lost with the call. Packets are then missing as if lost on the way, and samples leave a gap. Where that must not be,
as under a timeout, await ``asyncio.shield(task)`` and the task again afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.runtime.steps import Work
    from audiocodec.streaming.decoder import StreamDecoder
    from audiocodec.streaming.encoder import StreamEncoder
    from audiocodec.streaming.groups import Stream, StreamGroup

Samples = NDArray[np.float32]


class _Answers:
    """On their way from a group's thread to an event loop, which is woken once for all that a batch gave.

    To wake it for each, as `asyncio.wrap_future` does, took 33 us of processor time a push instead of 5; a frame
    that is encoded and decoded is two pushes, and takes 300 us.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ready: deque[tuple[asyncio.Future[Any], Any, Exception | None]] = deque()
        self._woken = False

    def put(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        """Called in the group's thread."""
        self._ready.append((future, result, error))
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        self._woken = False  # before the first is taken: what is put from here on wakes the loop again
        while self._ready:
            future, result, error = self._ready.popleft()
            if future.done():  # cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


class _Promise:
    """See `audiocodec.streaming.groups.Promise`."""

    def __init__(self, answers: _Answers) -> None:
        self.future: asyncio.Future[Any] = answers.loop.create_future()
        self._answers = answers

    def set_result(self, result: Any) -> None:
        self._answers.put(self.future, result, None)

    def set_exception(self, exception: Exception) -> None:
        self._answers.put(self.future, None, exception)


async def _done(group: StreamGroup, stream: Stream[Any, Any], work: Work[Any]) -> Any:
    """What a stream's work gives, computed by the group."""
    loop = asyncio.get_running_loop()
    answers = group.answers
    if answers is None or answers.loop is not loop:
        answers = group.answers = _Answers(loop)
    promise = _Promise(answers)
    group.ask(stream, work, promise)
    return await promise.future


class AsyncStreamEncoder:
    """A `StreamEncoder` whose methods are awaited. Cancelling one does not undo it; its packets are lost with the call.

    All raise BacklogError, having done nothing, where as many wait unawaited as the group allows a stream.

    Args:
        encoder: the stream; nobody else pushes to it.
        group: where it is computed, with the others there.
    """

    def __init__(self, encoder: StreamEncoder, group: StreamGroup) -> None:
        self.encoder, self._group = encoder, group

    async def push(self, samples: Samples) -> list[bytes]:
        """``[channels, n]``, any ``n``; the packets that they finish. Raises what ``StreamEncoder.push`` does."""
        packets: list[bytes] = await _done(self._group, self.encoder, self.encoder.work(samples))
        return packets

    async def flush(self) -> list[bytes]:
        """The packets of what is left."""
        packets: list[bytes] = await _done(self._group, self.encoder, self.encoder.final_work())
        return packets

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
    """A `StreamDecoder` whose methods are awaited. Cancelling one does not undo it; its samples are lost with the call.

    All raise BacklogError, having done nothing, where as many wait unawaited as the group allows a stream.

    Args:
        decoder: the stream; nobody else pushes to it.
        group: where it is computed, with the others there.
    """

    def __init__(self, decoder: StreamDecoder, group: StreamGroup) -> None:
        self.decoder, self._group = decoder, group

    async def push(self, data: bytes) -> Samples:
        """Bytes, any number of them; the samples ``[channels, n]`` that they complete, as ``StreamDecoder.push``."""
        samples: Samples = await _done(self._group, self.decoder, self.decoder.work(data))
        return samples

    async def flush(self) -> Samples:
        """The rest."""
        samples: Samples = await _done(self._group, self.decoder, self.decoder.final_work())
        return samples

    async def samples(self, source: AsyncIterable[bytes], size: int | None = None) -> AsyncIterator[Samples]:
        """A whole stream as it comes, ``[channels, n]`` at the model's rate.

        ``size``: samples in each, but for the last, which has what is left; default: as they come, at least one.
        Raises what ``push`` and ``flush`` do, and UsageError where ``size`` is less than 1.
        """
        if size is not None and not size >= 1:
            raise UsageError(f"pieces of {size} samples; 1 or more")
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
            while self.decoder.more:
                if (piece := await self.push(b"")).shape[1]:
                    yield piece
        if (piece := await self.flush()).shape[1]:
            yield piece
