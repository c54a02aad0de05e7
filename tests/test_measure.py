"""Many measures of one pair of signals: the delay searched once, every measure at its rate, full band."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import speech_like

from audiocodec.errors import UsageError
from audiocodec.evaluate import lag as module
from audiocodec.evaluate.lag import cut, find_lag, search_rate
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import METRICS, mel_distance, resample


def both(reference: np.ndarray, degraded: np.ndarray, rates: tuple[int, int], names: list[str], **how: float | None):
    options: dict[str, float | None] = {"delay_s": None, "max_delay_s": 0.1, **how}
    pair = Pair(reference, rates[0], degraded, rates[1], **options)  # type: ignore[arg-type]
    return {name: pair.score(name, "speech") for name in names}, 1000.0 * pair.lag.seconds


def test_a_delay_is_found_once_and_applied_at_every_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = speech_like(2.0, 48000)
    late = np.concatenate([np.zeros(960), -speech])
    searched = []
    monkeypatch.setattr(module, "align", lambda *a, real=module.align: searched.append(1) or real(*a))
    scores, lag_ms = both(speech, late, (48000, 48000), ["mel", "si_sdr"])
    assert lag_ms == pytest.approx(20.0)
    assert scores["mel"] < 0.01
    assert scores["si_sdr"] > 100
    assert len(searched) == 1


@pytest.mark.parametrize("delay", [-777, 0, 1234])
def test_the_lag_and_its_polarity(delay: int) -> None:
    speech = speech_like(2.0, 16000).astype(np.float64)
    moved = np.concatenate([np.zeros(delay), speech]) if delay >= 0 else speech[-delay:]
    assert find_lag(speech, moved, 16000, 0.2).seconds == delay / 16000
    assert not find_lag(speech, moved, 16000, 0.2).inverted
    assert find_lag(speech, -moved, 16000, 0.2).inverted


def test_a_delay_that_is_known_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = speech_like(2.0)
    late = np.concatenate([np.zeros(50), speech])
    monkeypatch.setattr(module, "align", lambda *_: pytest.fail("searched"))
    scores, lag_ms = both(speech, late, (16000, 16000), ["si_sdr"], delay_s=50 / 16000)
    assert scores["si_sdr"] == math.inf
    assert lag_ms == pytest.approx(3.125)
    assert both(speech, late, (16000, 16000), ["si_sdr"], delay_s=0.0)[0]["si_sdr"] < 10


def test_a_band_that_was_lost_counts() -> None:
    wide = speech_like(2.0, 48000)
    narrow = resample(wide, 48000, 16000)
    lost = both(wide, narrow, (48000, 16000), ["mel"])[0]["mel"]
    unfair = mel_distance(narrow, narrow, 16000)
    assert unfair == 0.0
    assert lost > 0.2


def test_a_long_recording_is_searched_in_its_loudest_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCH_SECONDS", 1.0)
    quiet = np.zeros(16000 * 3)
    speech = np.concatenate([quiet, speech_like(2.0), quiet])
    late = np.concatenate([np.zeros(400), speech])
    assert find_lag(speech, late, 16000, 0.1).seconds == 0.025
    assert find_lag(speech, late[:20000], 16000, 0.1).seconds == 0.0  # nothing there to compare


def test_the_rate_of_the_search() -> None:
    assert search_rate(48000, 24000) == 24000
    assert search_rate(8000, 48000) == 16000


def test_what_is_longer_is_cut() -> None:
    a, b = np.arange(10.0), np.arange(7.0)
    assert [list(x) for x in cut(a, b, 5)] == [[0, 1], [5, 6]]
    assert [list(x) for x in cut(a, b, -8)] == [[8, 9], [0, 1]]
    assert [len(x) for x in cut(a, b, 100)] == [0, 0]


def test_nothing_to_compare_is_undefined() -> None:
    silence, nothing = np.zeros(16000), np.zeros(0)
    names = ["mel", "si_sdr", "pesq_wb"]
    for degraded in (nothing, np.zeros(5)):
        scores, lag_ms = both(silence, degraded, (16000, 16000), names)
        assert math.isnan(scores["si_sdr"])
        assert lag_ms == 0.0
    assert all(math.isnan(v) for v in both(silence, nothing, (16000, 16000), list(METRICS))[0].values())


def test_wrong_names_and_domains() -> None:
    speech = speech_like(0.5)
    with pytest.raises(UsageError, match="pesq_wb"):
        both(speech, speech, (16000, 16000), ["pesq"])
    with pytest.raises(UsageError, match="not of music"):
        Pair(speech, 16000, speech, 16000, delay_s=0.0, max_delay_s=0.0).score("pesq_wb", "music")


def test_an_offset_does_not_hide_a_turned_polarity() -> None:
    speech = speech_like(1.0).astype(np.float64)
    assert find_lag(speech + 0.3, 0.3 - speech, 16000, 0.01).inverted
    assert not find_lag(speech + 0.3, speech - 0.3, 16000, 0.01).inverted


@pytest.mark.parametrize("delay", [-500, 0, 320])
def test_made_up_phases_are_aligned_by_their_envelopes(delay: int) -> None:
    speech = speech_like(3.0).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(speech, 256)[::64] * np.hanning(256)))
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(spectrum.shape))
    made_up = np.zeros_like(speech)
    for index, frame in enumerate(np.fft.irfft(spectrum * phases) * np.hanning(256)):
        made_up[64 * index : 64 * index + 256] += frame
    moved = np.concatenate([np.zeros(delay), made_up]) if delay >= 0 else made_up[-delay:]
    lag = find_lag(speech, moved, 16000, 0.1)
    assert lag.match < 0.5
    assert lag.seconds == pytest.approx(delay / 16000, abs=0.003)  # new phases move sound within the windows of 16 ms
    assert not lag.inverted


def test_noise_alone_resembles_nothing() -> None:
    noise = np.random.default_rng(1).standard_normal((2, 16000))
    lag = find_lag(noise[0], noise[1], 16000, 0.1)
    assert lag.match < 0.1
    assert not lag.by_envelopes
    assert find_lag(noise[0], np.zeros(16000), 16000, 0.1).seconds == 0.0
