"""What an RTP packet carries: one to three frames, and copies of earlier ones (SPEC.md, section 9.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.header import StreamHeader
from audiocodec.bitstream.packet import Kind
from audiocodec.bitstream.payload import Ints, PayloadCoder, raw_payload_bytes
from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint
from audiocodec.errors import BitstreamError

MAX_FRAMES = 3
MAX_SPARES = 15


@dataclass(frozen=True)
class Contents:
    """A payload's indices: ``frames [k, 1, groups]`` from its timestamp on, ``spares [n, 1, groups]`` of just before.

    No frames: silence from the timestamp on, until another packet says otherwise.
    """

    frames: Ints
    spares: Ints

    @property
    def silence(self) -> bool:
        """Whether the packet says that nothing is to be heard."""
        return not len(self.frames)


class PayloadFormat:
    """Payloads of one direction of a call: frames with the header's levels, spares with ``spare_levels``."""

    def __init__(self, header: StreamHeader, spare_levels: tuple[int, ...], entropy: EntropyModel | None) -> None:
        self._frames = _Part(header, entropy)
        self._spares = _Part(replace(header, levels=spare_levels), entropy)

    def pack(self, contents: Contents) -> bytes:
        """Raises ValueError for more frames than a payload holds, or an index outside its levels."""
        count, copies = len(contents.frames), len(contents.spares)
        if count > MAX_FRAMES or copies > MAX_SPARES:
            raise ValueError(f"{count} frames and {copies} copies do not fit a payload")
        kind, coded = self._frames.pack(contents.frames) if count else (Kind.SILENCE, b"")
        first = bytes([kind << 6 | max(count - 1, 0) << 4 | copies])
        if not copies:
            return first + coded
        kind, spare = self._spares.pack(contents.spares)
        return first + pack_varint(len(spare) << 1 | kind) + spare + coded

    def parse(self, payload: bytes) -> Contents:
        """Undo :meth:`pack`.

        Raises:
            BitstreamError: the bytes are no payload of this call.
        """
        if not payload:
            raise BitstreamError("a packet without a payload", 0)
        kind, count, copies = payload[0] >> 6, (payload[0] >> 4 & 3) + 1, payload[0] & 15
        if kind == Kind.END or count > MAX_FRAMES:
            raise BitstreamError("reserved values in a payload", 0)
        position, spares = 1, self._spares.none
        if copies:
            try:
                coded, position = read_varint(payload, 1)
            except (Incomplete, Malformed):
                raise BitstreamError("a payload's length of copies is damaged", 1) from None
            end = position + (coded >> 1)
            if end > len(payload):
                raise BitstreamError("a payload ends within its copies", len(payload))
            spares, position = self._spares.parse(Kind(coded & 1), payload[position:end], copies), end
        if kind != Kind.SILENCE:
            return Contents(self._frames.parse(Kind(kind), payload[position:], count), spares)
        if count > 1 or position != len(payload):
            raise BitstreamError("bytes behind a payload of silence", position)
        return Contents(self._frames.none, spares)


class _Part:
    """Frames of one rate."""

    def __init__(self, header: StreamHeader, entropy: EntropyModel | None) -> None:
        self._header = header
        self._coder = PayloadCoder(header, entropy if header.mode == "range" else None)
        self.none: Ints = np.zeros((0, 1, len(header.levels)), np.int64)

    def pack(self, frames: Ints) -> tuple[Kind, bytes]:
        """Raw or entropy coded, whichever is smaller."""
        whole = self._coder.check(frames)
        if self._coder.entropy_coded:
            coded = self._coder.ranged(whole)
            if len(coded) < raw_payload_bytes(self._header, len(whole), 1):
                return Kind.RANGE, coded
        return Kind.RAW, self._coder.raw(whole)

    def parse(self, kind: Kind, coded: bytes, count: int) -> Ints:
        """Raises BitstreamError."""
        most = raw_payload_bytes(self._header, count, 1)
        if kind is Kind.RAW:
            return self._coder.unpack_raw(coded, count, 1)
        if not self._coder.entropy_coded or len(coded) >= most:
            raise BitstreamError("an entropy coded payload where none can be")
        return self._coder.decode_range(coded, count, 1)
