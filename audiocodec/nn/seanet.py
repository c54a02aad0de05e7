"""Encoder and decoder: a causal SEANet-style network that begins as a small transform codec.

Both halves hold two paths. The *linear path* is what signal processing knows: a lapped transform, a band envelope,
a spectrum flattened by it, and one matrix each (initialised by a Karhunen-Loeve transform of real audio, see
``nn/initialise.py``) between those and the latents. The *deep path*, residual units at the stem's frame rate and at
the token frame rate, starts near zero beside it and learns what the linear path cannot do. Noise of the decoded
envelope fills what the latents do not describe.

The scheme of strides, residual convolutional units and causal state is SEANet's (arXiv 2009.02095) as used by
SoundStream (arXiv 2107.03312); gain, shape and noise filling are CELT's (RFC 6716, section 4.3).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from audiocodec.config import ModelConfig
from audiocodec.nn.bands import POWER_FLOOR, pooling, spreading
from audiocodec.nn.layers import State, UnitStack
from audiocodec.nn.stem import Analysis, Synthesis

# Natural logarithms of power. Bounds of what the decoder may ask for: -78 dB to +30 dB of full scale.
LOG_POWER_MIN, LOG_POWER_MAX = -18.0, 7.0


class Encoder(nn.Module):
    """Waveform ``[batch, samples]`` to latents ``[batch, frames, dims]``, ``samples`` a multiple of the hop."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bins, stack = config.stem_hop, config.stem_frames
        self.bins, self.stack, self.linear_path = bins, stack, config.linear_path
        self.analysis = Analysis(bins, learnt=config.stem == "learnt")
        self.register_buffer("pooling", pooling(config.bands, bins, config.sample_rate), persistent=False)
        self.register_buffer("spreading", spreading(config.bands, bins, config.sample_rate), persistent=False)
        self.envelope_mean = nn.Parameter(torch.full((stack * config.bands,), -9.0))
        self.envelope_in = nn.Parameter(torch.zeros(stack * config.bands, config.dims))
        self.shape_in = nn.Parameter(torch.zeros(stack * bins, config.dims))
        self.stem_in = nn.Linear(config.bands + bins, config.stem_width)
        self.stem_units = UnitStack(config.stem_width, config.encoder_units[0], config.kernel, config.expansion)
        self.down = nn.Linear(stack * config.stem_width + 1, config.frame_width)
        self.frame_units = UnitStack(config.frame_width, config.encoder_units[1], config.kernel, config.expansion)
        self.out = nn.Linear(config.frame_width, config.dims)
        with torch.no_grad():
            self.out.weight.mul_(0.1 if config.linear_path else 1.0)

    def initial_state(self, batch: int) -> tuple[State, State, State]:
        """Silence before the first sample."""
        return (
            self.analysis.initial_state(batch),
            self.stem_units.initial_state(batch),
            self.frame_units.initial_state(batch),
        )

    def forward(self, wave: Tensor, detail: Tensor) -> Tensor:
        """``detail [batch]``: log2 of the base level count that the latents are meant for."""
        return self.step(wave, detail, self.initial_state(wave.shape[0]))[0]

    def step(
        self, wave: Tensor, detail: Tensor, state: tuple[State, State, State]
    ) -> tuple[Tensor, tuple[State, State, State]]:
        """One block; ``forward`` is a single block from silence."""
        spectrum, analysis_state = self.analysis.step(wave, state[0])
        envelope, shape = self.features(spectrum)
        centred = envelope - self.envelope_mean.unflatten(0, (self.stack, -1)).mean(dim=0)
        x, stem_state = self.stem_units.step(self.stem_in(torch.cat([centred * 0.5, shape], dim=-1)), state[1])
        x = rearrange(x, "b (t s) c -> b t (s c)", s=self.stack)
        x = self.down(torch.cat([x, detail_feature(detail, x)], dim=-1))
        x, frame_state = self.frame_units.step(x, state[2])
        latents = self.out(x)
        if self.linear_path:
            latents = latents + self.linear(envelope, shape)
        return latents, (analysis_state, stem_state, frame_state)

    def features(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Log band powers ``[batch, stem frames, bands]`` and flattened MDCT ``[batch, stem frames, bins]``."""
        power = spectrum[..., : self.bins].square() + spectrum[..., self.bins :].square()
        envelope = torch.log(0.5 * power @ self.pooling + POWER_FLOOR)
        return envelope, spectrum[..., : self.bins] * torch.exp(-0.5 * envelope @ self.spreading)

    def linear(self, envelope: Tensor, shape: Tensor) -> Tensor:
        """The linear path: ``[batch, frames, dims]``."""
        stacked = rearrange(envelope, "b (t s) c -> b t (s c)", s=self.stack) - self.envelope_mean
        return stacked @ self.envelope_in + rearrange(shape, "b (t s) c -> b t (s c)", s=self.stack) @ self.shape_in


class Decoder(nn.Module):
    """Latents ``[batch, frames, dims]`` to a waveform ``[batch, frames * hop]`` that lags by one stem hop."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bins, stack, bands = config.stem_hop, config.stem_frames, config.bands
        self.bins, self.stack, self.linear_path = bins, stack, config.linear_path
        self.synthesis = Synthesis(bins, learnt=config.stem == "learnt")
        self.register_buffer("spreading", spreading(bands, bins, config.sample_rate), persistent=False)
        generator = torch.Generator().manual_seed(20602)
        self.register_buffer("noise", torch.randn(config.noise_frames, stack * bins, generator=generator))
        self.envelope_mean = nn.Parameter(torch.full((stack * bands,), -9.0))
        self.envelope_out = nn.Parameter(torch.zeros(config.dims, stack * bands))
        self.shape_out = nn.Parameter(torch.zeros(config.dims, stack * bins))
        self.frame_in = nn.Linear(config.dims + 1, config.frame_width)
        self.frame_units = UnitStack(config.frame_width, config.decoder_units[0], config.kernel, config.expansion)
        self.up = nn.Linear(config.frame_width, stack * config.stem_width)
        self.stem_in = nn.Linear(bands + 2 * bins, config.stem_width)
        self.stem_units = UnitStack(config.stem_width, config.decoder_units[1], config.kernel, config.expansion)
        self.out = nn.Linear(config.stem_width, 3 * bins)
        self.noise_gate = nn.Parameter(torch.zeros(bins))
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def initial_state(self, batch: int) -> tuple[State, State, State, State]:
        """Silence before the first sample; the noise starts at its first frame."""
        return (
            (torch.zeros(batch, dtype=torch.int64, device=self.noise.device),),
            self.frame_units.initial_state(batch),
            self.stem_units.initial_state(batch),
            self.synthesis.initial_state(batch),
        )

    def forward(self, latents: Tensor, detail: Tensor, noise_start: Tensor | None = None) -> Tensor:
        """``noise_start [batch]``: where each example enters the fixed noise (training draws it; default 0)."""
        state = self.initial_state(latents.shape[0])
        if noise_start is not None:
            state = ((noise_start,), *state[1:])
        return self.step(latents, detail, state)[0]

    def step(
        self, latents: Tensor, detail: Tensor, state: tuple[State, State, State, State]
    ) -> tuple[Tensor, tuple[State, State, State, State]]:
        """One block; ``forward`` is a single block from silence."""
        noise, position = self._next_noise(state[0][0], latents.shape[1])
        x = self.frame_in(torch.cat([latents, detail_feature(detail, latents)], dim=-1))
        x, frame_state = self.frame_units.step(x, state[1])
        envelope, shape = self.linear(latents)
        x = rearrange(self.up(x), "b t (s c) -> b (t s) c", s=self.stack)
        x = x + self.stem_in(torch.cat([(envelope + 9.0) * 0.5, shape, noise], dim=-1))
        x, stem_state = self.stem_units.step(x, state[2])
        wave, tail = self.synthesis.step(self._spectrum(self.out(x), envelope, shape, noise), state[3])
        return wave, ((position,), frame_state, stem_state, tail)

    def linear(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The linear path: log band powers and flattened MDCT at the stem's frame rate."""
        envelope = rearrange(latents @ self.envelope_out + self.envelope_mean, "b t (s c) -> b (t s) c", s=self.stack)
        shape = rearrange(latents @ self.shape_out, "b t (s c) -> b (t s) c", s=self.stack)
        return (envelope, shape) if self.linear_path else (torch.zeros_like(envelope) - 9.0, torch.zeros_like(shape))

    def tail(self, state: tuple[State, State, State, State]) -> Tensor:
        """``[batch, stem hop]``: what the stream still holds back, as it sounds when silence follows."""
        return state[3][0]

    def _spectrum(self, heads: Tensor, envelope: Tensor, shape: Tensor, noise: Tensor) -> Tensor:
        level, detail, gate = heads.split(self.bins, dim=-1)
        log_power = (envelope @ self.spreading + level).clamp(LOG_POWER_MIN, LOG_POWER_MAX)
        flat = shape + detail + noise * torch.sigmoid(self.noise_gate + gate)
        return flat * torch.exp(0.5 * log_power)

    def _next_noise(self, position: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        steps = position[:, None] + torch.arange(frames, device=position.device)
        noise = self.noise[steps % self.noise.shape[0]]
        after = (position + frames) % self.noise.shape[0]
        return rearrange(noise, "b t (s c) -> b (t s) c", s=self.stack), after


def detail_feature(detail: Tensor, like: Tensor) -> Tensor:
    """``[batch, time, 1]``: log2 of the base level count, centred on 9 levels."""
    return ((detail - 3.17) * 0.5).to(like.dtype)[:, None, None].expand(-1, like.shape[1], 1)
