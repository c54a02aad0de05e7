"""The learned measures are their packages' own, repeat exactly, and move as they should where they can."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from metrics_helpers import SNRS_DB, clipped, falls, low_passed, noisy, rate_of, require, score, speech, with_losses

from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.evaluate import metrics
from audiocodec.evaluate.metrics import packages, recognition

RATE = metrics.SPEECH_RATE
INTRUSIVE = ("visqol_speech", "visqol_audio", "speaker")
BLIND = ("dnsmos", "plcmos", "distillmos")
LEARNED = (*INTRUSIVE, *BLIND)
# It was trained on concealed packet loss: from 15 to 5 dB of white noise its score rises (2.43 to 2.71 on this clip).
SNRS_HEARD = {"plcmos": SNRS_DB[:2]}
OPENING = "Printing, in the only sense with which we are at present concerned,"


def damaged(rate: int) -> np.ndarray:
    return noisy(speech(rate), 15.0)


@pytest.mark.parametrize("name", INTRUSIVE)
def test_identical_signals_score_best(name: str) -> None:
    assert score(name) == pytest.approx(metrics.METRICS[name].best, abs=0.005)


@pytest.mark.parametrize("name", LEARNED)
def test_real_speech_loses_by_every_damage(name: str) -> None:
    clean = score(name)
    noise = [score(name, lambda signal, rate, snr=snr: noisy(signal, snr)) for snr in SNRS_HEARD.get(name, SNRS_DB)]
    assert falls(name, [clean, *noise])
    assert falls(
        name, [clean, score(name, lambda signal, rate: clipped(signal, 0.3)), score(name, lambda s, r: clipped(s))]
    )
    assert falls(name, [clean, score(name, low_passed)])
    assert falls(name, [clean, score(name, with_losses)])


def test_who_hears_a_missing_upper_band() -> None:
    """DNSMOS hardly, as it was made to judge noise; DistillMOS much."""
    assert score("dnsmos") - score("dnsmos", low_passed) < 0.2
    assert score("distillmos") - score("distillmos", low_passed) > 1.0


@pytest.mark.parametrize("name", ["visqol_speech", "visqol_audio", "speaker"])
def test_level_does_not_count(name: str) -> None:
    assert score(name, lambda signal, rate: 0.5 * signal) == pytest.approx(score(name), abs=1e-4)


@pytest.mark.parametrize("name", INTRUSIVE)
def test_a_delayed_copy_scores_as_the_undelayed_one_after_alignment(name: str) -> None:
    metric = metrics.METRICS[name]
    require(metric)
    rate = rate_of(metric)
    late = np.concatenate([np.zeros(137), damaged(rate)])
    first, second, delay = metrics.align(speech(rate), late, 1000)
    assert delay == 137
    assert metric(first, second, rate) == metric(speech(rate), damaged(rate), rate)


@pytest.mark.parametrize(("mode", "rate"), [("audio", 48_000), ("speech", 16_000)])
def test_visqol_is_its_package(mode: str, rate: int) -> None:
    api = pytest.importorskip("visqol").VisqolApi()
    api.create(mode=mode, use_lattice_model=False)
    theirs = api.measure_from_arrays(speech(rate), damaged(rate), rate).moslqo
    assert score(f"visqol_{mode}", lambda signal, rate: noisy(signal, 15.0)) == pytest.approx(theirs, abs=1e-9)


def test_dnsmos_is_its_package() -> None:
    dnsmos = pytest.importorskip("speechmos.dnsmos")
    theirs = dnsmos.run(np.clip(damaged(RATE), -1.0, 1.0), RATE)["ovrl_mos"]
    assert metrics.dnsmos(speech(RATE), damaged(RATE), RATE) == pytest.approx(theirs, abs=1e-5)


def test_plcmos_is_its_package() -> None:
    plcmos = pytest.importorskip("speechmos.plcmos")
    state = np.random.get_state()
    np.random.seed(0)
    theirs = plcmos.run(np.clip(damaged(RATE), -1.0, 1.0), RATE)["plcmos"]
    np.random.set_state(state)
    before = np.random.get_state()[1].copy()
    assert metrics.plcmos(speech(RATE), damaged(RATE), RATE) == pytest.approx(theirs, abs=1e-5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("seconds", [3.0, 9.6])
def test_distillmos_is_its_package(seconds: float) -> None:
    import torch

    require(metrics.METRICS["distillmos"])
    model = packages.extra("distillmos").ConvTransformerSQAModel().eval()
    with torch.no_grad():
        theirs = model(torch.from_numpy(speech(RATE, seconds).astype(np.float32))[None]).item()
    assert metrics.distillmos(speech(RATE, seconds), speech(RATE, seconds), RATE) == pytest.approx(theirs, abs=1e-4)


def test_speaker_similarity_is_its_package() -> None:
    require(metrics.METRICS["speaker"])
    resemblyzer = packages.extra("resemblyzer")
    encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)
    first, second = (
        encoder.embed_utterance(resemblyzer.normalize_volume(x, -30).astype(np.float32))
        for x in (speech(RATE), damaged(RATE))
    )
    assert metrics.speaker_similarity(speech(RATE), damaged(RATE), RATE) == pytest.approx(first @ second, abs=1e-6)


def test_the_same_in_another_process_on_two_threads() -> None:
    for name in LEARNED:
        require(metrics.METRICS[name])
    code = (
        "import json; from metrics_helpers import noisy, score; "
        f"print(json.dumps([score(n, lambda s, r: noisy(s, 15.0)) for n in {LEARNED}]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    folder = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    here = [score(name, lambda signal, rate: noisy(signal, 15.0)) for name in LEARNED]
    assert json.loads(done.stdout) == pytest.approx(here, abs=1e-6)


@pytest.mark.parametrize("name", LEARNED)
def test_another_rate_is_refused(name: str) -> None:
    signal = np.zeros(48_000)
    for rate in {8_000, 16_000, 44_100, 48_000} - {metrics.METRICS[name].sample_rate}:
        with pytest.raises(UsageError, match=f"{metrics.METRICS[name].sample_rate} Hz"):
            metrics.METRICS[name](signal, signal, rate)


@pytest.mark.parametrize("name", LEARNED)
def test_silence_and_crumbs_have_no_score_and_loud_clips_do(name: str) -> None:
    metric = metrics.METRICS[name]
    require(metric)
    rate = rate_of(metric)
    signal, silence = speech(rate)[rate : 2 * rate], np.zeros(rate)
    assert math.isnan(metric(signal, silence, rate))
    assert math.isnan(metric(silence, silence, rate))
    for samples in (0, 1, 100):
        assert math.isnan(metric(signal[:samples], signal[:samples], rate))
    assert np.isfinite(metric(signal, 30.0 * signal, rate))
    half = metric(signal[: rate // 2], signal[: rate // 2], rate)
    assert np.isfinite(half) or name.startswith("visqol")  # which compares patches of 0.4 and 0.9 s


@pytest.mark.parametrize("name", LEARNED)
def test_a_missing_package_is_named_with_the_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = metrics.METRICS[name]
    for package in metric.packages:
        monkeypatch.setitem(sys.modules, package, None)
    reason = metric.absent_reason()
    assert reason is not None
    assert "pip install 'audiocodec[eval]'" in reason
    assert "\n" not in reason
    for loader in (
        "visqol._api",
        "predicted._dnsmos",
        "predicted._plcmos",
        "predicted._distillmos",
        "speaker._encoder",
    ):
        module, _, attribute = loader.partition(".")
        getattr(__import__(f"audiocodec.evaluate.metrics.{module}", fromlist=["_"]), attribute).cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'audiocodec\[eval\]'"):
        metric(speech(rate_of(metric)), speech(rate_of(metric)), rate_of(metric))


def test_a_package_imports_without_what_its_scoring_never_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    require(metrics.METRICS["speaker"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "resemblyzer"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    assert packages.extra("resemblyzer").VoiceEncoder
    assert sys.modules.get("webrtcvad") is None  # no stand-in stays behind


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert recognition.words("The wood-cutter's  “Art”, isn\u2019t it?") == "the wood cutter's art isn't it"


def test_word_error_rate_is_low_on_clear_speech_and_grows_with_noise() -> None:
    if reason := metrics.recogniser_absent_reason():
        pytest.skip(reason)
    clear = speech(RATE, 3.7)
    rate = metrics.word_error_rate(clear, RATE, OPENING)
    assert rate == metrics.word_error_rate(clear, RATE, OPENING) < 0.2
    jiwer = pytest.importorskip("jiwer")
    assert rate == jiwer.wer(recognition.words(OPENING), recognition.words(recognition.recognise(clear, RATE)))
    assert metrics.word_error_rate(noisy(clear, 5.0), RATE, OPENING) > 0.5
    assert metrics.word_error_rate(np.zeros(RATE), RATE, OPENING) == 1.0
    assert math.isnan(metrics.word_error_rate(clear, RATE, " ... "))
    with pytest.raises(UsageError, match="16000 Hz"):
        metrics.word_error_rate(clear, 8_000, OPENING)
