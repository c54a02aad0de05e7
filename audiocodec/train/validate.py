"""How good the averaged weights are on audio that was not trained on, at each level count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from audiocodec.errors import MissingExtraError

Clip = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Validation:
    """``values`` has one number for each "metric@count" and the mean over counts for each "metric"."""

    values: dict[str, float]
    audio: dict[str, Clip]

    def score(self, best_by: str) -> float:
        """The number that a better model has more of; minus infinity where it could not be measured."""
        value = self.values.get(best_by, math.nan)
        value = -value if best_by == "loss" else value
        return value if math.isfinite(value) else -math.inf


def usable_metrics(names: Sequence[str]) -> tuple[list[str], str]:
    """Those of ``names`` whose packages import, and a message for the watcher about the others ("" if none)."""
    usable, missing = [], []
    probe = np.sin(np.arange(16_000, dtype=np.float32) * 0.2) * np.linspace(0.1, 0.5, 16_000, dtype=np.float32)
    for name in names:
        try:
            _measure(name)(probe, probe, 16_000)
            usable.append(name)
        except MissingExtraError:
            missing.append(name)
    if not missing:
        return usable, ""
    return usable, f"not measuring {', '.join(missing)}: install audiocodec[train] for the packages pesq and pystoi"


def validate(
    reconstruct: Callable[[Tensor, Tensor], Tensor],
    criterion: nn.Module,
    clips: Sequence[Clip],
    counts: Sequence[int],
    metrics: Sequence[str],
    sample_rate: int,
    device: torch.device,
) -> Validation:
    """Measure every clip at every count.

    Args:
        reconstruct: waveform [batch, samples] and level counts [batch] to decoded waveform [batch, samples].
        criterion: the reconstruction loss, (estimate, target) to (total, parts).
        clips: float32 [samples] each, of one length.
        counts: base level counts.
        metrics: names of functions of :mod:`audiocodec.evaluate.metrics` ("stoi", "estoi", "pesq").
        sample_rate: of clips, in Hz.
        device: where ``reconstruct`` computes.
    """
    values: dict[str, float] = {}
    audio: dict[str, Clip] = {}
    targets = torch.from_numpy(np.stack(clips)).to(device)
    for count in counts:
        levels = torch.full((1,), count, dtype=torch.long, device=device)
        decoded, losses = [], []
        with torch.no_grad():
            for target in targets.split(1):  # one clip at a time: the memory of a validation is that of a clip
                estimate = reconstruct(target, levels).float()
                losses.append(criterion(estimate, target)[0])
                decoded.append(estimate[0].cpu().numpy())
        values[f"loss@{count}"] = float(torch.stack(losses).mean())
        for name in metrics:
            scores = [_measure(name)(c, d, sample_rate) for c, d in zip(clips, decoded, strict=True)]
            finite = [score for score in scores if math.isfinite(score)]
            values[f"{name}@{count}"] = float(np.mean(finite)) if finite else math.nan
        audio[f"decoded@{count}"] = decoded[0]
    for name in ("loss", *metrics):
        values[name] = float(np.mean([values[f"{name}@{count}"] for count in counts]))
    return Validation(values, audio)


def _measure(name: str) -> Callable[[Clip, Clip, int], float]:
    from audiocodec.evaluate import metrics

    functions: dict[str, Callable[[Clip, Clip, int], float]] = {
        "pesq": metrics.pesq_wb,
        "stoi": metrics.stoi,
        "estoi": metrics.estoi,
    }
    return functions[name]
