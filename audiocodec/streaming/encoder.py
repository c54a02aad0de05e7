"""Samples in as they come, packets out as they are ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import MAX_RATE, MIN_RATE
from audiocodec.audio.samples import float_samples
from audiocodec.bitstream import PacketEncoder, StreamHeader
from audiocodec.bitstream.header import MAX_CHANNELS, MAX_RUNNING_FRAMES, MAX_SAMPLES, MODES, running_fields
from audiocodec.bitstream.index import StreamEnd, end_packet
from audiocodec.errors import UsageError
from audiocodec.runtime.steps import Step, Work, alone
from audiocodec.stereo import MidSide
from audiocodec.streaming.limits import MAX_BLOCK_FRAMES

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]


def header_of(
    codec: Codec, rates: Sequence[RateSetting], mode: Literal["raw", "range"] = "range", **more: Any
) -> StreamHeader:
    """The header of a stream at the first of ``rates``, entropy coded if there are tables for all of them.

    ``more``: what the model does not say, as `StreamHeader` has it.
    """
    entropy = codec.entropy if mode == "range" else None
    tables = entropy is not None and all(entropy.for_levels(one.levels) is not None for one in set(rates))
    return StreamHeader(
        fingerprint=codec.fingerprint,
        sample_rate=codec.sample_rate,
        hop_samples=codec.hop_samples,
        levels=rates[0].levels,
        mode="range" if tables else "raw",
        pre_skip=codec.delay_samples,
        pre_roll=codec.facts.context_frames,
        **more,
    )


def _check_layout(
    channels: int, mode: str, block_frames: int, packet_frames: int, source_rate: int | None, running: bool
) -> None:
    """Raise UsageError for what no stream can be."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise UsageError(f"a stream of {channels} channels; 1 to {MAX_CHANNELS} are possible")
    if mode not in MODES:
        raise UsageError(f"no mode is called {mode!r}; {' or '.join(MODES)}")
    if block_frames < 1 or block_frames * channels > MAX_BLOCK_FRAMES:
        raise UsageError(f"blocks of {block_frames} frames of {channels} channels; 1 to {MAX_BLOCK_FRAMES} in all")
    if source_rate is not None and not MIN_RATE <= source_rate <= MAX_RATE:
        raise UsageError(f"a source of {source_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
    if packet_frames < 1 or packet_frames % block_frames:
        raise UsageError(f"packets of {packet_frames} frames cannot hold blocks of {block_frames}")
    if running and (block_frames > 1 or packet_frames > MAX_RUNNING_FRAMES):
        raise UsageError(f"running packets have blocks of 1 frame and at most {MAX_RUNNING_FRAMES} frames")


class StreamEncoder:
    """Turns samples at the model's rate into .vpc packets.

    Where the network fails amid a push, the packets before are lost with it and the stream is at no known place: it
    refuses, by UsageError, whatever is asked of it then. So it does while another thread pushes.

    Args:
        codec: the loaded model.
        rate: one of ``codec.rates``, for each channel; or, for two channels, settings of their mid and side
            (``stereo.split`` and ``stereo.choose_coupling`` find some).
        channels: each is coded by itself, unless ``rate`` couples them.
        mode: ``range`` (entropy coded, falls back to ``raw`` without tables) or ``raw``.
        block_frames: frames computed at once; 1 for live use, ``limits.FILE_BLOCK_FRAMES`` for files.
        packet_frames: most frames a packet holds, a multiple of ``block_frames``; default: one block.
        source_rate: sample rate of the original, for the header.
        total_samples: length of the original per channel at ``source_rate``, where known beforehand.
        running: promise in the header that no packet of exactly ``packet_frames`` frames is the last, and keep it: a
            decoder then plays each at once, and the stream still ends at the exact sample. Needs blocks of one frame.
    """

    def __init__(
        self,
        codec: Codec,
        rate: RateSetting | MidSide,
        channels: int = 1,
        mode: Literal["raw", "range"] = "range",
        *,
        block_frames: int = 1,
        packet_frames: int | None = None,
        source_rate: int | None = None,
        total_samples: int | None = None,
        running: bool = False,
    ) -> None:
        if packet_frames is None:
            packet_frames = block_frames
        _check_layout(channels, mode, block_frames, packet_frames, source_rate, running)
        if isinstance(rate, MidSide) and channels != 2:
            raise UsageError(f"a stream of {channels} channels has no mid and side; give one rate setting")
        self.codec, self.rate, self.channels = codec, rate, channels
        self._rates = rate.coded if isinstance(rate, MidSide) else (rate,) * channels
        if not set(self._rates) <= set(codec.rates):
            raise UsageError("the rate is none of this codec's; take one of its rates, as its choose_rate gives it")
        self.header = header_of(
            codec,
            self._rates,
            mode,
            channels=channels,
            block_frames=block_frames,
            total_samples=total_samples,
            source_rate=source_rate or codec.sample_rate,
            side_levels=rate.side_levels if isinstance(rate, MidSide) else None,
            **(running_fields(packet_frames) if running else {}),
        )
        self._running = running
        self._packets = PacketEncoder(self.header, codec.entropy if mode == "range" else None)
        self._packet_frames = packet_frames
        self._block = block_frames * codec.hop_samples
        self._pending = np.zeros((len(self._rates), 0), np.float32)  # channels as they are coded
        self._overlap_silent = True
        self._state: Any = codec.runtime.encoder_state(len(self._rates))
        self._coded: list[NDArray[np.int64]] = []
        self._silent_frames = 0
        self._next_frame = 0
        self._samples = 0
        self._ending = self._flushed = self._amid = False

    @property
    def samples(self) -> int:
        """Samples per channel pushed so far."""
        return self._samples

    def push(self, samples: Samples) -> list[bytes]:
        """``[channels, n]`` (or ``[n]`` for one channel), float in [-1, 1], any ``n``; returns finished packets.

        Raises:
            AudioError: integers, NaN or infinity; the stream is as it was before.
            UsageError: another number of channels, the stream is flushed, or a push before failed amid its work.
        """
        return list(alone(self.work(samples)))

    def flush(self) -> list[bytes]:
        """Code what is left, and as many frames more as the decoder's delay needs; no pushing after it."""
        return list(alone(self.final_work()))

    def work(self, samples: Samples) -> Work[bytes]:
        """``push`` as work that yields packets, and steps of the network that others may compute (``push_many``)."""
        block = float_samples(samples)
        if self._flushed or block.shape[0] != self.channels:
            raise UsageError("the stream is flushed" if self._flushed else f"expected {self.channels} channels")
        self._begin()
        self._samples += block.shape[1]
        if isinstance(self.rate, MidSide):
            block = self.rate.fold(block)
        self._pending = np.concatenate([self._pending, block], axis=1) if self._pending.size else block
        start = 0
        while self._pending.shape[1] - start >= self._block:
            yield from self._code(self._pending[:, start : start + self._block], self.header.block_frames)
            start += self._block
        self._pending = self._pending[:, start:].copy()  # a view would keep all that was pushed
        self._amid = False

    def final_work(self) -> Work[bytes]:
        """``flush`` as work."""
        self._begin()
        frames_left = self.codec.frames_for(self._samples) - self._frames_done
        self._ending = self._running
        while frames_left > 0:
            chunk = self._pending[:, : self._block]
            self._pending = self._pending[:, self._block :]
            chunk = np.pad(chunk, ((0, 0), (0, self._block - chunk.shape[1])))
            keep = min(frames_left, self.header.block_frames)
            yield from self._code(chunk, keep)
            frames_left -= keep
        if self._running:
            yield from self._emit_apart()
        yield from self._emit_coded()
        yield from self._emit_silence()
        self._flushed, self._amid = True, False

    def joined(self, packets: list[bytes]) -> list[bytes]:
        """What ``push`` returns of what its work produced."""
        return packets

    def end(self, total_samples: int | None = None) -> bytes:
        """The packet that ends a live stream, after ``flush``; files have theirs from ``FileWriter.close``.

        ``total_samples`` per channel at the source's rate; default: what was pushed, if the rates are equal.

        Raises:
            UsageError: the stream is not flushed, its length has to be told, or no stream is so long.
        """
        if not self._flushed:
            raise UsageError("the stream has frames left: flush it before its end")
        if total_samples is None and self.header.source_rate != self.header.sample_rate:
            raise UsageError("the source was resampled; say how long it was")
        total = self._samples if total_samples is None else total_samples
        if not 0 <= total < MAX_SAMPLES:
            raise UsageError(f"a stream of {total} samples; 0 to {MAX_SAMPLES - 1} are possible")
        return end_packet(self.header, self._next_frame, StreamEnd(total, ()))

    def _begin(self) -> None:
        if self._amid:
            raise UsageError("a push to this stream failed amid its work, or is not done yet; begin another stream")
        self._amid = True

    @property
    def _frames_done(self) -> int:
        return self._next_frame + sum(map(len, self._coded)) + self._silent_frames

    def _code(self, wave: Samples, keep: int) -> Work[bytes]:
        """One block, of whose frames the first ``keep`` are written."""
        overlap = not wave[:, -self.codec.delay_samples :].any()
        silent = overlap and not wave.any()
        quiet_before, self._overlap_silent = self._overlap_silent, overlap
        if silent and quiet_before:
            yield from self._emit_coded()
            # Silence is the state a stream begins in: both sides return to it, and nothing need be sent.
            self._state = self.codec.runtime.encoder_state(len(self._rates))
            self._silent_frames += keep
            if self.header.block_frames == 1 and self._silent_frames >= self._packet_frames and not self._ending:
                yield from self._emit_silence()
            return
        yield from self._emit_silence()
        indices, self._state = yield Step(self.codec.runtime, "encode", wave, self._rates, self._state)
        frames = indices.transpose(1, 0, 2)[:keep]
        if absent := self.channels - len(self._rates):
            frames = np.pad(frames, ((0, 0), (0, absent), (0, 0)))
        self._coded.append(frames)
        if sum(map(len, self._coded)) >= self._packet_frames and not self._ending:
            yield from self._emit_coded()

    def _emit_apart(self) -> list[bytes]:
        """See to it that the last packet has another number of frames than those that run."""
        if self._silent_frames + sum(map(len, self._coded)) != self._packet_frames:
            return []
        if self._packet_frames == 1:  # one more, behind the end: what is in it is not heard
            self._silent_frames, self._coded = 2 * self._silent_frames, 2 * self._coded
            return []
        most = self._packet_frames - 1
        return self._emit_coded(most) + self._emit_silence(most)

    def _emit_coded(self, most: int | None = None) -> list[bytes]:
        """The packet of the first ``most`` frames that wait; of all of them by default."""
        if not self._coded:
            return []
        frames = np.concatenate(self._coded) if len(self._coded) > 1 else self._coded[0]
        packet = self._packets.frames(self._next_frame, frames[:most])
        left = frames[len(frames) if most is None else most :]
        self._next_frame += len(frames) - len(left)
        self._coded = [left] if len(left) else []
        return [packet]

    def _emit_silence(self, most: int | None = None) -> list[bytes]:
        if not self._silent_frames:
            return []
        frames = min(self._silent_frames, most or self._silent_frames)
        packet = self._packets.silence(self._next_frame, frames)
        self._next_frame += frames
        self._silent_frames -= frames
        return [packet]
