"""Initial values of the linear path, measured on real audio.

The envelope of a token frame and its flattened spectrum are each given the directions of greatest variance
(Karhunen-Loeve transform), scaled so that the latents start with the variance that the bottleneck wants. What these
directions miss of the spectrum's energy sets the gate of the decoder's noise, so that the energy of each bin is right
before training begins.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from audiocodec.nn.model import CodecNet


@torch.no_grad()
def initialise_linear_path(net: CodecNet, waves: Tensor) -> dict[str, list[float]]:
    """Set the linear path from ``waves [batch, samples]`` (about ten minutes of audio are plenty).

    Returns the standard deviations of the directions chosen, ``{"envelope": [...], "shape": [...]}``.
    """
    config, encoder, decoder = net.config, net.encoder, net.decoder
    wave = waves[:, : waves.shape[1] // config.hop_samples * config.hop_samples]
    state = encoder.initial_state(wave.shape[0])
    envelope, shape, pitch, *_ = encoder.features(wave, state[0], state[3])
    encoder.envelope_mean.zero_()
    rows = encoder.stacked(envelope, pitch).flatten(0, 1)
    shape = rearrange(shape, "b (t s) c -> (b t) (s c)", s=config.stem_frames)
    mean = rows.mean(dim=0)
    encoder.envelope_mean.copy_(mean)
    decoder.envelope_mean.copy_(mean)
    n, m, deviation = config.envelope_dims, config.envelope_dims + config.shape_dims, net.bottleneck.deviation

    values, vectors = _klt(rows - mean, torch.ones(rows.shape[0]), n)
    spread = values.sqrt()
    encoder.envelope_in[:, :n] = vectors / spread * deviation
    decoder.envelope_out[:n] = (vectors * spread).T

    # Loud frames count for more, and so do low frequencies, where waveform is heard as waveform.
    level = rows[:, : config.bands * config.stem_frames].mean(dim=1)
    loudness = torch.exp(0.25 * (level - level.mean()))
    weight = hearing_weight(config.stem_hop, config.sample_rate).repeat(config.stem_frames)
    values, vectors = _klt(shape * weight, loudness, config.shape_dims)
    captured = torch.zeros_like(weight)
    if config.shape_dims:
        plain = (((shape * weight) @ vectors).square() * loudness[:, None]).sum(dim=0) / loudness.sum()
        encoder.shape_in[:, n:m] = weight[:, None] * vectors / plain.sqrt() * deviation
        decoder.shape_out[n:m] = (vectors * plain.sqrt()).T / weight
        captured = ((vectors.square() * plain).sum(dim=1) / weight.square()) / shape.square().mean(dim=0)
    missing = (1 - captured).clamp(0.05, 0.8).view(config.stem_frames, -1).mean(dim=0).sqrt()
    _set_gates(net, missing)
    return {"envelope": spread.tolist(), "shape": values.sqrt().tolist()}


def _set_gates(net: CodecNet, missing: Tensor) -> None:
    """Noise where the pitch is weak, pulses where it is strong; fewer pulses at high frequencies."""
    net.decoder.gates[0, 0] = torch.logit(missing)
    if net.config.pitch:
        frequency = (torch.arange(net.config.stem_hop) + 0.5) / net.config.stem_hop * net.config.sample_rate / 2
        net.decoder.gates[0, 1] = -8.0
        net.decoder.gates[1, 0] = torch.logit(missing) - frequency / 2000
        net.decoder.gates[1, 1] = 8.0


def hearing_weight(bins: int, sample_rate: int) -> Tensor:
    """``[bins]``: how much a waveform error in each bin matters; falls by half at about 1 kHz, and below 100 Hz."""
    frequency = (torch.arange(bins) + 0.5) / bins * sample_rate / 2
    return 1 / (1 + (frequency / 1000.0) ** 2) / (1 + (60.0 / frequency) ** 2)


def _klt(rows: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` greatest eigenvalues of the weighted covariance of ``rows``; their vectors ``[columns, count]``."""
    covariance = (rows * weights[:, None]).double().T @ rows.double() / weights.double().sum()
    values, vectors = torch.linalg.eigh(covariance)
    return values.flip(0)[:count].float().clamp(min=1e-8), vectors.flip(1)[:, :count].float()
