"""Reconstruction losses.

Each example is scaled to one loudness before anything is compared, so that a quiet recording teaches as much as a
loud one, and spectra are floored at -74 dB of full scale: below that is recording noise, and describing it costs a
small network more than it gives.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from audiocodec.bottleneck.across import overall
from audiocodec.config import Strict
from audiocodec.train.loudness import SAMPLE_RATE as LOUDNESS_RATE
from audiocodec.train.loudness import LoudnessDistance


class LossConfig(Strict):
    """Weights of the terms; a weight of 0 skips the term."""

    windows: tuple[int, ...] = Field((256, 512, 1024), description="STFT windows, samples; hops are a quarter")
    mel_bands: tuple[int, ...] = Field((32, 64, 80))
    log_mel: float = Field(1.0, ge=0, description="L1 of log mel amplitudes (arXiv 2210.13438, equation 1)")
    linear_mel: float = Field(0.5, ge=0, description="L1 of mel amplitudes over the reference's mean")
    compressed: float = Field(1.0, ge=0, description="squared error of |X|^c, phase ignored")
    complex_compressed: float = Field(0.5, ge=0, description="squared error of |X|^c e^(i phase)")
    compression: float = Field(0.3, gt=0, le=1, description="c of the compressed terms (arXiv 2101.05249)")
    convergence: float = Field(0.0, ge=0, description="spectral convergence (arXiv 1910.11480)")
    waveform: float = Field(0.0, ge=0, description="L1 of samples over the reference's mean")
    loudness: float = Field(0.0, ge=0, description="what the difference takes off PESQ's raw score (train/loudness.py)")
    penalty: float = Field(1.0, ge=0, description="weight of the bottleneck's regulariser")
    reference_rms: float = Field(0.1, gt=0, description="loudness that examples are scaled to")
    floor_db: float = Field(-74.0, lt=0)

    @model_validator(mode="after")
    def _check(self) -> LossConfig:
        if len(self.windows) != len(self.mel_bands) or not self.windows:
            raise ValueError(
                f"{len(self.windows)} windows and {len(self.mel_bands)} mel_bands; give one count a window"
            )
        return self


class ReconstructionLoss(nn.Module):
    """Weighted sum of spectral, waveform and perceptual distances.

    Those that are relative to the target's mean are so to the mean over the batch. In training mode that is the batch
    of all processes that train together, which must then all call it.
    """

    def __init__(self, config: LossConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        for window, bands in zip(config.windows, config.mel_bands, strict=True):
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", mel_matrix(window, bands, sample_rate), persistent=False)
        self.sample_rate = sample_rate
        self.loudness = LoudnessDistance(LOUDNESS_RATE) if config.loudness else None

    def forward(self, estimate: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """``[batch, samples]`` each; returns the weighted total and the unweighted parts, detached."""
        gain = self.config.reference_rms / (target.square().mean(dim=1, keepdim=True).sqrt() + 1e-4)
        estimate, target = estimate * gain, target * gain
        parts: dict[str, Tensor] = {}
        for window in self.config.windows:
            with torch.no_grad():
                wanted = self._views(target, window)
            for name, value in self._distances(self._views(estimate, window), wanted).items():
                parts[name] = parts.get(name, value.new_zeros(())) + value / len(self.config.windows)
        if self.config.waveform:
            parts["waveform"] = (estimate - target).abs().mean() / (self._overall(target.abs().mean()) + 1e-6)
        if self.loudness is not None:
            at_16k = (resampled(wave, self.sample_rate, LOUDNESS_RATE) for wave in (estimate, target))
            parts["loudness"] = self.loudness(*at_16k)
        total = sum((getattr(self.config, name) * value for name, value in parts.items()), estimate.new_zeros(()))
        return total, {name: value.detach() for name, value in parts.items()}

    def _views(self, wave: Tensor, window: int) -> dict[str, Tensor]:
        """Mel amplitudes, and the spectrum with its magnitude compressed, of ``wave [batch, samples]``."""
        taper, mel = getattr(self, f"window_{window}"), getattr(self, f"mel_{window}")
        # Divided by the window's sum, a full-scale sine has amplitude 1/2 and the floor means the same at each window.
        spectrum = torch.stft(wave, window, window // 4, window=taper / taper.sum(), center=True, return_complex=True)
        parts = torch.view_as_real(spectrum.transpose(1, 2))
        floor = 10 ** (self.config.floor_db / 10)
        power = parts.square().sum(dim=-1) + floor
        views = {"mel": torch.sqrt(power @ mel)}
        if self.config.compressed or self.config.complex_compressed:
            log_power = power.log()
            views["compressed"] = torch.exp(log_power * (self.config.compression / 2))
            views["complex"] = parts * torch.exp(log_power * ((self.config.compression - 1) / 2))[..., None]
        if self.config.convergence:
            views["amplitude"] = power.sqrt()
        return views

    def _distances(self, estimate: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
        a, b = estimate["mel"], target["mel"]
        parts = {
            "log_mel": (a.log() - b.log()).abs().mean(),
            "linear_mel": (a - b).abs().mean() / self._overall(b.mean()),
        }
        if "compressed" in target:
            norm = self._overall(target["compressed"].square().mean())
            parts["compressed"] = (estimate["compressed"] - target["compressed"]).square().mean() / norm
            parts["complex_compressed"] = 2 * (estimate["complex"] - target["complex"]).square().mean() / norm
        if "amplitude" in target:
            error = (estimate["amplitude"] - target["amplitude"]).square().sum(dim=(1, 2)).add(1e-12).sqrt()
            parts["convergence"] = (error / target["amplitude"].square().sum(dim=(1, 2)).sqrt()).mean()
        return parts

    def _overall(self, mean: Tensor) -> Tensor:
        return overall(mean) if self.training else mean


def resampled(wave: Tensor, rate: int, lower: int) -> Tensor:
    """``[batch, samples]`` at ``rate`` Hz to ``lower`` Hz, by leaving out the upper part of the spectrum.

    The ends of a crop meet: where they differ, the first and last milliseconds ring, in both signals that are compared.
    """
    if rate == lower:
        return wave
    samples = round(wave.shape[1] * lower / rate)
    spectrum = torch.fft.rfft(wave)[:, : samples // 2 + 1]
    return torch.fft.irfft(spectrum, samples) * (samples / wave.shape[1])


def mel_matrix(window: int, bands: int, sample_rate: int) -> Tensor:
    """Triangular mel filters over power, ``[window / 2 + 1, bands]``, each summing to 1; empty ones take one bin."""
    top = 2595.0 * math.log10(1 + sample_rate / 1400.0)
    edges = 700.0 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595.0) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    matrix = torch.minimum(rising, falling).clamp(min=0)
    empty = matrix.sum(dim=0) == 0
    nearest = (bins - edges[1:-1]).abs().argmin(dim=0)
    matrix[nearest[empty], torch.nonzero(empty)[:, 0]] = 1.0
    return (matrix / matrix.sum(dim=0)).float()
