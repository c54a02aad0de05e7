"""The audio of one trial: everything at the reference's rate, as long as it and in step with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiocodec.errors import AudioError
from audiocodec.evaluate.blind.anchor import low_anchor
from audiocodec.evaluate.lag import loudest
from audiocodec.evaluate.metrics import Samples, resample
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.results import Results, SystemInfo

# BS.1534-3: about 10 s, and no more than 12.
MAX_SECONDS = 12.0
_FADE_SECONDS = 0.01

REFERENCE, ANCHOR = "hidden reference", "3.5 kHz anchor"


@dataclass(frozen=True)
class Trial:
    """``sounds`` [samples] by label, at ``rate`` Hz; where in ``file`` they begin; by how much all were turned down."""

    file: str
    rate: int
    start_s: float
    gain: float
    sounds: dict[str, Samples]

    @property
    def seconds(self) -> float:
        """The length of each."""
        return len(self.sounds[REFERENCE]) / self.rate


def make_trial(results: Results, file: str, systems: Sequence[SystemInfo]) -> Trial:
    """Read, bring into step and cut the audio of a recording: the reference, its anchor and each of ``systems``.

    A recording longer than 12 s is cut to its loudest stretch of that length, faded over 10 ms at both ends. Levels
    stay as they are, but where one sound would clip all are turned down alike.

    Raises:
        AudioError: a file cannot be read, or the original is empty.
    """
    reference, rate = _read(results, file, None)
    if not len(reference):
        raise AudioError(f"the original of {file} is empty; leave it out")
    start, stop = loudest(reference, round(MAX_SECONDS * rate))
    sounds = {REFERENCE: reference, ANCHOR: low_anchor(reference, rate)}
    for system in systems:
        samples, own_rate = _read(results, file, system)
        sounds[system.label] = in_step(
            resample(samples, own_rate, rate), _delay(results, file, system, rate), reference
        )
    whole = stop - start == len(reference)
    cut = {label: x[start:stop] if whole else _faded(x[start:stop], rate) for label, x in sounds.items()}
    gain = 1.0 / max(1.0, *(float(np.abs(x).max()) for x in cut.values()))
    return Trial(file, rate, start / rate, gain, {label: x * gain for label, x in cut.items()})


def in_step(samples: Samples, delay: int, reference: Samples) -> Samples:
    """``samples``, which come ``delay`` samples late, moved and cut or padded by silence to fit ``reference``."""
    out = np.zeros(len(reference))
    moved = samples[delay:] if delay >= 0 else np.concatenate([np.zeros(-delay), samples])
    length = min(len(out), len(moved))
    out[:length] = moved[:length]
    return out


def _read(results: Results, file: str, system: SystemInfo | None) -> tuple[Samples, int]:
    path = results.audio(file, system)
    assert path is not None, "choose_files looked"
    return read_mono(path)


def _delay(results: Results, file: str, system: SystemInfo, rate: int) -> int:
    """How late a system is, in samples at ``rate``, as the evaluation found."""
    delays = [row.get("delay_ms") for row in results.rows_of(system) if row["file"] == file]
    return round((delays[0] if delays and delays[0] else 0.0) * rate / 1000.0)


def _faded(samples: Samples, rate: int) -> Samples:
    length = min(round(_FADE_SECONDS * rate), len(samples) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    out = samples.copy()
    out[:length] *= ramp
    out[len(out) - length :] *= ramp[::-1]
    return out
