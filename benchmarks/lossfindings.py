"""What is worked out of the measurements of loss: means, falls from no loss, and whether promises are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lossmeasure import METRICS, NONE

MOST_FALL = {"pesq_wb": 0.35, "stoi": 0.03}  # at the model's default rate, by this much independent loss
FALL_AT = 0.05
FILE_APART = {"pesq_wb": 0.05, "stoi": 0.005}  # a call without loss from a file of the same setting
COMPARED = ("pesq_wb", "stoi")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Promise:
    """``figure`` shall be at most ``limit``; ``group`` is told with those that are alike."""

    group: str
    what: str
    figure: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.figure <= self.limit

    def told(self) -> dict[str, Any]:
        """For the results."""
        return {**asdict(self), "kept": self.kept}


@dataclass(frozen=True)
class Pair:
    """Ours and Opus, which takes at least as many bits."""

    total_kbps: float
    ours: str
    opus: str


def gathered(outcomes: Iterable[dict[str, Any]], ways: Sequence[str], files: Sequence[str]) -> Rows:
    """A row for each way and network, in the order of ``ways``; scores [files, seeds] of each measure."""
    found = {(one["way"], one["file"]): {(row["kind"], row["loss"]): row for row in one["rows"]} for one in outcomes}
    rows = []
    for way in ways:
        for kind, loss in dict.fromkeys(at for name in files for at in found[way, name]):
            # Where a recording was coded no other way for this loss, what was heard without any stands for it
            parts = [found[way, name].get((kind, loss), found[way, name][NONE, 0.0]) for name in files]
            rows.append(
                {
                    "way": way,
                    "kind": kind,
                    "loss": loss,
                    "kbps": round(_mean([part["kbps"] for part in parts]), 3),
                    "lost": round(_mean([part["lost"] for part in parts]), 4),
                    "scores": {name: [part["scores"][name] for part in parts] for name in METRICS},
                }
            )
    return rows


def row_of(rows: Rows, way: str, kind: str, loss: float) -> dict[str, Any]:
    """The one row; of no loss, that of packets coded in expectation of ``loss``, where these are others."""
    found = {(row["kind"], row["loss"]): row for row in rows if row["way"] == way}
    return found[kind, loss] if loss and kind != NONE else found.get((NONE, loss), found[NONE, 0.0])


def mean_of(row: dict[str, Any], metric: str) -> float:
    """Over recordings, each the mean over its seeds."""
    return _mean([_mean(scores) for scores in row["scores"][metric]])


def fall(rows: Rows, way: str, kind: str, loss: float, metric: str) -> float:
    """By how much a measure is lower than that of the same packets with none lost."""
    return mean_of(row_of(rows, way, NONE, loss), metric) - mean_of(row_of(rows, way, kind, loss), metric)


def of_default(rows: Rows, ways: Sequence[str], file: str) -> list[Promise]:
    """What is promised of the model's default rate: ``ways`` with more and more copies, and ``file`` without a call."""
    told = []
    for metric, limit in FILE_APART.items():
        call, stored = (mean_of(row_of(rows, way, NONE, 0.0), metric) for way in (ways[0], file))
        group = f"{metric} of a call without loss apart from that of {file}"
        told.append(Promise(group, ways[0], abs(call - stored), limit))
    if any(row["loss"] == FALL_AT for row in rows):
        for way in ways:
            for metric, limit in MOST_FALL.items():
                lower = fall(rows, way, "random", FALL_AT, metric)
                told.append(Promise(f"fall of {metric} by {100 * FALL_AT:g} % loss, {way}", way, lower, limit))
    return told


def of_pairs(rows: Rows, pairs: Sequence[Pair]) -> list[Promise]:
    """That ours takes no more bits than Opus, and falls less at every loss."""
    told = []
    for pair in pairs:
        both = f"{pair.ours}, beside {pair.opus}"
        ours, opus = ([row["kbps"] for row in rows if row["way"] == way] for way in (pair.ours, pair.opus))
        told.append(Promise(f"kbps of {both}", pair.ours, max(ours), min(opus)))
        for metric in COMPARED:
            for row in rows:
                if row["way"] == pair.ours and row["kind"] != NONE:
                    at = row["kind"], row["loss"]
                    falls = [fall(rows, way, *at, metric) for way in (pair.ours, pair.opus)]
                    told.append(Promise(f"fall of {metric}, {both}", f"{at[0]} {100 * at[1]:g} %", *falls))
    return told


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
