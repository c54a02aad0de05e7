"""Audio in and out: what is accepted, what is refused, and that nothing is lost or left behind."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
import soundfile

from audiocodec.audio import AudioReader, AudioWriter, Resampler, resampled_length
from audiocodec.audio.wav import NeedMore, build_header, parse_header
from audiocodec.audio.writer import _empty_flac, _Sink
from audiocodec.errors import AudioError, OutputError
from audiocodec.output import OutputFile

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000]


def tone(samples: int, channels: int = 1, rate: int = 16000) -> np.ndarray:
    time = np.arange(samples) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * (440 + 110 * c) * time) for c in range(channels)]).astype(np.float32)


def read(source: str | Path, **options: int) -> np.ndarray:
    with AudioReader(source, **options) as reader:
        blocks = list(reader)
        assert reader.samples_read == sum(b.shape[1] for b in blocks)
        return np.concatenate([np.zeros((reader.channels, 0), np.float32), *blocks], axis=1)


def write(target: str | Path, audio: np.ndarray, rate: int = 16000, **options: object) -> None:
    with AudioWriter(target, rate, audio.shape[0], **options) as writer:  # type: ignore[arg-type]
        for at in range(0, audio.shape[1], 1000):
            writer.write(audio[:, at : at + 1000])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_wav_keeps_rate_channels_length_and_samples(tmp_path: Path, rate: int, channels: int) -> None:
    audio = tone(5003, channels, rate)
    write(tmp_path / "a.wav", audio, rate)
    with AudioReader(tmp_path / "a.wav", block_samples=777) as reader:
        assert (reader.sample_rate, reader.channels, reader.frames, reader.subtype) == (rate, channels, 5003, "PCM_16")
        back = np.concatenate(list(reader), axis=1)
    assert back.shape == audio.shape
    assert back.dtype == np.float32
    assert np.abs(back - audio).max() <= 0.5 / 32768 + 1e-6


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 0.5 / 128),
        ("a.wav", "PCM_24", 0.5 / 2**23 + 1e-7),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.flac", None, 0.5 / 32768),
        ("a.flac", "PCM_24", 0.5 / 2**23 + 1e-7),
        ("a.aiff", None, 0.5 / 32768),
        ("a.ogg", None, 0.1),
        ("a.opus", None, 0.1),
        ("a.mp3", None, 0.1),
    ],
)
def test_every_format_round_trips_with_its_exact_length(
    tmp_path: Path, name: str, subtype: str | None, tolerance: float
) -> None:
    audio = tone(48000, 2, 48000)
    write(tmp_path / name, audio, 48000, subtype=subtype)
    back = read(tmp_path / name)
    assert back.shape == audio.shape
    middle = slice(5000, -5000)  # lossy codecs ring at the edges
    assert np.abs(back - audio)[:, middle].max() <= tolerance + 1e-9


def test_integers_come_back_bit_for_bit(tmp_path: Path) -> None:
    integers = np.array([-32768, -32767, -1, 0, 1, 12345, 32767], np.int16)
    soundfile.write(tmp_path / "a.wav", integers, 16000)
    write(tmp_path / "b.wav", read(tmp_path / "a.wav"))
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], integers)


def test_clipping_instead_of_wrapping(tmp_path: Path) -> None:
    loud = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]], np.float32)
    write(tmp_path / "a.wav", loud)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [-32768, -32768, 0, 32767, 32767]
    write(tmp_path / "f.wav", loud, subtype="FLOAT")
    assert np.array_equal(read(tmp_path / "f.wav"), loud)


@pytest.mark.parametrize("samples", [0, 1, 2])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_almost_nothing_is_legal(tmp_path: Path, name: str, samples: int) -> None:
    write(tmp_path / name, tone(samples, 2))
    with AudioReader(tmp_path / name) as reader:
        assert (reader.sample_rate, reader.channels) == (16000, 2)
    assert read(tmp_path / name).shape == (2, samples)


@pytest.mark.parametrize("name", ["a.mp3", "a.opus"])
def test_formats_without_an_empty_file_say_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"no samples.*write \.wav"):
        write(tmp_path / name, tone(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e10])
def test_samples_that_are_no_numbers_are_refused_with_their_time(tmp_path: Path, bad: float) -> None:
    audio = tone(40000, 2).T.copy()
    audio[24000, 1] = bad
    soundfile.write(tmp_path / "bad.wav", audio, 16000, subtype="FLOAT")
    with AudioReader(tmp_path / "bad.wav", block_samples=9000) as reader:
        blocks = iter(reader)
        before = [next(blocks) for _ in range(3)]
        with pytest.raises(AudioError, match=r"at 1\.500000 s \(sample 24000\)"):
            next(blocks)
    np.testing.assert_array_equal(np.concatenate(before, axis=1), audio[:24000].T)  # all that came until then


def test_refusals_are_one_line_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all\n" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "half.flac").write_bytes(b"fLaC\x00\x00\x00\x22")
    (tmp_path / "a.raw").write_bytes(b"\x00" * 1000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 7999)
    soundfile.write(tmp_path / "fast.wav", np.zeros(100), 192001)
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 3)), 16000)
    for name, words in {
        "text.wav": "convert it",
        "empty.wav": "not audio",
        "half.flac": "not audio",
        "a.raw": "not audio",
        "slow.wav": "7999 Hz",
        "fast.wav": "192001 Hz",
        "many.wav": "3 channels",
        "missing.wav": "No such file",
        ".": "s a directory",
    }.items():
        with pytest.raises(AudioError, match=words) as caught:
            AudioReader(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_file_cut_short_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    data = bytearray(wav_bytes(tone(16000)))
    data[40:44] = (2 * 32000).to_bytes(4, "little")
    result = through_pipe(bytes(data), COUNT + "; print(r.shortfall)")
    assert result.stdout.split()[:3] == [b"16000", b"1", b"16000"], result.stderr
    assert b"holds 1.000 s of the 2.000 s" in result.stdout


def test_a_damaged_flac_is_an_error_or_a_shortfall(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-1, 1, (1, 160000)).astype(np.float32))
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    told = ""
    with AudioReader(tmp_path / "cut.flac") as reader:
        try:
            assert sum(block.shape[1] for block in reader) < 160000
            told = str(reader.shortfall)
        except AudioError as error:  # whether libsndfile refuses the cut frame depends on its version
            told = str(error)
    assert "damaged" in told or "cut short" in told


def test_a_flac_that_was_streamed_states_no_length_and_is_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path / "a.flac", tone(50000))
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples
    data[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(data)
    with AudioReader(tmp_path / "b.flac") as reader:
        assert reader.frames is None
    assert np.array_equal(read(tmp_path / "b.flac"), read(tmp_path / "a.flac"))


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus"])
def test_block_by_block_is_the_same_as_at_once(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, tone(60000, 1, 48000), 48000)
    at_once = soundfile.read(tmp_path / name, dtype="float32")[0]
    assert np.array_equal(read(tmp_path / name, block_samples=1777)[0], at_once)


# Pipes


def through_pipe(data: bytes, code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60)


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
        result = through_pipe(data, COUNT)
        assert result.stdout.split()[:3] == [b"16000", b"2", b"50001"], result.stderr


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_header_of_unknown_length_means_until_the_end(size: int) -> None:
    data = bytearray(wav_bytes(tone(12345)))
    data[4:8] = b"\xff\xff\xff\xff"
    data[40:44] = size.to_bytes(4, "little")
    result = through_pipe(bytes(data), COUNT)
    assert result.stdout.split()[:3] == [b"16000", b"1", b"12345"], result.stderr


def unfinished(audio: np.ndarray, behind: bytes = b"") -> bytes:
    """A WAV with the lengths that it has before its first sample, which its writer never changed."""
    return wav_bytes(audio[:, :0])[:44] + wav_bytes(audio)[44:] + behind


@pytest.mark.parametrize("odd", [b"", b"\0"])
def test_lengths_that_were_never_filled_in_mean_until_the_end(tmp_path: Path, odd: bytes) -> None:
    data = unfinished(tone(12345), odd)
    result = through_pipe(data, COUNT + "; print(r.shortfall)")
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
        assert through_pipe(data, COUNT).stdout.split()[:3] == [b"16000", b"1", b"0"]
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
    result = through_pipe(b"", code)
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


# Outputs that cannot be


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--force"):
        write(target, tone(10))
    assert target.read_bytes() == b"precious"
    write(target, tone(10), force=True)
    assert read(target).shape == (1, 10)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.bin"])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        out = AudioWriter(tmp_path / name, 16000, 1) if name != "a.bin" else OutputFile(tmp_path / name)
        with out:
            out.write(tone(1000) if isinstance(out, AudioWriter) else b"abc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_full_disk_is_one_error_and_no_file(tmp_path: Path, name: str) -> None:
    # RLIMIT_FSIZE refuses growth beyond 20 kB as a full disk refuses it
    code = (
        "import resource, signal, sys, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from audiocodec.audio import AudioWriter\nfrom audiocodec.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (1, 16000)).astype('f4')\n"
        "try:\n"
        f"    with AudioWriter({str(tmp_path / name)!r}, 16000, 1) as w:\n"
        "        for _ in range(20): w.write(noise)\n"
        "except OutputError as e: print('refused:', e)\n"
    )
    result = through_pipe(b"", code)
    assert result.stdout.startswith(b"refused: cannot write"), (result.stdout, result.stderr)
    assert result.stderr == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_U8"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "ULAW"), ("a.ogg", None), ("a.mp3", None)],
)
def test_a_recording_is_kept_as_far_as_there_was_room(tmp_path: Path, name: str, subtype: str | None) -> None:
    code = (
        "import resource, signal, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from audiocodec.audio import AudioWriter\nfrom audiocodec.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20001, 20001))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (1, 16000)).astype('f4')\n"
        "try:\n"
        f"    with AudioWriter({str(tmp_path / name)!r}, 16000, 1, {subtype!r}, recording=True) as w:\n"
        "        for _ in range(20): w.write(noise)\n"
        "except OutputError as e: print('refused:', e)\n"
    )
    result = through_pipe(b"", code)
    assert result.stdout.strip().endswith(b"File too large; what came until then is kept in it"), result.stderr
    kept = read(tmp_path / name)
    assert kept.shape[1] > 4900
    if subtype in ("PCM_U8", "PCM_24", "FLOAT"):
        data = (tmp_path / name).read_bytes()
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
        assert len(data) in (19998, 20000)
    if subtype in ("PCM_24", "FLOAT"):
        noise = np.random.default_rng(0).uniform(-1, 1, (1, 16000)).astype("f4")
        assert np.abs(kept - noise[:, : kept.shape[1]]).max() < 1e-6
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_behind_a_failure_nothing_is_written() -> None:
    """It would go wherever the failure left the file."""

    class Full:
        written: ClassVar[list[bytes]] = []

        def write(self, data: bytes) -> int:
            self.written.append(data)
            raise OutputError("full")

    sink = _Sink(cast("OutputFile", Full()))
    assert (sink.write(b"a"), sink.write(b"b")) == (0, 0)
    assert Full.written == [b"a"]
    with pytest.raises(OutputError, match="full"):
        sink.check()


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.wav", b""),
        ("a.wav", b"RIFF"),
        ("a.wav", bytes(80)),
        ("a.flac", b"fLaC"),
        ("a.raw", b""),
        ("a.flac", _empty_flac(16000, 1, 16)),
    ],
)
def test_with_room_for_no_sample_no_recording_is_kept(tmp_path: Path, name: str, there: bytes) -> None:
    def fail() -> None:
        with AudioWriter(tmp_path / name, 16000, 1, raw="s16le" if name == "a.raw" else None, recording=True):
            next(tmp_path.iterdir()).write_bytes(there)
            raise OutputError("no room")

    with pytest.raises(OutputError, match=r"no room$"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff"])
def test_with_no_room_at_all_no_recording_is_kept(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OutputFile, data: bytes) -> int:
        raise OutputError("no room")

    monkeypatch.setattr(OutputFile, "write", fail)
    with pytest.raises(OutputError, match=r"no room$"):
        write(tmp_path / name, tone(1000), recording=True)
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_directly_and_never_replaced(tmp_path: Path) -> None:
    write("/dev/null", tone(1000))
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="No space left"):
        write("/dev/full", tone(1000))


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    for target, words in {
        tmp_path / "missing" / "a.wav": "does not exist",
        tmp_path: "is a folder",
        tmp_path / "a.xyz": "names no audio format",
        tmp_path / "noextension": "names no audio format",
    }.items():
        with pytest.raises(OutputError, match=words):
            write(target, tone(10))
    with pytest.raises(OutputError, match="no subtype PCM_77"):
        write(tmp_path / "a.wav", tone(10), subtype="PCM_77")
    with pytest.raises(OutputError, match=r"cannot hold 44100 Hz.*write \.wav"):
        write(tmp_path / "a.opus", tone(10), 44100)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "real.wav", tone(10))
    (tmp_path / "link.wav").symlink_to(tmp_path / "folder" / "real.wav")
    write(tmp_path / "link.wav", tone(20), force=True)
    assert (tmp_path / "link.wav").is_symlink()
    assert read(tmp_path / "folder" / "real.wav").shape == (1, 20)


# Resampling


@pytest.mark.parametrize("rate", RATES)
def test_resampling_there_and_back_keeps_length_and_sound(rate: int) -> None:
    audio = tone(rate // 2 + 7, 2, rate)
    down, up = Resampler(rate, 16000, 2), Resampler(16000, rate, 2)
    there = np.concatenate([down.push(audio), down.flush()], axis=1)
    assert there.shape[1] == resampled_length(audio.shape[1], rate, 16000)
    back = np.concatenate([up.push(there), up.flush(audio.shape[1])], axis=1)
    assert back.shape == audio.shape
    middle = slice(audio.shape[1] // 4, -audio.shape[1] // 4)
    assert np.abs(back - audio)[:, middle].max() < 1e-3  # no delay, no change of level


def test_any_cutting_resamples_to_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, 40000)).astype(np.float32)
    whole = Resampler(44100, 16000, 2)
    expected = np.concatenate([whole.push(audio), whole.flush()], axis=1)
    for _ in range(10):
        cut = Resampler(44100, 16000, 2)
        places = np.cumsum(rng.choice([0, 1, 7, 160, 5000], 40))
        pieces = [cut.push(piece) for piece in np.split(audio, places, axis=1)]
        assert np.array_equal(np.concatenate([*pieces, cut.flush()], axis=1), expected)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_a_few_samples_resample_to_their_length(samples: int) -> None:
    down = Resampler(48000, 16000, 1)
    out = np.concatenate([down.push(np.ones((1, samples), np.float32)), down.flush()], axis=1)
    assert out.shape == (1, -(-samples // 3))


def test_flush_trims_and_pads_to_what_is_asked() -> None:
    same = Resampler(16000, 16000, 1)
    same.push(np.ones((1, 10), np.float32))
    assert np.array_equal(same.flush(13), np.zeros((1, 3), np.float32))
