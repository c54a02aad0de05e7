"""Stereo as mid and side: M = (L + R) / 2 and S = (L - R) / 2, one network for both, bits where the energy is.

The rule. A stereo recording may cost what two channels cost at the rate setting asked for. Of all pairs of settings
whose expected rates together stay within that, the pair is taken that leaves the least noise,
``E_mid * 4 ** -b_mid + E_side * 4 ** -b_side``, with ``b`` the bits a coded dimension: each bit lowers noise by 6 dB.
That is reverse water-filling (Cover and Thomas, Elements of Information Theory, section 10.3.3) over the settings that
exist: where they lie densely, the side has 0.5 * log2(E_side / E_mid) bits a dimension less than the mid.

Left and right stay independent unless mid and side are cheaper: ``E_mid * E_side`` against ``E_left * E_right`` is
what a transform gains (Jayant and Noll, Digital Coding of Waveforms, section 12.1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import BLOCK_SAMPLES, AudioReader
from audiocodec.errors import UsageError
from audiocodec.output import STDIO

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Stereo = Literal["auto", "mid-side", "independent"]
STEREO: tuple[Stereo, ...] = ("auto", "mid-side", "independent")
Samples = NDArray[np.floating[Any]]

SILENT_SIDE = 1e-5  # -50 dB: as loud against the mid as the noise of good vinyl
# Mid and side must save a quarter of a bit a dimension and channel, log2(2) / 4: where left and right are equally loud,
# the side is then 8 dB below the mid or more. In theory any gain pays, but left and right are M + S and M - S only as
# far as the codec keeps the waveform, and at low rates ours make up phases. By benchmarks/stereo.py the mel distances
# of the downmix, and of left and right, change when mid and side are coded instead of left and right:
#   music-48k, six excerpts, 3 kbps a channel: side at -6 dB from .383, .273 to .279, .295, at -12 dB from .333, .279 to
#   .279, .281; at 6 kbps and -9 dB from .311, .248 to .245, .258;
#   speech-16k, 3 kbps, -12 dB: a voice with another around it from .416, .350 to .336, .353.
LEAST_GAIN = 2.0
# A start says little about the rest: a song may begin with a voice in the middle. The side is never taken to be lower.
UNSEEN_SIDE = 10**-1.2
PIPE_LOOK_S = 10.0
"""Seconds of a pipe that are held back to choose."""
# Where output is live too, as much as fills its first packets: that tells how to divide bits where mid and side are
# asked for, and not whether they suit. Two voices hard left and right after .3 s of nearly mono came back mixed
# (docs/log.md, 2026-11-26), whatever UNSEEN_SIDE was.
LIVE_LOOK_S = 0.2


@dataclass(frozen=True)
class MidSide:
    """Rate settings of a stereo stream's mid and side; a side of None is not coded, and comes back silent."""

    mid: RateSetting
    side: RateSetting | None

    @property
    def coded(self) -> tuple[RateSetting, ...]:
        """The settings of the channels that the network computes."""
        return (self.mid,) if self.side is None else (self.mid, self.side)

    @property
    def expected_bps(self) -> float:
        """Written bits a second of both."""
        return sum(setting.expected_bps for setting in self.coded)

    @property
    def side_levels(self) -> tuple[int, ...]:
        """What a header says of the side: all 1 where it is absent."""
        return (1,) * len(self.mid.levels) if self.side is None else self.side.levels

    def fold(self, wave: Samples) -> Samples:
        """Left and right ``[2, n]`` to the channels that are coded, ``[1 or 2, n]``."""
        mid, side = _fold(wave)
        return mid[None] if self.side is None else np.stack([mid, side])

    def unfold(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network decoded, ``[1 or 2, n]``, to left and right ``[2, n]``."""
        if self.side is None:
            return np.repeat(wave, 2, axis=0)
        mid, side = wave
        return np.stack([mid + side, mid - side])


@dataclass
class Balance:
    """Energies of a stereo recording's channels, gathered block by block; ``whole``: all of it was looked at."""

    left: float = 0.0
    right: float = 0.0
    mid: float = 0.0
    side: float = 0.0
    samples: int = 0
    loudest_side: float = 0.0
    """Mean square of the side in the block where it is loudest: a minute of stereo in an hour of mono counts."""
    whole: bool = True

    def add(self, block: Samples) -> None:
        """Take in ``[2, n]``."""
        if not block.shape[1]:
            return
        wave = block.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused when it is coded
            left, right, mid, side = (float(np.dot(x, x)) for x in (*wave, *_fold(wave)))
        self.left, self.right = self.left + left, self.right + right
        self.mid, self.side = self.mid + mid, self.side + side
        self.samples += block.shape[1]
        self.loudest_side = max(self.loudest_side, side / block.shape[1])

    @property
    def silent_side(self) -> bool:
        """Whether the side is below -50 dB of the mid, even where it is loudest."""
        return self.loudest_side * self.samples <= SILENT_SIDE * self.mid

    @property
    def gains(self) -> bool:
        """Whether mid and side take fewer bits than left and right."""
        # The mid and side of an orthogonal transform are louder by the square root of 2: energies of twice as much.
        return 0.0 < self.left * self.right >= 4.0 * self.mid * self.side * LEAST_GAIN


def choose_coupling(codec: Codec, rate: RateSetting, balance: Balance, stereo: Stereo) -> RateSetting | MidSide:
    """How a stereo recording is coded for the bits of two channels at ``rate``: a setting for both, or mid and side.

    A side that is silent all through costs nothing, and the mid then has what one channel has at ``rate``.

    Raises:
        UsageError: ``stereo`` is no such choice.
    """
    if stereo not in STEREO:
        raise UsageError(f"stereo is {stereo!r}, none of {', '.join(STEREO)}")
    if stereo == "independent" or (stereo == "auto" and not balance.gains):
        return rate
    if balance.whole and balance.silent_side:
        return MidSide(rate, None)  # also where equal channels would cost as little: the network then has half the work
    if stereo == "auto" and not balance.side:
        return rate  # what was seen is mono: independent channels that are equal are coded once, as long as they are
    mid = balance.mid or (0.0 if balance.side else 1.0)  # silence says nothing: as if a voice had begun
    return split(codec, rate, mid, balance.side if balance.whole else max(balance.side, UNSEEN_SIDE * mid))


def split(codec: Codec, rate: RateSetting, mid_energy: float, side_energy: float) -> MidSide:
    """The settings of mid and side with the least noise within twice the expected rate of ``rate``."""
    energy = {"mid": mid_energy, "side": side_energy}
    dims_per_token = codec.facts.dims / codec.facts.tokens

    def noise(pair: MidSide) -> float:
        bits = {"mid": pair.mid.base_levels, "side": pair.side.base_levels if pair.side else 1}
        return sum(energy[name] * base ** (-2.0 / dims_per_token) for name, base in bits.items())

    pairs = [MidSide(mid, side) for mid in codec.rates for side in codec.rates]
    fitting = [pair for pair in pairs if pair.expected_bps <= 2.0 * rate.expected_bps * (1.0 + 1e-9)]
    return min(fitting, key=lambda pair: (noise(pair), pair.expected_bps))


def balance_of(blocks: Iterable[Samples]) -> Balance:
    """The balance of a whole recording, given in blocks ``[2, n]``."""
    balance = Balance()
    for block in blocks:
        balance.add(block)
    return balance


def coupling_of(
    codec: Codec, rate: RateSetting, stereo: Stereo, reader: AudioReader, live: bool
) -> RateSetting | MidSide:
    """How to code what ``reader`` will give, which still gives all of it.

    A file is read twice. Of a pipe the beginning is held back, of a length that does not depend on how it arrives:
    the choice depends on samples alone. From pipe to pipe (``live``) nothing can wait for long enough to know, and
    ``auto`` is independent. Raises AudioError where the recording is damaged.
    """
    if reader.channels != 2 or stereo == "independent" or (live and stereo == "auto"):
        return rate
    if str(reader.source) != STDIO and os.path.isfile(reader.source):
        with AudioReader(reader.source, raw=reader.raw) as first:
            return choose_coupling(codec, rate, balance_of(first), stereo)
    seconds = LIVE_LOOK_S if live else PIPE_LOOK_S
    wanted = round(seconds * reader.sample_rate)
    start = np.concatenate([np.zeros((2, 0), np.float32), *reader.peek(seconds)], axis=1)[:, :wanted]
    balance = Balance(whole=start.shape[1] < wanted)
    for at in range(0, start.shape[1], BLOCK_SAMPLES):  # as of a file: the loudest block counts
        balance.add(start[:, at : at + BLOCK_SAMPLES])
    return choose_coupling(codec, rate, balance, stereo)


def _fold(wave: Samples) -> tuple[Samples, Samples]:
    left, right = wave
    return (left + right) / 2, (left - right) / 2
