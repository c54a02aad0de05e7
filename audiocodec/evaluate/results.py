"""What an evaluation found: rows for files, a summary for systems, and the folder they are kept in.

A folder of results holds

    summary.json          everything but the rows: means over files, systems, what was absent, versions
    files.json            one row a file and system, with token histograms and packet sizes
    files.csv             the same rows, numbers alone
    table.md              the summary as a table
    report.html           all of it, to be looked at
    audio/FILE/           original.flac, and SYSTEM.flac as it was decoded: what the measures heard
    units/                what a run that goes on need not compute again (audiocodec.evaluate.store)
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from audiocodec.errors import DataError
from audiocodec.evaluate.metrics import Domain
from audiocodec.output import OutputFile

Row = dict[str, Any]  # plain numbers, strings and lists; None where something does not apply or is not finite
Role = Literal["ours", "peer", "anchor"]

SUMMARY, ROWS, FILES = "summary.json", "files.json", "files.csv"
AUDIO, UNITS = "audio", "units"  # folders
ORIGINAL = "original"  # the name of the recording itself: as an anchor among the systems, and in the folder of audio
_NESTED = ("histograms", "packets")  # in files.json alone


@dataclass(frozen=True)
class SystemInfo:
    """A system as results name it. ``identity`` is what else decided its figures (see ``System.identity``)."""

    codec: str
    setting: str
    role: Role
    identity: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Codec and setting, as people read them."""
        return f"{self.codec} {self.setting}".strip()


@dataclass
class Results:
    """Everything an evaluation found.

    ``rows`` has one row a recording and system, in the order of ``files`` and ``systems``; keys are ``file``,
    ``codec``, ``setting``, ``seconds``, ``sample_rate``, ``file_bytes``, ``payload_bytes``, ``raw_bytes``, ``kbps``,
    ``payload_kbps``, ``raw_kbps`` (all as written, never nominal), ``encode_seconds``, ``decode_seconds``,
    ``delay_ms`` (found by alignment; 0 where the format states its delay), one a measure, and ``histograms``
    ([dimension][level] counts) and ``packets`` ([[seconds, bytes], ...]), both None where a system does not tell.
    ``summary`` has one row a system. ``absent`` names the peers that could not run, ``skipped`` the recordings that
    could not be read, be coded by a system or be judged by a measure, ``unmeasured`` the measures that could not run
    at all; each with reasons.
    """

    name: str
    domain: Domain
    metrics: list[str]
    systems: list[SystemInfo]
    files: list[str]
    summary: list[Row]
    rows: list[Row]
    absent: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)
    environment: Row = field(default_factory=dict)
    folder: Path | None = None
    """Where the results lie, and with them the audio; None if they were never written."""

    def rows_of(self, system: SystemInfo) -> list[Row]:
        """The rows of one system, in the order of the files that it could code."""
        return [row for row in self.rows if (row["codec"], row["setting"]) == (system.codec, system.setting)]

    def audio(self, file: str, system: SystemInfo | None = None) -> Path | None:
        """The decoded audio of a file by one system (None: the original), where it was kept."""
        if self.folder is None:
            return None
        path = audio_path(self.folder, file, ORIGINAL if system is None else system.label)
        return path if path.exists() else None


def audio_path(folder: Path, file: str, label: str) -> Path:
    """Where the audio of a recording by one system is kept."""
    return folder / AUDIO / slug(file) / f"{slug(label)}.flac"


def slug(text: str) -> str:
    """A file name for ``text``: readable, without what a file system may mind, and different for different texts."""
    import hashlib

    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80]
    # Two texts may differ only in what was replaced
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def write_results(results: Results, folder: Path, force: bool) -> None:
    """Write summary.json, files.json and files.csv. Raises OutputError if they exist and ``force`` is not set."""
    whole = asdict(results)
    rows = whole.pop("rows")
    del whole["folder"]
    for name, text in ((SUMMARY, _json(whole)), (ROWS, _lines(rows)), (FILES, _csv(rows))):
        with OutputFile(folder / name, force) as file:
            file.write(text.encode("utf-8"))


def is_results(folder: Path) -> bool:
    """Whether a folder holds a finished evaluation."""
    return (folder / SUMMARY).is_file() and (folder / ROWS).is_file()


def read_results(folder: Path) -> Results:
    """Read what :func:`write_results` wrote.

    Raises:
        DataError: nothing there, or not results.
    """
    try:
        whole = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        systems = [SystemInfo(**system) for system in whole.pop("systems")]
        return Results(**whole, systems=systems, rows=rows, folder=folder)
    except OSError as error:
        raise DataError(
            f"{folder} holds no results ({error.strerror}); pass a folder that evaluate --out made"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"the results in {folder} are damaged ({error}); evaluate again") from None


def _json(value: Any) -> str:
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _lines(rows: list[Row]) -> str:
    """A JSON list with one row a line: compact, and a change shows where it is."""
    return "[\n" + ",\n".join(json.dumps(plain(row), ensure_ascii=False, allow_nan=False) for row in rows) + "\n]\n"


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in _NESTED]
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(plain(rows))
    return text.getvalue()


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
