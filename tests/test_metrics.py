"""The measures agree with their libraries, order signals rightly, and survive what recordings can hold."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from metrics_helpers import SNRS_DB, clipped, falls, low_passed, noisy, rate_of, require, score
from metrics_helpers import speech as real_speech

from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.evaluate import metrics
from audiocodec.evaluate.metrics import logspectral, spectral

RATE = metrics.SPEECH_RATE
SPEECH_METRICS = (metrics.pesq_wb, metrics.pesq_nb, metrics.stoi, metrics.estoi)
DISTANCES = (metrics.mel_distance, metrics.stft_distance, metrics.log_spectral_distance)
ALL_METRICS = (*SPEECH_METRICS, metrics.si_sdr, *DISTANCES)
CALCULATED = ("pesq_wb", "pesq_nb", "stoi", "estoi", "mel", "stft", "lsd", "si_sdr")


def speech_like(seconds: float = 3.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch under formants, in syllables with pauses: enough for PESQ to find utterances."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120.0 + 30.0 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    signal = np.zeros_like(time)
    for harmonic in range(1, 40):
        formants = sum(np.exp(-(((harmonic * pitch - f) / 180.0) ** 2)) for f in (500.0, 1500.0, 2500.0, 3500.0))
        signal += (0.02 + formants) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time), 0.0, 1.0) * (np.sin(2 * np.pi * 0.4 * time) > -0.7)
    return 0.1 * signal * syllables + 1e-4 * random.standard_normal(len(time))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return speech_like()


def test_identical_signals_score_best(speech: np.ndarray) -> None:
    assert metrics.pesq_wb(speech, speech, RATE) > 4.6
    assert metrics.pesq_nb(speech, speech, RATE) > 4.5
    assert metrics.stoi(speech, speech, RATE) == pytest.approx(1.0, abs=1e-6)
    assert metrics.estoi(speech, speech, RATE) == pytest.approx(1.0, abs=1e-6)
    assert metrics.si_sdr(speech, speech, RATE) == math.inf
    for distance in DISTANCES:
        assert distance(speech, speech, RATE) == 0.0


def test_same_values_as_the_libraries(speech: np.ndarray) -> None:
    pesq, pystoi = pytest.importorskip("pesq"), pytest.importorskip("pystoi")
    degraded = noisy(speech, 15.0)
    assert metrics.pesq_wb(speech, degraded, RATE) == pesq.pesq(RATE, speech, degraded, "wb")
    assert metrics.pesq_nb(speech, degraded, RATE) == pesq.pesq(RATE, speech, degraded, "nb")
    assert metrics.stoi(speech, degraded, RATE) == pystoi.stoi(speech, degraded, RATE)
    np.random.seed(5)
    assert metrics.estoi(speech, degraded, RATE) == pytest.approx(
        pystoi.stoi(speech, degraded, RATE, extended=True), abs=1e-6
    )


def test_estoi_repeats_and_leaves_the_global_generator_alone(speech: np.ndarray) -> None:
    degraded = noisy(speech, 10.0)
    np.random.seed(3)
    expected = np.random.rand(2)
    np.random.seed(3)
    first = np.random.rand()
    assert metrics.estoi(speech, degraded, RATE) == metrics.estoi(speech, degraded, RATE)
    assert [first, np.random.rand()] == list(expected)


def test_mel_filters_are_those_of_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    for window, bands in spectral.MEL_SCALES:
        theirs = librosa.filters.mel(sr=metrics.MEL_RATE, n_fft=window, n_mels=bands, dtype=np.float64)
        np.testing.assert_allclose(spectral._mel_filters(window, bands), theirs.T, atol=1e-9)


def test_mel_distance_of_a_gain_is_its_logarithm() -> None:
    loud = np.random.default_rng(0).standard_normal(metrics.MEL_RATE)
    # Far above the floor in every band: a factor of ten in amplitude is a difference of one everywhere.
    assert metrics.mel_distance(loud, 10.0 * loud, metrics.MEL_RATE) == pytest.approx(1.0, abs=1e-6)


def test_mel_distance_counts_a_missing_upper_band() -> None:
    wide = np.random.default_rng(0).standard_normal(2 * 48_000) * 0.1
    narrow = metrics.resample(metrics.resample(wide, 48_000, 16_000), 16_000, 48_000)
    assert metrics.mel_distance(wide, narrow, 48_000) > 0.2


@pytest.mark.parametrize("metric", [*SPEECH_METRICS, metrics.si_sdr])
def test_falls_with_the_signal_to_noise_ratio(metric, speech: np.ndarray) -> None:
    scores = [metric(speech, noisy(speech, snr), RATE) for snr in (30.0, 20.0, 10.0, 0.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


@pytest.mark.parametrize("metric", DISTANCES)
def test_distances_grow_as_noise_does(metric, speech: np.ndarray) -> None:
    scores = [metric(speech, noisy(speech, snr), RATE) for snr in (30.0, 20.0, 10.0, 0.0)]
    assert scores == sorted(scores)


@pytest.mark.parametrize("name", CALCULATED)
def test_real_speech_loses_by_every_damage(name: str) -> None:
    noise = [score(name, lambda signal, rate, snr=snr: noisy(signal, snr)) for snr in SNRS_DB]
    clean = score(name)
    assert falls(name, [clean, *noise])
    assert falls(name, [clean, score(name, low_passed)])
    assert falls(
        name, [clean, score(name, lambda signal, rate: clipped(signal, 0.3)), score(name, lambda s, r: clipped(s))]
    )


def test_pesq_counts_the_upper_band_in_its_wideband_form_alone() -> None:
    assert score("pesq_wb") - score("pesq_wb", low_passed) > 1.0
    assert score("pesq_nb") - score("pesq_nb", low_passed) < 0.1


@pytest.mark.parametrize("name", CALCULATED)
def test_a_delayed_copy_scores_as_the_undelayed_one_after_alignment(name: str) -> None:
    metric = metrics.METRICS[name]
    require(metric)
    rate, delay = rate_of(metric), 137
    signal = real_speech(rate)
    degraded = noisy(signal, 15.0)
    late = np.concatenate([np.zeros(delay), degraded])
    first, second, found = metrics.align(signal, late, 1000)
    assert found == delay
    assert metric(first, second, rate) == metric(signal, degraded, rate)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_stft_distance_is_the_published_one(rate: int) -> None:
    import torch

    reference, degraded = real_speech(rate), noisy(real_speech(rate), 15.0)
    distances = []
    for scale in logspectral.STFT_SCALES:
        size, hop, window = (round(length * rate / 24_000) for length in scale)
        first, second = (
            torch.stft(
                torch.tensor(x), size, hop, window, torch.hann_window(window, dtype=torch.float64), return_complex=True
            )
            .abs()
            .clamp(min=1e-7**0.5)
            for x in (reference, degraded)
        )
        convergence = torch.linalg.norm(first - second) / torch.linalg.norm(first)
        distances.append(float(convergence + (first.log() - second.log()).abs().mean()))
    assert metrics.stft_distance(reference, degraded, rate) == pytest.approx(np.mean(distances), rel=1e-9)


def test_log_spectral_distance_is_the_published_one() -> None:
    librosa = pytest.importorskip("librosa")
    levels = [
        20 * np.log10(np.maximum(np.abs(librosa.stft(x, n_fft=2048, hop_length=512, pad_mode="reflect")) / 512, 1e-5))
        for x in (real_speech(48_000), noisy(real_speech(48_000), 15.0))
    ]
    expected = np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=0)).mean()
    distance = metrics.log_spectral_distance(real_speech(48_000), noisy(real_speech(48_000), 15.0), 48_000)
    assert distance == pytest.approx(expected, rel=1e-6)


def test_log_spectral_distance_of_a_gain_is_its_level() -> None:
    loud = np.random.default_rng(0).standard_normal(RATE)
    assert metrics.log_spectral_distance(loud, 10.0 * loud, RATE) == pytest.approx(20.0, abs=1e-9)


@pytest.mark.parametrize("snr", [20.0, 5.0, -3.0])
def test_si_sdr_is_the_ratio_that_was_mixed_and_blind_to_scale(snr: float) -> None:
    random = np.random.default_rng(0)
    signal, noise = random.standard_normal((2, RATE))
    signal, noise = signal - signal.mean(), noise - noise.mean()
    noise -= (noise @ signal) / (signal @ signal) * signal
    mixed = signal + noise * np.sqrt((signal @ signal) / (noise @ noise) / 10 ** (snr / 10))
    assert metrics.si_sdr(signal, mixed, RATE) == pytest.approx(snr, abs=1e-6)
    assert metrics.si_sdr(signal, 0.01 * mixed + 0.3, RATE) == pytest.approx(snr, abs=1e-6)


@pytest.mark.parametrize("metric", SPEECH_METRICS)
@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_another_rate_is_refused(metric, rate: int, speech: np.ndarray) -> None:
    with pytest.raises(UsageError, match="16000 Hz"):
        metric(speech, speech, rate)


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_unequal_shapes_are_refused(metric, speech: np.ndarray) -> None:
    for degraded in (speech[:-1], speech[None]):
        with pytest.raises(UsageError, match="equal length"):
            metric(speech, degraded, RATE)


@pytest.mark.parametrize("metric", SPEECH_METRICS)
@pytest.mark.parametrize("samples", [0, 1, 100, RATE])
def test_silent_and_short_references_have_no_score(metric, samples: int) -> None:
    silence = np.zeros(samples)
    assert math.isnan(metric(silence, silence, RATE))
    assert math.isnan(metric(silence, silence + 0.01, RATE))


@pytest.mark.parametrize("metric", SPEECH_METRICS)
def test_speech_decoded_to_silence_scores_low_or_not_at_all(metric, speech: np.ndarray) -> None:
    score = metric(speech, np.zeros_like(speech), RATE)
    assert math.isnan(score) or score < 0.1


def test_silence_in_the_other_measures(speech: np.ndarray) -> None:
    silence = np.zeros_like(speech)
    assert math.isnan(metrics.si_sdr(silence, speech, RATE))
    assert metrics.si_sdr(speech, silence, RATE) == -math.inf
    assert metrics.mel_distance(silence, silence, RATE) == 0.0
    assert metrics.mel_distance(speech, silence, RATE) > 1.0
    assert metrics.log_spectral_distance(silence, silence, RATE) == 0.0
    assert metrics.log_spectral_distance(speech, silence, RATE) > 10.0
    assert math.isnan(metrics.stft_distance(silence, silence, RATE))
    for metric in (metrics.si_sdr, *DISTANCES):
        assert math.isnan(metric(np.zeros(0), np.zeros(0), RATE))


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("samples", [1, 100, 255, 4000, 8000])
def test_a_clip_of_any_length_is_measured_or_has_no_score(metric, samples: int) -> None:
    clip = real_speech(RATE)[RATE : RATE + samples]
    value = metric(clip, noisy(clip, 20.0), RATE)
    assert math.isnan(value) or np.isfinite(value)
    assert samples < 8000 or np.isfinite(value)


@pytest.mark.parametrize("delay", [-160, -1, 0, 7, 320])
def test_align_finds_the_delay(delay: int, speech: np.ndarray) -> None:
    late = np.concatenate([np.zeros(max(delay, 0)), speech[max(-delay, 0) :]])
    reference, degraded, found = metrics.align(speech, -0.5 * late, 1600)
    assert found == delay
    np.testing.assert_allclose(degraded, -0.5 * reference)


def test_align_of_silence_and_of_nothing() -> None:
    assert metrics.align(np.zeros(100), np.zeros(90), 10)[2] == 0
    reference, degraded, delay = metrics.align(np.zeros(0), np.ones(5), 10)
    assert (len(reference), len(degraded), delay) == (0, 0, 0)


def test_align_is_not_moved_by_an_offset(speech: np.ndarray) -> None:
    late = np.concatenate([np.zeros(320), speech])
    assert metrics.align(speech + 0.5, late + 0.5, 1600)[2] == 320
    assert metrics.align(np.full(1000, 0.1), np.full(1000, 0.3), 100)[2] == 0


@pytest.mark.parametrize("name", [name for name, metric in metrics.METRICS.items() if len(metric.domains) == 1])
def test_another_domain_is_refused(name: str) -> None:
    metric = metrics.METRICS[name]
    wrong = "music" if metric.domains == {"speech"} else "speech"
    with pytest.raises(UsageError, match=f"not of {wrong}"):
        metric(real_speech(rate_of(metric)), real_speech(rate_of(metric)), rate_of(metric), wrong)


def test_importing_the_measures_imports_no_package_of_theirs() -> None:
    theirs = {package.partition(".")[0] for metric in metrics.METRICS.values() for package in metric.packages}
    heavy = sorted(theirs | {"torch", "librosa", "numba", "pocketsphinx"})
    code = f"import sys, audiocodec.evaluate.metrics; print([p for p in {heavy} if p in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("metric", "package"), [(metrics.pesq_wb, "pesq"), (metrics.stoi, "pystoi")])
def test_a_missing_package_is_named_with_the_remedy(
    metric, package: str, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'audiocodec\[eval\]'"):
        metric(speech, speech, RATE)
