"""Our file pipeline for the speed benchmark: its two steps, where their time goes, and the network by itself."""

from __future__ import annotations

import contextlib
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import soundfile
from blocks import decode_blocks, encode_blocks
from common import Step
from stopwatches import Stopwatches

from audiocodec.streaming import FILE_BLOCK_FRAMES

if TYPE_CHECKING:
    from audiocodec.codec import Codec, RateSetting

PARTS = ("reading", "resampling", "network", "entropy coding", "packets and writing", "the rest")


class Pipeline:
    """``audiocodec encode`` and ``decode`` of looped speech, by a codec that is loaded already."""

    def __init__(self, codec: Codec, rate: RateSetting, audio: Path, seconds: float, folder: Path) -> None:
        self.codec, self.rate = codec, rate
        self.original, self.coded, self.decoded = folder / "in.wav", folder / "out.vpc", folder / "out.wav"
        self.speech = common.looped_speech(audio, codec.sample_rate, seconds)
        soundfile.write(str(self.original), self.speech, codec.sample_rate, subtype="PCM_16")

    def steps(self) -> dict[str, Step]:
        """Encoding a WAV file to .vpc, and decoding it to WAV."""
        from audiocodec.transcode import decode_file, encode_file

        def encode() -> None:
            encode_file(self.codec, self.original, self.coded, self.rate, mode="range", force=True)

        def decode() -> None:
            decode_file(self.codec, self.coded, self.decoded, force=True)

        return {"encode": encode, "decode": decode}

    def network_steps(self) -> dict[str, Step]:
        """The network over the same samples in the same blocks."""
        kept: dict[str, Any] = {}

        def encode() -> None:
            kept["blocks"] = encode_blocks(self.codec, self.rate, self.speech[None], FILE_BLOCK_FRAMES)

        def decode() -> None:
            decode_blocks(self.codec, self.rate, kept["blocks"])

        return {"encode": encode, "decode": decode}

    def breakdown(self, repeat: int) -> dict[str, dict[str, float]]:
        """Median CPU seconds of each part of encoding and of decoding."""
        watches = Stopwatches()
        found: dict[str, dict[str, float]] = {}
        with contextlib.ExitStack() as stack:
            for watch in _watched(watches, self.codec):
                stack.enter_context(watch)
            for name, step in self.steps().items():
                rows = []
                for _ in range(repeat):
                    watches.call("the rest", step)
                    rows.append(watches.take())
                found[name] = {part: statistics.median(row.get(part, 0.0) for row in rows) for part in PARTS}
        return found


def _watched(watches: Stopwatches, codec: Codec) -> list[contextlib.AbstractContextManager[Any]]:
    from audiocodec.audio import AudioReader, AudioWriter, Resampler
    from audiocodec.bitstream import EntropyModel, FileWriter, PacketEncoder
    from audiocodec.bitstream.payload import PayloadCoder
    from audiocodec.bitstream.scanner import PacketScanner
    from audiocodec.incoming import CountedBytes

    managers = [
        watches.patched(owner, name, label)
        for owner, name, label in (
            (Resampler, "push", "resampling"),
            (Resampler, "flush", "resampling"),
            (codec.runtime, "encode", "network"),
            (codec.runtime, "decode", "network"),
            (EntropyModel, "for_levels", "entropy coding"),  # its tables, made for each stream
            (PayloadCoder, "ranged", "entropy coding"),
            (PayloadCoder, "decode_range", "entropy coding"),
            (PacketEncoder, "frames", "packets and writing"),
            (FileWriter, "write_packet", "packets and writing"),
            (FileWriter, "close", "packets and writing"),
            (AudioWriter, "write", "packets and writing"),
        )
    ]
    iterators = ((AudioReader, "reading"), (CountedBytes, "reading"))
    managers += [watches.patched_iterator(owner, "__iter__", label) for owner, label in iterators]
    return [*managers, watches.patched_iterator(PacketScanner, "items", "packets and writing")]
