"""Which systems and recordings of an evaluation are worth a listener's time."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from audiocodec.errors import DataError, UsageError
from audiocodec.evaluate.results import ORIGINAL, Results, SystemInfo

# BS.1534-3: no more than 12 signals a trial, the hidden reference and the anchors among them.
MAX_STIMULI = 12
MAX_SYSTEMS = MAX_STIMULI - 2
MAX_OURS = 3
# A trial of eight stimuli takes a listener two to three minutes; after half an hour ears tire.
MAX_FILES = 8


def choose_systems(results: Results, wanted: Sequence[SystemInfo] | None) -> list[SystemInfo]:
    """The systems to hear: ``wanted``, or up to three rates of ours and, of each peer, the settings nearest to them.

    Raises:
        UsageError: more than ten are wanted, none, or one that is not in the results.
        DataError: the results hold no system to hear.
    """
    candidates = [system for system in results.systems if system.codec != ORIGINAL]
    if wanted is not None:
        labels = {system.label: system for system in candidates}
        strange = [system.label for system in wanted if system.label not in labels]
        if strange:
            raise UsageError(f"'{strange[0]}' is not in the results; they hold: {', '.join(labels)}")
        if not 1 <= len(wanted) <= MAX_SYSTEMS:
            raise UsageError(
                f"{len(wanted)} systems cannot be heard in one trial; choose 1 to {MAX_SYSTEMS} "
                f"(BS.1534-3 allows {MAX_STIMULI} stimuli, reference and anchor among them)"
            )
        return [labels[system.label] for system in wanted]
    candidates = [system for system in candidates if any(results.audio(file, system) for file in results.files)]
    if not candidates:
        raise DataError("the results hold no decoded audio to listen to; evaluate again with --out")
    kbps = {system.label: _kbps(results, system) for system in candidates}
    ours = [system for system in candidates if system.role == "ours"]
    chosen = _spread(sorted(ours, key=lambda s: kbps[s.label]), MAX_OURS)
    rest = [system for system in candidates if system.role != "ours"]
    if not chosen:
        return _spread(sorted(rest, key=lambda s: kbps[s.label]), MAX_SYSTEMS)
    return chosen + _nearest(rest, chosen, kbps)[: MAX_SYSTEMS - len(chosen)]


def _nearest(peers: list[SystemInfo], ours: list[SystemInfo], kbps: dict[str, float]) -> list[SystemInfo]:
    """Of each peer codec the setting nearest to each of ours, in the ratio of the rates; the nearest of all first."""
    distance: dict[str, float] = {}
    found: dict[str, SystemInfo] = {}
    for codec in dict.fromkeys(peer.codec for peer in peers):
        for own in ours:
            gap, best = min(
                (abs(math.log(kbps[peer.label] / kbps[own.label])), peer.label) for peer in peers if peer.codec == codec
            )
            distance[best] = min(gap, distance.get(best, math.inf))
    found = {peer.label: peer for peer in peers}
    return [found[label] for label in sorted(distance, key=lambda label: (distance[label], label))]


def _kbps(results: Results, system: SystemInfo) -> float:
    """The mean rate as written; a tiny one where nothing was."""
    values = [row["kbps"] for row in results.rows_of(system) if row.get("kbps")]
    return max(sum(values) / len(values), 1e-3) if values else 1e-3


def _spread(items: list[SystemInfo], most: int) -> list[SystemInfo]:
    """At most ``most`` of them, the first and the last among them, evenly spread."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def choose_files(results: Results, systems: Sequence[SystemInfo], wanted: Sequence[str] | None, seed: int) -> list[str]:
    """The recordings to hear: ``wanted``, or up to eight of those that every system has audio of, drawn by ``seed``.

    Raises:
        UsageError: a recording is not in the results.
        DataError: the audio of one is missing, or no recording has that of all systems.
    """
    for file in wanted or ():
        if file not in results.files:
            raise UsageError(f"'{file}' is not in the results; they hold: {', '.join(results.files[:10])}")
        lacking = [system.label for system in systems if results.audio(file, system) is None]
        if results.audio(file) is None or lacking:
            raise DataError(
                f"the audio of '{file}' by {(lacking or [ORIGINAL])[0]} was not kept; leave one of them out"
            )
    if wanted:
        return list(dict.fromkeys(wanted))
    whole = [f for f in results.files if results.audio(f) and all(results.audio(f, system) for system in systems)]
    if not whole:
        raise DataError("no recording was coded by all of these systems; choose fewer systems")
    drawn = set(random.Random(f"{seed} files").sample(whole, min(MAX_FILES, len(whole))))
    return [file for file in whole if file in drawn]
