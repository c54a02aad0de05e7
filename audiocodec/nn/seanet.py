"""Encoder and decoder: a causal SEANet-style network that begins as a small transform codec.

Both halves hold two paths. The *linear path* is what signal processing knows: a lapped transform, a band envelope,
a spectrum flattened by it, and one matrix each (initialised by a Karhunen-Loeve transform of real audio, see
``nn/initialise.py``) between those and the latents. The *deep path*, residual units at the stem's frame rate and at
the token frame rate, starts near zero beside it and learns what the linear path cannot do. Noise and, for voiced
speech, a pulse train of the pitch that was sent (see ``nn/pitch.py``) fill what the latents do not describe.

The scheme of strides, residual convolutional units and causal state is SEANet's (arXiv 2009.02095) as used by
SoundStream (arXiv 2107.03312); gain, shape and noise filling are CELT's (RFC 6716, section 4.3).
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from audiocodec.bottleneck import target_deviation
from audiocodec.config import ModelConfig
from audiocodec.nn.bands import POWER_FLOOR, edges_of, pooling, spreading
from audiocodec.nn.layers import State, UnitStack
from audiocodec.nn.pitch import PitchTracker, PulseTrain, from_latent, to_latent
from audiocodec.nn.stem import Analysis, Synthesis
from audiocodec.rates import DETAIL_CENTRE, DETAIL_SCALE

# Natural logarithms of power. Bounds of what the decoder may ask for: -78 dB to +30 dB of full scale.
LOG_POWER_MIN, LOG_POWER_MAX = -18.0, 7.0


# The strength of the pitch is described with the envelope; this weight makes it the equal of a few bands.
STRENGTH_WEIGHT = 15.0
# What the decoder takes for the mean of log band powers where it scales them for the deep path.
USUAL_LOG_POWER = -9.0

EncoderState = tuple[State, ...]
DecoderState = tuple[State, ...]


class Encoder(nn.Module):
    """Waveform ``[batch, samples]`` to latents ``[batch, frames, dims]``, ``samples`` a multiple of the hop."""

    pooling: Tensor
    spreading: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bins, stack = config.stem_hop, config.stem_frames
        self.bins, self.stack, self.linear_path = bins, stack, config.linear_path
        self.analysis = Analysis(bins, learnt=config.stem == "learnt")
        self.pitch = PitchTracker(config.sample_rate, config.hop_samples) if config.pitch else None
        self.register_buffer("pooling", pooling(edges_of(config)), persistent=False)
        self.register_buffer("spreading", spreading(edges_of(config)), persistent=False)
        self.envelope_mean = nn.Parameter(torch.full((stack * config.bands + config.pitch,), USUAL_LOG_POWER))
        self.envelope_in = nn.Parameter(torch.zeros(stack * config.bands + config.pitch, config.dims))
        self.shape_in = nn.Parameter(torch.zeros(stack * bins, config.dims))
        self.stem_in = nn.Linear(config.bands + bins, config.stem_width)
        self.stem_units = UnitStack(config.stem_width, config.encoder_units[0], config.kernel, config.expansion)
        self.down = nn.Linear(stack * config.stem_width + 1 + 2 * config.pitch, config.frame_width)
        self.frame_units = UnitStack(config.frame_width, config.encoder_units[1], config.kernel, config.expansion)
        self.out = nn.Linear(config.frame_width, config.dims)
        with torch.no_grad():
            self.out.weight.mul_(0.1 if config.linear_path else 1.0)

    def initial_state(self, batch: int) -> EncoderState:
        """Silence before the first sample."""
        parts = self.analysis, self.stem_units, self.frame_units, self.pitch
        return tuple(part.initial_state(batch) if part is not None else () for part in parts)

    def forward(self, wave: Tensor, detail: Tensor) -> Tensor:
        """``detail [batch]``: log2 of the base level count that the latents are meant for."""
        return self.step(wave, detail, self.initial_state(wave.shape[0]))[0]

    def step(self, wave: Tensor, detail: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """One block; ``forward`` is a single block from silence."""
        # Levels and pitch are measured in float32 even where training computes the deep path in bfloat16.
        with torch.autocast(wave.device.type, enabled=False):
            envelope, shape, pitch, analysis_state, pitch_state = self.features(wave.float(), state[0], state[3])
        mean = self.envelope_mean[: self.stack * envelope.shape[-1]].unflatten(0, (self.stack, -1)).mean(dim=0)
        x = self.stem_in(torch.cat([(envelope - mean) * 0.5, shape], dim=-1))
        x, stem_state = self.stem_units.step(x, state[1])
        x = rearrange(x, "b (t s) c -> b t (s c)", s=self.stack)
        x = self.down(torch.cat([x, detail_feature(detail, x), pitch], dim=-1))
        x, frame_state = self.frame_units.step(x, state[2])
        latents = self.out(x).float()
        with torch.autocast(wave.device.type, enabled=False):
            if self.linear_path:
                latents = latents + self.stacked(envelope, pitch) @ self.envelope_in
                latents = latents + rearrange(shape, "b (t s) c -> b t (s c)", s=self.stack) @ self.shape_in
        if self.pitch is not None:
            latents = torch.cat([latents[..., :-1], to_latent(pitch[..., :1])], dim=-1)
        return latents, (analysis_state, stem_state, frame_state, pitch_state)

    def features(
        self, wave: Tensor, analysis_state: State, pitch_state: State
    ) -> tuple[Tensor, Tensor, Tensor, State, State]:
        """What both paths begin with, and the states after it.

        Log band powers ``[batch, stem frames, bands]``, flattened MDCT ``[batch, stem frames, bins]``, and pitch
        (position, strength) ``[batch, frames, 2]``.
        """
        spectrum, analysis_state = self.analysis.step(wave, analysis_state)
        power = spectrum[..., : self.bins].square() + spectrum[..., self.bins :].square()
        envelope = torch.log(0.5 * power @ self.pooling + POWER_FLOOR)
        shape = spectrum[..., : self.bins] * torch.exp(-0.5 * envelope @ self.spreading)
        pitch = wave.new_zeros(wave.shape[0], envelope.shape[1] // self.stack, 0)
        if self.pitch is not None:
            pair, pitch_state = self.pitch.step(wave, pitch_state)
            pitch = torch.stack(pair, dim=-1)
        return envelope, shape, pitch, analysis_state, pitch_state

    def stacked(self, envelope: Tensor, pitch: Tensor) -> Tensor:
        """Envelope of a token frame with the strength of its pitch, centred."""
        rows = rearrange(envelope, "b (t s) c -> b t (s c)", s=self.stack)
        return torch.cat([rows, STRENGTH_WEIGHT * pitch[..., 1:]], dim=-1) - self.envelope_mean


class Decoder(nn.Module):
    """Latents ``[batch, frames, dims]`` to a waveform ``[batch, frames * hop]`` that lags by one stem hop."""

    spreading: Tensor
    noise: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bins, stack, bands = config.stem_hop, config.stem_frames, config.bands
        self.bins, self.stack, self.linear_path = bins, stack, config.linear_path
        self.deviation = target_deviation(config.bottleneck)
        self.synthesis = Synthesis(bins, learnt=config.stem == "learnt")
        self.pulses = PulseTrain(config.sample_rate, bins, stack) if config.pitch else None
        self.register_buffer("spreading", spreading(edges_of(config)), persistent=False)
        generator = torch.Generator().manual_seed(20602)
        noise = torch.randn(config.noise_frames, stack * bins, generator=generator)
        if config.learnt_noise:
            self.noise = nn.Parameter(noise)
        else:
            self.register_buffer("noise", noise)
        self.envelope_mean = nn.Parameter(torch.full((stack * bands + config.pitch,), USUAL_LOG_POWER))
        self.envelope_out = nn.Parameter(torch.zeros(config.dims, stack * bands + config.pitch))
        self.shape_out = nn.Parameter(torch.zeros(config.dims, stack * bins))
        self.frame_in = nn.Linear(config.dims + 1, config.frame_width)
        self.frame_units = UnitStack(config.frame_width, config.decoder_units[0], config.kernel, config.expansion)
        self.up = nn.Linear(config.frame_width, stack * config.stem_width)
        self.stem_in = nn.Linear(bands + (2 + config.pitch) * bins, config.stem_width)
        self.stem_units = UnitStack(config.stem_width, config.decoder_units[1], config.kernel, config.expansion)
        self.out = nn.Linear(config.stem_width, (3 + config.pitch) * bins)
        # Gates of noise and of the pulse train: one bias and one slope over the pitch's strength a bin.
        self.gates = nn.Parameter(torch.zeros(2, 1 + config.pitch, bins))
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def initial_state(self, batch: int, apart: bool = False) -> DecoderState:
        """Silence before the first sample; the noise starts at its first frame.

        ``apart``: it starts half its period later in every other stream, so that sum and difference of two streams
        have the energy of both.
        """
        start = torch.zeros(batch, dtype=torch.int64, device=self.noise.device)
        if apart:
            start[1::2] = self.noise.shape[0] // 2
        parts = self.frame_units, self.stem_units, self.synthesis, self.pulses
        return ((start,), *(part.initial_state(batch) if part is not None else () for part in parts))

    def forward(self, latents: Tensor, detail: Tensor, noise_start: Tensor | None = None) -> Tensor:
        """``noise_start [batch]``: where each example enters the fixed noise (training draws it; default 0)."""
        state = self.initial_state(latents.shape[0])
        if noise_start is not None:
            state = ((noise_start,), *state[1:])
        return self.step(latents, detail, state)[0]

    def step(self, latents: Tensor, detail: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One block; ``forward`` is a single block from silence."""
        sources, position = self._next_noise(state[0][0], latents.shape[1])
        pulse_state = state[4]
        if self.pulses is not None:
            pulses, pulse_state = self.pulses.step(from_latent(latents[..., -1].float() * self.deviation), state[4])
            sources = torch.stack([sources, pulses], dim=0)
        else:
            sources = sources[None]
        x = self.frame_in(torch.cat([latents, detail_feature(detail, latents)], dim=-1))
        x, frame_state = self.frame_units.step(x, state[1])
        envelope, strength, shape = self.linear(latents)
        x = rearrange(self.up(x), "b t (s c) -> b (t s) c", s=self.stack)
        x = x + self.stem_in(torch.cat([(envelope - USUAL_LOG_POWER) * 0.5, shape, *sources], dim=-1))
        x, stem_state = self.stem_units.step(x, state[2])
        level, correction, *gates = self.out(x).split(self.bins, dim=-1)
        flat = shape + correction
        for source, gate, rest in zip(sources, gates, self._gates(strength), strict=True):
            flat = flat + source * torch.sigmoid(gate + rest)
        with torch.autocast(latents.device.type, enabled=False):
            log_power = (envelope.float() @ self.spreading + level.float()).clamp(LOG_POWER_MIN, LOG_POWER_MAX)
            wave, tail = self.synthesis.step(flat.float() * torch.exp(0.5 * log_power), state[3])
        return wave, ((position,), frame_state, stem_state, tail, pulse_state)

    def linear(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The linear path at the stem's frame rate: log band powers, strength of the pitch, flattened MDCT."""
        rows = latents @ self.envelope_out + self.envelope_mean
        shape = rearrange(latents @ self.shape_out, "b t (s c) -> b (t s) c", s=self.stack)
        if not self.linear_path:
            rows, shape = torch.zeros_like(rows) + USUAL_LOG_POWER, torch.zeros_like(shape)
        bands = self.stack * self.spreading.shape[0]
        envelope = rearrange(rows[..., :bands], "b t (s c) -> b (t s) c", s=self.stack)
        strength = rows[..., bands:] / STRENGTH_WEIGHT - 0.5
        return envelope, strength.repeat_interleave(self.stack, dim=1), shape

    def tail(self, state: DecoderState) -> Tensor:
        """``[batch, stem hop]``: what the stream still holds back, as it sounds when silence follows."""
        return state[3][0]

    def _gates(self, strength: Tensor) -> list[Tensor]:
        """Biases of the gates, noise first: ``[batch, stem frames, bins]``."""
        if self.pulses is None:
            return [self.gates[0, 0]]
        return [bias + slope * strength for bias, slope in self.gates.unbind(0)]

    def _next_noise(self, position: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        steps = position[:, None] + torch.arange(frames, device=position.device)
        noise = self.noise[steps % self.noise.shape[0]]
        after = (position + frames) % self.noise.shape[0]
        return rearrange(noise, "b t (s c) -> b (t s) c", s=self.stack), after


def detail_feature(detail: Tensor, like: Tensor) -> Tensor:
    """``[batch, time, 1]``: log2 of the base level count, centred on 9 levels."""
    return ((detail - DETAIL_CENTRE) * DETAIL_SCALE).to(like.dtype)[:, None, None].expand(-1, like.shape[1], 1)
