"""What of the results the report shows by name: the main measure, the middle rate, recordings and systems to hear."""

from __future__ import annotations

import math

from audiocodec.evaluate.metrics import Metric
from audiocodec.evaluate.report.statistics import codecs, known_metrics, settings, summary_of
from audiocodec.evaluate.results import ORIGINAL, Results, Row, SystemInfo

MOST_OURS = 4  # settings of one of our codecs to be heard: a page holds only so much audio
# What names the worst and the best, where it was measured: the first of these.
_MAIN = {
    "speech": ("estoi", "pesq_wb", "stoi"),
    "music": ("visqol_audio", "visqol", "visqol_music", "mel"),
}


def main_metric(results: Results) -> Metric | None:
    """The measure that names the worst and the best; None where nothing was measured."""
    known = {metric.name: metric for metric in known_metrics(results)}
    wanted = next((name for name in _MAIN.get(results.domain, ()) if name in known), None)
    return known[wanted] if wanted else next(iter(known.values()), None)


def middle_system(results: Results) -> SystemInfo | None:
    """The middle setting of the first of our codecs, or of the first codec where none is ours; None without systems."""
    names = codecs(results, "ours") or codecs(results, "peer") or codecs(results)
    found = settings(results, names[0]) if names else []
    return found[(len(found) - 1) // 2] if found else None


def ranked(results: Results, metric: Metric, system: SystemInfo) -> list[Row]:
    """The rows of a system that have a value, the worst first."""
    rows = []
    for row in results.rows_of(system):
        value = row.get(metric.name)
        if value is not None and math.isfinite(value):
            rows.append(row)
    return sorted(rows, key=lambda row: float(row[metric.name]), reverse=not metric.higher_is_better)


def chosen_files(results: Results, listen: int) -> list[tuple[str, str]]:
    """At most ``listen`` recordings that have audio, with why: in turn from the worst, the best and the middle."""
    metric, system = main_metric(results), middle_system(results)
    if system is None:
        return []
    order = [row["file"] for row in ranked(results, metric, system)] if metric else list(results.files)
    heard = [file for file in order if results.audio(file) is not None]
    if metric is None or len(heard) < 3:
        return [(file, "") for file in heard][:listen]
    last, middle = len(heard) - 1, (len(heard) - 1) // 2
    why: dict[int, str] = {}
    for step in range(len(heard)):
        for place, name in (
            (step, f"{_ordinal(step)}worst"),
            (last - step, f"{_ordinal(step)}best"),
            (middle + (step + 1) // 2 * (-1 if step % 2 else 1), "near the median" if step else "median"),
        ):
            if 0 <= place <= last:
                why.setdefault(place, f"{name} {metric.heading} at {system.label}")
    return [(heard[place], words) for place, words in list(why.items())[:listen]]


def _ordinal(step: int) -> str:
    return ("", "second ", "third ")[step] if step < 3 else f"{step + 1}th "


def chosen_systems(results: Results) -> list[SystemInfo]:
    """Of ours a few over the range of rates; of each peer the settings nearest in rate to them, and the next above."""
    chosen = [system for codec in codecs(results, "ours") for system in _spread(results, settings(results, codec))]
    rates = [rate for system in chosen if (rate := summary_of(results, system).get("kbps"))]
    for codec in codecs(results, "peer"):
        known = settings(results, codec)
        chosen += [known[index] for index in _near([summary_of(results, one).get("kbps") for one in known], rates)]
    return chosen + [system for system in results.systems if system.role == "anchor" and system.codec != ORIGINAL]


def _spread(results: Results, known: list[SystemInfo]) -> list[SystemInfo]:
    """At most MOST_OURS of ``known``, evenly spaced in rate and both ends among them; and the middle setting."""
    rates = [float(summary_of(results, one).get("kbps") or 0.0) for one in known]
    if len(known) <= MOST_OURS or not all(rates):
        return known[:MOST_OURS]
    low, high = math.log(rates[0]), math.log(rates[-1])
    wanted = [math.exp(low + (high - low) * step / (MOST_OURS - 1)) for step in range(MOST_OURS)]
    places = _near([*rates], wanted)
    middle = middle_system(results)
    return [one for place, one in enumerate(known) if place in places or one == middle]


def _near(known: list[float | None], wanted: list[float]) -> list[int]:
    """Places in ``known`` of the rates nearest to each of ``wanted``, and of one above them; all, if none is wanted."""
    rated = {place: math.log(rate) for place, rate in enumerate(known) if rate}
    if not rated or not wanted:
        return list(range(len(known)))
    near = {min((abs(log_rate - math.log(rate)), place) for place, log_rate in rated.items())[1] for rate in wanted}
    above = [place for place in sorted(rated) if rated[place] > math.log(max(wanted)) and place not in near]
    return sorted(near | set(above[:1]))
