"""Files: exact length, seeking by index and by scan, pipes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from bitstream_helpers import make_file, make_header, random_tokens, read_all, samples_for, small_model, tokens_of

from audiocodec.bitstream import End, FileReader, FileWriter, Frames, Lost, PacketEncoder, Silence, StreamHeader
from audiocodec.bitstream.index import INDEX_ENTRIES, INDEX_FRAMES, Entry, StreamEnd, end_packet
from audiocodec.errors import BitstreamError

MODEL = small_model()
HEADER = make_header(mode="raw")
LONG = np.tile(random_tokens(INDEX_FRAMES), (INDEX_ENTRIES + 3, 1, 1))


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: int) -> int:
        raise OSError("a pipe")

    def tell(self) -> int:
        raise OSError("a pipe")


@pytest.fixture(scope="module")
def long_file() -> bytes:
    return make_file(HEADER, LONG, 50)


def index_size(data: bytes) -> int:
    return int.from_bytes(data[-5:-2], "little")


def test_a_short_file_has_nothing_behind_its_packets() -> None:
    tokens = random_tokens(100)
    data = make_file(HEADER, tokens, 50)
    encoder = PacketEncoder(HEADER)
    assert data[len(HEADER.pack()) :] == encoder.frames(0, tokens[:50]) + encoder.frames(50, tokens[50:])
    assert StreamHeader.unpack(data)[0].total_samples == samples_for(HEADER, 100)


def test_a_pipe_ends_with_a_packet_that_says_the_length() -> None:
    buffer = Pipe()
    writer = FileWriter(buffer, HEADER)
    writer.write_packet(PacketEncoder(HEADER).frames(0, LONG[:100]))
    writer.close(samples_for(HEADER, 100))
    data = buffer.getvalue()
    assert writer.bytes_written == len(data)
    assert StreamHeader.unpack(data)[0].total_samples is None
    assert read_all(data)[-1] == End(samples_for(HEADER, 100))
    events = list(FileReader(Pipe(data), lambda header: None))
    assert np.array_equal(tokens_of(events), LONG[:100])
    with pytest.raises(BitstreamError, match="pipe"):
        FileReader(Pipe(data), lambda header: None).seek(3)


def test_the_index_is_small(long_file: bytes) -> None:
    entries = len(LONG) // INDEX_FRAMES
    assert index_size(long_file) <= 14 + 5 * entries
    assert index_size(long_file) < len(long_file) / 150  # of a stream of 700 bit/s


def test_a_file_may_begin_anywhere() -> None:
    buffer = io.BytesIO(b"prefix")
    buffer.seek(6)
    writer = FileWriter(buffer, HEADER)
    writer.write_packet(PacketEncoder(HEADER).frames(0, LONG[:100]))
    writer.close(samples_for(HEADER, 100))
    assert buffer.getvalue()[:6] == b"prefix"
    buffer.seek(6)
    reader = FileReader(buffer, lambda header: None)
    assert reader.seek(60) == 0
    assert np.array_equal(tokens_of(list(reader)), LONG[:100])


@pytest.mark.parametrize("way", ["index", "scan", "short"])
def test_seek(long_file: bytes, way: str) -> None:
    data = {
        "index": long_file,
        "scan": long_file[: -index_size(long_file)],
        "short": make_file(HEADER, LONG[:400], 50),
    }[way]
    frames = 400 if way == "short" else len(LONG)
    reader = FileReader(io.BytesIO(data), lambda header: None)
    for frame in (0, 49, 50, 399, frames // 2, frames - 1, 7):
        first = reader.seek(frame)
        assert first == frame // 50 * 50
        events = list(reader)
        assert not any(isinstance(event, Lost) for event in events)
        assert np.array_equal(tokens_of(events), LONG[first:frames])
        assert events[-1] == End(samples_for(HEADER, frames))
    assert reader.seek(10**9) == (frames - 1) // 50 * 50
    assert reader.seek(-5) == 0


def test_seeking_with_the_index_reads_little(long_file: bytes) -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    tokens = np.tile(LONG, (16, 1, 1))
    buffer = Counting(make_file(HEADER, tokens, 50))
    reader = FileReader(buffer, lambda header: None)
    buffer.count = 0
    reader.seek(len(tokens) - 300)
    assert buffer.count < 3 * 65536 < len(buffer.getvalue())


def test_seek_in_damaged_files(long_file: bytes) -> None:
    rng = np.random.default_rng(0)
    for trial in range(25):
        bad = bytearray(long_file)
        for _ in range(3):
            bad[rng.integers(len(HEADER.pack()), len(bad))] ^= 1 << rng.integers(0, 8)
        if trial % 2:
            bad[-20:] = rng.bytes(20)
        reader = FileReader(io.BytesIO(bytes(bad)), lambda header: None)
        frame = int(rng.integers(0, len(LONG)))
        first = reader.seek(frame)
        assert frame - 200 < first <= frame
        event = next(iter(reader))
        assert isinstance(event, Frames)
        assert event.first_frame == first


def test_an_index_that_lies_is_not_believed(long_file: bytes) -> None:
    packets = long_file[: -index_size(long_file)]
    header, start = StreamHeader.unpack(packets)
    for shift in (1, 30, 250):
        entries = tuple(Entry(500 * k, start + 415 * k + shift * (k > 0)) for k in range(19))
        bad = packets + end_packet(header, len(LONG), StreamEnd(header.total_samples or 0, entries))
        reader = FileReader(io.BytesIO(bad), lambda header: None)
        for frame in (4321, 30, 9000):
            assert reader.seek(frame) == frame // 50 * 50
            assert np.array_equal(tokens_of(list(reader)), LONG[frame // 50 * 50 :])


def test_a_long_pause_and_its_index() -> None:
    encoder = PacketEncoder(HEADER)
    buffer = io.BytesIO()
    writer = FileWriter(buffer, HEADER)
    writer.write_packet(encoder.frames(0, LONG[:50]))
    writer.write_packet(encoder.silence(50, 100000))
    writer.write_packet(encoder.frames(100050, LONG[:50]))
    writer.close(samples_for(HEADER, 100100))
    assert len(buffer.getvalue()) < 200 + 2 * 50 * 2
    buffer.seek(0)
    reader = FileReader(buffer, lambda header: None)
    assert reader.seek(90000) <= 90000
    assert isinstance(next(iter(reader)), Silence)
    assert reader.seek(100051) == 100050


def test_a_promise_that_turns_out_wrong() -> None:
    header = make_header(mode="raw", total_samples=5)
    writer = FileWriter(io.BytesIO(), header)
    with pytest.raises(ValueError, match="need"):
        writer.close(samples_for(header, 3))
    with pytest.raises(ValueError, match="promised"):
        FileWriter(Pipe(), header).close(6)
    writer = FileWriter(io.BytesIO(), HEADER)
    packet = PacketEncoder(HEADER).frames(20, LONG[:20])
    with pytest.raises(ValueError, match="not a packet"):
        writer.write_packet(b"noise")
    with pytest.raises(ValueError, match="cut short"):
        writer.write_packet(packet[:-1])
    writer.write_packet(packet)
    with pytest.raises(ValueError, match="out of order"):
        writer.write_packet(packet)


def test_a_file_that_is_no_stream() -> None:
    for data in (b"", b"\x89VPC", b"RIFF" * 20, HEADER.pack()[:-1]):
        with pytest.raises(BitstreamError):
            FileReader(io.BytesIO(data), lambda header: None)
