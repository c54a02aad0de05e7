"""One recording by one system: coded, kept and measured, or taken from the store as far as that was done before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiocodec.errors import AudioError, OutputError
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import METRICS, SPEECH_RATE, Domain, Samples, resample, word_error_rate
from audiocodec.evaluate.recordings import Channels, mixed_down
from audiocodec.evaluate.results import ORIGINAL, Row, plain
from audiocodec.evaluate.store import Store, facts, unit_key
from audiocodec.evaluate.systems import Coded, System

Audio = tuple[Samples, int]  # [samples] or [channels, samples], and their rate in Hz

# Signals are compared over what they have in common: a decoder that loses more than this, or half, is not compared.
MOST_LOST_S = 0.25


@dataclass(frozen=True)
class Task:
    """All there is to do for one recording; travels to worker processes."""

    path: Path
    file: str
    """Its path below the folder of recordings."""
    transcript: str | None = None


@dataclass(frozen=True)
class Job:
    """What is the same for every recording."""

    store: Store
    systems: list[System]
    metrics: list[str]
    domain: Domain
    channels: Channels = "downmix"


def unit_row(
    job: Job, task: Task, checksum: str, source: Path, original: Audio, system: System, scratch: Path
) -> tuple[Row, dict[str, str]]:
    """The row of a recording and system, and for each measure that failed the reason; its score is None then.

    ``source`` is the file, mono unless the job is in stereo, that holds ``original``; ``scratch`` a folder for
    intermediate files.

    Raises:
        AudioError: the system cannot code the recording.
        OutputError: what was found cannot be kept.
    """
    label = f"{system.codec} {system.setting}".strip()
    key = unit_key(checksum, system, task.transcript, job.channels)
    unit = job.store.read(key, task.file, label)
    heard = job.store.read_audio(task.file, label) if unit else None
    if unit is None or heard is None:
        coded = _code(system, source, original, scratch)
        unit = {"facts": facts(coded, _seconds(original), original[1]), "scores": {}}
        job.store.forget(task.file, label)  # no unit of before may lie beside the audio of now
        job.store.write_audio(task.file, label, coded.samples, coded.sample_rate)
        job.store.write_audio(task.file, ORIGINAL, *original)
        heard = job.store.read_audio(task.file, label)
        if heard is None:
            raise AudioError("the decoded audio cannot be read back from the folder of results")
    failed: dict[str, str] = {}
    missing = [name for name in job.metrics if _is_due(unit, name)]
    if missing or "delay_ms" not in unit:
        failed = _measure(job, task, unit, missing, original, heard)
        job.store.write(key, task.file, label, unit)
    row = {"file": task.file, "codec": system.codec, "setting": system.setting}
    row |= {name: value for name, value in unit["facts"].items() if name not in ("delay_s", "max_delay_s")}
    row |= {"delay_ms": unit["delay_ms"]} | {name: unit["scores"].get(name) for name in job.metrics}
    # As it will be read back: a run that goes on gives the very rows of one that was never stopped
    return {key: plain(value) for key, value in row.items()}, failed


def _code(system: System, source: Path, original: Audio, scratch: Path) -> Coded:
    """What the system makes of a recording. Raises AudioError for whatever goes wrong in it."""
    try:
        coded = system.run(source, scratch)
    except (AudioError, OutputError):
        raise
    except Exception as error:  # packages of peers raise whatever they like, and hours of others' work are at stake
        raise AudioError(f"it failed ({type(error).__name__}: {error})") from error
    if not np.isfinite(coded.samples).all():
        raise AudioError("it decoded NaN or infinity")
    whole_s, heard_s = _seconds(original), _seconds((coded.samples, coded.sample_rate))
    if heard_s < max(whole_s - MOST_LOST_S, whole_s / 2.0):
        raise AudioError(f"it decoded {heard_s:.2f} s of {whole_s:.2f} s")
    return coded


def _seconds(audio: Audio) -> float:
    return audio[0].shape[-1] / audio[1]


def _is_due(unit: Row, name: str) -> bool:
    """Whether a measure is to be computed: not done, or by another version. Units of old do not tell the version."""
    version = METRICS[name].version()
    return name not in unit["scores"] or unit.get("by", {}).get(name, version) != version


def _measure(job: Job, task: Task, unit: Row, names: list[str], original: Audio, heard: Audio) -> dict[str, str]:
    """Put the scores of measures, and the delay, into a unit; the reasons of those that failed."""
    about, failed = unit["facts"], {}
    pair = Pair(*original, *heard, delay_s=about["delay_s"], max_delay_s=about["max_delay_s"])
    unit["delay_ms"] = 1000.0 * pair.lag.seconds
    for name in names:
        unit["scores"].pop(name, None)
        try:
            unit["scores"][name] = _score(pair, name, job.domain, heard, task.transcript)
        except Exception as error:  # as for systems: one odd recording must not end the run
            failed[name] = f"{type(error).__name__}: {error}"
            continue
        unit.setdefault("by", {})[name] = METRICS[name].version()
    return failed


def _score(pair: Pair, name: str, domain: Domain, heard: Audio, transcript: str | None) -> float:
    if not METRICS[name].needs_transcript:
        return pair.score(name, domain)
    # The recogniser wants 16 kHz; a narrow-band codec's 8 kHz has to be brought there first
    return (
        word_error_rate(resample(mixed_down(heard[0]), heard[1], SPEECH_RATE), SPEECH_RATE, transcript)
        if transcript
        else math.nan
    )
