"""Variations of training crops: room, second speaker, equalisation, noise, narrow band, level.

Real recordings differ in all of these, and a few hours of speech show few of them. Everything is a function of the
batch and of one random generator, and works on [batch, samples] on any device; only the chosen rows are touched.
The codec's target is the varied signal itself: it learns to code noise and rooms, not to remove them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from audiocodec.config import Strict

Range = tuple[float, float]
# Peaks quieter than this are left alone: raising them would only bring up a recording's own noise floor.
QUIETEST_PEAK = 1e-3


class AugmentConfig(Strict):
    """Each name of a variation is its probability per crop; the ranges are drawn from uniformly."""

    mix: float = Field(0.1, ge=0.0, le=1.0, description="a second crop of the batch is added")
    mix_db: Range = Field((-15.0, 0.0), description="level of the second crop against the first")
    room: float = Field(0.1, ge=0.0, le=1.0, description="synthetic reverberation")
    room_rt60_s: Range = Field((0.1, 0.5), description="time in which it decays by 60 dB")
    room_direct_db: Range = Field((0.0, 15.0), description="energy of the direct sound against the reverberation")
    equalise: float = Field(0.25, ge=0.0, le=1.0, description="a tilt and a shelf over the whole spectrum")
    tilt_db: Range = Field((-2.0, 2.0), description="per octave, around 1 kHz")
    shelf_db: Range = Field((-6.0, 6.0), description="above a corner drawn between 300 Hz and 5 kHz")
    noise: float = Field(0.1, ge=0.0, le=1.0, description="coloured noise, or other audio where the caller gives some")
    noise_snr_db: Range = Field((8.0, 35.0), description="level of the signal against the noise")
    noise_slope_db: Range = Field((-6.0, 1.0), description="of synthetic noise, per octave: -6 is brown, 0 white")
    band: float = Field(0.05, ge=0.0, le=1.0, description="a narrower band, as of a telephone")
    band_hz: Range = Field((3400.0, 7000.0), description="upper edge of that band")
    level: float = Field(1.0, ge=0.0, le=1.0, description="the peak is set to a level drawn from level_db")
    level_db: Range = Field((-30.0, 0.0), description="peak against full scale")

    @model_validator(mode="after")
    def _ordered(self) -> AugmentConfig:
        for name, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name}: the first number must not be larger than the second")
        return self

    @classmethod
    def off(cls) -> AugmentConfig:
        """No variation at all."""
        return cls.model_validate(dict.fromkeys(("mix", "room", "equalise", "noise", "band", "level"), 0.0))


def augment(
    waves: Tensor,
    generator: np.random.Generator,
    config: AugmentConfig,
    sample_rate: int,
    background: Tensor | None = None,
) -> Tensor:
    """Vary ``waves`` ([batch, samples] float, not modified) -> [batch, samples] of at most full scale.

    ``background`` ([any, samples], other audio such as music) is used for every second row that gets noise.
    The result depends on the arguments and the state of ``generator`` alone; the latter advances by the same number
    of uniform draws each time, but by a number of normal draws that depends on the rows chosen.
    """
    batch = len(waves)
    chance = generator.random((6, batch))
    amount = generator.random((9, batch))
    out = waves.clone()
    rows = np.flatnonzero(chance[0] < config.mix)
    if len(rows) and batch > 1:
        others = (rows + 1 + (amount[8, rows] * (batch - 1)).astype(np.int64)) % batch
        gains = _gains(config.mix_db, amount[0, rows]) * _relative(waves[rows], waves[others])
        out[rows] += gains.to(out) * waves[others]
    _filter(out, chance[1:4], amount[1:6], generator, config, sample_rate)
    rows = np.flatnonzero(chance[4] < config.noise)
    if len(rows):
        noise = _noise(out, rows, amount[6, rows], generator, config, background)
        gains = _gains(config.noise_snr_db, amount[7, rows], sign=-1.0) * _relative(out[rows], noise)
        out[rows] += gains.to(out) * noise
    return _levelled(out, chance[5] < config.level, amount[8], config.level_db)


def _filter(
    out: Tensor,
    chance: NDArray[np.float64],
    amount: NDArray[np.float64],
    generator: np.random.Generator,
    config: AugmentConfig,
    sample_rate: int,
) -> None:
    """Room, equalisation and band limit in one pass through the spectrum, in place, for the rows that get any."""
    room, shaped, narrow = chance[0] < config.room, chance[1] < config.equalise, chance[2] < config.band
    rows = np.flatnonzero(room | shaped | narrow)
    if not len(rows):
        return
    samples = out.shape[1]
    tail = int(config.room_rt60_s[1] * sample_rate) if room.any() else 256  # zero phase filters ring both ways
    length = _fast_length(samples + tail)
    spectrum = torch.fft.rfft(out[rows], length)
    frequencies = np.fft.rfftfreq(length, 1.0 / sample_rate)
    gain = np.ones((len(rows), len(frequencies)), np.float32)
    octaves = np.log2(np.maximum(frequencies, 50.0) / 1000.0)
    for number, row in enumerate(rows):
        if shaped[row]:
            corner = 300.0 * (5000.0 / 300.0) ** amount[2, row]
            shelf = _within(config.shelf_db, amount[1, row]) / (1.0 + (corner / np.maximum(frequencies, 1.0)) ** 2)
            gain[number] *= 10.0 ** ((_within(config.tilt_db, amount[3, row]) * octaves + shelf) / 20.0)
        if narrow[row]:
            edge = _within(config.band_hz, amount[4, row])
            fall = np.clip((frequencies / edge - 1.0) / 0.1, 0.0, 1.0)  # over a tenth of the edge: little ringing
            gain[number] *= 0.5 + 0.5 * np.cos(np.pi * fall)
    spectrum *= torch.from_numpy(gain).to(out)
    wet = np.flatnonzero(room[rows])
    if len(wet):
        impulses = _impulses(rows[wet], amount[0, rows[wet]], tail, generator, config, sample_rate)
        spectrum[wet] *= torch.fft.rfft(impulses.to(out), length)
    out[rows] = torch.fft.irfft(spectrum, length)[:, :samples]


def _impulses(
    rows: NDArray[np.int64],
    amount: NDArray[np.float64],
    tail: int,
    generator: np.random.Generator,
    config: AugmentConfig,
    sample_rate: int,
) -> Tensor:
    """Room responses, [rows, tail]: a direct impulse and, 2 ms later, white noise that decays exponentially."""
    seconds = np.arange(tail) / sample_rate
    rt60 = np.array([_within(config.room_rt60_s, value) for value in amount])
    noise = generator.standard_normal((len(rows), tail), dtype=np.float32)
    noise *= np.exp(-math.log(1000.0) * seconds / rt60[:, None])
    noise[:, : int(0.002 * sample_rate)] = 0.0
    direct = np.array([_within(config.room_direct_db, value) for value in generator.random(len(rows))])
    noise *= (10.0 ** (-direct / 20.0) / np.sqrt((noise**2).sum(axis=1)))[:, None]
    noise[:, 0] = 1.0
    return torch.from_numpy(noise)


def _noise(
    out: Tensor,
    rows: NDArray[np.int64],
    amount: NDArray[np.float64],
    generator: np.random.Generator,
    config: AugmentConfig,
    background: Tensor | None,
) -> Tensor:
    """[rows, samples]: noise whose spectrum falls by a constant slope, or rows of ``background``."""
    samples = out.shape[1]
    length = _fast_length(samples)
    bins = length // 2 + 1
    white = generator.standard_normal((len(rows), bins, 2), dtype=np.float32)
    octaves = np.log2(np.maximum(np.arange(bins), bins / 100.0) / bins)  # flat below a hundredth of the band
    slopes = np.array([_within(config.noise_slope_db, value) for value in amount])
    white *= (10.0 ** (slopes[:, None] * octaves / 20.0)).astype(np.float32)[:, :, None]
    noise = torch.fft.irfft(torch.view_as_complex(torch.from_numpy(white)).to(out.device), length)[:, :samples]
    if background is not None and len(background):
        picked = generator.integers(len(background), size=len(rows))
        noise[::2] = background.to(noise)[picked[::2], :samples]
    return noise.to(out)


def _levelled(out: Tensor, chosen: NDArray[np.bool_], amount: NDArray[np.float64], level_db: Range) -> Tensor:
    """Chosen rows with their peak at a drawn level; the others scaled only where they exceed full scale."""
    peaks = out.abs().amax(dim=1, keepdim=True)
    targets = _gains(level_db, amount).to(out)
    wanted = torch.from_numpy(chosen)[:, None].to(out.device) & (peaks > QUIETEST_PEAK)
    return out * torch.where(wanted, targets / peaks.clamp_min(QUIETEST_PEAK), 1.0 / peaks.clamp_min(1.0))


def _within(bounds: Range, amount: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(amount)


def _gains(bounds: Range, amount: NDArray[np.float64], sign: float = 1.0) -> Tensor:
    """Amplitude factors, [rows, 1], for decibels drawn from ``bounds``."""
    decibels = bounds[0] + (bounds[1] - bounds[0]) * amount
    return torch.from_numpy(10.0 ** (sign * decibels / 20.0))[:, None]


def _relative(signal: Tensor, other: Tensor) -> Tensor:
    """Factor, [rows, 1] on the CPU, that brings ``other`` to the level of ``signal``."""
    power = [wave.square().mean(dim=1, keepdim=True).double() for wave in (signal, other)]
    return torch.where(power[1] > 0.0, power[0] / power[1].clamp_min(1e-30), 0.0).sqrt().cpu()


def _fast_length(samples: int) -> int:
    """Smallest even length of factors 2, 3 and 5 that holds ``samples``: a transform of it takes least time."""
    best = 1 << max(1, (samples - 1).bit_length())
    for odd in (3, 5, 9, 15, 25, 27, 45, 75, 81, 125):
        best = min(best, odd << max(1, (math.ceil(samples / odd) - 1).bit_length()))
    return best
