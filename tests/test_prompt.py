"""Resampling of live streams: soxr's samples, without soxr's waiting."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from audiocodec.audio import Resampler
from audiocodec.audio.prompt import REACH, PromptStream, possible, soxr_filter

RATES = [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (8000, 16000), (22050, 24000), (11025, 48000)]
_ONSET_S = 0.005  # in which soxr's first samples are its own


def noise(rate: int, seconds: float = 0.5) -> np.ndarray:
    return (0.3 * np.random.default_rng(rate).standard_normal((2, round(seconds * rate)))).astype(np.float32)


def resampled(wave: np.ndarray, rates: tuple[int, int], cuts: list[int], live: bool = True) -> np.ndarray:
    resampler = Resampler(*rates, 2, live)
    return np.concatenate([*map(resampler.push, np.split(wave, cuts, axis=1)), resampler.flush()], axis=1)


@pytest.mark.parametrize("rates", RATES)
def test_what_comes_out_is_what_soxr_gives(rates: tuple[int, int]) -> None:
    onset = round(_ONSET_S * rates[1])
    for missing in range(1, 5):  # whose ends lie differently between two samples
        wave = noise(rates[0])[:, :-missing]
        ours, theirs = (resampled(wave, rates, [], live) for live in (True, False))
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours[:, onset:], theirs[:, onset:], atol=2e-6, rtol=0)


@pytest.mark.parametrize("rates", RATES)
def test_any_cutting_gives_the_same_samples(rates: tuple[int, int]) -> None:
    wave = noise(rates[0])
    whole = resampled(wave, rates, [])
    for seed in range(3):
        cuts = np.sort(np.random.default_rng(seed).integers(0, wave.shape[1], 60))
        np.testing.assert_array_equal(resampled(wave, rates, list(cuts)), whole)


@pytest.mark.parametrize("rates", RATES)
def test_a_sample_comes_out_as_soon_as_its_filter_is_filled(rates: tuple[int, int]) -> None:
    """At most the reach of the filter behind what went in, after every 10 ms; soxr itself is later."""
    latest = {True: 0.0, False: 0.0}
    for live in latest:
        resampler = Resampler(*rates, 1, live)
        for _ in range(100):
            resampler.push(np.zeros((1, rates[0] // 100), np.float32))
            behind_s = resampler.samples_in / rates[0] - resampler.samples_out / rates[1]
            latest[live] = max(latest[live], behind_s)
    assert latest[True] <= (REACH + 2) / min(rates)
    assert latest[False] > 2 * latest[True]


@pytest.mark.parametrize("samples", [0, 1, 2, 50, 299, 300, 301])
def test_short_streams_are_as_long_as_they_must_be(samples: int) -> None:
    wave = noise(48000)[:, :samples]
    assert resampled(wave, (48000, 16000), []).shape == (2, -(-samples // 3))
    assert resampled(wave, (16000, 44100), []).shape == (2, -(-samples * 441 // 160))


def test_a_ratio_of_large_numbers_is_left_to_soxr() -> None:
    assert possible(44100, 16000)
    assert not possible(44101, 16000)
    wave = noise(44101, 0.2)
    theirs = soxr.resample(wave.T, 44101, 16000, "HQ").T
    ours = resampled(wave, (44101, 16000), [3000])
    np.testing.assert_array_equal(ours[:, : theirs.shape[1]], theirs[:, : ours.shape[1]])


def test_the_filter_passes_a_constant_and_is_measured_once() -> None:
    for rates in RATES:
        np.testing.assert_allclose(soxr_filter(*rates).sum(axis=1), 1.0, atol=2e-5)
    assert soxr_filter(*RATES[-1]) is soxr_filter(*RATES[-1])


def test_nothing_is_kept_that_no_output_needs() -> None:
    stream = PromptStream(48000, 16000, 1)
    for _ in range(50):
        stream.resample_chunk(np.zeros((4800, 1), np.float32))
    assert stream._inputs.shape[1] <= 2 * 3 * REACH + 3
