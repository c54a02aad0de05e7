"""WAV by our own reader and writer: from and to pipes, of lengths that are unknown, wrong, or beyond 32 bits."""

from __future__ import annotations

import contextlib
import io
import os
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_helpers import read, run_python, tone, write

from audiocodec.audio import AudioReader, AudioWriter
from audiocodec.audio.wav import NeedMore, build_header, parse_header
from audiocodec.errors import AudioError

COUNT = (
    "import numpy as np; from audiocodec.audio import AudioReader\n"
    "r = AudioReader('-'); x = np.concatenate([np.zeros((r.channels, 0)), *r], axis=1)\n"
    "print(r.sample_rate, *x.shape, r.format, float(np.abs(x).max(initial=0)))"
)


def wav_bytes(audio: np.ndarray, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio.T, 16000, subtype=subtype, format=form)
    return file.getvalue()


def test_wav_and_flac_from_standard_input() -> None:
    audio = tone(50001, 2)
    for data in (wav_bytes(audio), wav_bytes(audio, form="FLAC")):
        result = run_python(COUNT, data)
        assert result.stdout.split()[:3] == [b"16000", b"2", b"50001"], result.stderr


def test_a_file_cut_short_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    data = bytearray(wav_bytes(tone(16000)))
    data[40:44] = (2 * 32000).to_bytes(4, "little")
    result = run_python(COUNT + "; print(r.shortfall)", bytes(data))
    assert result.stdout.split()[:3] == [b"16000", b"1", b"16000"], result.stderr
    assert b"holds 1.000 s of the 2.000 s" in result.stdout


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_header_of_unknown_length_means_until_the_end(size: int) -> None:
    data = bytearray(wav_bytes(tone(12345)))
    data[4:8] = b"\xff\xff\xff\xff"
    data[40:44] = size.to_bytes(4, "little")
    result = run_python(COUNT, bytes(data))
    assert result.stdout.split()[:3] == [b"16000", b"1", b"12345"], result.stderr


def unfinished(audio: np.ndarray, behind: bytes = b"") -> bytes:
    """A WAV with the lengths that it has before its first sample, which its writer never changed."""
    return wav_bytes(audio[:, :0])[:44] + wav_bytes(audio)[44:] + behind


@pytest.mark.parametrize("odd", [b"", b"\0"])
def test_lengths_that_were_never_filled_in_mean_until_the_end(tmp_path: Path, odd: bytes) -> None:
    data = unfinished(tone(12345), odd)
    result = run_python(COUNT + "; print(r.shortfall)", data)
    assert result.stdout.split()[:3] == [b"16000", b"1", b"12345"], result.stderr
    assert (b"ends within a sample" in result.stdout) == bool(odd)
    (tmp_path / "a.wav").write_bytes(data)
    (tmp_path / "b.wav").write_bytes(wav_bytes(tone(12345)))
    with AudioReader(tmp_path / "a.wav") as reader:
        assert (reader.frames, reader.live, reader.parsed) == (12345, False, True)
        assert np.array_equal(np.concatenate(list(reader), axis=1), read(tmp_path / "b.wav"))
    assert ("ends within a sample" in str(reader.shortfall)) == bool(odd)


@pytest.mark.parametrize("name", [b"LIST", b"id3 "])
def test_chunks_behind_no_samples_are_no_samples(tmp_path: Path, name: bytes) -> None:
    chunk = name + (26).to_bytes(4, "little") + b"INFOISFT\x0e\0\0\0Lavf58.29.100\0"
    for data in (unfinished(tone(0)), unfinished(tone(0), chunk)):
        assert run_python(COUNT, data).stdout.split()[:3] == [b"16000", b"1", b"0"]
        (tmp_path / "a.wav").write_bytes(data)
        assert read(tmp_path / "a.wav").shape == (1, 0)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_the_pipe_reader_agrees_with_libsndfile(subtype: str) -> None:
    audio = tone(1000, 2)
    data = wav_bytes(audio, subtype)
    layout = parse_header(data)
    assert layout is not None
    assert layout.data_bytes == 1000 * layout.frame_bytes
    mine = layout.to_float(data[layout.data_offset :][: layout.data_bytes])
    assert np.array_equal(mine, soundfile.read(io.BytesIO(data), dtype="float32")[0].T)


def test_any_prefix_of_a_header_asks_for_more_and_nothing_crashes() -> None:
    data = wav_bytes(tone(100), "FLOAT")
    layout = parse_header(data)
    assert layout is not None
    for cut in range(layout.data_offset - 1):
        with pytest.raises(NeedMore):
            parse_header(data[:cut])
    rng = np.random.default_rng(0)
    for _ in range(2000):
        broken = bytearray(data[:80])
        broken[rng.integers(len(broken))] = rng.integers(256)
        with contextlib.suppress(NeedMore, AudioError):
            parse_header(bytes(broken))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_standard_output_carries_the_samples_of_the_file(tmp_path: Path, subtype: str) -> None:
    audio = tone(3000, 2) * 2.5
    np.save(tmp_path / "a.npy", audio)
    write(tmp_path / "file.wav", audio, subtype=subtype)
    code = (
        "import numpy as np; from audiocodec.audio import AudioWriter\n"
        f"x = np.load({str(tmp_path / 'a.npy')!r})\n"
        f"with AudioWriter('-', 16000, 2, {subtype!r}) as w: w.write(x[:, :1000]); w.write(x[:, 1000:])"
    )
    result = run_python(code)
    layout = parse_header(result.stdout)
    assert layout is not None, result.stderr
    assert layout.data_bytes is None
    samples = layout.to_float(result.stdout[layout.data_offset :])
    assert np.array_equal(samples, read(tmp_path / "file.wav"))


def test_a_known_length_is_written_into_the_header() -> None:
    layout = parse_header(build_header(48000, 2, "PCM_16", 77))
    assert layout is not None
    assert layout.data_bytes == 77 * 4


@pytest.mark.parametrize("total", [None, 2**31 + 2000])
def test_a_file_outgrows_what_wav_can_count(tmp_path: Path, total: int | None) -> None:
    hole = 2**31  # samples, of which the file system keeps none
    with AudioWriter(tmp_path / "a.wav", 16000, 1, total_samples=total) as writer:
        writer.write(tone(1000))
        writer._out.seek(2 * hole, os.SEEK_CUR)
        writer.samples_written += hole
        writer.write(tone(1000))
    assert writer.bytes_written > 2**32
    with soundfile.SoundFile(tmp_path / "a.wav") as sound:
        assert (sound.format, sound.frames) == ("RF64", hole + 2000)
        start = sound.read(2000)
        sound.seek(hole)
        end = sound.read()
    assert np.abs(start[:1000] - tone(1000)[0]).max() < 1e-4
    assert np.array_equal(end, np.roll(start, 1000))
    with AudioReader(tmp_path / "a.wav") as reader, open(tmp_path / "a.wav", "rb") as file:
        assert reader.frames == hole + 2000
        layout = parse_header(file.read(1000))
    assert layout is not None
    assert layout.data_bytes == 2 * (hole + 2000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("total", [None, 1001, 5000])
def test_lengths_of_files_are_those_of_what_was_written(tmp_path: Path, subtype: str, total: int | None) -> None:
    write(tmp_path / "a.wav", tone(1001), subtype=subtype, total_samples=total)
    data = (tmp_path / "a.wav").read_bytes()
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert len(data) % 2 == 0
    assert read(tmp_path / "a.wav").shape == (1, 1001)
    if subtype != "FLOAT":
        with wave.open(str(tmp_path / "a.wav")) as file:  # by another reader
            assert file.getnframes() == 1001


def test_a_wav_of_known_length_is_libsndfile_s(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(777, 2), total_samples=777)
    soundfile.write(tmp_path / "b.wav", read(tmp_path / "a.wav").T, 16000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(("roomy", "size", "longer"), [(False, 44, b"RIFF"), (True, 80, b"RF64")])
def test_headers_count_in_32_bits_as_long_as_they_can(roomy: bool, size: int, longer: bytes) -> None:
    most = (2**32 - 2 - (size - 8)) // 2
    for samples, name, data_bytes in ((most, b"RIFF", 2 * most), (most + 1, longer, 0xFFFFFFFF)):
        header = build_header(16000, 1, "PCM_16", samples, roomy)
        assert (header[:4], len(header)) == (name, size)
        assert int.from_bytes(header[-4:], "little") == data_bytes
