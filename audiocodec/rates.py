"""Points of a model's rate knob."""

from __future__ import annotations

from dataclasses import dataclass

DETAIL_CENTRE, DETAIL_SCALE = 3.17, 0.5  # log2 of 9 base levels; how networks are told the rate


@dataclass(frozen=True)
class RateSetting:
    """One point of a model's rate knob."""

    base_levels: int
    """What ``--levels`` names: the base level count."""
    levels: tuple[int, ...]
    """Size of each token's alphabet; 1 means absent."""
    raw_bps: float
    """Bits a second before entropy coding."""
    expected_bps: float
    """Written bits a second that three quarters of speech files stay below; ``raw_bps`` where none were measured."""


_PACKET_BYTES = 9
"""Of a packet beside its payload (SPEC.md, section 4): one less in a stream's first 16384 frames."""
_ROUNDING_BITS = 4.0  # a payload ends at a whole byte
# Of what entropy coding saves, so much is what it knows from the frames before: the first frame of a packet lacks it.
# By the 14 recordings of speech and 9 of music, all shipped models and levels, packets of 1 to 50 frames: `packet_bps`
# is -3.4 to +4.3 % off what was written.
_FROM_THE_PAST = 0.75


def packet_bps(setting: RateSetting, frame_rate: float, packet_frames: int, channels: int = 1) -> float:
    """Expected bits a second and channel in packets of so many frames, with all that packets cost.

    ``setting.expected_bps`` is that of files, whose packets are so long that their own cost hardly counts.
    """
    start = _FROM_THE_PAST * (setting.raw_bps - setting.expected_bps) / frame_rate
    shared = (8 * _PACKET_BYTES + _ROUNDING_BITS) / channels
    return setting.expected_bps + frame_rate / packet_frames * (start + shared)
