"""Live encoding and decoding: samples in as they come, packets out as they are ready, and the mirror image.

A stream is computed in blocks of ``header.block_frames`` frames, at whatever sizes it is pushed: the same samples
always give the same bytes. Blocks of one frame have the algorithmic latency of the model; larger ones are faster and
are what files use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from audiocodec.audio import MAX_RATE, MIN_RATE
from audiocodec.audio.samples import float_samples
from audiocodec.bitstream import End, Event, Frames, Header, Lost, PacketEncoder, Silence, StreamHeader, StreamReader
from audiocodec.bitstream.index import StreamEnd, end_packet
from audiocodec.concealment import Concealer
from audiocodec.errors import BitstreamError, UsageError

if TYPE_CHECKING:
    from audiocodec.codec import Codec, RateSetting

Samples = NDArray[np.float32]

_ZERO_FRAMES = 64  # of silence given out at once: a packet of seven bytes can hold five minutes of it
MAX_BLOCK_FRAMES = 4096
"""Most frames, of all channels together, computed at once: a header that asks for more would cost gigabytes."""
FILE_PACKET_FRAMES = 400
"""Frames a packet in files: 8 s at 50 frames/s; a damaged packet loses that much, a smaller one costs more bytes."""


class StreamEncoder:
    """Turns samples at the model's rate into .vpc packets.

    Args:
        codec: the loaded model.
        rate: one of ``codec.rates``.
        channels: each is coded by itself.
        mode: ``range`` (entropy coded, falls back to ``raw`` without tables) or ``raw``.
        block_frames: frames computed at once; 1 for live use, ``codec.config.file_block_frames`` for files.
        packet_frames: most frames a packet holds, a multiple of ``block_frames``; default: one block.
        source_rate: sample rate of the original, for the header.
        total_samples: length of the original per channel at ``source_rate``, where known beforehand.
    """

    def __init__(
        self,
        codec: Codec,
        rate: RateSetting,
        channels: int = 1,
        mode: Literal["raw", "range"] = "range",
        *,
        block_frames: int = 1,
        packet_frames: int | None = None,
        source_rate: int | None = None,
        total_samples: int | None = None,
    ) -> None:
        packet_frames = packet_frames or block_frames
        if block_frames < 1 or block_frames * channels > MAX_BLOCK_FRAMES:
            raise UsageError(f"blocks of {block_frames} frames of {channels} channels; 1 to {MAX_BLOCK_FRAMES} in all")
        if source_rate is not None and not MIN_RATE <= source_rate <= MAX_RATE:
            raise UsageError(f"a source of {source_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        if packet_frames % block_frames:
            raise UsageError(f"packets of {packet_frames} frames cannot hold blocks of {block_frames}")
        self.codec, self.rate, self.channels = codec, rate, channels
        entropy = codec.entropy if mode == "range" else None
        self.header = StreamHeader(
            fingerprint=codec.fingerprint,
            sample_rate=codec.sample_rate,
            channels=channels,
            hop_samples=codec.hop_samples,
            block_frames=block_frames,
            levels=rate.levels,
            mode="range" if entropy is not None and entropy.for_levels(rate.levels) is not None else "raw",
            total_samples=total_samples,
            source_rate=source_rate or codec.sample_rate,
            pre_skip=codec.delay_samples,
            pre_roll=codec.net.decoder_context_frames,
        )
        self._packets = PacketEncoder(self.header, entropy)
        self._packet_frames = packet_frames
        self._block = block_frames * codec.hop_samples
        self._pending = np.zeros((channels, 0), np.float32)
        self._overlap_silent = True
        self._state: Any = codec.net.encoder.initial_state(channels)
        self._coded: list[NDArray[np.int64]] = []
        self._silent_frames = 0
        self._next_frame = 0
        self._samples = 0
        self._flushed = False

    @property
    def samples(self) -> int:
        """Samples per channel pushed so far."""
        return self._samples

    def push(self, samples: Samples) -> list[bytes]:
        """``[channels, n]`` (or ``[n]`` for one channel), float in [-1, 1], any ``n``; returns finished packets.

        Raises:
            AudioError: integers, NaN or infinity; the stream is as it was before.
            UsageError: another number of channels, or the stream is flushed.
        """
        block = float_samples(samples)
        if self._flushed or block.shape[0] != self.channels:
            raise UsageError("the stream is flushed" if self._flushed else f"expected {self.channels} channels")
        self._samples += block.shape[1]
        self._pending = np.concatenate([self._pending, block], axis=1)
        packets: list[bytes] = []
        start = 0
        while self._pending.shape[1] - start >= self._block:
            packets += self._code(self._pending[:, start : start + self._block], self.header.block_frames)
            start += self._block
        self._pending = self._pending[:, start:].copy()  # a view would keep all that was pushed
        return packets

    def flush(self) -> list[bytes]:
        """Code what is left, and as many frames more as the decoder's delay needs; no pushing after it."""
        frames_left = self.codec.frames_for(self._samples) - self._frames_done
        packets: list[bytes] = []
        while frames_left > 0:
            chunk = self._pending[:, : self._block]
            self._pending = self._pending[:, self._block :]
            chunk = np.pad(chunk, ((0, 0), (0, self._block - chunk.shape[1])))
            keep = min(frames_left, self.header.block_frames)
            packets += self._code(chunk, keep)
            frames_left -= keep
        self._flushed = True
        return packets + self._emit_coded() + self._emit_silence()

    def end(self, total_samples: int | None = None) -> bytes:
        """The packet that ends a live stream, after ``flush``; files have theirs from ``FileWriter.close``.

        ``total_samples`` per channel at the source's rate; default: what was pushed, if the rates are equal.
        """
        if total_samples is None and self.header.source_rate != self.header.sample_rate:
            raise UsageError("the source was resampled; say how long it was")
        total = self._samples if total_samples is None else total_samples
        return end_packet(self.header, self._next_frame, StreamEnd(total, ()))

    @property
    def _frames_done(self) -> int:
        return self._next_frame + sum(map(len, self._coded)) + self._silent_frames

    def _code(self, wave: Samples, keep: int) -> list[bytes]:
        """One block, of whose frames the first ``keep`` are written."""
        silent, overlap = not wave.any(), not wave[:, -self.codec.delay_samples :].any()
        quiet_before, self._overlap_silent = self._overlap_silent, overlap
        if silent and quiet_before:
            packets = self._emit_coded()
            # Silence is the state a stream begins in: both sides return to it, and nothing need be sent.
            self._state = self.codec.net.encoder.initial_state(self.channels)
            self._silent_frames += keep
            live = self.header.block_frames == 1 and self._silent_frames >= self._packet_frames
            return packets + (self._emit_silence() if live else [])
        packets = self._emit_silence()
        tensor = torch.from_numpy(np.ascontiguousarray(wave)).to(self.codec.device)
        indices, self._state = self.codec.encode_block(tensor, self.rate, self._state)
        self._coded.append(indices.permute(1, 0, 2)[:keep].cpu().numpy())
        return packets + (self._emit_coded() if sum(map(len, self._coded)) >= self._packet_frames else [])

    def _emit_coded(self) -> list[bytes]:
        if not self._coded:
            return []
        frames = np.concatenate(self._coded)
        packet = self._packets.frames(self._next_frame, frames)
        self._next_frame += len(frames)
        self._coded = []
        return [packet]

    def _emit_silence(self) -> list[bytes]:
        if not self._silent_frames:
            return []
        packet = self._packets.silence(self._next_frame, self._silent_frames)
        self._next_frame += self._silent_frames
        self._silent_frames = 0
        return [packet]


class StreamDecoder:
    """Turns the bytes of a .vpc stream, in pieces of any size, into samples at the model's rate.

    Args:
        find_codec: the codec, or a function of the stream's header that finds it (see ``models.finder``).
        live: give out every sample at once. Otherwise the last frame is held back until more is known, so that a
            stream of unknown length ends at the exact sample.
    """

    def __init__(self, find_codec: Codec | Callable[[StreamHeader], Codec], live: bool = False) -> None:
        self._find = find_codec if callable(find_codec) else self._check_given(find_codec)
        self._reader = StreamReader(self._entropy_for)
        self._live = live
        self.header: StreamHeader | None = None
        self.total_samples: int | None = None  # per channel at header.source_rate, as soon as it is known
        self.lost_frames = 0
        self.problems: list[str] = []
        self._codec: Codec | None = None
        self._pending: list[NDArray[Any]] = []
        self._held: Samples | None = None
        self._given = 0
        self._limit: int | None = None

    @staticmethod
    def _check_given(codec: Codec) -> Callable[[StreamHeader], Codec]:
        def find(header: StreamHeader) -> Codec:
            codec.check_header(header)
            return codec

        return find

    def push(self, data: bytes) -> Samples:
        """Samples ``[channels, n]`` that these bytes complete, the delay trimmed; ``[1, 0]`` before the header.

        Raises:
            BitstreamError: the header is damaged or foreign.
            ModelError: the model that made the stream is not at hand.
        """
        return self._join(list(self.pieces(data)))

    def flush(self) -> Samples:
        """The rest. Raises BitstreamError if the stream ended before its header."""
        return self._join(list(self.final_pieces()))

    def pieces(self, data: bytes) -> Iterator[Samples]:
        """Like ``push``, a little at a time: a few bytes can stand for hours of silence. Exhaust it before the next."""
        for event in self._reader.events(data):
            for sound in self._play(event):
                yield self._give(sound)

    def final_pieces(self) -> Iterator[Samples]:
        """Like ``flush``, a little at a time."""
        for event in self._reader.final_events():
            for sound in self._play(event):
                yield self._give(sound)
        for sound in self._drain():
            yield self._give(sound)
        if self.header is not None:
            yield self._give(np.zeros((self.header.channels, 0), np.float32), last=True)

    def _join(self, pieces: list[Samples]) -> Samples:
        channels = self.header.channels if self.header is not None else 1
        return np.concatenate([np.zeros((channels, 0), np.float32), *pieces], axis=1)

    def _entropy_for(self, header: StreamHeader) -> Any:
        self.header = header
        if header.block_frames * header.channels > MAX_BLOCK_FRAMES:
            raise BitstreamError(f"header: blocks of {header.block_frames} frames are more than a decoder computes")
        if not MIN_RATE <= header.source_rate <= MAX_RATE:  # a few bytes would become gigabytes at 16 MHz
            raise BitstreamError(f"header: a source of {header.source_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        self._codec = self._find(header)
        self._rate = self._codec.setting_of(header)
        self._concealer = Concealer(header.sample_rate, header.hop_samples)
        self._reset()
        self._skip = header.pre_skip
        self._set_limit(header.total_samples)
        return self._codec.entropy if header.mode == "range" else None

    def _reset(self) -> None:
        assert self.header is not None
        assert self._codec is not None
        self._state: Any = self._codec.net.decoder.initial_state(self.header.channels)
        self._last: NDArray[Any] | None = None

    def _set_limit(self, total: int | None) -> None:
        assert self.header
        if total is not None:
            self.total_samples = total
            self._limit = -(-total * self.header.sample_rate // self.header.source_rate)

    def _play(self, event: Event) -> Iterator[Samples]:
        match event:
            case Header():
                pass  # taken in by _entropy_for, before the first packet is read
            case Frames(_, indices):
                self._pending.append(indices)
                yield from self._decode_whole_blocks()
            case Silence(_, frames):
                yield from self._drain()
                yield from self._silence(frames)
            case Lost(_, frames, position, reason):
                self.problems.append(f"{frames} frames lost at byte {position}: {reason}")
                self.lost_frames += frames
                yield from self._drain()
                yield from self._conceal(frames)
            case End(total):
                self._set_limit(total)

    def _decode_whole_blocks(self) -> list[Samples]:
        assert self.header
        frames = np.concatenate(self._pending)
        whole = len(frames) // self.header.block_frames * self.header.block_frames
        self._pending = [frames[whole:]] if whole < len(frames) else []
        parts = np.split(frames[:whole], range(self.header.block_frames, whole, self.header.block_frames))
        return [self._decode(part) for part in parts if len(part)]

    def _drain(self) -> list[Samples]:
        """What is left of a block at the end of a run of frames; shorter than the others on every machine alike."""
        pending, self._pending = self._pending, []
        return [self._decode(np.concatenate(pending))] if pending else []

    def _decode(self, frames: NDArray[Any]) -> Samples:
        self._last = frames[-1:]
        return self._concealer.resume(self._step(frames)).cpu().numpy()

    def _step(self, frames: NDArray[Any]) -> torch.Tensor:
        assert self._codec
        indices = torch.from_numpy(np.ascontiguousarray(frames)).to(self._codec.device, torch.int64).permute(1, 0, 2)
        wave, self._state = self._codec.decode_block(indices, self._rate, self._state)
        return wave

    def _silence(self, frames: int) -> Iterator[Samples]:
        """The tail of what came before, then zeros; the state returns to its beginning."""
        assert self.header is not None
        assert self._codec is not None
        hop, channels = self.header.hop_samples, self.header.channels
        first = np.zeros((channels, hop), np.float32)
        if self._last is not None:
            tail = self._concealer.end(self._codec.net.decoder.tail(self._state)).cpu().numpy()
            first[:, : tail.shape[1]] = tail[:, :hop]
        self._reset()
        yield first
        yield from _zeros(channels, hop, frames - 1)

    def _conceal(self, frames: int) -> Iterator[Samples]:
        assert self.header
        done = 0
        while done < frames and self._last is not None and not self._concealer.silent:
            yield self._concealer.fade(self._step(self._last)).cpu().numpy()
            done += 1
        yield from _zeros(self.header.channels, self.header.hop_samples, frames - done)

    def _give(self, sound: Samples, last: bool = False) -> Samples:
        """Trim the delay and the end, and hold the last frame back."""
        assert self.header
        wave = sound if self._held is None else np.concatenate([self._held, sound], axis=1)
        skip = min(self._skip, wave.shape[1])
        wave, self._skip = wave[:, skip:], self._skip - skip
        if self._limit is not None:
            wave = wave[:, : max(0, self._limit - self._given)]
        keep = 0 if last or self._live or self._limit is not None else min(wave.shape[1], self.header.hop_samples)
        self._held = wave[:, wave.shape[1] - keep :]
        wave = wave[:, : wave.shape[1] - keep]
        self._given += wave.shape[1]
        return wave


def _zeros(channels: int, hop_samples: int, frames: int) -> Iterator[Samples]:
    for start in range(0, frames, _ZERO_FRAMES):
        yield np.zeros((channels, min(_ZERO_FRAMES, frames - start) * hop_samples), np.float32)
