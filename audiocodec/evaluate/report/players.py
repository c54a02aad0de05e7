"""What can be listened to in the report: recordings in all their versions, small enough to be embedded in a page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from audiocodec.errors import AudioError
from audiocodec.evaluate.metrics import Metric, Samples, resample
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.report import spectrograms as pictures
from audiocodec.evaluate.report.scales import Tick, linear_ticks
from audiocodec.evaluate.report.selection import chosen_files, chosen_systems, middle_system
from audiocodec.evaluate.report.statistics import known_metrics
from audiocodec.evaluate.results import Results, Row, SystemInfo

SECONDS = 8.0
BUDGET_BYTES = 23_000_000  # of audio and pictures as base64, so that a report stays below 25 MB


@dataclass(frozen=True)
class Voice:
    """One version of a recording: the original (``system`` None), or what a system made of it.

    ``audio`` is a FLAC file and ``picture`` a PNG file, both in base64; ``steps`` the path of its bits over time, empty
    where they are not known.
    """

    system: SystemInfo | None
    label: str
    kbps: float | None
    scores: list[tuple[str, str]]
    audio: str
    picture: str
    steps: str = ""


@dataclass(frozen=True)
class Listening:
    """One recording in all its versions, the original first, and the axes that they share."""

    file: str
    why: str
    seconds: float
    whole_seconds: float
    start: int
    """The version to be shown beside the original at first: of ours, the middle rate."""
    voices: list[Voice]
    waveform: str
    families: list[tuple[str, list[tuple[int, Voice]]]]
    """The voices with their numbers, by codec."""
    time_ticks: list[Tick]
    """Places in percent from the left."""
    hertz_ticks: list[Tick]
    """Places in percent from the top."""
    bits_ticks: list[Tick]
    """Bits per 20 ms; places in percent from the top; none where no system tells its packets."""
    packet_seconds: float
    """The longest packet: what happens within it is not seen."""


def listenings(results: Results, listen: int) -> tuple[list[Listening], int]:
    """The recordings to listen to, as many as the budget of bytes holds; and how many it did not hold."""
    found: list[Listening] = []
    chosen = chosen_files(results, listen)
    left = BUDGET_BYTES
    for file, why in chosen:
        one = _listening(results, file, why)
        left -= sum(len(voice.audio) + len(voice.picture) for voice in one.voices)
        if left < 0:
            break
        found.append(one)
    return found, len(chosen) - len(found)


def _listening(results: Results, file: str, why: str) -> Listening:
    original = results.audio(file)
    assert original is not None  # chosen_files took only those
    reference, rate = read_mono(original)
    whole = len(reference) / rate
    seconds = max(min(SECONDS, whole), 0.1)
    top_hz = min(rate / 2.0, pictures.MAX_HZ)
    levels = pictures.spectrum_db(_first(reference, rate, seconds), rate, seconds, top_hz)
    stage = _Stage(rate, seconds, top_hz, float(levels.max()), known_metrics(results))
    rows = {(row["codec"], row["setting"]): row for row in results.rows if row["file"] == file}
    heard = [(system, rows.get((system.codec, system.setting), {})) for system in chosen_systems(results)]
    told = [row["packets"] for _, row in heard if row.get("packets")]
    bits = [step for packets in told for step in pictures.bits_per_frame(packets)]
    bits_top = 1.1 * max((value for _, _, value in bits), default=0.0)
    bits_marks = linear_ticks(0.0, bits_top, 2) if bits_top else []
    voices = [stage.voice(original, None, {}, 0.0)]
    for system, row in heard:
        path = results.audio(file, system)
        if path is not None:
            voices.append(stage.voice(path, system, row, bits_top))
    middle = middle_system(results)
    return Listening(
        file,
        why,
        seconds,
        whole,
        next((place for place, voice in enumerate(voices) if voice.system == middle), min(1, len(voices) - 1)),
        voices,
        pictures.waveform_path(reference, rate, seconds),
        _families(voices),
        # Not at the very end, where the unit stands
        [Tick(100.0 * value / seconds, label) for value, label in linear_ticks(0.0, seconds) if value < 0.97 * seconds],
        [Tick(100.0 * (1.0 - value / top_hz), f"{value / 1000.0:g}") for value, _ in linear_ticks(0.0, top_hz, 4)],
        [Tick(100.0 * (1.0 - value / bits_top), label) for value, label in bits_marks],
        max((end - start for start, end, _ in bits), default=0.0),
    )


def _families(voices: list[Voice]) -> list[tuple[str, list[tuple[int, Voice]]]]:
    """Runs of voices of one codec; the original is one by itself, without a name."""

    def codec(numbered: tuple[int, Voice]) -> str:
        system = numbered[1].system
        return system.codec if system else ""

    return [(name, list(run)) for name, run in groupby(enumerate(voices), codec)]


@dataclass(frozen=True)
class _Stage:
    """What all versions of a recording share: its rate in Hz, length, and the scales of its pictures."""

    rate: int
    seconds: float
    top_hz: float
    top_db: float
    metrics: list[Metric]

    def voice(self, path: Path, system: SystemInfo | None, row: Row, bits_top: float) -> Voice:
        samples: Samples
        samples, rate = read_mono(path)
        if rate > self.rate:  # a decoder's own rate: nothing of the recording is above its own
            samples, rate = resample(samples, rate, self.rate), self.rate
        samples = _first(in_step(samples, round((row.get("delay_ms") or 0.0) * rate / 1000.0)), rate, self.seconds)
        levels = pictures.spectrum_db(samples, rate, self.seconds, self.top_hz)
        steps = pictures.bits_per_frame(row.get("packets") or ())
        return Voice(
            system,
            "original" if system is None else system.label,
            row.get("kbps"),
            [(metric.heading, score(metric, row.get(metric.name))) for metric in self.metrics if row],
            _base64(_flac(samples, rate, path)),
            _base64(pictures.spectrogram_png(levels, self.top_db)),
            pictures.step_path(steps, self.seconds, bits_top) if steps else "",
        )


def score(metric: Metric, value: float | None) -> str:
    """A value with the decimals of its measure; a dash where there is none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.{metric.decimals}f}".replace("-", "\N{MINUS SIGN}")


def in_step(samples: Samples, late: int) -> Samples:
    """[samples] without the first ``late`` of them; with so much silence before them where it is negative."""
    return samples[late:] if late >= 0 else np.pad(samples, (-late, 0))


def _first(samples: Samples, rate: int, seconds: float) -> Samples:
    return samples[: round(seconds * rate)]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _flac(samples: Samples, rate: int, path: Path) -> bytes:
    """[samples] as a 16 bit FLAC file, as loud as they are; what is above full scale is clipped."""
    import soundfile

    file = io.BytesIO()
    try:
        soundfile.write(file, np.clip(samples, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path} cannot be embedded in the report ({error})") from None
    return file.getvalue()
