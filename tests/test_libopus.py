"""libopus by itself: packets come back, late by what it says; lost ones come from copies where there are any."""

from __future__ import annotations

import numpy as np
import pytest

from audiocodec.errors import AudioError, MissingExtraError
from audiocodec.evaluate.peers import libopus as bound
from audiocodec.evaluate.peers.libopus import OpusDecoder, OpusEncoder, OpusSettings
from audiocodec.evaluate.recordings import read_mono
from tests.conftest import ROOT

RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds at 16 kHz; skips where there is no libopus, with its reason."""
    from audiocodec.evaluate.metrics import resample

    if reason := bound.absent_libopus():
        pytest.skip(reason)
    samples, rate = read_mono(ROOT / "samples" / "speech.flac")
    return np.asarray(resample(samples, rate, RATE), np.float32)[: 2 * RATE]


def snr_db(original: np.ndarray, heard: np.ndarray) -> float:
    """Of all that both have."""
    size = min(len(original), len(heard))
    error = original[:size] - heard[:size]
    return float(10 * np.log10(np.square(original[:size]).sum() / np.square(error).sum()))


def holed(packets: list[bytes], every: int) -> list[bytes | None]:
    """Without each packet that is last of so many."""
    return [None if number % every == every - 1 else packet for number, packet in enumerate(packets)]


def test_speech_comes_back_as_late_as_is_said(speech):
    packets, delay = bound.encode_packets(speech, OpusSettings(64_000))
    heard = bound.decode_packets(packets)
    assert len(heard) == len(packets) * OpusSettings(1).frame_samples >= len(speech)
    assert snr_db(speech, heard[delay:]) > 10
    assert snr_db(speech, heard) < 3


@pytest.mark.parametrize("control", ["variable", "constrained", "constant"])
def test_the_rate_is_the_one_asked_for(speech, control):
    packets, _ = bound.encode_packets(speech, OpusSettings(12_000, control=control))
    sizes = [len(packet) for packet in packets]
    assert 8 * sum(sizes) / (len(packets) * bound.FRAME_S) == pytest.approx(12_000, rel=0.1)
    assert (len(set(sizes)) == 1) == (control == "constant")


def test_a_copy_is_better_than_concealment(speech):
    """In-band FEC of 32 kbps and 10 % loss: nearer to what would have been heard than what is made up."""
    packets, _ = bound.encode_packets(speech, OpusSettings(32_000, loss_percent=10))
    plain, _ = bound.encode_packets(speech, OpusSettings(32_000, loss_percent=10, fec=False))
    assert sum(map(bound.has_copy, packets)) > len(packets) / 2
    assert not any(map(bound.has_copy, plain))
    gains = {}
    for name, sent in (("copies", packets), ("plain", plain)):
        whole = bound.decode_packets(sent)
        gains[name] = snr_db(whole, bound.decode_packets(holed(sent, 10)))
    assert gains["copies"] > gains["plain"] + 3


def test_a_loss_without_a_copy_is_concealed(speech):
    packets, _ = bound.encode_packets(speech, OpusSettings(12_000, loss_percent=10))
    assert not any(map(bound.has_copy, packets))  # at this rate the encoder leaves them out
    lost = holed(packets, 10)
    heard = bound.decode_packets(lost)
    assert len(heard) == len(bound.decode_packets(packets))
    loud = np.abs(speech[: len(speech) // 320 * 320]).reshape(-1, 320).max(axis=1) > 0.1
    at = next(number for number in np.flatnonzero(loud) if lost[number] is None)
    assert np.abs(heard[at * 320 : at * 320 + 320]).max() > 0.01


def test_what_it_was_built_with_is_found_by_trying(speech):
    found = bound.capabilities()
    assert found["libopus"] == bound.libopus_version() != ""
    assert {type(found["dred"]), type(found["deep_plc"])} == {bool}


def test_what_it_refuses_is_told(speech):
    with pytest.raises(AudioError, match="44100"):
        OpusEncoder(OpusSettings(12_000, sample_rate=44_100))
    with pytest.raises(AudioError, match="bitrate_bps=-5"):
        OpusEncoder(OpusSettings(-5))
    with pytest.raises(AudioError, match=r"\(320,\)"):
        OpusEncoder(OpusSettings(12_000)).encode(speech[:100])
    with pytest.raises(AudioError, match="a packet"):
        OpusDecoder().decode(b"\xff\xff\xff")


def test_without_libopus_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(bound, "absent_pyav", lambda: "no av")
    monkeypatch.setattr(bound.ctypes.util, "find_library", lambda _name: None)
    bound.libopus.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match="pip install"):
            bound.libopus()
        assert "pip install" in (bound.absent_libopus() or "")
    finally:
        bound.libopus.cache_clear()
