"""What is made of results: the table, the report, a listening test."""

from __future__ import annotations

from pathlib import Path

from audiocodec.errors import MissingExtraError, OutputError, UsageError
from audiocodec.evaluate.report.statistics import bd_table_markdown
from audiocodec.evaluate.report.table import markdown as table_markdown
from audiocodec.evaluate.results import Results
from audiocodec.output import OutputFile, check_output

TABLE, REPORT = "table.md", "report.html"


def check_extras(markdown: str | Path | None, blind: str | Path | None, force: bool) -> None:
    """Refuse what cannot be written, before hours of work.

    Raises:
        OutputError: it exists and ``force`` is not set, or has no folder to be in.
    """
    if markdown is not None and Path(markdown).parent.is_dir():  # else it may lie in the folder that is about to be
        check_output(markdown, force)
    if blind is not None and Path(blind).exists() and any(Path(blind).iterdir()) and not force:
        raise OutputError(f"{blind} is not empty; pass --force to replace the test in it, or another folder")


def finish(
    results: Results,
    *,
    markdown: str | Path | None = None,
    blind: str | Path | None = None,
    force: bool = False,
    listen: int = 6,
    seed: int = 0,
) -> None:
    """Write table.md and report.html into the folder of results, and what else is asked for.

    Raises:
        UsageError: a listening test of results whose audio was not kept.
        OutputError: something exists and ``force`` is not set, or cannot be written.
    """
    text = table_markdown(results)
    if results.folder is not None:
        _write(results.folder / TABLE, f"{text}\n{bd_table_markdown(results)}", True)
        _report(results, results.folder / REPORT, listen, seed)
    if markdown is not None:
        _write(Path(markdown), text, force)
    if blind is not None:
        if results.folder is None:
            raise UsageError("a listening test needs the decoded audio; keep it with --out FOLDER")
        from audiocodec.evaluate.blind import write_blind_test

        write_blind_test(results, Path(blind), seed=seed, force=force)


def _report(results: Results, path: Path, listen: int, seed: int) -> None:
    try:
        from audiocodec.evaluate.report.html import write_html
    except ImportError as error:
        raise MissingExtraError(f"the report needs {error.name}; run: pip install 'audiocodec[eval]'") from error
    write_html(results, path, force=True, listen=listen, seed=seed)


def _write(path: Path, text: str, force: bool) -> None:
    with OutputFile(path, force) as file:
        file.write(text.encode("utf-8"))
