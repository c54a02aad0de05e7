"""The report: one page with everything in it, that opens from a file, without a network, years from now."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.evaluate.metrics import METRICS
from audiocodec.evaluate.metrics.base import extra
from audiocodec.evaluate.report import cells, charts
from audiocodec.evaluate.report.findings import count, findings
from audiocodec.evaluate.report.players import SECONDS, listenings
from audiocodec.evaluate.report.selection import main_metric, middle_system
from audiocodec.evaluate.report.statistics import ALPHA, codecs, comparisons, known_metrics
from audiocodec.evaluate.results import Results, plain
from audiocodec.output import OutputFile

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "template"
# A path from the root, or from a drive, up to its last part: where things lay on one machine is nobody's business.
_FOLDERS = re.compile(r"(?<![\w./:])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\'\"]+[/\\])+")


def write_html(results: Results, path: Path, *, force: bool, listen: int = 6, seed: int = 0) -> None:
    """Write the report to ``path``, with at most ``listen`` recordings to hear; ``seed`` is that of the bootstrap.

    Audio comes from ``results.audio``; where none was kept the report says so.

    Raises:
        OutputError: it exists and ``force`` is not set, or cannot be written.
        AudioError: audio that was kept cannot be read.
        MissingExtraError: scipy or jinja2 is not installed.
    """
    page = render(results, listen, seed)
    with OutputFile(path, force) as file:
        file.write(page.encode("utf-8"))


def render(results: Results, listen: int = 6, seed: int = 0) -> str:
    """The page as text."""
    # What is infinite has no place in a chart, nor in a mean: it counts as missing, as in the files of results.
    results = replace(results, rows=plain(results.rows), summary=plain(results.summary))
    return _environment().get_template("report.html").render(_context(results, listen, seed))


def without_folders(text: Any) -> str:
    """``text`` with absolute paths cut to their last part."""
    return _FOLDERS.sub("", str(text))


def _environment() -> Environment:
    jinja2, markupsafe = extra("jinja2"), extra("markupsafe")
    environment: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("audiocodec.evaluate.report", TEMPLATES),
        autoescape=True,  # names of files and messages are anybody's text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = files("audiocodec.evaluate.report") / TEMPLATES

    def verbatim(name: str) -> Any:
        """Our own style sheets and scripts, which are no text to be escaped."""
        return markupsafe.Markup((folder / name).read_text(encoding="utf-8"))

    environment.globals["verbatim"] = verbatim
    environment.filters["without_folders"] = without_folders
    environment.filters["held"] = lambda text: str(text).replace(" %", "\N{NO-BREAK SPACE}%")  # no line starts with %
    return environment


def _context(results: Results, listen: int, seed: int) -> dict[str, Any]:
    bounds = charts.intervals(results, seed)
    compared = comparisons(results, seed)
    series = charts.all_series(results)
    drawn = [charts.rate_chart(results, metric, series, bounds) for metric in known_metrics(results)]
    heard, left_out = listenings(results, listen)
    sheet, row_count = cells.file_sheet(results)
    return {
        "results": results,
        "about": _about(results, seed),
        "notes": _notes(results),
        "findings": findings(results, compared, bounds),
        "summary": cells.summary_sheet(results, bounds),
        "series": list(series.values()),
        "charts": [chart for chart in drawn if chart is not None],
        "chart_size": charts,
        "bd": cells.bd_sheet(results, compared),
        "paired": cells.paired_sheet(results, compared),
        "alpha": ALPHA,
        "listenings": heard,
        "left_out": left_out,
        "has_audio": any(results.audio(file) is not None for file in results.files),
        "listen_seconds": SECONDS,
        "main": main_metric(results),
        "middle": middle_system(results),
        "extremes": cells.extremes(results, middle_system(results)),
        "tokens": charts.token_uses(results),
        "files": sheet,
        "row_count": row_count,
        "file_numbers": {file: index for index, file in enumerate(results.files)},
        "metrics": known_metrics(results),
        "command": _command(results),
        "arrow": cells.arrow,
    }


def _about(results: Results, seed: int) -> list[tuple[str, str]]:
    """What was measured, where and with what, as terms and descriptions."""
    environment = results.environment
    seconds = {row["file"]: row.get("seconds") or 0.0 for row in results.rows}
    minutes = sum(seconds.values()) / 60.0
    roles = [(codecs(results, role), word) for role, word in (("ours", "ours"), ("peer", "others"))]
    models = [f"{model.get('name')} ({model.get('fingerprint', '')[:12]})" for model in environment.get("models") or ()]
    versions = [f"{name} {version}" for name, version in (environment.get("packages") or {}).items() if version]
    about = [
        ("Recordings", f"{count(len(results.files), 'recording')} of {results.domain}, {minutes:.1f} minutes"),
        ("Codecs", "; ".join(f"{word}: {', '.join(names)}" for names, word in roles if names)),
        ("Models", ", ".join(models)),
        ("Date", str(environment.get("time") or "").replace("T", " ").replace("Z", " UTC")),
        ("Machine", ", ".join(str(environment[key]) for key in ("processor", "platform") if environment.get(key))),
        ("Seed", str(environment.get("seed", seed))),
        ("Versions", ", ".join([f"Python {environment.get('python')}"] * bool(environment.get("python")) + versions)),
    ]
    return [(term, text) for term, text in about if text]


def _notes(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is missing, and why: a heading, and (name, reason) pairs below it."""
    named = {name: METRICS[name].heading if name in METRICS else name for name in results.unmeasured}
    unknown = {name: "this version does not know it" for name in results.metrics if name not in METRICS}
    groups = [
        ("Absent codecs", results.absent),
        ("Measures that could not run", {named[name]: reason for name, reason in results.unmeasured.items()} | unknown),
        (f"{count(len(results.skipped), 'recording')} skipped", results.skipped),
    ]
    return [(heading, list(reasons.items())) for heading, reasons in groups if reasons]


def _command(results: Results) -> str:
    """The command that made the results, without the folders of the machine it ran on."""
    import shlex

    words = [str(word) for word in results.environment.get("command") or ()]
    if not words:
        return ""
    program = "audiocodec" if words[0].endswith(("audiocodec", "__main__.py")) else without_folders(words[0])
    return " ".join([program, *(shlex.quote(re.sub(r"(^|=)/\S*/", r"\1", word)) for word in words[1:])])
