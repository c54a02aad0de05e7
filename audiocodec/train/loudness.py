"""A differentiable perceptual distance: by how much the loudness of two signals differs, as PESQ measures it.

The steps are those of ITU-T P.862 (2001), section 10.2, made differentiable as by Martin-Donas et al., "A deep
learning loss function based on the perceptual evaluation of the speech quality", IEEE Signal Processing Letters 25
(2018): level, Bark spectrum, partial equalisation of frequency and gain, Zwicker's loudness, disturbance with a dead
zone for masking, and the same weighted where something was added (the asymmetric disturbance). The value is what the
two disturbances take off PESQ's raw score, ``0.1 D + 0.0309 DA``.

Where this is not the standard:

- no alignment in time: a codec's output is aligned;
- the input filter of the wideband extension (P.862.2) and the band of the level are applied to power spectra;
- one gain, the reference's, brings both signals to the standard's level, and quiet ones are not raised all the way;
- frequencies are equalised over one crop, the estimate towards the reference as by Martin-Donas et al.;
- no frame's disturbance is limited to 45, where the worst would give no gradient, and frames are averaged by the
  root mean square instead of two nested norms, of which the inner (p = 6) follows a few frames only;
- the asymmetry factor, 0 up to 3 in the standard, rises linearly from 2 to 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.errors import ConfigError

SAMPLE_RATE = 16000
WINDOW, HOP = 512, 256
# The 49 Bark bands of the standard's 16 kHz tables: bins of each, width in Bark, Hz in one Bark, threshold in dB.
BINS = """1 1 1 1 1 1 1 1 2 1 1 1 1 1 2 1 1 2 2 2 2 2 2 2 2 3 3 3 3 4 3 4 5 4 5 6 6 7 8 9 9 12 12 15 16 18 21 25 20"""
BARK = """.157 .318 .322 .327 .331 .336 .341 .345 .350 .355 .360 .365 .370 .375 .380 .385 .390 .395 .400 .406 .411 .416
    .422 .427 .433 .439 .444 .450 .456 .462 .468 .474 .480 .486 .492 .498 .504 .511 .517 .524 .530 .537 .544 .550 .557
    .564 .571 .578 .585"""
HZ_IN_BARK = """100 100 100 100 100 100 100 100 100 100 100 100 100 100 106.1 110 118 130 137.5 140 142.9 150 153.7
    161.9 177.3 191.6 204.5 217.6 226.8 233.5 242.9 256.5 271.9 295.3 322.2 355.1 393.1 429.8 465.2 513 577.1 651.7
    733.4 826.2 909.6 1001.3 1115.9 1374.6 1590.9"""
THRESHOLD_DB = """77.1 63.9 48.5 36.9 30.7 25.9 20.2 16.6 12.5 9.9 6.9 4.9 2.8 1 -.1 -1.4 -2.5 -3.4 -4.1 -4.8 -5.3 -5.7
    -5.9 -6 -6 -6 -6 -5.8 -5.4 -5.1 -4.7 -4.3 -4 -3.6 -3.3 -3.1 -3 -3 -2.9 -2.8 -2.8 -2.8 -2.9 -3.2 -3.7 -4.3 -4.4
    -3.8 -2.7"""
POWER_SCALE, LOUDNESS_SCALE = 6.910853e-6, 0.1866055  # Sp and Sl of the standard
LEVEL = 1e7  # mean square between 325 and 3250 Hz that signals are brought to
QUIETEST = 1e-8  # mean square, of full scale, that counts for that at least: -80 dB
# Wideband input filter: a high-pass of second order, (numerator, denominator).
INPUT_FILTER = ((2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794))


class LoudnessDistance(nn.Module):
    """``forward(estimate, target)``, ``[batch, samples]`` each at 16 kHz, gives a scalar of at least 0."""

    pooling: Tensor
    threshold: Tensor
    exponent: Tensor
    width: Tensor
    window: Tensor
    received: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        if sample_rate != SAMPLE_RATE:
            raise ConfigError(f"loss.loudness is defined at {SAMPLE_RATE} Hz, not {sample_rate} Hz; set it to 0")
        bins, width = _numbers(BINS).long(), _numbers(BARK)
        owner = torch.repeat_interleave(torch.arange(len(bins)), bins)
        matrix = torch.zeros(WINDOW // 2 + 1, len(bins))
        matrix[torch.arange(len(owner)), owner] = POWER_SCALE * (_numbers(HZ_IN_BARK) / bins)[owner]
        matrix[0] = 0.0  # a constant is not heard
        centre = width.cumsum(0) - width / 2
        buffers = {
            "pooling": matrix * _response()[:, None],
            "threshold": 10 ** (_numbers(THRESHOLD_DB) / 10),
            "exponent": 0.23 * (6 / (centre + 2)).clamp(1, 2) ** 0.15,  # Zwicker's, steeper below 4 Bark
            "width": width,
            "window": torch.hann_window(WINDOW),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Mean over the batch of what the difference takes off PESQ's raw score."""
        with torch.no_grad():
            power = self._power(target)
            gain = LEVEL / (_level(power) + QUIETEST)
            wanted = gain * power @ self.pooling
            loud, frames = self._audible(wanted), self._audible(wanted, 100.0) >= 1e7
        given = self._equalised(gain * self._power(estimate) @ self.pooling, wanted, frames)
        a, b = self._loudness(given), self._loudness(wanted)
        disturbance = F.relu((a - b).abs() - 0.25 * torch.minimum(a, b))
        ratio = ((given + 50) / (wanted + 50)) ** 1.2
        added = torch.where(ratio < 3, 3 * F.relu(ratio - 2), ratio.clamp(max=12))
        weight = ((loud + 1e5) / 1e7) ** -0.04
        symmetric = (self.width.sum() * (self.width * disturbance).square().sum(dim=2, keepdim=True) + 1e-8).sqrt()
        asymmetric = (self.width * disturbance * added).sum(dim=2, keepdim=True)
        return 0.1 * _mean(weight * symmetric) + 0.0309 * _mean(weight * asymmetric)

    def _power(self, wave: Tensor) -> Tensor:
        """Power spectra, ``[batch, frames, bins]``."""
        wave = F.pad(wave, (0, max(0, WINDOW - wave.shape[1])))
        spectrum = torch.stft(wave, WINDOW, HOP, window=self.window, center=False, return_complex=True)
        return torch.view_as_real(spectrum.transpose(1, 2)).square().sum(dim=-1)

    def _audible(self, bands: Tensor, factor: float = 1.0) -> Tensor:
        """Power of a frame in bands above ``factor`` times the threshold of hearing, ``[batch, frames, 1]``."""
        return (bands * (bands > factor * self.threshold)).sum(dim=2, keepdim=True)

    def _equalised(self, given: Tensor, wanted: Tensor, frames: Tensor) -> Tensor:
        """``given`` with the mean power of each band, then the power of each frame, brought near that of ``wanted``."""
        heard = (wanted > 100 * self.threshold) & frames
        means = [(bands * heard).mean(dim=1, keepdim=True) for bands in (wanted, given)]
        given = given * ((means[0] + 1000) / (means[1] + 1000)).clamp(0.01, 100)
        gain = (self._audible(wanted) + 5e3) / (self._audible(given) + 5e3)
        before = torch.cat([gain[:, :1], gain[:, :-1]], dim=1)
        return given * (0.8 * gain + 0.2 * before).clamp(3e-4, 5)

    def _loudness(self, bands: Tensor) -> Tensor:
        """Zwicker's law: power to sone a Bark; nothing below the threshold of hearing."""
        over = (bands / self.threshold).clamp(min=1)
        return LOUDNESS_SCALE * (2 * self.threshold) ** self.exponent * ((0.5 + 0.5 * over) ** self.exponent - 1)


def _mean(frames: Tensor) -> Tensor:
    """Root mean square over the frames of ``[batch, frames, 1]``, mean over the batch."""
    return (frames.square().mean(dim=1) + 1e-12).sqrt().mean()


def _level(power: Tensor) -> Tensor:
    """Mean square of the signal between 325 and 3250 Hz, by Parseval, ``[batch, 1, 1]``."""
    band = power[..., 11:105].sum(dim=(1, 2), keepdim=True) / power.shape[1]
    return 2 * band / (WINDOW * 0.375 * WINDOW)  # 0.375 = mean square of the Hann window


def _response() -> Tensor:
    """Power gain of the input filter at each bin."""
    z = torch.exp(torch.arange(WINDOW // 2 + 1) * (-2j * math.pi / WINDOW))
    upper, lower = (sum(c * z**i for i, c in enumerate(side)) for side in INPUT_FILTER)
    return (upper / lower).abs().square().float()  # type: ignore[union-attr]


def _numbers(table: str) -> Tensor:
    return torch.tensor([float(number) for number in table.split()])
