"""The perceptual distance: ordered as PESQ orders, blind to level and to what is masked, harder on what was added."""

import math

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import ROOT, speech_like

from audiocodec.errors import ConfigError
from audiocodec.train.losses import LossConfig, ReconstructionLoss
from audiocodec.train.loudness import BARK, BINS, HZ_IN_BARK, THRESHOLD_DB, LoudnessDistance


@pytest.fixture(scope="module")
def distance():
    return LoudnessDistance(16000)


@pytest.fixture
def speech():
    return torch.from_numpy(np.stack([speech_like(1.0, seed=i) for i in range(2)]))


def noisy(speech, snr_db):
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(speech.shape).astype(np.float32))
    return speech + noise * speech.square().mean(dim=1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)


def test_it_orders_distortions_as_pesq_does(distance):
    pesq = pytest.importorskip("pesq")
    samples, rate = soundfile.read(ROOT / "samples" / "speech.flac")
    speech = torch.from_numpy(soxr.resample(samples, rate, 16000).astype(np.float32))[None, :64000]
    spectrum = torch.fft.rfft(speech)
    frequency = torch.linspace(0, 8000, spectrum.shape[1])
    versions = [noisy(speech, snr) for snr in (0, 5, 10, 15, 20, 30, 40)]
    versions += [torch.fft.irfft(spectrum * (frequency < edge), speech.shape[1]) for edge in (1000, 2000, 4000)]
    versions += [speech.clamp(-limit, limit) for limit in (0.02, 0.05, 0.1)]
    ours = [distance(version, speech).item() for version in versions]
    theirs = []
    for version in versions:
        mos = pesq.pesq(16000, speech[0].numpy(), version[0].numpy(), "wb")
        raw = (3.8224 - math.log(4 / (mos - 0.999) - 1)) / 1.3669  # P.862.2, undone
        theirs.append(4.5 - raw)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    assert np.corrcoef(np.argsort(np.argsort(ours)), np.argsort(np.argsort(theirs)))[0, 1] > 0.9


def test_the_original_has_none_and_more_noise_has_more(distance, speech):
    values = [distance(noisy(speech, snr), speech).item() for snr in (math.inf, 30, 20, 10, 0)]
    assert values[0] == pytest.approx(0.0, abs=1e-4)
    assert values == sorted(values)
    assert values[1] > 0.01


def test_what_the_signal_masks_is_free(distance, speech):
    assert distance(noisy(speech, 90), speech).item() == pytest.approx(0.0, abs=0.01)


def test_level_does_not_matter(distance, speech):
    estimate = noisy(speech, 10)
    loud = distance(estimate, speech).item()
    assert distance(estimate * 0.1, speech * 0.1).item() == pytest.approx(loud, rel=0.01)
    assert distance(estimate * 0.8, speech).item() == pytest.approx(loud, rel=0.1)  # a constant gain is equalised


def test_something_added_is_worse_than_the_same_missing(distance, speech):
    hiss = noisy(speech, 15)
    assert distance(hiss, speech).item() > 1.3 * distance(speech, hiss).item()


@pytest.mark.parametrize(
    ("estimate_gain", "target_gain"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1e-4, 1.0), (1.0, 1e-6)]
)
def test_gradients_are_finite_in_silence_too(distance, speech, estimate_gain, target_gain):
    estimate = (noisy(speech, 10) * estimate_gain).requires_grad_()
    value = distance(estimate, speech * target_gain)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(estimate.grad).all()


def test_descending_it_brings_the_estimate_nearer(distance, speech):
    estimate = noisy(speech, 10).requires_grad_()
    before = distance(estimate, speech)
    before.backward()
    step = 0.01 * estimate.norm() * estimate.grad / estimate.grad.norm()
    assert distance(estimate.detach() - step, speech) < 0.98 * before


def test_it_enters_the_reconstruction_loss_by_its_weight(speech):
    estimate = noisy(speech, 10)
    without, parts = ReconstructionLoss(LossConfig(), 16000)(estimate, speech)
    assert "loudness" not in parts
    total, parts = ReconstructionLoss(LossConfig(loudness=0.3), 16000)(estimate, speech)
    assert total.item() == pytest.approx(without.item() + 0.3 * parts["loudness"].item(), rel=1e-5)


def test_another_rate_is_refused():
    with pytest.raises(ConfigError, match="16000 Hz, not 24000 Hz"):
        LoudnessDistance(24000)


def test_the_loss_of_a_model_at_another_rate_measures_at_16_khz(speech):
    estimate = noisy(speech, 10)
    seconds = speech.shape[1] // 16000
    low = [wave[:, : 16000 * seconds] for wave in (estimate, speech)]
    high = [torch.from_numpy(soxr.resample(wave.numpy().T, 16000, 24000).T.copy()) for wave in low]
    one, other = (
        ReconstructionLoss(LossConfig(loudness=1.0), rate)(*pair)[1]["loudness"].item()
        for rate, pair in ((16000, low), (24000, high))
    )
    assert other == pytest.approx(one, rel=0.03)


def test_the_tables_hold_49_bands_that_fill_the_spectrum():
    bins, bark, slope, _ = rows = [
        [float(x) for x in table.split()] for table in (BINS, BARK, HZ_IN_BARK, THRESHOLD_DB)
    ]
    assert [len(row) for row in rows] == [49] * 4
    assert sum(bins) <= 256
    # A band's width in Bark times its Hz in a Bark is its width in Hz; together they span the 8 kHz.
    assert sum(b * s for b, s in zip(bark, slope, strict=True)) == pytest.approx(8000, rel=0.04)
