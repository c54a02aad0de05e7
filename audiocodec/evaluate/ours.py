"""This project's codec as a system under evaluation, through the files that its commands write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from audiocodec.errors import BitstreamError
from audiocodec.evaluate.recordings import read_audio
from audiocodec.evaluate.systems import Coded, Histograms, PacketUse, Stopwatch

if TYPE_CHECKING:
    from audiocodec.bitstream import EntropyModel
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

PIECE_S = 0.1


@dataclass
class Vpc:
    """This project's codec at one rate setting, through the files that ``audiocodec encode`` and ``decode`` write."""

    model: Codec
    rate: RateSetting
    stereo: ClassVar[bool] = True
    name: str = ""
    """What tables call the model, where that is not its own name."""

    @property
    def codec(self) -> str:
        """Name of the model."""
        return self.name or str(self.model.facts.name)

    @property
    def setting(self) -> str:
        """Base level count of the rate."""
        return f"{self.rate.base_levels} levels"

    def identity(self) -> dict[str, str]:
        """Version, fingerprint of config, weights and tables, the level counts, and what runs the network."""
        from audiocodec import __version__

        return {
            "audiocodec": __version__,
            "fingerprint": self.model.fingerprint.hex(),
            "levels": ",".join(map(str, self.rate.levels)),
            "runtime": self.model.runtime.name,
        }

    def run(self, source: Path, folder: Path) -> Coded:
        """Write ``source`` as .vpc in both coding modes, and decode the entropy coded one."""
        from audiocodec.transcode import decode_file, encode_file

        coded, raw, decoded = folder / "coded.vpc", folder / "raw.vpc", folder / "decoded.wav"
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            encode_file(self.model, source, coded, self.rate, mode="range", force=True)
        encode_file(self.model, source, raw, self.rate, mode="raw", force=True)
        with decoding:
            decode_file(self.model, coded, decoded, force=True)
        samples, sample_rate = read_audio(decoded)
        data = coded.read_bytes()
        use = token_statistics(data, self.model.entropy)
        return Coded(
            samples=samples,
            sample_rate=sample_rate,
            file_bytes=len(data),
            payload_bytes=use.payload_bytes,
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            raw_bytes=raw.stat().st_size,
            frames=use.frames,
            histograms=use.histograms,
            packets=use.packets,
            delay_s=0.0,  # decoding trims what the header states
        )


@dataclass
class TokenStatistics:
    """What is in a .vpc file.

    Payload bytes and frames are those of packets with tokens (silence has none); ``histograms`` tells for each
    dimension how often each level occurs, None where mid and side have levels of their own; ``packets`` has seconds
    and bytes, framing included, of every tenth of a second: the packets of a file are seconds long, which would hide
    how bits follow the sound.
    """

    payload_bytes: int
    frames: int
    histograms: Histograms | None
    packets: PacketUse


def token_statistics(data: bytes, entropy: EntropyModel | None) -> TokenStatistics:
    """Count what the bytes of a .vpc file hold. Raises BitstreamError where the file is damaged."""
    from audiocodec.bitstream import StreamHeader
    from audiocodec.bitstream.packet import Kind, Packet, PacketDecoder
    from audiocodec.bitstream.payload import PayloadCoder
    from audiocodec.bitstream.scanner import PacketScanner

    header, start = StreamHeader.unpack(data)
    decoder, scanner = PacketDecoder(header, entropy), PacketScanner(header, start)
    costs = PayloadCoder(header, entropy)
    scanner.feed(data[start:])
    scanner.final = True
    histograms = [np.zeros(count, np.int64) for count in header.levels]
    use = TokenStatistics(0, 0, None if header.coupled else histograms, [])
    for item in scanner.items():
        if not isinstance(item, Packet):
            raise BitstreamError(item.reason, item.position)
        bits = np.zeros(item.frames)
        if item.kind in (Kind.RAW, Kind.RANGE):
            use.payload_bytes += len(item.payload)
            use.frames += item.frames
            indices = decoder.indices(item)
            for dim, histogram in enumerate(use.histograms or ()):
                histogram += np.bincount(indices[:, :, dim].ravel(), minlength=len(histogram))
            if item.kind is Kind.RANGE:
                bits = costs.frame_bits(indices[:, :1] if item.same_channels else indices)
        if item.frames:
            framing = (item.end - item.position) - bits.sum() / 8.0
            use.packets += _pieces(bits / 8.0 + framing / item.frames, header.hop_samples / header.sample_rate)
    return use


def _pieces(frame_bytes: npt.NDArray[np.float64], frame_s: float) -> PacketUse:
    """Bytes of each frame, added up to pieces of a tenth of a second."""
    many = max(1, round(PIECE_S / frame_s))
    starts = range(0, len(frame_bytes), many)
    parts = [frame_bytes[start : start + many] for start in starts]
    return [(len(part) * frame_s, float(part.sum())) for part in parts]
