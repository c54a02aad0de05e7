"""Audio files in and out: what is accepted, what is refused, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_helpers import RATES, read, tone, write

from audiocodec.audio import AudioReader
from audiocodec.errors import AudioError, OutputError


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
