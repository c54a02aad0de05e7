"""What one side of a call chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audiocodec.live.jitter import JitterSettings

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting


@dataclass(frozen=True)
class CallSettings:
    """How one side speaks, and how late it plays: ``delay_s`` None is adaptive between ``least`` and ``most``."""

    rate: RateSetting
    frames: int = 1
    redundancy: int = 0
    delay_s: float | None = None
    least_delay_s: float = 0.02
    most_delay_s: float = 0.4

    def listening(self, codec: Codec) -> JitterSettings:
        """For the jitter buffer of a call by ``codec``."""
        return JitterSettings(codec.sample_rate, codec.hop_samples, self.delay_s, self.least_delay_s, self.most_delay_s)
