"""Pitch as a latent of its own: estimated by signal processing, sent as one scalar token, played as a harmonic source.

Regression losses teach a network envelopes quickly and the phases of harmonics hardly at all. So the encoder
estimates the fundamental by normalised cross-correlation (Talkin, "A robust algorithm for pitch tracking", 1995),
the bottleneck quantises its logarithm like any other dimension, and the decoder is handed the spectrum of a
band-limited pulse train of that fundamental, which its deep path mixes with noise and with coded waveform bin by bin.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audiocodec.config import PITCH_SEARCH_HZ
from audiocodec.nn.layers import State
from audiocodec.nn.stem import lapped_basis

LOWEST_HZ, HIGHEST_HZ = 62.5, 400.0
_LOG_LOW, _LOG_HIGH = math.log(LOWEST_HZ), math.log(HIGHEST_HZ)
_CUTOFF_HZ, TAPS = 900.0, 64  # of the low-pass before the search
_WINDOW_SECONDS = 0.025
# Below this correlation a frame counts as unvoiced and keeps the last pitch, which costs the entropy coder nothing.
VOICED = 0.45
# The shortest lag that reaches this share of the best is taken: multiples of the period correlate as well.
OCTAVE_SHARE = 0.9
# Positions are rounded to multiples of 1 / GRID (.1 cents) before cycles are counted: one that differs in its last bit
# from one machine or library to another would otherwise be another phase after some seconds.
GRID = 32768.0
LEAST_POSITION = 0.005  # the ends of the scale, where a bottleneck's squashing has no slope left
LEAST_ENERGY, LEAST_BEND, LEAST_TURN = 1e-9, -1e-6, 1e-4  # what divisors are kept away from zero by


class PitchTracker(nn.Module):
    """Waveform to ``(position, strength)``, ``[batch, frames]`` each, one value a token frame.

    ``position`` in (0, 1) is the logarithm of the fundamental between 62.5 and 400 Hz; ``strength`` in [0, 1] is the
    correlation one period apart. No gradient passes.
    """

    taps: Tensor

    def __init__(self, sample_rate: int, hop_samples: int) -> None:
        super().__init__()
        self.stride = max(1, round(sample_rate / PITCH_SEARCH_HZ))
        self.rate = sample_rate / self.stride
        self.hop = hop_samples // self.stride
        self.window = round(_WINDOW_SECONDS * self.rate)
        self.shortest, self.longest = int(self.rate / HIGHEST_HZ), math.ceil(self.rate / LOWEST_HZ)
        n = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
        taps = (
            torch.sinc(n * 2 * _CUTOFF_HZ / sample_rate) * torch.hann_window(TAPS + 2, False, dtype=torch.float64)[1:-1]
        )
        self.register_buffer("taps", (taps / taps.sum()).float(), persistent=False)

    @property
    def history(self) -> int:
        """Decimated samples that the search of one frame looks at."""
        return self.window + self.longest + 1

    def initial_state(self, batch: int) -> State:
        """Samples for the low-pass, decimated samples for the search, the last position and strength."""
        new = self.taps.new_zeros
        return (
            new(batch, TAPS - self.stride),
            new(batch, max(0, self.history - self.hop)),
            new(batch) + 0.4,
            new(batch),
        )

    @torch.no_grad()
    def step(self, wave: Tensor, state: State) -> tuple[tuple[Tensor, Tensor], State]:
        """One block of whole token frames."""
        whole = torch.cat([state[0], wave], dim=1)
        slow = whole.unfold(1, TAPS, self.stride) @ self.taps
        slow = torch.cat([state[1], slow], dim=1)
        lag, strength = self._search(slow.unfold(1, self.history, self.hop))
        log_pitch = torch.log(self.rate / lag)
        position = ((log_pitch - _LOG_LOW) / (_LOG_HIGH - _LOG_LOW)).clamp(LEAST_POSITION, 1 - LEAST_POSITION)
        position = _hold(position, strength >= VOICED, state[2])
        after = whole[:, whole.shape[1] - state[0].shape[1] :], slow[:, slow.shape[1] - state[1].shape[1] :]
        return (position, strength), (*after, position[:, -1], strength[:, -1])

    def _search(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """``[batch, frames, history]`` to the best lag in decimated samples, refined, and its correlation."""
        present = frames[..., -self.window :]
        lags = torch.arange(self.shortest - 1, self.longest + 2, device=frames.device)
        shifted = frames.unfold(-1, self.window, 1).flip(-2)[..., self.shortest - 1 : self.longest + 2, :]
        product = (shifted * present[..., None, :]).sum(dim=-1)
        energy = present.square().sum(dim=-1, keepdim=True) * shifted.square().sum(dim=-1)
        score = product * torch.rsqrt(energy + LEAST_ENERGY)
        middle = score[..., 1:-1]
        peak = (middle >= score[..., :-2]) & (middle >= score[..., 2:])
        best = torch.where(peak, middle, -1.0).amax(dim=-1, keepdim=True)
        first = (peak & (middle >= OCTAVE_SHARE * best) & (middle > 0)).float().argmax(dim=-1, keepdim=True)
        left, centre, right = (score.gather(-1, first + i)[..., 0] for i in range(3))
        bend = (left - 2 * centre + right).clamp(max=LEAST_BEND)
        offset = (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        return lags[1:-1][first[..., 0]] + offset, centre.clamp(0, 1)


class PulseTrain(nn.Module):
    """Positions ``[batch, frames]`` to the lapped spectrum of a pulse train, ``[batch, stem frames, stem hop]``."""

    basis: Tensor
    glide: Tensor

    def __init__(self, sample_rate: int, stem_hop: int, stem_frames: int) -> None:
        super().__init__()
        self.sample_rate, self.stem_hop, self.hop = sample_rate, stem_hop, stem_hop * stem_frames
        self.register_buffer("basis", lapped_basis(stem_hop), persistent=False)
        # The pitch glides from its last value over half a frame, then holds.
        self.register_buffer("glide", (torch.arange(1, self.hop + 1) / (self.hop / 2)).clamp(max=1), persistent=False)

    def initial_state(self, batch: int) -> State:
        """The last ``stem_hop`` samples, the phase in cycles (float64) and the last position."""
        return (
            self.basis.new_zeros(batch, self.stem_hop),
            torch.zeros(batch, dtype=torch.float64, device=self.basis.device),
            self.basis.new_full((batch,), 0.4),
        )

    @torch.no_grad()
    def step(self, position: Tensor, state: State) -> tuple[Tensor, State]:
        """One block of token frames."""
        position = torch.round(position * GRID) / GRID
        before = torch.cat([state[2][:, None], position[:, :-1]], dim=1)
        track = before[..., None] + (position - before)[..., None] * self.glide
        # From here in float64: an hour of 32-bit phase would drift.
        hertz = torch.exp(_LOG_LOW + track.double() * (_LOG_HIGH - _LOG_LOW)).flatten(1)
        phase = state[1][:, None] + torch.cumsum(hertz / self.sample_rate, dim=1)
        harmonics = torch.floor(self.sample_rate / 2 / hertz).float()
        turn = math.pi * (phase - phase.round()).float()
        # Sum of K cosines in closed form (Dirichlet kernel), at unit power.
        sine = torch.sin(turn)
        sine = torch.where(sine.abs() < LEAST_TURN, torch.full_like(sine, LEAST_TURN).copysign(turn), sine)
        turn = torch.where(turn.abs() < LEAST_TURN, torch.full_like(turn, LEAST_TURN).copysign(turn), turn)
        wave = 0.5 * (torch.sin((2 * harmonics + 1) * turn) / sine - 1) * torch.rsqrt(harmonics / 2)
        whole = torch.cat([state[0], wave], dim=1)
        hops = whole.unflatten(1, (-1, self.stem_hop))
        spectrum = torch.cat([hops[:, :-1], hops[:, 1:]], dim=-1) @ self.basis
        after = phase[:, -1] - phase[:, -1].floor()
        return spectrum, (whole[:, -self.stem_hop :], after, position[:, -1])


def _hold(value: Tensor, valid: Tensor, before: Tensor) -> Tensor:
    """Replace invalid entries along the last axis by the last valid one, or by ``before`` where there is none yet."""
    index = torch.where(valid, torch.arange(1, value.shape[1] + 1, device=value.device), 0).cummax(dim=1).values
    return torch.cat([before[:, None], value], dim=1).gather(1, index)


def to_latent(position: Tensor) -> Tensor:
    """Position to the pre-activation that a tanh bottleneck squashes back to it."""
    return torch.atanh(2 * position - 1)


def from_latent(latent: Tensor) -> Tensor:
    """Inverse of ``to_latent``."""
    return 0.5 * (torch.tanh(latent) + 1)
