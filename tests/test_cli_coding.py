"""Audio file to .vpc to audio file, through the commands: what comes out is what went in, and nothing half is left."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import tiny_config

from audiocodec.audio import FORMATS, AudioReader
from audiocodec.bitstream import PacketEncoder
from audiocodec.checkpoint import save_model
from audiocodec.cli import main
from audiocodec.codec import Codec, load
from audiocodec.errors import BitstreamError, OutputError
from audiocodec.nn.model import CodecNet
from audiocodec.streaming import StreamDecoder, StreamEncoder
from audiocodec.transcode import decode_file, encode_file

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000]


def make_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = tiny_config()
    save_model(folder, CodecNet(config), config)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small, untrained model without tables, made in no time."""
    return str(make_model(tmp_path_factory.mktemp("models") / "tiny", 0))


@pytest.fixture(scope="module")
def codec(model: str) -> Codec:
    return load(model)


def tone(samples: int, channels: int = 1, rate: int = 16000) -> np.ndarray:
    time_s = np.arange(samples) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 200 * c) * time_s) for c in range(channels)], axis=1)


def wav(path: Path, audio: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def there_and_back(codec: Codec, source: Path, folder: Path, name: str = "back.wav") -> tuple[np.ndarray, int]:
    encode_file(codec, source, folder / "coded.vpc", codec.rates[0], force=True)
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


def test_channels_are_coded_each_by_itself(codec: Codec, tmp_path: Path) -> None:
    stereo = tone(16000, 2)
    both, _ = there_and_back(codec, wav(tmp_path / "s.wav", stereo), tmp_path)
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


def test_encode_and_decode_beside_the_input(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = wav(tmp_path / "a.flac", tone(16000))
    assert main(["encode", str(source), "--model", model, "--levels", "3"]) == 0
    told = capsys.readouterr()
    assert "kbps" in told.out
    assert "times smaller" in told.out
    assert told.err == ""  # no progress bar where nobody watches
    assert main(["decode", str(tmp_path / "a.vpc"), "--model", model]) == 0
    assert "16000 Hz mono" in capsys.readouterr().out
    assert soundfile.info(tmp_path / "a.wav").frames == 16000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "a.vpc", "a.wav"]


def test_quiet_says_nothing(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav(tmp_path / "a.wav", tone(1000))
    assert main(["encode", "-q", str(tmp_path / "a.wav"), "-m", model, "-l", "3"]) == 0
    assert main(["decode", "-q", "-f", str(tmp_path / "a.vpc"), "-m", model]) == 0
    assert capsys.readouterr() == ("", "")


def test_options_choose_the_sample_format(model: str, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(1000))
    assert main(["encode", str(tmp_path / "a.wav"), "-m", model, "-l", "3"]) == 0
    vpc = str(tmp_path / "a.vpc")
    assert main(["decode", vpc, str(tmp_path / "b.wav"), "-m", model, "--subtype", "FLOAT"]) == 0
    assert soundfile.info(tmp_path / "b.wav").subtype == "FLOAT"
    assert main(["decode", vpc, "-m", model, "--format", "flac"]) == 0
    assert soundfile.info(tmp_path / "a.flac").frames == 1000
    assert main(["decode", vpc, "-m", model, "--format", "xyz"]) == 6


def test_several_inputs_go_on_past_a_bad_one(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    wav(tmp_path / "a.wav", tone(1000))
    (tmp_path / "b.wav").write_text("no audio")
    wav(tmp_path / "c.wav", tone(2000))
    inputs = [str(tmp_path / f"{name}.wav") for name in "abc"]
    assert main(["encode", *inputs, "--out-dir", str(tmp_path / "out"), "-m", model, "-l", "3"]) == 4
    assert "1 of 3 files failed" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.vpc", "c.vpc"]
    coded = [str(p) for p in sorted((tmp_path / "out").iterdir())]
    assert main(["decode", *coded, "--out-dir", str(tmp_path / "out"), "-m", model]) == 0
    assert soundfile.info(tmp_path / "out" / "c.wav").frames == 2000


# Refusals: one line, its exit code, nothing left


@pytest.mark.parametrize(
    ("name", "make", "code", "words"),
    [
        ("nan.wav", lambda p: wav(p, np.full((40000, 1), np.nan), subtype="FLOAT"), 4, "nan at 0.000000 s"),
        ("inf.wav", lambda p: wav(p, np.full((40000, 1), np.inf), subtype="FLOAT"), 4, "inf at 0.000000 s"),
        ("text.wav", lambda p: p.write_text("words"), 4, "not audio"),
        ("empty.wav", lambda p: p.write_bytes(b""), 4, "not audio"),
        ("missing.wav", lambda p: None, 4, "No such file"),
        ("folder.wav", lambda p: p.mkdir(), 4, "s a directory"),
        ("slow.wav", lambda p: wav(p, tone(100), 7000), 4, "7000 Hz"),
        ("many.wav", lambda p: wav(p, np.zeros((10, 6))), 4, "6 channels"),
    ],
)
def test_bad_inputs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, make: object, code: int, words: str
) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())
    assert main(["encode", str(tmp_path / name), str(tmp_path / "out.vpc"), "-m", model, "-l", "3"]) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_cannot_be(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    options = ["-m", model, "-l", "3"]
    assert main(["encode", source, *options]) == 0
    coded = (tmp_path / "a.vpc").read_bytes()
    assert main(["encode", source, *options]) == 6
    assert "--force" in capsys.readouterr().err
    assert main(["encode", source, str(tmp_path / "none" / "a.vpc"), *options]) == 6
    assert main(["encode", source, source, "--force", *options]) in (2, 6)
    assert main(["encode", source, "/dev/full", *options]) == 6
    assert "No space left" in capsys.readouterr().err
    assert main(["encode", source, "--force", *options]) == 0
    assert (tmp_path / "a.vpc").read_bytes() == coded
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vpc", "a.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission(model: str, tmp_path: Path) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["encode", source, str(tmp_path / "locked" / "a.vpc"), "-m", model, "-l", "3"]) == 6


def test_models_that_are_missing_or_another(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    assert main(["encode", source, "-m", str(tmp_path / "nowhere")]) == 5
    assert main(["encode", source, "-m", model, "-l", "3"]) == 0
    capsys.readouterr()
    fingerprint = load(model).fingerprint.hex()
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav")]) == 5
    told = capsys.readouterr().err
    assert fingerprint in told
    assert "a.vpc" in told
    assert "--model" in told
    other = make_model(tmp_path / "other", 1)
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav"), "-m", str(other)]) == 5
    assert not (tmp_path / "b.wav").exists()
    # Once an index names it, the file finds its model by itself
    entry = {"name": "tiny", "fingerprint": fingerprint, "description": "small"}
    (Path(model).parent / "index.json").write_text(json.dumps({"models": [entry]}))
    monkeypatch.setenv("AUDIOCODEC_MODELS", str(Path(model).parent))
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav")]) == 0
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    assert entry["name"] in [m["name"] for m in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("options", [["--levels", "4"], ["--bitrate", "0.01"], ["--bitrate", "3", "--levels", "3"]])
def test_rates_that_the_model_does_not_have(model: str, tmp_path: Path, options: list[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    assert main(["encode", source, "-m", model, *options]) == 2
    assert not (tmp_path / "a.vpc").exists()


# Damage


@pytest.fixture
def coded(codec: Codec, tmp_path: Path) -> bytes:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16000 * 4, 1))
    encode_file(codec, wav(tmp_path / "a.wav", noise), tmp_path / "a.vpc", codec.rates[0], packet_frames=16)
    data = (tmp_path / "a.vpc").read_bytes()
    (tmp_path / "a.vpc").unlink()
    (tmp_path / "a.wav").unlink()
    return data


def decode_bytes(model: str, tmp_path: Path, data: bytes) -> int:
    (tmp_path / "bad.vpc").write_bytes(data)
    return main(["decode", str(tmp_path / "bad.vpc"), str(tmp_path / "out.wav"), "-m", model, "--force"])


def test_a_flipped_byte_costs_its_packet_and_is_reported(
    model: str, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode_bytes(model, tmp_path, coded) == 0
    whole = soundfile.read(tmp_path / "out.wav")[0]
    flipped = bytearray(coded)
    flipped[len(coded) // 2] ^= 0x55
    capsys.readouterr()
    assert decode_bytes(model, tmp_path, bytes(flipped)) == 3
    told = capsys.readouterr().err
    assert "lost at byte" in told
    audio = soundfile.read(tmp_path / "out.wav")[0]
    assert len(audio) == len(whole)
    assert np.array_equal(audio[:16000], whole[:16000])
    assert not np.array_equal(audio, whole)


def test_a_cut_file_gives_what_it_holds(
    model: str, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode_bytes(model, tmp_path, coded[: len(coded) // 2]) == 3
    told = capsys.readouterr().err
    assert told.startswith("warning: ")
    assert soundfile.info(tmp_path / "out.wav").frames >= 16000


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_without_a_header_there_is_no_output(model: str, coded: bytes, tmp_path: Path, cut: int) -> None:
    assert decode_bytes(model, tmp_path, coded[:cut]) == 3
    assert not (tmp_path / "out.wav").exists()


def test_random_bytes_and_foreign_files_are_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (np.random.default_rng(0).bytes(5000), b"RIFF" + bytes(100), b"\x89VPC"):
        assert decode_bytes(model, tmp_path, data) == 3
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert "bad.vpc" in told
        assert told.count("\n") == 1
        assert not (tmp_path / "out.wav").exists()


def test_a_header_with_nothing_sound_behind_it_is_no_audio(codec: Codec, coded: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.vpc").write_bytes(coded[:200] if len(coded) < 200 else coded[: header_bytes(coded)])
    with pytest.raises(BitstreamError, match=r"bad\.vpc: nothing in it can be decoded"):
        decode_file(codec, tmp_path / "bad.vpc", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def header_bytes(data: bytes) -> int:
    from audiocodec.bitstream import StreamHeader

    return StreamHeader.unpack(data)[1]


# Pipes, full disks, signals


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "audiocodec", *arguments]


def test_through_pipes(model: str, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(40000, 2, 44100), 44100)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # as ffmpeg writes it into a pipe
    coded = subprocess.run(command("encode", "-", "-", "-m", model, "-l", "3"), input=bytes(data), capture_output=True)
    assert coded.returncode == 0, coded.stderr
    assert b"kbps" in coded.stderr  # the report goes where the data does not
    decoded = subprocess.run(command("decode", "-", "-", "-m", model), input=coded.stdout, capture_output=True)
    assert decoded.returncode == 0, decoded.stderr
    (tmp_path / "b.wav").write_bytes(decoded.stdout)
    with AudioReader(tmp_path / "b.wav") as reader:
        assert (reader.sample_rate, reader.channels) == (44100, 2)
        assert sum(block.shape[1] for block in reader) == 40000


def test_a_live_pipe_gives_audio_back_before_it_ends(model: str) -> None:
    child = subprocess.Popen(
        command("encode", "-q", "-", "-", "-m", model, "-l", "3"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff"
    noise = np.random.default_rng(0).integers(-9999, 9999, 16000, dtype="<i2").tobytes()
    child.stdin.write(header + noise)
    child.stdin.flush()
    received = b""
    while len(received) < 100 or len(received) < header_bytes(received) + 50:  # while the input is still open
        assert select.select([child.stdout], [], [], 100)[0], "nothing came"
        received += os.read(child.stdout.fileno(), 4096)
    child.stdin.close()
    assert child.wait(timeout=30) == 0
    child.stdout.close()


def test_a_terminal_gets_a_progress_bar_and_a_pipe_none(model: str, tmp_path: Path) -> None:
    source = str(wav(tmp_path / "a.wav", tone(160000)))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    arguments = command("encode", source, "-m", model, "-l", "3")
    result = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=100)
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert result.returncode == 0, shown
    assert b"x real time" in shown
    assert result.stdout.count(b"\n") == 1


def limited(megabytes: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may not let any file grow beyond so much: it fails as on a full disk."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({int(megabytes * 1e6)},) * 2)\n"
        "from audiocodec.cli import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_a_full_disk_leaves_nothing(model: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (64000, 1))
    source = str(wav(tmp_path / "a.wav", noise))
    assert main(["encode", source, "-m", model, "-l", "3"]) == 0
    result = limited(0.03, "decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav"), "-m", model)
    assert (result.returncode, result.stdout) == (6, "")
    assert result.stderr.startswith(f"error: cannot write {tmp_path / 'b.wav'}: ")
    result = limited(0.0005, "encode", source, str(tmp_path / "b.vpc"), "-m", model, "-l", "17")
    assert result.returncode == 6, result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vpc", "a.wav"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_encoder_leaves_nothing(model: str, tmp_path: Path, number: int, code: int) -> None:
    target = tmp_path / "a.vpc"
    child = subprocess.Popen(
        command("encode", "-", str(target), "-m", model, "-l", "3"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    child.stdin.write((wav(tmp_path.parent / "x.wav", tone(64000))).read_bytes()[:60000])
    child.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(tmp_path.iterdir())) == 1  # the temporary file
    child.send_signal(number)
    _, told = child.communicate(timeout=30)
    assert child.returncode == code, told
    assert b"Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_binary_is_not_written_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["encode", "-", "-"]) == 2


# Descriptions


def test_info_about_a_file(
    model: str, codec: Codec, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.vpc").write_bytes(coded)
    assert main(["info", str(tmp_path / "a.vpc"), "--json"]) == 0  # without the model at hand
    facts = json.loads(capsys.readouterr().out)
    assert facts["fingerprint"] == codec.fingerprint.hex()
    assert facts["seconds"] == 4.0
    assert facts["source_rate_hz"] == 16000
    assert facts["bytes"] == len(coded)
    assert facts["kbps"] == pytest.approx(len(coded) * 8 / 4000, abs=0.01)
    assert main(["info", str(tmp_path / "a.vpc")]) == 0
    assert codec.fingerprint.hex() in capsys.readouterr().out
    (tmp_path / "bad.vpc").write_bytes(b"nothing")
    assert main(["info", str(tmp_path / "bad.vpc")]) == 3
    assert main(["info", str(tmp_path / "missing.vpc")]) in (4, 5)


def test_info_about_a_model(model: str, codec: Codec, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["latency_ms"] == 30.0
    assert facts["parameters"] == sum(p.numel() for p in codec.net.parameters())
    assert [rate["levels"] for rate in facts["rates"]] == list(codec.config.level_settings)
    # The analysis alone, a 320 x 320 product 100 times a second, is 10.24 million
    assert facts["encoder_mega_macs_per_second"] > 10.24
    assert main(["info", model]) == 0
    assert "latency" in capsys.readouterr().out


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
