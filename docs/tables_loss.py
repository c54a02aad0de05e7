"""Tables of docs/loss.md: what ``benchmarks/loss.py`` wrote into ``docs/results/loss/loss.json``."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

STORED = Path(__file__).resolve().parent / "results" / "loss" / "loss.json"
_DECIMALS = {"pesq_wb": 2, "stoi": 3, "estoi": 3, "plcmos": 2}


def run() -> str:
    """What was measured, in a sentence."""
    found = _stored()
    built = found["libopus"]
    has = {True: "with", False: "without"}
    drawn = f"{found['seeds']} network{'s' if found['seeds'] > 1 else ''}"
    return (
        f"{len(found['files'])} recordings, {drawn} drawn for each at every loss; "
        f"bursts of {found['burst']:g} packets in the mean; {found['model']} {found['fingerprint']}; libopus "
        f"{built['libopus']}, built {has[built['dred']]} DRED and {has[built['deep_plc']]} deep concealment."
    )


def copies_of_opus() -> str:
    """From which rate on Opus sends copies, by the loss that it is told of."""
    told = (f"{kbps} kbps at {100 * loss:g} %" for loss, kbps in _stored()["libopus"]["copies_from"])
    return f"Most packets of Opus have a copy from {', '.join(told)} loss on."


def measure(metric: str) -> str:
    """Means of one measure, a line for each way through the network."""
    found = _stored()
    networks = [at for at in dict.fromkeys((row["kind"], row["loss"]) for row in found["rows"]) if _is_shown(*at)]
    heads = " | ".join(f"{kind} {100 * loss:g} %" if loss else kind for kind, loss in networks)
    lines = [f"| | kbps | later by | {heads} |", "| --- | ---: | ---: |" + " ---: |" * len(networks)]
    for way, about in found["ways"].items():
        rows = {(row["kind"], row["loss"]): row for row in found["rows"] if row["way"] == way}
        cells = [f"{_mean(rows[at], metric):.{_DECIMALS[metric]}f}" if at in rows else "" for at in networks]
        kbps = rows["none", 0.0]["kbps"]
        lines.append(f"| {way} | {kbps:.2f} | {about['wait_ms']:.0f} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def promises() -> str:
    """Promises of the default rate one by one; those beside Opus by pair and measure, with the closest of them."""
    found = _stored()
    lines = ["| promised | figure | at most | kept |", "| --- | ---: | ---: | --- |"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for promise in found["promises"]:
        groups.setdefault(promise["group"], []).append(promise)
    for group, ones in groups.items():
        closest = max(ones, key=lambda one: one["figure"] - one["limit"])
        kept = sum(one["kept"] for one in ones)
        told = "yes" if kept == len(ones) else "no"
        if len(ones) > 1:
            group, told = f"{group}; closest: {closest['what']}", f"{kept} of {len(ones)}"
        lines.append(f"| {group} | {closest['figure']:.3f} | {closest['limit']:.3f} | {told} |")
    return "\n".join(lines)


def _is_shown(kind: str, loss: float) -> bool:
    """Not what was coded in expectation of a loss that did not come."""
    return kind != "none" or not loss


def _mean(row: dict[str, Any], metric: str) -> float:
    return fmean(fmean(seeds) for seeds in row["scores"][metric])


def _stored() -> Any:
    return json.loads(STORED.read_text(encoding="utf-8"))
