"""The shipped model keeps the project's promises: cuttings, threads, rates, entropy coding, quality on real speech."""

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import ROOT
from test_streaming import decode_cut, encode_cut

import audiocodec
from audiocodec.cost import macs_per_second
from audiocodec.streaming import FILE_BLOCK_FRAMES

SAMPLE = ROOT / "samples" / "speech.flac"
MODEL = ROOT / "pretrained" / "speech-16k"
BITRATES = (1.6, 3.2, 6.0)


@pytest.fixture(scope="module", params=("onnx", "torch"))
def codec(request):
    return audiocodec.load(MODEL, runtime=request.param)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    wave, rate = soundfile.read(SAMPLE, dtype="float32")
    return soxr.resample(wave, rate, 16000)


def test_fifty_random_cuttings_give_the_same_bytes_and_samples(codec, speech):
    wave, rate = speech[None, :96000], codec.choose_rate(3.2)
    block = FILE_BLOCK_FRAMES
    options = {"block_frames": block, "packet_frames": 2 * block, "rate": rate}
    whole = encode_cut(codec, wave, **options)
    sound = decode_cut(codec, whole)
    threads = torch.get_num_threads()
    try:
        for seed in range(50):
            torch.set_num_threads(1 + seed % 2)
            rng = np.random.default_rng(seed)
            assert encode_cut(codec, wave, rng, **options) == whole
            if seed % 5 == 0:
                np.testing.assert_array_equal(decode_cut(codec, whole, rng), sound)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("bitrate", BITRATES)
def test_range_coding_takes_eight_percent_off_and_the_rate_is_kept(codec, speech, bitrate):
    coded = {mode: len(codec.compress(speech, bitrate_kbps=bitrate, mode=mode)) for mode in ("range", "raw")}
    assert coded["range"] < 0.92 * coded["raw"]
    kbps = coded["range"] * 8e-3 / (len(speech) / 16000)
    assert 0.7 * bitrate < kbps < 1.1 * bitrate


def test_quality_is_real_and_rises_with_rate(codec, speech):
    pystoi = pytest.importorskip("pystoi")
    scores = []
    for bitrate in BITRATES:
        decoded, _ = codec.decompress(codec.compress(speech, bitrate_kbps=bitrate))
        scores.append(pystoi.stoi(speech, decoded[0], 16000, extended=True))
    assert scores == sorted(scores)
    # The floors set for this model: ESTOI at 1.6, 3.2 and 6 kbps.
    assert all(score > floor for score, floor in zip(scores, (0.55, 0.65, 0.72), strict=True))


def test_live_and_file_blocks_give_nearly_the_same_tokens(codec, speech):
    """The last bit of a latent may differ between block lengths, and rarely moves a token."""
    wave, rate = speech[None, :16000], codec.rates[3]
    whole = codec.encode(wave, rate).indices
    state, parts = codec.runtime.encoder_state(1), []
    for frame in np.split(wave, 50, axis=1):
        indices, state = codec.encode_block(frame, rate, state)
        parts.append(indices)
    live = np.concatenate(parts, axis=1)
    assert (live == whole[:, : live.shape[1]]).mean() > 0.999


def test_cost_is_within_the_budget(codec):
    """At most 0.35 G multiply-accumulates a second of audio, the decoder heavier than the encoder."""
    macs = macs_per_second(codec.net)
    assert 10e6 < macs["encoder"] < macs["decoder"]
    assert sum(macs.values()) < 0.35e9
