"""The reconstruction loss: least for the original, blind to level, and on mel filters that others agree with."""

import numpy as np
import pytest
import torch
from conftest import speech_like

from audiocodec.train.losses import LossConfig, ReconstructionLoss, mel_matrix


@pytest.fixture
def loss():
    return ReconstructionLoss(LossConfig(waveform=1.0, convergence=1.0), 16000)


@pytest.fixture
def speech():
    return torch.from_numpy(np.stack([speech_like(0.5, seed=i) for i in range(2)]))


def test_the_original_has_no_loss_and_more_noise_has_more(loss, speech):
    torch.manual_seed(0)
    noise = torch.randn_like(speech) * speech.std()
    totals = [loss(speech + gain * noise, speech)[0].item() for gain in (0.0, 0.01, 0.1, 1.0)]
    assert totals[0] == pytest.approx(0.0, abs=1e-4)
    assert totals == sorted(totals)
    assert totals[1] > 0.01


def test_quiet_examples_teach_as_much_as_loud_ones(loss, speech):
    estimate = speech * 0.5
    loud, quiet = loss(estimate, speech)[0], loss(estimate * 0.1, speech * 0.1)[0]
    assert quiet.item() == pytest.approx(loud.item(), rel=0.05)


def test_total_is_the_weighted_sum_of_the_parts(loss, speech):
    total, parts = loss(speech * 0.7, speech)
    weights = loss.config.model_dump()
    assert total.item() == pytest.approx(sum(weights[name] * value.item() for name, value in parts.items()), rel=1e-5)
    assert set(parts) == {"log_mel", "linear_mel", "compressed", "complex_compressed", "convergence", "waveform"}


def test_a_phase_change_matters_to_the_complex_term_alone(speech):
    loss = ReconstructionLoss(LossConfig(), 16000)
    _, parts = loss(-speech, speech)
    assert parts["log_mel"] < 1e-5
    assert parts["compressed"] < 1e-5
    assert parts["complex_compressed"] > 1


def test_gradients_are_finite_in_silence(loss):
    estimate = torch.zeros(1, 8000, requires_grad=True)
    loss(estimate, torch.zeros(1, 8000))[0].backward()
    assert torch.isfinite(estimate.grad).all()


def test_mel_filters_are_those_of_torchaudio():
    try:
        from torchaudio.functional import melscale_fbanks
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio does not import: {error}")
    theirs = melscale_fbanks(513, 0.0, 8000.0, 40, 16000, mel_scale="htk")
    ours = mel_matrix(1024, 40, 16000)
    torch.testing.assert_close(ours, theirs / theirs.sum(dim=0), atol=1e-4, rtol=1e-3)


def test_no_filter_is_empty_even_where_bins_are_few():
    assert (mel_matrix(256, 64, 16000).sum(dim=0) > 0.99).all()


def test_each_window_needs_its_mel_bands():
    with pytest.raises(ValueError, match="1 windows and 3 mel_bands"):
        LossConfig(windows=(256,))
