"""Opinion scores of speech as networks predict them from the degraded signal alone.

They were trained on listeners' votes of noise suppression, packet loss and much else, and never heard the original:
a codec that says something else, in a clear voice, scores well. All run on one thread of onnxruntime, or in torch as
the caller set it up.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, checked_pair, is_unjudgeable
from audiocodec.evaluate.metrics.packages import extra, seeded_numpy


def dnsmos(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """DNSMOS P.835, overall quality (Reddy et al. 2022, arXiv 2110.01763; 1 to 5), at 16 kHz only, no reference.

    By the ``speechmos`` package: the mean over windows of 9 s every second; shorter clips are repeated to that length.
    Made for noise suppression: it hears noise and clipping well, and a missing upper band hardly.
    NaN for silence and below half a second.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    _, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    model = _dnsmos()
    if is_unjudgeable(degraded, sample_rate):
        return math.nan
    return float(model(np.clip(degraded, -1.0, 1.0), sample_rate, is_personalized_MOS=False)["ovrl_mos"])


def plcmos(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """PLCMOS v2 (Diener et al. 2023, arXiv 2305.15127; 1 to 5), at 16 kHz only, no reference.

    By the ``speechmos`` package: the mean over 15 drawn raters, here always the same. Made for concealed packet loss;
    under noise it falls at first and then wanders. NaN for silence and below half a second. Raises as :func:`dnsmos`.
    """
    _, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    model = _plcmos()
    if is_unjudgeable(degraded, sample_rate):
        return math.nan
    with seeded_numpy():  # the raters are drawn from numpy's global generator
        return float(model(np.clip(degraded, -1.0, 1.0))["plcmos"])


def distillmos(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """DistillMOS (Stahl and Gamper 2025, arXiv 2502.05356; 1 to 5), at 16 kHz only, no reference.

    By the ``distillmos`` package: the mean over windows of 7.68 s that overlap by at least 6.68 s; shorter clips are
    padded with silence, levels matched. It hears noise, band limits and clipping.
    NaN for silence and below half a second.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    _, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    model, window = _distillmos()
    if is_unjudgeable(degraded, sample_rate):
        return math.nan
    import torch

    samples = torch.from_numpy(np.clip(degraded, -1.0, 1.0).astype(np.float32))[None]
    surplus = max(0, samples.shape[1] - window)
    starts = np.linspace(0, 1, math.ceil(surplus / SPEECH_RATE) + 1) * surplus
    with torch.inference_mode():
        # One window at a time: the package would run all at once, 30 MB each. The windows are the package's.
        return float(np.mean([model(samples[:, int(start) : int(start) + window]).item() for start in starts]))


@lru_cache(maxsize=1)
def _dnsmos() -> Any:
    module = extra("speechmos.dnsmos")
    models = Path(module.__file__ or "").parent / "dnsmos_models"
    model = module.DNSMOS(str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx"))
    model.onnx_sess = _session(models / "sig_bak_ovr.onnx")
    model.p808_onnx_sess = _session(models / "model_v8.onnx")
    return model


@lru_cache(maxsize=1)
def _plcmos() -> Any:
    model = extra("speechmos.plcmos").PLCMOS()
    model.session = _session(Path(model.model_path))
    return model


def _session(path: Path) -> Any:
    """On one thread: the package would take every core, and a sum's order would depend on how many there are."""
    runtime = extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _distillmos() -> tuple[Any, int]:
    """The network and its window in samples."""
    module = extra("distillmos.sqa")
    import torch

    with torch.random.fork_rng(devices=[]):  # building draws weights, which are then replaced
        model = module.ConvTransformerSQAModel(load_weights=False)  # loading by itself, it prints
    weights = torch.load(module.DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)
    model.load_state_dict(weights["model"])
    return model.eval(), int(module.SEQ_LEN)
