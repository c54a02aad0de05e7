"""Networks that tell recordings from decoded audio: several views of a waveform, a small network for each.

Views are complex short-time spectra at several resolutions, as in EnCodec (MS-STFTD, arXiv 2210.13438, section 3.4) and
DAC (arXiv 2306.06546, section 3.3). They are far narrower than there, 0.04 M parameters for three views of 16 channels,
and the first layer keeps a quarter of the frequencies, because the cost lies where the positions are. Magnitudes are
compressed: consonants lie 30 dB below the vowels, and so small a network would not see them otherwise.

Periods instead of spectra (MPD of HiFi-GAN, arXiv 2010.05646, section 2.3) with widths of 16 to 64 channels took 1.7
times as long on a CPU as three spectral views (docs/log.md), and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1  # of leaky rectifiers, as in HiFi-GAN
COMPRESSION = 0.3  # exponent on magnitudes, that of the compressed terms of losses.py
FLOOR = 10**-7.4  # -74 dB of full scale, the floor of losses.py


@dataclass(frozen=True)
class Verdict:
    """``logits``: one map ``[batch, ...]`` a view, higher for recordings; ``features``: maps of the layers below."""

    logits: list[Tensor]
    features: list[Tensor]


class Discriminators(nn.Module):
    """A view for each of ``windows`` (samples); ``forward(waves [batch, samples])`` asks all of them."""

    def __init__(self, windows: Sequence[int], channels: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(SpectralView(window, channels) for window in windows)

    def forward(self, waves: Tensor) -> Verdict:
        """``waves [batch, samples]`` of one loudness, float32, at least a window long."""
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for view in self.views:
            logit, maps = view(waves)
            logits.append(logit)
            features.extend(maps)
        return Verdict(logits, features)


class SpectralView(nn.Module):
    """Short-time spectra, Hann window of ``window`` samples, hop a quarter, seen by convolutions over both axes."""

    taper: Tensor

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        taper = torch.hann_window(window)
        # Over the window's sum, as in losses.py: the floor then means the same at each window.
        self.register_buffer("taper", taper / taper.sum(), persistent=False)
        layers = [_conv(3, channels, (3, 8), (1, 4), (1, 2))]
        # Time is seen at wider and wider spacing, frequency at half the positions each time (EnCodec, section 3.4).
        layers += [
            _conv(channels, channels, (3, 5), (1, 2), (dilation, 2), dilation=(dilation, 1)) for dilation in (1, 2, 4)
        ]
        self.layers = nn.ModuleList(layers)
        self.out = _conv(channels, 1, (3, 3), (1, 1), (1, 1))

    def forward(self, waves: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``waves [batch, samples]`` to logits ``[batch, 1, frames, positions]`` and the features of each layer."""
        x, features = self.compressed(waves), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.out(x), features

    def compressed(self, waves: Tensor) -> Tensor:
        """``[batch, samples]`` to compressed real and imaginary part and magnitude, ``[batch, 3, frames, bins]``."""
        with torch.autocast(waves.device.type, enabled=False):
            spectrum = torch.stft(
                waves.float(), self.window, self.window // 4, window=self.taper, center=True, return_complex=True
            )
            parts = torch.view_as_real(spectrum).permute(0, 3, 2, 1)[..., :-1]  # the last bin is half Nyquist
            power = parts.square().sum(dim=1, keepdim=True) + FLOOR
            magnitude = power.pow(COMPRESSION / 2)
            return torch.cat([parts * (magnitude * power.rsqrt()), magnitude], dim=1)


def _conv(
    before: int,
    after: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> nn.Module:
    return weight_norm(nn.Conv2d(before, after, kernel, stride, padding, dilation))
