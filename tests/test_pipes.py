"""Live streams of the commands: raw samples through pipes, as they come; and what a frame takes on this machine."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from coding_helpers import tone, wav
from conftest import speech_like

from audiocodec import latency
from audiocodec.audio import RAW_FORMATS, AudioReader, RawFormat
from audiocodec.cli import main
from audiocodec.cli.options import RAW_NAMES
from audiocodec.cli.transcoding import encode
from audiocodec.codec import load
from audiocodec.describe import describe_file
from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.pipelatency import Passing, time_pipe
from audiocodec.streaming import StreamEncoder

ROOT = Path(__file__).resolve().parent.parent
MODEL = ("-m", "speech-16k")
RAW = ("--format", "s16le", "--rate", "16000")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "audiocodec", *arguments]


def through(data: bytes, *arguments: str, code: int = 0) -> tuple[bytes, str]:
    """Standard output and error of a command that reads ``data``."""
    result = subprocess.run(command(*arguments), input=data, capture_output=True, timeout=100)
    assert result.returncode == code, result.stderr
    return result.stdout, result.stderr.decode()


def integers(wave: np.ndarray) -> bytes:
    """Samples ``[n]`` or ``[n, channels]`` as s16le."""
    return np.rint(wave * 32767).astype("<i2").tobytes()


def as_raw(name: str, integers: np.ndarray) -> bytes:
    """``[n, channels] int16`` in a raw format that holds them all."""
    wide = integers.astype(np.int64)
    match name:
        case "s24le":
            return (wide << 8).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
        case "s32le":
            return (wide << 16).astype("<i4").tobytes()
        case "f32le" | "f64le":
            return (wide / 32768).astype("<f4" if name == "f32le" else "<f8").tobytes()
    return integers.astype("<i2").tobytes()


def test_the_command_line_knows_the_library_s_formats() -> None:
    assert tuple(RAW_FORMATS) == RAW_NAMES


@pytest.mark.parametrize("name", ["s16le", "s24le", "s32le", "f32le", "f64le"])
def test_raw_files_hold_what_wav_files_hold(name: str, tmp_path: Path) -> None:
    samples = np.rint(tone(5000, 2, 44100) * 32767).astype(np.int16)
    (tmp_path / "a.raw").write_bytes(as_raw(name, samples) + b"\0")
    with AudioReader(tmp_path / "a.raw", raw=RawFormat(name, 44100, 2)) as reader:
        assert (reader.frames, reader.live, reader.sample_rate, reader.channels) == (5000, False, 44100, 2)
        read = np.concatenate(list(reader), axis=1)
    np.testing.assert_array_equal(read, samples.T / np.float32(32768))
    assert str(reader.shortfall).endswith("ends within a sample; its last 1 bytes are left out")


def test_raw_through_pipes_gives_the_samples_that_files_give(tmp_path: Path) -> None:
    """By a raw pipe, a raw file and a WAV file the .vpc is the same, and so is what comes back of it."""
    samples = np.rint(np.stack([speech_like(3.0, 44100), speech_like(3.0, 44100, 1)], axis=1) * 32767).astype("<i2")
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    (tmp_path / "a.raw").write_bytes(samples.tobytes())
    layout = ("--format", "s16le", "--rate", "44100", "--channels", "2")
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vpc"), *MODEL]) == 0
    assert main(["encode", str(tmp_path / "a.raw"), str(tmp_path / "b.vpc"), *MODEL, *layout]) == 0
    through(samples.tobytes(), "encode", "-", str(tmp_path / "c.vpc"), *MODEL, *layout)
    coded = (tmp_path / "a.vpc").read_bytes()
    assert (tmp_path / "b.vpc").read_bytes() == coded
    assert (tmp_path / "c.vpc").read_bytes() == coded
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "back.wav")]) == 0
    back, rate = soundfile.read(tmp_path / "back.wav", dtype="int16")
    assert (rate, back.shape) == (44100, samples.shape)
    sound, told = through(coded, "decode", "-", "-", "--format", "s16le")
    assert sound == back.astype("<i2").tobytes()
    assert "44100 Hz stereo" in told
    floats, _ = through(coded, "decode", "-", "-", "--format", "f32le")
    np.testing.assert_allclose(np.frombuffer(floats, "<f4"), back.ravel() / 32768, atol=0.6 / 32768)
    assert main(["decode", str(tmp_path / "b.vpc"), "--format", "s16le"]) == 0
    assert (tmp_path / "b.raw").read_bytes() == sound


def test_from_pipe_to_pipe_raw_and_wav_are_the_same(tmp_path: Path) -> None:
    wave = speech_like(2.0)
    data = wav(tmp_path / "a.wav", wave).read_bytes()
    by_wav, _ = through(data, "encode", "-", "-", *MODEL)
    raw = soundfile.read(tmp_path / "a.wav", dtype="int16")[0].astype("<i2").tobytes()
    by_raw, _ = through(raw, "encode", "-", "-", *MODEL, *RAW)
    assert by_raw == by_wav
    sound, _ = through(by_raw, "decode", "-", "-", "--format", "s16le", "--rate", "48000")
    assert len(sound) == 3 * len(raw)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("packet_frames", [1, 2, 10])
def test_a_pipe_of_encoder_and_decoder_gives_the_samples_that_files_give(
    rate: int, packet_frames: int, tmp_path: Path
) -> None:
    """To the bit those of its own stream as a file, to a rounding those of files that never saw a pipe."""
    source = integers(speech_like(2.03, rate)[:-7])  # neither frames nor packets are whole at the end
    layout = ("--format", "s16le", "--rate", str(rate))
    coded, _ = through(source, "encode", "-", "-", *MODEL, *layout, "--packet-frames", str(packet_frames))
    piped, _ = through(coded, "decode", "-", "-", "--format", "s16le")
    assert len(piped) == len(source)
    (tmp_path / "a.raw").write_bytes(source)
    (tmp_path / "live.vpc").write_bytes(coded)
    assert main(["decode", str(tmp_path / "live.vpc"), "--format", "s16le"]) == 0
    assert (tmp_path / "live.raw").read_bytes() == piped
    assert main(["encode", str(tmp_path / "a.raw"), str(tmp_path / "file.vpc"), *MODEL, *layout]) == 0
    assert main(["decode", str(tmp_path / "file.vpc"), "--format", "s16le"]) == 0
    filed = np.frombuffer((tmp_path / "file.raw").read_bytes(), "<i2").astype(int)
    # Files are computed in blocks of 64 frames, live streams frame by frame: sums are rounded in another order. And of
    # resampled files the first samples are soxr's own (test_prompt.py).
    onset = 0 if rate == 16000 else rate // 200
    assert np.abs(filed - np.frombuffer(piped, "<i2"))[onset:].max() <= 1


def test_packets_of_a_file_are_of_whole_blocks(tmp_path: Path) -> None:
    source, target = str(wav(tmp_path / "a.wav", speech_like(3.0))), tmp_path / "a.vpc"
    for frames, packets in (("64", 3), ("130", 2), ("1", 3)):
        assert main(["encode", source, str(target), *MODEL, "-f", "--packet-frames", frames]) == 0
        assert describe_file(target)["packets"] == packets
    assert main(["encode", source, str(target), *MODEL, "-f", "--packet-frames", "1001"]) == 2


def test_the_help_says_what_packets_cost() -> None:
    told = re.search(
        r"streams have ([\d.]+) kbps with 1 frame a packet, ([\d.]+)\s+with 2, ([\d.]+)", encode.__doc__ or ""
    )
    assert told
    codec = load("speech-16k")
    sound, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    wave = soxr.resample(sound, rate, 16000)[None]
    for packet_frames, kbps in zip((1, 2, 3), map(float, told.groups()), strict=True):
        encoder = StreamEncoder(codec, codec.choose_rate(), packet_frames=packet_frames, running=True)
        count = sum(map(len, encoder.push(wave) + encoder.flush()))
        assert count * 8e-3 * 16000 / wave.shape[1] == pytest.approx(kbps, rel=0.05)


def test_through_both_pipes_nothing_is_held_back() -> None:
    """While the source is open all is heard that whole packets hold, less the overlap; then the rest, to the sample."""
    both = [
        subprocess.Popen(command("encode", "-q", "-", "-", *MODEL, *RAW), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ]
    decoding = command("decode", "-q", "-", "-", "--format", "s16le")
    both.append(subprocess.Popen(decoding, stdin=both[0].stdout, stdout=subprocess.PIPE))
    source, middle, sink = both[0].stdin, both[0].stdout, both[1].stdout
    assert source is not None
    assert middle is not None
    assert sink is not None
    middle.close()
    wave, begin, heard = integers(speech_like(1.0)), 0, 0
    for frames in (2, 20, 49):
        end, whole = 2 * 320 * frames, frames // 2 * 640 - 160
        source.write(wave[begin:end])
        source.flush()
        begin = end
        while heard < whole:
            assert select.select([sink], [], [], 100)[0], "what was complete did not come out"
            heard += len(os.read(sink.fileno(), 1 << 16)) // 2
        assert heard == whole
    source.close()
    rest = sink.read()
    assert heard + len(rest) // 2 == 49 * 320
    sink.close()
    assert [child.wait(timeout=30) for child in both] == [0, 0]


def test_a_raw_file_and_its_end_within_a_sample(tmp_path: Path) -> None:
    _, told = through(integers(speech_like(1.0)) + b"\1", "encode", "-", str(tmp_path / "a.vpc"), *MODEL, *RAW)
    assert "warning: standard input ends within a sample; its last 1 bytes are left out" in told
    assert describe_file(tmp_path / "a.vpc")["samples"] == 16000


def test_a_sample_that_is_no_number_ends_a_recording_which_is_then_whole(tmp_path: Path) -> None:
    wave = speech_like(1.0, 48000)
    broken = wave.copy()
    broken[20000:] = np.nan
    layout = (*MODEL, "--format", "f32le", "--rate", "48000")
    for name, data, code in (("a.vpc", wave[:20000], 0), ("b.vpc", broken, 4)):
        _, told = through(data.astype("<f4").tobytes(), "encode", "-", str(tmp_path / name), *layout, code=code)
    assert (
        f"(sample 20000); repair or cut the audio there; what came until then is kept in {tmp_path / 'b.vpc'}" in told
    )
    assert (tmp_path / "b.vpc").read_bytes() == (tmp_path / "a.vpc").read_bytes()
    live, _ = through(wave[:20000].astype("<f4").tobytes(), "encode", "-", "-", *layout)
    assert through(broken.astype("<f4").tobytes(), "encode", "-", "-", *layout, code=4)[0] == live
    (tmp_path / "b.raw").write_bytes(broken.astype("<f4").tobytes())
    assert main(["encode", str(tmp_path / "b.raw"), str(tmp_path / "c.vpc"), *layout]) == 4  # it can be had again
    broken[:] = np.nan
    through(broken.astype("<f4").tobytes(), "encode", "-", str(tmp_path / "c.vpc"), *layout, code=4)
    assert not (tmp_path / "c.vpc").exists()


def test_options_of_raw_samples_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    target = str(tmp_path / "a.vpc")
    assert main(["encode", source, target, *MODEL, "--format", "s16le"]) == 2
    assert "pass --rate HZ" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, "--rate", "16000"]) == 2
    assert "--format" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, *RAW]) == 4
    assert "begins with a WAV header" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, *RAW, "--channels", "3"]) == 4
    assert main(["decode", source, "-", "--format", "s16le", "--subtype", "PCM_24"]) == 2
    assert not (tmp_path / "a.vpc").exists()


def test_a_live_pipe_of_raw_samples_gives_packets_as_they_are_ready() -> None:
    child = subprocess.Popen(
        command("encode", "-q", "-", "-", *MODEL, *RAW), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(integers(speech_like(1.0)) + b"\1")  # a lonely byte waits for its other half
    child.stdin.flush()
    received = b""
    while len(received) < 200:  # four packets, while the input is still open
        assert select.select([child.stdout], [], [], 100)[0], "nothing came"
        received += os.read(child.stdout.fileno(), 4096)
    child.stdin.close()
    assert child.wait(timeout=30) == 0
    child.stdout.close()


def test_latency_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "speech-16k", "--latency", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["latency_ms"], facts["framing_ms"], facts["overlap_ms"]) == (30, 20, 10)
    assert 0 < facts["encoding_ms"]["p50"] <= facts["encoding_ms"]["p95"]
    assert 20 < facts["end_to_end_ms"]["p50"] <= facts["end_to_end_ms"]["p95"]
    # The last sample of a packet of 40 ms waits for 10 ms of overlap, the first one 30 ms longer.
    assert facts["pipe_packet_ms"] == 40
    assert 10 < facts["through_pipe_ms"]["p50"] <= facts["through_pipe_ms"]["p95"]
    assert main(["info", "speech-16k", "--latency"]) == 0
    told = capsys.readouterr().out
    for name in ("end to end ms", "through pipe ms"):
        assert re.search(rf"^{name} +p50 [\d.]+, p95 [\d.]+$", told, re.MULTILINE)


def test_end_to_end_is_of_all_samples_as_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last sample of a frame waits for 10 ms of overlap, the first one 20 ms longer; all for what is computed."""
    monkeypatch.setattr(latency, "_frame_times", lambda codec, frames: (np.full(frames, 1.0), np.full(frames, 2.0)))
    found = latency.measure_latency(load("speech-16k"), 10)
    assert found["end_to_end_ms"] == {"p50": pytest.approx(23, abs=0.1), "p95": pytest.approx(32, abs=0.1)}


def test_a_pipe_that_fails_has_no_latency(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AudiocodecError, match=r"nothing came|broke|failed|came out"):
        time_pipe(np.zeros(48000, np.float32), 16000, "no-such-model")
    assert "no-such-model" in capfd.readouterr().err


def test_too_short_a_sound_has_no_latency() -> None:
    with pytest.raises(UsageError, match=r"more than 1\.5 s"):
        time_pipe(np.zeros(24000, np.float32), 16000, "speech-16k")


def test_latency_is_from_the_writing_of_a_sample_to_its_reading() -> None:
    written, heard = Passing(), Passing()
    written.add(10, 1.0)
    written.add(20, 2.0)
    heard.add(5, 1.5)
    heard.add(20, 4.0)
    numbers = np.array([0, 4, 5, 9, 10, 19])
    np.testing.assert_array_equal(heard.passed_s(numbers) - written.passed_s(numbers), [0.5, 0.5, 3, 3, 2, 2])


def test_a_file_has_no_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(wav(tmp_path / "a.wav", tone(100))), "--latency"]) == 2
    assert "name a model" in capsys.readouterr().err
