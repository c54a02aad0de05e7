"""Audio file to .vpc to audio file: what comes out is what went in."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from coding_helpers import codec, coded, model, tone, wav  # noqa: F401 (fixtures among them)

from audiocodec.audio import FORMATS
from audiocodec.bitstream import PacketEncoder
from audiocodec.codec import Codec
from audiocodec.errors import OutputError
from audiocodec.stereo import Stereo
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.transcode import decode_file, encode_file

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000]


def there_and_back(
    codec: Codec, source: Path, folder: Path, name: str = "back.wav", stereo: Stereo = "auto"
) -> tuple[np.ndarray, int]:
    encode_file(codec, source, folder / "coded.vpc", codec.rates[0], stereo=stereo, force=True)
    decode_file(codec, folder / "coded.vpc", folder / name, force=True)
    return soundfile.read(folder / name, always_2d=True)


# What goes in comes out


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_rate_channels_and_length_are_kept(codec: Codec, tmp_path: Path, rate: int, channels: int) -> None:
    for samples in (rate // 10, rate // 7 + 1):
        source = wav(tmp_path / "a.wav", tone(samples, channels, rate), rate)
        audio, rate_out = there_and_back(codec, source, tmp_path)
        assert (audio.shape, rate_out) == ((samples, channels), rate)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((0, 1)),
        np.zeros((0, 2)),
        np.full((1, 1), 0.5),
        np.full((2, 2), -0.5),
        np.zeros((50000, 1)),
        np.full((9000, 2), 0.9),
        np.sign(tone(9000)),
        np.concatenate([tone(5000), np.zeros((30000, 1)), tone(5000)]),
    ],
    ids=["none", "none stereo", "one", "two stereo", "silence", "DC", "square", "gap"],
)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_odd_signals(codec: Codec, tmp_path: Path, audio: np.ndarray, rate: int) -> None:
    back, rate_out = there_and_back(codec, wav(tmp_path / "a.wav", audio, rate), tmp_path)
    assert (back.shape, rate_out) == (audio.shape, rate)
    assert np.isfinite(back).all()
    if not audio.any():
        assert not back.any()


def test_floats_beyond_full_scale_are_coded_and_clipped_on_writing(codec: Codec, tmp_path: Path) -> None:
    back, _ = there_and_back(codec, wav(tmp_path / "a.wav", tone(8000) * 12, subtype="FLOAT"), tmp_path)
    assert back.shape == (8000, 1)
    assert np.abs(back).max() <= 1


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_in_and_out(codec: Codec, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"a{suffix}"
    form, subtype = FORMATS[suffix]
    soundfile.write(source, tone(24000, 2, 48000), 48000, format=form, subtype=subtype)
    audio, rate = there_and_back(codec, source, tmp_path, f"back{suffix}")
    assert (audio.shape, rate) == ((24000, 2), 48000)


def test_independent_channels_are_coded_each_by_itself(codec: Codec, tmp_path: Path) -> None:
    stereo = tone(16000, 2)
    both, _ = there_and_back(codec, wav(tmp_path / "s.wav", stereo), tmp_path, stereo="independent")
    for channel in (0, 1):
        alone, _ = there_and_back(codec, wav(tmp_path / "m.wav", stereo[:, channel]), tmp_path)
        assert np.abs(alone[:, 0] - both[:, channel]).max() < 1e-3


def test_reports_say_what_was_written(codec: Codec, tmp_path: Path) -> None:
    source = wav(tmp_path / "a.wav", tone(48000, 2, 48000), 48000)
    seen: list[tuple[float, float | None]] = []
    target = tmp_path / "a.vpc"
    report = encode_file(codec, source, target, codec.rates[0], progress=lambda *done: seen.append(done))
    assert (report.samples, report.channels, report.sample_rate, report.duration_s) == (48000, 2, 48000, 1.0)
    assert (report.bytes_in, report.bytes_out) == (source.stat().st_size, target.stat().st_size)
    assert report.written_kbps == pytest.approx(target.stat().st_size * 8 / 1000)
    assert report.ratio == pytest.approx(source.stat().st_size / target.stat().st_size)
    assert report.speed > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1.0, 1.0)
    back = decode_file(codec, target, tmp_path / "b.wav")
    assert (back.bytes_in, back.bytes_out) == (target.stat().st_size, (tmp_path / "b.wav").stat().st_size)
    assert (back.samples, back.problems, back.lost_frames) == (48000, (), 0)


def test_encoding_is_repeatable_to_the_bit_in_both_modes(codec: Codec, tmp_path: Path) -> None:
    source = wav(tmp_path / "a.wav", tone(30000, 1, 44100), 44100)
    for mode in ("raw", "range"):
        for name in ("a.vpc", "b.vpc"):
            encode_file(codec, source, tmp_path / name, codec.rates[1], mode=mode, force=True)  # type: ignore[arg-type]
        assert (tmp_path / "a.vpc").read_bytes() == (tmp_path / "b.vpc").read_bytes()


# The commands


def test_the_library_refuses_what_the_command_refuses(codec: Codec, tmp_path: Path) -> None:
    source = wav(tmp_path / "a.wav", tone(100))
    with pytest.raises(OutputError, match="input itself"):
        encode_file(codec, source, source, codec.rates[0], force=True)


def test_hours_of_silence_in_a_few_bytes_are_given_out_a_little_at_a_time(codec: Codec) -> None:
    encoder = StreamEncoder(codec, codec.rates[0], 1, "raw")
    packets = PacketEncoder(encoder.header).silence(0, 50 * 3600)
    assert len(packets) < 200
    decoder = StreamDecoder(codec)
    sizes = [piece.shape[1] for piece in decoder.pieces(encoder.header.pack() + packets)]
    sizes += [piece.shape[1] for piece in decoder.final_pieces()]
    assert sum(sizes) == 3600 * 16000 - codec.delay_samples
    assert max(sizes) <= 2 * 16000
