"""Stored results: one JSON a run, and its training log beside it. Tables and plots are made of these alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocodec.errors import DataError, OutputError
from audiocodec.modelfiles import write_atomically

DOMAINS = {"in": "in-domain", "out": "out-of-domain"}
# Lines of training averages kept of a log; notes and validations are all kept.
_LOG_LINES = 40


@dataclass(frozen=True)
class Result:
    """A stored run; ``data`` is the whole JSON."""

    data: dict[str, Any]

    @property
    def method(self) -> str:
        """Name in ``methods.yaml``."""
        return str(self.data["method"])

    @property
    def codes(self) -> int:
        """K as the paper names it."""
        return int(self.data["codes"])

    @property
    def seed(self) -> int:
        """Of initial weights, batches and codebook."""
        return int(self.data["seed"])

    @property
    def failure(self) -> str | None:
        """Why there are no numbers."""
        return self.data.get("failure")

    def value(self, domain: str, name: str) -> float | None:
        """The run's mean or total ``name`` in a domain, None where it could not be measured."""
        found = self.data.get("domains", {}).get(domain, {}).get(name)
        return None if found is None else float(found)

    def by_file(self, domain: str, name: str) -> dict[str, float]:
        """Measure ``name`` of each file of a domain that has it."""
        files = self.data.get("domains", {}).get(domain, {}).get("files", [])
        return {row["name"]: float(row[name]) for row in files if row.get(name) is not None}


def read_all(folder: Path) -> list[Result]:
    """All results of ``folder``/runs.

    Raises:
        DataError: there are none, one is damaged, or they are of two scales.
    """
    found = []
    for path in sorted((folder / "runs").glob("*.json")):
        try:
            result = Result(json.loads(path.read_text(encoding="utf-8")))
            assert result.method
            assert result.codes
            assert result.seed >= 0
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise DataError(f"cannot read the result {path} ({error}); delete it and run again") from None
        found.append(result)
    scales = {str(result.data.get("scale")) for result in found}
    if len(scales) > 1:
        raise DataError(f"{folder} holds runs of the scales {', '.join(sorted(scales))}; keep them in two folders")
    return found


def finished(results: Iterable[Result]) -> dict[str, str]:
    """The settings' hash of each run that has numbers, by the run's name."""
    return {
        f"{result.method}-{result.codes}-{result.seed}": str(result.data.get("settings"))
        for result in results
        if result.failure is None
    }


def store(folder: Path, name: str, data: dict[str, Any], log: Path | None) -> None:
    """Write a result, and its training log before it. Raises OutputError."""
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        if log is not None and log.exists():
            thinned = thin_log(log.read_text(encoding="utf-8").splitlines())
            write_atomically(folder / "runs" / f"{name}.log.jsonl", ("\n".join(thinned) + "\n").encode())
        text = json.dumps(data, indent=1, allow_nan=False)
        write_atomically(folder / "runs" / f"{name}.json", (text + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; choose another --results") from None


def thin_log(lines: Sequence[str]) -> list[str]:
    """Notes, validations, and evenly chosen training lines, numbers to five digits."""
    entries = [json.loads(line) for line in lines]
    train = [i for i, entry in enumerate(entries) if entry["kind"] == "train"]
    step = max(1, -(-len(train) // _LOG_LINES))
    kept = {*train[::-1][::step], *(i for i, entry in enumerate(entries) if entry["kind"] != "train")}
    return [json.dumps(_shortened(entry)) for i, entry in enumerate(entries) if i in kept]


def _shortened(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in entry.items()}
