"""Stereo as mid and side: what is chosen, what it costs, what comes back, what is refused."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import audiocodec
from audiocodec.audio import AudioReader, Resampler
from audiocodec.codec import Codec
from audiocodec.errors import UsageError
from audiocodec.stereo import Balance, MidSide, Stereo, balance_of, choose_coupling, coupling_of, split
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.transcode import decode_file, encode_file

SPEECH = Path(__file__).resolve().parent.parent / "samples" / "speech.flac"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return audiocodec.load("speech-16k")


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    resampler = Resampler(rate, 16000, 1)
    whole = np.concatenate([resampler.push(samples[None]), resampler.flush()], axis=1)[0]
    return np.asarray(whole[: 16000 * 6])


def room(voice: np.ndarray, width: float = 0.06, seconds: float = 2.0) -> np.ndarray:
    """The voice in the middle, another part of it to both sides."""
    count = int(seconds * 16000)
    middle, side = voice[:count], width * voice[-count:]
    return 0.7 * np.stack([middle + side, middle - side])


def decoded(codec: Codec, data: bytes) -> tuple[np.ndarray, StreamDecoder]:
    decoder = StreamDecoder(codec)
    return np.concatenate([decoder.push(data), decoder.flush()], axis=1), decoder


def stream(
    codec: Codec, wave: np.ndarray, rate: object, sizes: Iterator[int] | None = None, **options: object
) -> bytes:
    encoder = StreamEncoder(codec, rate, 2, **options)  # type: ignore[arg-type]
    out, at = [encoder.header.pack()], 0
    while at < wave.shape[1]:
        size = wave.shape[1] if sizes is None else next(sizes)
        out += encoder.push(wave[:, at : at + size])
        at += size
    return b"".join([*out, *encoder.flush(), encoder.end()])


# What is chosen


def test_bits_follow_the_energy_within_the_rate_of_two_channels(codec: Codec) -> None:
    for rate in codec.rates:
        sides = []
        for side_db in (0, -6, -12, -20, -30, -45):
            pair = split(codec, rate, 1.0, 10 ** (side_db / 10))
            assert pair.side is not None
            assert pair.expected_bps <= 2 * rate.expected_bps * (1 + 1e-6)
            assert pair.side.base_levels <= pair.mid.base_levels
            sides.append(pair.side.base_levels)
        assert sides == sorted(sides, reverse=True)
        even = split(codec, rate, 1.0, 1.0)
        assert even.mid == even.side == rate
    # Between settings that lie densely, the difference is that of reverse water-filling: half an octave of levels here
    pair = split(codec, codec.choose_rate(levels=12), 1.0, 0.5)
    assert pair.side is not None
    assert 1.2 < pair.mid.base_levels / pair.side.base_levels < 1.7


def test_the_louder_of_both_gets_the_bits(codec: Codec, voice: np.ndarray) -> None:
    pair = choose_coupling(codec, codec.choose_rate(levels=12), balance_of([np.stack([voice, -voice])]), "auto")
    assert isinstance(pair, MidSide)
    assert pair.side is not None
    assert pair.side.base_levels > pair.mid.base_levels


def test_what_is_chosen(codec: Codec, voice: np.ndarray) -> None:
    rate = codec.choose_rate(bitrate_kbps=3)

    def chosen(wave: np.ndarray, stereo: str = "auto", whole: bool = True) -> object:
        balance = Balance(whole=whole)
        for block in np.array_split(wave, 50, axis=1):
            balance.add(block)
        return choose_coupling(codec, rate, balance, stereo)  # type: ignore[arg-type]

    mono, panned, two = np.stack([voice, voice]), np.stack([voice, 0 * voice]), np.stack([voice, np.roll(voice, 40000)])
    assert chosen(mono) == MidSide(rate, None)
    assert chosen(mono + 1e-5 * np.stack([two[1], -two[1]])) == MidSide(rate, None)
    assert chosen(mono + np.float32([[1e-3], [-1e-3]]) * np.roll(voice, 9000)) == MidSide(rate, None)  # -60 dB
    assert chosen(panned) == chosen(two) == chosen(0 * mono) == rate
    assert isinstance(chosen(room(voice)), MidSide)
    assert chosen(room(voice, 0.6)) == rate  # left and right are not alike enough
    assert chosen(room(voice), "independent") == rate
    forced = chosen(panned, "mid-side")
    assert forced == MidSide(rate, rate)
    late = mono.copy()
    late[1, -4000:] *= 0.7  # a quarter second of stereo in a mono recording is heard
    assert getattr(chosen(late), "side", None) is not None
    # Of a pipe only the start is known: a side that is silent there may come later
    assert chosen(mono, whole=False) == rate
    for wave in (mono, 0 * mono):
        begun = chosen(wave, "mid-side", whole=False)
        assert isinstance(begun, MidSide)
        assert begun.side is not None


class Trickle(io.BytesIO):
    """Standard input of which so many bytes arrive at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self.size = size

    def read1(self, count: int | None = -1) -> bytes:
        return self.read(min(self.size, count or self.size))


def piped(audio: np.ndarray, size: int, monkeypatch: pytest.MonkeyPatch) -> AudioReader:
    """A reader of ``[2, n]`` at 16 kHz that arrives ``size`` bytes at a time."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, 16000, format="WAV", subtype="FLOAT")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=Trickle(buffer.getvalue(), size)))
    return AudioReader("-")


@pytest.mark.parametrize(("live", "stereo"), [(False, "auto"), (True, "mid-side")])
def test_a_pipe_is_judged_by_the_same_samples_however_they_arrive(
    codec: Codec, voice: np.ndarray, live: bool, stereo: Stereo, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, wave = codec.rates[5], np.tile(room(voice), 6)
    for audio, expected in ((wave, None), (wave[:, :0], MidSide(rate, None) if live else rate)):
        found = []
        for size in (999, 3210, 100_000, 10**7):
            with piped(audio, size, monkeypatch) as reader:
                assert reader.live or not audio.size
                found.append(coupling_of(codec, rate, stereo, reader, live))
                blocks = np.concatenate([np.zeros((2, 0), np.float32), *reader], axis=1)
            assert np.array_equal(blocks, audio)
        assert found == found[:1] * 4
        assert found[0] == expected or (expected is None and isinstance(found[0], MidSide))


def test_from_pipe_to_pipe_a_start_that_is_nearly_mono_decides_nothing(
    codec: Codec, voice: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two voices hard left and right after it come back on their sides."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal((2, 4800)).astype(np.float32)
    apart = np.stack([voice[:32000], voice[48000:80000]])
    wave = np.concatenate([voice[8000:12800] + noise, apart], axis=1)
    with piped(wave, 3210, monkeypatch) as reader:
        rate = coupling_of(codec, codec.choose_rate(), "auto", reader, live=True)
    encoder, decoder = StreamEncoder(codec, rate, 2, packet_frames=2, running=True), StreamDecoder(codec, live=True)
    heard = decoder.push(b"".join([encoder.header.pack(), *encoder.push(wave), *encoder.flush(), encoder.end()]))

    def loudness(samples: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(samples.astype(np.float64)).reshape(-1, 320).mean(axis=1))

    left, right = (loudness(channel) for channel in apart)
    for ear, own, other in zip(heard[:, 4800 : wave.shape[1]], (left, right), (right, left), strict=True):
        assert np.corrcoef(loudness(ear), own)[0, 1] > 0.95
        assert np.corrcoef(loudness(ear), other)[0, 1] < np.corrcoef(own, other)[0, 1] + 0.05


# What it costs and what comes back


def test_mono_in_stereo_costs_what_mono_costs_and_comes_back_equal(codec: Codec, voice: np.ndarray) -> None:
    mono, wave = codec.compress(voice[:40000]), np.stack([voice, voice])[:, :40000]
    for stereo, more in (("auto", 12), ("mid-side", 12), ("independent", 0)):
        data = codec.compress(wave, stereo=stereo)  # type: ignore[arg-type]
        assert len(data) <= len(mono) + more
        back, _ = codec.decompress(data)
        # Equal tokens of independent channels pass through the network as two rows, which may round differently
        np.testing.assert_allclose(back[0], back[1], rtol=0, atol=1e-5 if stereo == "independent" else 0)
        assert np.abs(back).max() > 0.05


@pytest.mark.parametrize("kbps", [1.6, 3, 6])
def test_the_rate_is_that_of_both_channels_together(codec: Codec, voice: np.ndarray, kbps: float) -> None:
    for wave in (room(voice, 0.02, 3), room(voice, 0.06, 3)):
        data, plain = (codec.compress(wave, bitrate_kbps=kbps, stereo=s) for s in ("auto", "independent"))  # type: ignore[arg-type]
        assert (data[8], plain[8]) == (0x20, 0x10)  # a version that programs of before can read, where that is enough
        assert len(data) * 8 / 3 / 1000 < 2 * kbps * 1.1
        assert len(data) > 0.6 * len(plain)


def test_hard_panned_sound_comes_back_on_its_side(codec: Codec, voice: np.ndarray) -> None:
    wave = np.stack([0 * voice, voice])[:, :32000]
    for stereo in ("auto", "mid-side"):
        back, _ = codec.decompress(codec.compress(wave, stereo=stereo, bitrate_kbps=6))  # type: ignore[arg-type]
        left, right = (back**2).mean(axis=1)
        assert left < (0.01 if stereo == "auto" else 0.3) * right


def test_files_say_how_they_are_coupled(codec: Codec, voice: np.ndarray, tmp_path: Path) -> None:
    from audiocodec.describe import describe_file

    soundfile.write(tmp_path / "a.wav", room(voice).T, 16000)
    told = {}
    for stereo in ("auto", "independent"):
        encode_file(codec, tmp_path / "a.wav", tmp_path / f"{stereo}.vpc", codec.rates[8], stereo=stereo)  # type: ignore[arg-type]
        report = decode_file(codec, tmp_path / f"{stereo}.vpc", tmp_path / f"{stereo}.wav")
        assert (report.problems, report.samples, report.channels) == ((), 32000, 2)
        told[stereo] = describe_file(tmp_path / f"{stereo}.vpc")
    assert [told["auto"][name] for name in ("coupling", "damaged_places")] == ["mid-side", 0]
    assert told["auto"]["setting"] > told["auto"]["side_setting"] > 0
    both = (tmp_path / "auto.vpc").read_bytes(), codec.compress(soundfile.read(tmp_path / "a.wav")[0].T, levels=14)
    assert len(both[0]) == len(both[1])
    keys = ("coupling", "setting", "side_setting", "side_levels")
    assert [told["independent"][key] for key in keys] == ["independent", 14, None, None]


@pytest.mark.parametrize("mode", ["raw", "range"])
def test_any_cutting_gives_the_same_bytes_and_samples(codec: Codec, voice: np.ndarray, mode: str) -> None:
    wave, rates = room(voice, seconds=1.0), (codec.rates[9], codec.rates[2], None)
    for pair, options in ((MidSide(rates[0], rates[1]), {"block_frames": 8}), (MidSide(rates[0], rates[2]), {})):
        sizes = iter(np.random.default_rng(1).choice((0, 1, 7, 160, 5000), 10_000).tolist())
        whole = stream(codec, wave, pair, mode=mode, **options)
        assert stream(codec, wave, pair, sizes, mode=mode, **options) == whole
        sound, decoder = decoded(codec, whole)
        assert (decoder.problems, sound.shape) == ([], wave.shape)
        pieces, decoder = [], StreamDecoder(codec)
        for at in range(0, len(whole), 37):
            pieces += list(decoder.pieces(whole[at : at + 37]))
        joined = np.concatenate([p for p in (*pieces, decoder.flush()) if p.shape[0] == 2], axis=1)
        np.testing.assert_array_equal(joined, sound)


def test_silence_and_loss_are_as_in_any_stream(codec: Codec, voice: np.ndarray) -> None:
    wave = np.concatenate([room(voice, seconds=0.6), np.zeros((2, 16000), np.float32)], axis=1)
    encoder = StreamEncoder(codec, MidSide(codec.rates[9], codec.rates[2]), 2, packet_frames=1)
    packets = [*encoder.push(wave), *encoder.flush(), encoder.end()]
    head = encoder.header.pack()
    whole, _ = decoded(codec, head + b"".join(packets))
    assert np.abs(whole[:, 16000:]).max() == 0
    damaged = bytearray(packets[12])
    damaged[len(damaged) // 2] ^= 64
    back, decoder = decoded(codec, head + b"".join([*packets[:12], bytes(damaged), *packets[13:]]))
    assert (decoder.lost_frames, back.shape) == (1, whole.shape)
    hop = codec.hop_samples
    np.testing.assert_array_equal(back[:, : 11 * hop], whole[:, : 11 * hop])
    assert not np.array_equal(back[:, : 16 * hop], whole[:, : 16 * hop])
    assert not np.array_equal(back[0, 11 * hop : 14 * hop], back[1, 11 * hop : 14 * hop])  # both channels sound on


def test_memory_does_not_grow_with_the_length(codec: Codec, voice: np.ndarray) -> None:
    peaks = []
    for repeats in (1, 4):
        encoder, decoder = (
            StreamEncoder(codec, MidSide(codec.rates[2], codec.rates[0]), 2, block_frames=16),
            StreamDecoder(codec),
        )
        decoder.push(encoder.header.pack())
        wave = room(voice, seconds=3)
        tracemalloc.start()
        for _ in range(repeats):
            for at in range(0, wave.shape[1], 5120):
                for packet in encoder.push(wave[:, at : at + 5120]):
                    for _ in decoder.pieces(packet):
                        pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


def test_noise_of_mid_and_side_does_not_add_up(codec: Codec) -> None:
    left = 0.1 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    right = 0.1 * np.random.default_rng(1).standard_normal(32000).astype(np.float32)
    # Mid and side are then equally loud noise, of which a decoder knows the level alone.
    back, _ = decoded(codec, codec.compress(np.stack([left, right]), 16000, bitrate_kbps=2.4, stereo="mid-side"))
    levels = 10 * np.log10(np.square(back[:, 4000:-4000]).mean(axis=1))
    # 9.7 dB with one noise in both; what is left is that the noise repeats.
    assert abs(levels[0] - levels[1]) < 5.0


def test_a_typo_is_refused(codec: Codec, voice: np.ndarray) -> None:
    with pytest.raises(UsageError, match="'indepedent', none of auto, mid-side, independent"):
        codec.compress(np.stack([voice, voice]), 16000, stereo="indepedent")  # type: ignore[arg-type]
