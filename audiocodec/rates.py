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
