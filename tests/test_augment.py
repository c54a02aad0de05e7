"""Variations do what their names say, touch only the chosen rows, and repeat from the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from audiocodec.train.augment import AugmentConfig, augment

RATE = 16000


def _only(**settings: object) -> AugmentConfig:
    return AugmentConfig.model_validate({**AugmentConfig.off().model_dump(), **settings})


def _tones(batch: int = 8, samples: int = 16000, peak: float = 0.3) -> Tensor:
    time = torch.arange(samples) / RATE
    frequencies = torch.linspace(300, 2500, batch)[:, None]
    return peak * torch.sin(2 * torch.pi * frequencies * time)


def _noise(batch: int = 8, samples: int = 16000) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(0))


def _power_db(waves: Tensor, low: float, high: float) -> Tensor:
    power = torch.fft.rfft(waves).abs().square()
    frequencies = torch.fft.rfftfreq(waves.shape[1], 1 / RATE)
    return 10 * power[:, (frequencies >= low) & (frequencies < high)].mean(dim=1).log10()


def test_the_same_generator_gives_the_same_and_input_stays() -> None:
    config = _only(mix=0.5, room=0.5, equalise=0.5, noise=0.5, band=0.5, level=0.5)
    waves = _noise()
    before = waves.clone()
    one = augment(waves, np.random.default_rng(1), config, RATE)
    assert torch.equal(one, augment(waves, np.random.default_rng(1), config, RATE))
    assert not torch.equal(one, augment(waves, np.random.default_rng(2), config, RATE))
    assert torch.equal(waves, before)
    assert one.shape == waves.shape
    assert one.dtype == torch.float32


def test_off_changes_nothing_and_probability_chooses_rows() -> None:
    waves = _noise(64)
    assert torch.equal(augment(waves, np.random.default_rng(0), AugmentConfig.off(), RATE), waves)
    for name in ("mix", "room", "equalise", "noise", "band", "level"):
        changed = (augment(waves, np.random.default_rng(0), _only(**{name: 0.3}), RATE) != waves).any(dim=1)
        assert 8 <= int(changed.sum()) <= 32, name


def test_level_sets_the_peak_within_its_range() -> None:
    varied = augment(_tones(64), np.random.default_rng(0), _only(level=1.0, level_db=(-30.0, 0.0)), RATE)
    peaks = 20 * varied.abs().amax(dim=1).log10()
    assert peaks.max() <= 1e-4
    assert peaks.min() >= -30.001
    assert peaks.max() - peaks.min() > 20


def test_nothing_exceeds_full_scale_and_silence_stays_silent() -> None:
    loud = augment(_tones(16, peak=1.0), np.random.default_rng(0), _only(mix=1.0, equalise=1.0, noise=1.0), RATE)
    assert loud.abs().max() <= 1.0 + 1e-6
    everything = AugmentConfig(mix=1.0, room=1.0, equalise=1.0, noise=1.0, band=1.0)
    silent = augment(torch.zeros(4, 8000), np.random.default_rng(0), everything, RATE)
    assert torch.equal(silent, torch.zeros(4, 8000))


def test_band_limit_empties_the_upper_band() -> None:
    waves = _noise()
    narrow = augment(waves, np.random.default_rng(0), _only(band=1.0, band_hz=(4000.0, 4000.0)), RATE)
    assert (_power_db(waves, 4500, 8000) - _power_db(narrow, 4500, 8000)).min() > 30
    assert (_power_db(waves, 0, 3900) - _power_db(narrow, 0, 3900)).abs().max() < 0.1


def test_tilt_has_its_slope() -> None:
    settings = _only(equalise=1.0, tilt_db=(3.0, 3.0), shelf_db=(0.0, 0.0))
    waves = _noise()
    tilted = augment(waves, np.random.default_rng(0), settings, RATE)
    gain = [_power_db(tilted, f, f * 1.1) - _power_db(waves, f, f * 1.1) for f in (1000.0, 2000.0, 4000.0)]
    assert torch.allclose(gain[1] - gain[0], torch.full((8,), 3.0), atol=0.2)
    assert torch.allclose(gain[2] - gain[1], torch.full((8,), 3.0), atol=0.2)


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_and_mix_have_the_level_asked_for(snr_db: float) -> None:
    waves = _tones(peak=0.05)
    noisy = augment(waves, np.random.default_rng(0), _only(noise=1.0, noise_snr_db=(snr_db, snr_db)), RATE)
    measured = 10 * (waves.square().mean(dim=1) / (noisy - waves).square().mean(dim=1)).log10()
    assert torch.allclose(measured, torch.full((8,), snr_db), atol=0.01)
    mixed = augment(waves, np.random.default_rng(0), _only(mix=1.0, mix_db=(-snr_db, -snr_db)), RATE)
    other = mixed - waves
    measured = 10 * (waves.square().mean(dim=1) / other.square().mean(dim=1)).log10()
    assert torch.allclose(measured, torch.full((8,), snr_db), atol=0.01)
    likeness = (other @ waves.T).abs() / other.norm(dim=1)[:, None] / waves.norm(dim=1)
    assert (likeness.argmax(dim=1) != torch.arange(8)).all()


def test_background_is_used_where_given() -> None:
    waves, other = _tones(peak=0.05), torch.sign(_tones(3, peak=0.5))
    config = _only(noise=1.0, noise_snr_db=(10.0, 10.0))
    added = augment(waves, np.random.default_rng(0), config, RATE, background=other) - waves
    likeness = ((added @ other.T).abs() / added.norm(dim=1)[:, None] / other.norm(dim=1)).amax(dim=1)
    assert (likeness[::2] > 0.99).all()
    assert (likeness[1::2] < 0.2).all()


def test_room_rings_after_the_sound_and_not_before() -> None:
    waves = torch.zeros(4, 16000)
    waves[:, 4000] = 0.5
    varied = augment(waves, np.random.default_rng(0), _only(room=1.0, room_rt60_s=(0.3, 0.3)), RATE)
    assert varied[:, :3990].abs().max() < 1e-5
    early, late = (varied[:, 4100:4900].square().mean(dim=1), varied[:, 6400:7200].square().mean(dim=1))
    decay = 10 * (early / late).log10()  # 2300 samples at 60 dB in 4800
    assert ((decay > 22) & (decay < 36)).all()


def test_ranges_must_be_ordered() -> None:
    with pytest.raises(ValidationError, match="level_db"):
        AugmentConfig(level_db=(0.0, -30.0))


def test_odd_lengths_and_single_rows() -> None:
    everything = AugmentConfig(mix=1.0, room=1.0, equalise=1.0, noise=1.0, band=1.0)
    for shape in ((1, 1), (1, 777), (3, 12345)):
        varied = augment(torch.full(shape, 0.1), np.random.default_rng(0), everything, RATE)
        assert varied.shape == shape
        assert torch.isfinite(varied).all()
