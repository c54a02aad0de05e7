"""The result of an evaluation: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.errors import OutputError
from audiocodec.output import OutputFile, check_output

if TYPE_CHECKING:
    from rich.table import Table

    from audiocodec.codec import Codec

Row = dict[str, Any]
RESULT_FILES = ("summary.json", "files.json", "files.csv")
_PACKAGES = ("audiocodec", "torch", "numpy", "soundfile", "soxr", "pesq", "pystoi", "av")
# Key in a summary row, heading, format: in the order of the table.
_COLUMNS = (
    ("codec", "codec", "{}"),
    ("setting", "setting", "{}"),
    ("kbps", "kbps, file", "{:.2f}"),
    ("payload_kbps", "kbps, payload", "{:.2f}"),
    ("saving_percent", "below raw", "{:.1f} %"),
    ("pesq_wb", "PESQ-WB", "{:.2f}"),
    ("stoi", "STOI", "{:.3f}"),
    ("estoi", "ESTOI", "{:.3f}"),
    ("mel", "mel", "{:.3f}"),
    ("si_sdr", "SI-SDR dB", "{:.1f}"),
    ("entropy_bits_per_frame", "bits/frame", "{:.1f}"),
    ("cvu", "CVU", "{:.3f}"),
    ("encode_speed", "encode speed", "{:.0f}x"),
    ("decode_speed", "decode speed", "{:.0f}x"),
)


@dataclass
class Report:
    """Everything an evaluation found.

    ``summary`` holds one row per codec and rate, ``files`` one per codec, rate and recording. ``absent`` names the
    peers that could not run, ``skipped`` the recordings that could not be read, each with the reason.
    """

    folder: str
    metrics: list[str]
    summary: list[Row]
    files: list[Row]
    absent: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    environment: Row = field(default_factory=dict)

    def table(self) -> Table:
        """The summary as a rich table."""
        from rich.table import Table

        table = Table(title=f"{self.folder}: means over {self._file_count()} files", caption=self.notes() or None)
        headings, rows = self._cells()
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="left" if index < 2 else "right")
        for row in rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """The summary as a markdown table, with a line of notes below where there are any."""
        headings, rows = self._cells()
        rule = ["---", "---", *["---:"] * (len(headings) - 2)]
        lines = ["| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows)]
        notes = self.notes()
        return "\n".join(lines) + "\n" + (f"\n{notes}\n" if notes else "")

    def notes(self) -> str:
        """Peers that are absent and recordings that were skipped, in words; empty without any."""
        notes = [f"{name} absent: {reason}" for name, reason in self.absent.items()]
        if self.skipped:
            first, why = next(iter(self.skipped.items()))
            notes.append(f"{len(self.skipped)} files skipped; {first}: {why}")
        return "\n".join(notes)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Headings and formatted cells of the columns in which at least one row has a value."""
        used = [column for column in _COLUMNS if any(row.get(column[0]) is not None for row in self.summary)]
        rows = [[_cell(row.get(key), form) for key, _, form in used] for row in self.summary]
        rows += [[name, "absent", *[""] * (len(used) - 2)] for name in self.absent]
        return [heading for _, heading, _ in used], rows

    def _file_count(self) -> int:
        return max((row["files"] for row in self.summary), default=0)


def environment(codec: Codec | None, workers: int) -> Row:
    """What a result depends on besides the code: package versions, machine, model, seed."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "packages": versions,
        "model": None if codec is None else {"name": codec.config.name, "fingerprint": codec.fingerprint.hex()},
        # Nothing is drawn but the dither of ESTOI, which metrics.py seeds with 0.
        "seed": 0,
        "workers": workers,
        "command": sys.argv,
    }


def processor_name() -> str:
    """The processor's name in words, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def check_outputs(out_dir: str | Path | None, markdown: str | Path | None, force: bool) -> None:
    """Refuse results that exist already, before any work is done; create ``out_dir``.

    Raises:
        OutputError: something exists and ``force`` is not set, or the folder cannot be made.
    """
    if out_dir is not None:
        try:
            Path(out_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create the folder {out_dir}: {error.strerror}") from None
        for name in RESULT_FILES:
            check_output(Path(out_dir) / name, force)
    if markdown is not None:  # after the folder, which may be the one that the table goes to
        check_output(markdown, force)


def write_report(report: Report, out_dir: str | Path | None, markdown: str | Path | None, force: bool) -> None:
    """Write RESULT_FILES into ``out_dir`` and the table into ``markdown``, each where asked for.

    Raises:
        OutputError: something exists and ``force`` is not set, or cannot be written.
    """
    if markdown is not None:
        _write(Path(markdown), report.markdown(), force)
    if out_dir is None:
        return
    whole = asdict(report)
    files = whole.pop("files")
    for name, text in zip(RESULT_FILES, (_json(whole), _json(files), _csv(files)), strict=True):
        _write(Path(out_dir) / name, text, force)


def _write(path: Path, text: str, force: bool) -> None:
    with OutputFile(path, force) as file:
        file.write(text.encode("utf-8"))


def _json(value: Any) -> str:
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
