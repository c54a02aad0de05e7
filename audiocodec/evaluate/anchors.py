"""Systems that are no codec: what a scale is fixed by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from audiocodec.evaluate.recordings import read_audio
from audiocodec.evaluate.results import ORIGINAL
from audiocodec.evaluate.systems import Coded


@dataclass(frozen=True)
class Original:
    """The recording itself, as 16 bit PCM would cost: what the measures without a reference say of the original."""

    stereo: ClassVar[bool] = True

    @property
    def codec(self) -> str:
        """Name in tables."""
        return ORIGINAL

    @property
    def setting(self) -> str:
        """What its rate stands for."""
        return "16 bit PCM"

    def identity(self) -> dict[str, str]:
        """Nothing but the recording decides."""
        return {}

    def run(self, source: Path, folder: Path) -> Coded:  # noqa: ARG002
        """The samples of ``source``, untouched."""
        samples, sample_rate = read_audio(source)
        return Coded(samples, sample_rate, 2 * samples.size, 2 * samples.size, 0.0, 0.0, delay_s=0.0)
