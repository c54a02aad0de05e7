"""What a rate setting costs in packets of any size: as expected, as written, and as ``--bitrate`` has it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT

import audiocodec
from audiocodec.bitstream import PacketEncoder, StreamHeader
from audiocodec.cli import main
from audiocodec.cli.calling import call
from audiocodec.codec import Codec
from audiocodec.errors import UsageError
from audiocodec.live.sender import Sender
from audiocodec.rates import RateSetting, packet_bps
from audiocodec.streaming import StreamEncoder

LATE = 1 << 14
"""A frame from which on all packets have the nine bytes that they have for the rest of a day."""
RAW = ("--format", "s16le", "--rate", "16000", "-m", "speech-16k")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return audiocodec.load("speech-16k")


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    sound, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    return soxr.resample(sound, rate, 16000)


def written_bps(codec: Codec, rate: RateSetting, wave: np.ndarray, packet_frames: int) -> float:
    """Of packets in the middle of a long stream."""
    indices = codec.encode(wave[None], rate).indices[0]
    packets = PacketEncoder(StreamEncoder(codec, rate, packet_frames=packet_frames).header, codec.entropy)
    starts = range(0, len(indices), packet_frames)
    size = sum(len(packets.frames(LATE + at, indices[at : at + packet_frames, None])) for at in starts)
    return 8 * size * codec.frame_rate / len(indices)


@pytest.mark.parametrize("levels", [4, 8, 22, 40])
def test_packets_cost_what_is_expected(codec: Codec, voice: np.ndarray, levels: int) -> None:
    rate = codec.choose_rate(levels=levels)
    for packet_frames in (1, 2, 3, 10, 50):
        expected = packet_bps(rate, codec.frame_rate, packet_frames)
        assert written_bps(codec, rate, voice, packet_frames) == pytest.approx(expected, rel=0.05)


def test_packets_of_two_channels_share_what_is_not_theirs(codec: Codec, voice: np.ndarray) -> None:
    rate = codec.choose_rate(levels=8)
    encoder = StreamEncoder(codec, rate, 2, packet_frames=2, running=True)
    size = sum(map(len, encoder.push(np.stack([voice, voice[::-1]]))))
    expected = 2 * packet_bps(rate, codec.frame_rate, 2, channels=2)
    assert 8 * size * codec.sample_rate / len(voice) == pytest.approx(expected, rel=0.05)


def test_a_bitrate_of_packets_is_kept(codec: Codec) -> None:
    for packet_frames in (1, 2, 10):
        for kbps in (5.0, 6.0, 8.0, 12.0):
            chosen = codec.choose_rate(bitrate_kbps=kbps, packet_frames=packet_frames)
            costs = {rate: packet_bps(rate, codec.frame_rate, packet_frames) for rate in codec.rates}
            assert costs[chosen] == max(cost for cost in costs.values() if cost <= 1000 * kbps)
    alone, shared = (codec.choose_rate(bitrate_kbps=6, packet_frames=1, channels=n) for n in (1, 2))
    assert shared.base_levels > alone.base_levels


def test_without_a_bitrate_packets_change_nothing(codec: Codec) -> None:
    assert codec.choose_rate(packet_frames=1) == codec.choose_rate() == codec.choose_rate(bitrate_kbps=3)
    assert codec.choose_rate(levels=40, packet_frames=1).base_levels == 40


def test_what_no_packets_can_have_is_refused(codec: Codec) -> None:
    with pytest.raises(UsageError, match=r"1\.5 kbps .* in packets of 1 frame; its lowest rate is 4\.93 kbps"):
        codec.choose_rate(bitrate_kbps=1.5, packet_frames=1)
    for wrong in ({"packet_frames": 0}, {"packet_frames": 2, "channels": 0}):
        for asked in ({"bitrate_kbps": 6}, {"levels": 7}, {}):
            with pytest.raises(UsageError, match="give 1 or more"):
                codec.choose_rate(**asked, **wrong)


def live(voice: np.ndarray, *options: str) -> tuple[float, StreamHeader, str]:
    """kbps, header, and what was said, of a stream from pipe to pipe."""
    command = [sys.executable, "-m", "audiocodec", "encode", "-", "-", *RAW, *options]
    done = subprocess.run(command, input=np.rint(voice * 32767).astype("<i2").tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    kbps = len(done.stdout) * 8e-3 * 16000 / len(voice)
    return kbps, StreamHeader.unpack(done.stdout)[0], done.stderr.decode()


def test_from_pipe_to_pipe_a_bitrate_is_of_what_is_written(codec: Codec, voice: np.ndarray) -> None:
    for kbps, options in ((3, ()), (6, ("--packet-frames", "1"))):
        written, _, said = live(voice, "--bitrate", str(kbps), *options)
        assert 0.85 * kbps < written <= kbps
        assert "note" not in said
    assert live(voice)[1].levels == codec.choose_rate().levels  # what nobody asked to be smaller is as in files


def test_a_bitrate_below_all_packets_is_said_to_be(codec: Codec, voice: np.ndarray) -> None:
    written, header, said = live(voice, "--bitrate", "1.5")
    assert header.levels == codec.choose_rate(levels=4).levels
    note = re.search(
        r"note: 1.5 kbps is less than .* of 2 frames; its lowest rate is ([\d.]+) kbps, which is taken", said
    )
    assert note
    assert float(note[1]) == pytest.approx(written, rel=0.1)
    assert "note" not in live(voice[:16000], "--bitrate", "1.5", "--quiet")[2]


def test_files_have_the_level_that_they_had(codec: Codec, tmp_path: Path) -> None:
    for kbps in ("1.5", "3", "6"):
        for options in ((), ("--packet-frames", "64")):
            target = tmp_path / "a.vpc"
            source = str(ROOT / "samples" / "speech.flac")
            assert main(["encode", source, str(target), "-m", "speech-16k", "-b", kbps, "-f", *options]) == 0
            header = StreamHeader.unpack(target.read_bytes())[0]
            assert header.levels == codec.choose_rate(bitrate_kbps=float(kbps)).levels


def test_the_live_example_has_the_rate_that_it_asks_for(codec: Codec, voice: np.ndarray) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    asked = re.search(r"choose_rate\(bitrate_kbps=([\d.]+), packet_frames=1\).*files have ([\d.]+) kbps", text)
    assert asked
    rate = codec.choose_rate(bitrate_kbps=float(asked[1]), packet_frames=1)
    assert rate.expected_bps == pytest.approx(1000 * float(asked[2]), abs=50)
    size = sum(map(len, StreamEncoder(codec, rate).push(voice)))
    assert 0.85 * float(asked[1]) < size * 8e-3 * 16000 / len(voice) <= float(asked[1])


def test_the_documents_say_what_packets_cost(codec: Codec) -> None:
    rows = re.findall(
        r"^\| (\d+) \| \d+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|",
        (ROOT / "docs" / "pipes.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) == 4
    for frames, *told in rows:
        for kbps, levels in zip(told, (4, codec.choose_rate().base_levels, 40), strict=True):
            expected = packet_bps(codec.choose_rate(levels=levels), codec.frame_rate, int(frames))
            assert float(kbps) == pytest.approx(expected / 1000, abs=0.051)


def test_the_help_of_a_call_says_what_its_packets_cost(codec: Codec, voice: np.ndarray) -> None:
    told = re.search(r"takes ([\d.]+) in packets of 1\s+frame, ([\d.]+) with 2 and ([\d.]+) with 3", call.__doc__ or "")
    assert told
    for frames, kbps in enumerate(told.groups(), 1):
        sender = Sender(codec, codec.choose_rate(), frames=frames)
        size = sum(map(len, sender.push(voice)))
        assert size * 8e-3 * 16000 / len(voice) == pytest.approx(float(kbps), rel=0.05)
