"""What fuzzing feeds: each target takes any bytes, and anything but a result or a BitstreamError is a finding."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz_bitstream
import numpy as np
from bitstream_helpers import LEVELS, OTHER_LEVELS, make_header, random_tokens, small_model

from audiocodec.bitstream import StreamReader
from audiocodec.bitstream.reader import Frames
from audiocodec.errors import BitstreamError
from audiocodec.live import control
from audiocodec.live.jitter import JitterBuffer, JitterSettings
from audiocodec.live.payload import Contents, PayloadFormat
from audiocodec.live.rtp import RtpPacket

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "corpus"
MODEL = small_model()
FORMAT = PayloadFormat(make_header(), OTHER_LEVELS, MODEL)
BUFFER = JitterSettings(16000, 320)
MOST_HELD = round((BUFFER.most_s + 1.0) / BUFFER.frame_s) + 16  # a payload's copies come on top


def stream(data: bytes) -> bool:
    """Read a stream whole, and cut in two where its length says: the same events or the same refusal. Whether read."""
    whole, halves = _told(data, len(data)), _told(data, len(data) * 7 // 13)
    assert whole == halves, "events depend on how the bytes were cut"
    return whole is not None


def _told(data: bytes, cut: int) -> list[str] | None:
    reader, told = StreamReader(lambda _: MODEL), []
    try:
        for events in (reader.events(data[:cut]), reader.events(data[cut:]), reader.final_events()):
            for event in events:
                told.append(f"{event}{event.indices.tobytes()!r}" if isinstance(event, Frames) else str(event))
    except BitstreamError:
        return None
    return told


def rtp(data: bytes) -> bool:
    """Parse a datagram as both of what it may be. Whether it was either."""
    was = False
    for parse in (RtpPacket.parse, control.parse):
        try:
            parse(data)
            was = True
        except BitstreamError:
            continue
    return was


def call(data: bytes) -> bool:
    """Datagrams, a byte of length and one of time before each, through payloads and the jitter buffer. Whether all."""
    buffer, now, at, whole = JitterBuffer(BUFFER), 0.0, 0, True
    while at + 2 <= len(data):
        size, wait = data[at], data[at + 1]
        datagram, at = data[at + 2 : at + 2 + size], at + 2 + size
        now += wait / 250  # a second at most
        try:
            packet = RtpPacket.parse(datagram)
            contents = FORMAT.parse(packet.payload)
        except BitstreamError:
            whole = False
            continue
        assert all((frame < LEVELS).all() for frame in contents.frames), "an index outside its alphabet"
        buffer.put(packet.sequence, packet.timestamp, list(contents.frames), list(contents.spares), now=now)
        assert len(buffer) <= MOST_HELD, f"{len(buffer)} frames are held"
        for _ in range(wait % 4):
            buffer.take(now)
    return whole


TARGETS: dict[str, Callable[[bytes], bool]] = {"stream": stream, "rtp": rtp, "call": call}


def seeds(target: str) -> list[bytes]:
    """Valid inputs that fuzzing begins with."""
    if target == "stream":
        return fuzz_bitstream.seeds(MODEL)[:4]
    datagrams = list(_datagrams())
    if target == "call":
        return [b"".join(bytes([len(one), 5]) + one for one in datagrams if one[0] >> 6 == 2)]
    return datagrams


def _datagrams() -> Iterator[bytes]:
    """Packets of a short talk with copies and a silence, and the messages around it."""
    none = np.zeros((0, 1, len(LEVELS)), np.int64)
    spares = np.zeros((2, 1, len(LEVELS)), np.int64)
    yield control.Hello(1, 0, 1, 2, OTHER_LEVELS, make_header()).pack()
    for number, frame in enumerate(random_tokens(8)):
        contents = Contents(frame[None], spares[: number % 3])
        yield RtpPacket(65533 + number & 0xFFFF, 320 * number, 1, FORMAT.pack(contents), number == 0).pack()
    yield RtpPacket(5, 320 * 8, 1, FORMAT.pack(Contents(none, spares))).pack()
    yield control.Bye(1, 2).pack()


def corpus(target: str) -> dict[str, bytes]:
    """What was kept of long runs, by name; empty where nothing was."""
    path = CORPUS / f"{target}.zip"
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def keep(target: str, folder: Path) -> int:
    """Put the files of a corpus folder into the repository's archive; how many there are."""
    buffer, files = io.BytesIO(), sorted(path for path in folder.iterdir() if path.is_file())
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.zip").write_bytes(buffer.getvalue())
    return len(files)
