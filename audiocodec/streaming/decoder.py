"""The bytes of a stream in as they come, samples out as they are decoded, lost ones concealed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import MAX_RATE, MIN_RATE
from audiocodec.bitstream import End, Event, Frames, Header, Lost, Silence, StreamHeader, StreamReader
from audiocodec.decoding import FrameDecoder
from audiocodec.errors import AudiocodecError, BitstreamError, UsageError
from audiocodec.runtime.steps import Step, Work, alone
from audiocodec.streaming import limits

if TYPE_CHECKING:
    from audiocodec.codec import Codec

Samples = NDArray[np.float32]

_ZERO_FRAMES = 64  # of silence given out at once: a packet of seven bytes can hold five minutes of it


class StreamDecoder:
    """Turns the bytes of a .vpc stream, in pieces of any size, into samples at the model's rate.

    Args:
        find_codec: the codec, or a function of the stream's header that finds it (see ``models.finder``).
        live: give out every sample at once. Otherwise what may lie behind the end is held back until more is known, so
            that a stream of unknown length ends at the exact sample: the last frame, or where the header promises
            running packets (``StreamEncoder``) nothing of those. And take a header that comes later, from a sender that
            has started again, for the beginning of another stream, whose samples follow those of the one before.

    Where the network fails amid a push the stream is at no known place: it refuses, by UsageError, whatever is asked of
    it then. So it does while another thread pushes.
    """

    def __init__(self, find_codec: Codec | Callable[[StreamHeader], Codec], live: bool = False) -> None:
        self._find = find_codec if callable(find_codec) else self._check_given(find_codec)
        self._reader = StreamReader(self._entropy_for, restarts=live)
        self._live = live
        self.header: StreamHeader | None = None
        self.total_samples: int | None = None  # per channel at header.source_rate, as soon as it is known
        self.lost_frames = 0
        self.problems: list[str] = []  # the first, limits.MOST_PROBLEMS at most
        self.problem_count = 0
        self._left: deque[Work[Samples]] = deque()  # what was pushed and is not played to its end
        self._amid = self._flushed = False
        self._pending: list[NDArray[Any]] = []
        self._held: Samples | None = None
        self._hold = 0  # samples to hold back of what is given out
        self._given = 0
        self._limit: int | None = None
        self._missing = 0  # frames that are lost, and played once it is known what follows them

    @staticmethod
    def _check_given(codec: Codec) -> Callable[[StreamHeader], Codec]:
        def find(header: StreamHeader) -> Codec:
            codec.check_header(header)
            return codec

        return find

    def push(self, data: bytes) -> Samples:
        """Samples ``[channels, n]`` that these bytes complete, the delay trimmed; ``[1, 0]`` before the header.

        A few bytes can stand for hours of silence: once it has ``limits.MOST_SAMPLES`` of all channels, the rest waits
        for the next push, be it of no bytes, and ``more`` says so.

        Raises:
            BitstreamError: the header is damaged or foreign, or, where another stream follows, of other channels or
                another rate; so does every push after it.
            ModelError: the model that made the stream is not at hand; likewise.
            UsageError: the stream is flushed, or a push before failed amid its work.
        """
        return self.joined(list(alone(self.work(data))))

    def flush(self) -> Samples:
        """The rest.

        Raises BitstreamError if the stream ended before its header, or if more than ``limits.MOST_SAMPLES`` are left:
        ``final_pieces`` then gives them.
        """
        return self.joined(list(alone(self.final_work())))

    @property
    def more(self) -> bool:
        """Whether what was pushed stands for more than was given out."""
        return bool(self._left)

    def pieces(self, data: bytes) -> Iterator[Samples]:
        """Like ``push``, a little at a time and all of it. What is not taken comes with the next."""
        return alone(self._played(self._sound(data)))

    def final_pieces(self) -> Iterator[Samples]:
        """Like ``flush``, a little at a time and all of it."""
        return alone(self._played(self._sound(None)))

    def work(self, data: bytes) -> Work[Samples]:
        """``push`` as work that yields samples, and steps of the network that others may compute (``push_many``)."""
        return self._played(self._sound(data), limits.MOST_SAMPLES)

    def final_work(self) -> Work[Samples]:
        """``flush`` as work."""
        given: list[Samples] = []
        yield from self._played(self._sound(None), limits.MOST_SAMPLES, given)
        if self._left:
            self._left.appendleft(_again(given))
            raise BitstreamError(f"more than {limits.MOST_SAMPLES} samples are left; take them by final_pieces")

    def events(self, data: bytes) -> Iterator[Event]:
        """What these bytes say, for ``sounds``; reading goes on while it computes, in another thread if need be.

        The header, which is the first, finds the model. Raises UsageError where the stream is flushed.
        """
        if self._flushed:
            raise UsageError("the stream is flushed")
        return self._reader.events(data)

    def final_events(self) -> Iterator[Event]:
        """What the end says, for ``sounds``."""
        self._flushed = True
        return self._reader.final_events()

    def sounds(self, event: Event) -> Iterator[Samples]:
        """Samples that an event completes; exhaust it before the next."""
        return alone(self._play(event))

    def joined(self, pieces: list[Samples]) -> Samples:
        """What ``push`` returns of what its work produced."""
        if len(pieces) == 1:
            return pieces[0].copy()  # it may be a row of many streams'
        channels = self.header.channels if self.header is not None else 1
        return np.concatenate([np.zeros((channels, 0), np.float32), *pieces], axis=1)

    def _played(
        self, sound: Work[Samples], most: float = float("inf"), given: list[Samples] | None = None
    ) -> Work[Samples]:
        """What was left, and then this; once it has ``most`` samples, the rest is left. ``given`` gets all that it has.

        Whoever stops between two pieces leaves the rest as well.
        """
        if self._amid:
            raise UsageError("a push to this stream failed amid its work, or is not done yet; begin another stream")
        left, answer, samples = self._left, None, 0
        left.append(sound)
        while left and samples < most:
            self._amid = True
            try:
                item = left[0].send(answer)
            except StopIteration:
                left.popleft()
                answer, self._amid = None, False
                continue
            except AudiocodecError:  # a header's, which the reader tells again
                left.popleft()
                self._amid = False
                raise
            if isinstance(item, Step):
                answer = yield item
                continue
            answer, self._amid = None, False
            samples += item.size
            if given is not None:
                given.append(item)
            yield item

    def _sound(self, data: bytes | None) -> Work[Samples]:
        """What bytes say, or the end."""
        for event in self.final_events() if data is None else self.events(data):
            yield from self._play(event)

    def _entropy_for(self, header: StreamHeader) -> Any:
        self._check_follows(header)
        self.header = header
        if header.block_frames * header.channels > limits.MAX_BLOCK_FRAMES:
            raise BitstreamError(f"header: blocks of {header.block_frames} frames are more than a decoder computes")
        if not MIN_RATE <= header.source_rate <= MAX_RATE:  # a few bytes would become gigabytes at 16 MHz
            raise BitstreamError(f"header: a source of {header.source_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        codec = self._find(header)
        self._frames = FrameDecoder(codec, codec.rate_of(header), header.channels)
        self._skip, self._given, self._held = header.pre_skip, 0, None
        self.total_samples = self._limit = None
        self._set_limit(header.total_samples)
        return codec.entropy if header.mode == "range" else None

    def _check_follows(self, header: StreamHeader) -> None:
        """One sound follows the other, so that whoever plays them need not notice."""
        if self.header is None:
            return
        before, new = (f"{one.channels} channels at {one.sample_rate} Hz" for one in (self.header, header))
        if before != new:
            raise BitstreamError(f"a stream of {new} follows one of {before}; decode it by another decoder")

    def _set_limit(self, total: int | None) -> None:
        assert self.header
        if total is not None:
            self.total_samples = total
            self._limit = -(-total * self.header.sample_rate // self.header.source_rate)

    def _play(self, event: Event) -> Work[Samples]:
        self._hold = self._doubtful(event)
        match event:
            case Header():
                pass  # taken in by _entropy_for, before the first packet is read
            case Frames(_, indices):
                yield from self._conceal(indices[0])
                self._pending.append(indices)
                yield from self._decode_whole_blocks()
            case Silence(_, frames):
                yield from self._drain()
                yield from self._conceal()
                yield from self._silence(frames)
            case Lost(_, frames, position, reason):
                self.problem_count += 1
                if self.problem_count <= limits.MOST_PROBLEMS:
                    self.problems.append(f"{frames} frames lost at byte {position}: {reason}")
                self.lost_frames += frames
                yield from self._drain()
                self._missing += frames
            case End(total):
                assert self.header is not None
                self._set_limit(total)
                yield from self._drain()
                yield from self._conceal()
                yield self._give(np.zeros((self.header.channels, 0), np.float32), last=True)

    def _doubtful(self, event: Event) -> int:
        """Samples at the end of what an event gives that may lie behind the stream's, as long as nothing follows."""
        assert self.header is not None
        if self._live or self._limit is not None:
            return 0
        running = self.header.running_frames
        if running is None:
            return self.header.hop_samples
        match event:
            case Frames(_, indices) if len(indices) == running:
                return 0
            case Silence(_, frames) if frames == running:
                return 0
        return (1 + self.header.block_frames) * self.header.hop_samples

    def _decode_whole_blocks(self) -> Work[Samples]:
        assert self.header
        frames = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        whole = len(frames) // self.header.block_frames * self.header.block_frames
        self._pending = [frames[whole:]] if whole < len(frames) else []
        for start in range(0, whole, self.header.block_frames):
            yield from self._decode(frames[start : start + self.header.block_frames])

    def _drain(self) -> Work[Samples]:
        """What is left of a block at the end of a run of frames; shorter than the others on every machine alike."""
        pending, self._pending = self._pending, []
        if pending:
            yield from self._decode(np.concatenate(pending))

    def _decode(self, frames: NDArray[Any]) -> Work[Samples]:
        yield self._give((yield from self._frames.came(self._frames.rows(frames))))

    def _silence(self, frames: int) -> Work[Samples]:
        """The tail of what came before, then zeros; the state returns to its beginning."""
        assert self.header is not None
        yield self._give(self._frames.silence())
        yield from map(self._give, _zeros(self.header.channels, self.header.hop_samples, frames - 1))

    def _conceal(self, following: NDArray[Any] | None = None) -> Work[Samples]:
        """Play what is missing; ``following [channels, tokens]`` is the frame after it, if one was received."""
        assert self.header
        if not self._missing:
            return
        frames, self._missing = self._missing, 0
        after = None if following is None else self._frames.rows(following[None])[:, 0]
        done = 0
        while done < frames and self._frames.estimates:
            yield self._give((yield from self._frames.lost(after, frames - done)))
            done += 1
        yield from map(self._give, _zeros(self.header.channels, self.header.hop_samples, frames - done))

    def _give(self, sound: Samples, last: bool = False) -> Samples:
        """Trim the delay and the end, and hold back what is doubtful."""
        assert self.header
        wave = sound if self._held is None else np.concatenate([self._held, sound], axis=1)
        if self._skip:
            skip = min(self._skip, wave.shape[1])
            wave, self._skip = wave[:, skip:], self._skip - skip
        if self._limit is not None:
            wave = wave[:, : max(0, self._limit - self._given)]
        keep = 0 if last else min(wave.shape[1], self._hold)
        self._held = wave[:, -keep:] if keep else None
        wave = wave[:, : wave.shape[1] - keep]
        self._given += wave.shape[1]
        return wave


def _again(pieces: list[Samples]) -> Work[Samples]:
    yield from pieces


def _zeros(channels: int, hop_samples: int, frames: int) -> Iterator[Samples]:
    for start in range(0, frames, _ZERO_FRAMES):
        yield np.zeros((channels, min(_ZERO_FRAMES, frames - start) * hop_samples), np.float32)
