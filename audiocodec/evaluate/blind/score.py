"""From ratings to a table: who is left out, and what each system got."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiocodec.errors import DataError
from audiocodec.evaluate.blind.build import KEY

# BS.1534-3: excluded who rates the hidden reference lower than 90 for more than 15 % of the items.
REFERENCE_FLOOR = 90.0
MOST_MISSED = 0.15
COLUMNS = ("listener", "trial", "stimulus", "score", "seconds", "played_count")

# 97.5 % points of Student's t for 1 to 30 degrees of freedom; beyond, Cornish and Fisher's expansion.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class SystemScore:
    """What a system got: ``n`` ratings, their mean and median, and half the width of the mean's 95 % interval."""

    system: str
    role: str
    n: int
    mean: float
    ci95: float | None
    """None for a single rating."""
    median: float


@dataclass(frozen=True)
class BlindScores:
    """The scores, best first; the listeners that count and those left out with the reason; trials not finished."""

    systems: list[SystemScore]
    listeners: list[str]
    excluded: dict[str, str]
    unfinished: int


@dataclass(frozen=True)
class _Rating:
    listener: str
    trial: str
    stimulus: str
    score: float
    file: Path


def score_blind_test(folder: Path, csv_files: Sequence[Path]) -> BlindScores:
    """Score ``csv_files`` that the page of the test in ``folder`` saved.

    Means are over all ratings of a system, as in BS.1534-3; the interval is Student's. A trial of which a
    listener did not rate every stimulus does not count. Listeners who rate the hidden reference below 90 in more than
    15 % of their trials are excluded.

    Raises:
        DataError: no key, a file that is not of this test or damaged, different ratings of one stimulus by one
            listener, or nothing left to score.
    """
    key = _read_key(folder)
    trial_of = {name: entry["trial"] for entry in key for name in entry["stimuli"]}
    what = {name: stimulus for entry in key for name, stimulus in entry["stimuli"].items()}
    ratings: dict[tuple[str, str], _Rating] = {}
    for path in csv_files:
        for rating in _read_ratings(path, trial_of):
            before = ratings.setdefault((rating.listener, rating.stimulus), rating)
            if before.score != rating.score:
                raise DataError(
                    f"{rating.listener} rated {rating.stimulus} differently in {before.file} and {path}; "
                    "pass only the later file"
                )
    trials, unfinished = _whole_trials(ratings.values(), key)
    excluded = _screen(trials, what)
    kept = {listener: own for listener, own in trials.items() if listener not in excluded}
    if not kept:
        reason = next(iter(excluded.values()), "no trial was rated to its end")
        raise DataError(f"no ratings are left to score ({reason})")
    scores: dict[str, list[float]] = defaultdict(list)
    for rating in (rating for own in kept.values() for trial in own.values() for rating in trial):
        scores[what[rating.stimulus]["label"]].append(rating.score)
    roles = {stimulus["label"]: stimulus["role"] for stimulus in what.values()}
    rows = [_summarise(label, roles[label], values) for label, values in scores.items()]
    return BlindScores(sorted(rows, key=lambda row: (-row.mean, row.system)), sorted(kept), excluded, unfinished)


def _read_key(folder: Path) -> list[dict[str, Any]]:
    try:
        whole = json.loads((folder / KEY).read_text(encoding="utf-8"))
        trials = [
            {"trial": str(entry["trial"]), "stimuli": {n: {"label": s["label"], "role": s["role"]} for n, s in pairs}}
            for entry in whole["trials"]
            for pairs in [entry["stimuli"].items()]
        ]
    except OSError as error:
        raise DataError(
            f"{folder} holds no {KEY} ({error.strerror}); pass the folder that the test was written to"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / KEY} is damaged; write the test again from the same results and seed") from None
    return trials


def _read_ratings(path: Path, trial_of: dict[str, str]) -> list[_Rating]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV of ratings ({error}); pass what the page saved") from None
    missing = [column for column in COLUMNS[:4] if rows and column not in rows[0]]
    if not rows or missing:
        raise DataError(f"{path} holds no ratings ({', '.join(missing) or 'no rows'}); pass what the page saved")
    return [_rating(row, path, line, trial_of) for line, row in enumerate(rows, 2)]


def _rating(row: dict[str, str], path: Path, line: int, trial_of: dict[str, str]) -> _Rating:
    name = row["stimulus"]
    trial = (row["trial"] or "").zfill(2)  # spreadsheets save 01 as 1
    if trial_of.get(name) != trial:
        raise DataError(f"{path}, line {line}: '{name}' in trial {trial} is not of this test; pass its own folder")
    try:
        score = float(row["score"] or "")
    except ValueError:
        score = math.nan
    if not 0.0 <= score <= 100.0:
        raise DataError(
            f"{path}, line {line}: the score '{row['score']}' is not between 0 and 100; repair or remove it"
        )
    return _Rating(row["listener"] or path.stem, trial, name, score, path)


def _whole_trials(ratings: Any, key: list[dict[str, Any]]) -> tuple[dict[str, dict[str, list[_Rating]]], int]:
    """By listener and trial, the trials of which every stimulus was rated; and how many others there are."""
    found: dict[str, dict[str, list[_Rating]]] = defaultdict(lambda: defaultdict(list))
    for rating in ratings:
        found[rating.listener][rating.trial].append(rating)
    size = {entry["trial"]: len(entry["stimuli"]) for entry in key}
    whole = {
        listener: {trial: rated for trial, rated in own.items() if len(rated) == size[trial]}
        for listener, own in found.items()
    }
    unfinished = sum(len(own) for own in found.values()) - sum(len(own) for own in whole.values())
    return {listener: own for listener, own in whole.items() if own}, unfinished


def _screen(trials: dict[str, dict[str, list[_Rating]]], what: dict[str, dict[str, str]]) -> dict[str, str]:
    """The listeners to exclude, and why."""
    excluded = {}
    for listener, own in trials.items():
        hidden = [r.score for rated in own.values() for r in rated if what[r.stimulus]["role"] == "reference"]
        missed = sum(score < REFERENCE_FLOOR for score in hidden)
        if missed > MOST_MISSED * len(hidden):
            excluded[listener] = f"{listener} rated the hidden reference below 90 in {missed} of {len(hidden)} trials"
    return excluded


def _summarise(label: str, role: str, scores: list[float]) -> SystemScore:
    values = np.array(scores)
    half = None
    if len(values) > 1:
        half = t_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return SystemScore(label, role, len(values), float(values.mean()), half, float(np.median(values)))


def t_quantile(degrees: int) -> float:
    """The 97.5 % point of Student's t, to three decimals."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z = 1.959964
    # Abramowitz and Stegun 26.7.5, two terms
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
