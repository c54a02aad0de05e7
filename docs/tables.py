"""Put tables of stored results into the documents that show them, so that no figure is typed by hand.

    python docs/tables.py            # write
    python docs/tables.py --check    # exit 1 and name the documents where they differ from the stored run

In a document the text between ``<!-- table NAME -->`` and ``<!-- /table -->`` is replaced. The stored runs in
``docs/results`` are made by ``docs/measure.sh``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import tables_live
import tables_loss
import tables_speed

from audiocodec.evaluate.report.table import markdown
from audiocodec.evaluate.results import Results, Row, read_results

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
# Rates of ours that documents show; the cards show all.
SPEECH_KBPS = (1.7, 3.2, 6.2)
MUSIC_KBPS = (2.2, 3.5, 6.5, 12.5)
SPEECH_COLUMNS = ("pesq_wb", "stoi", "estoi", "mel", "visqol_speech", "dnsmos", "speaker")
MUSIC_COLUMNS = ("visqol_audio", "mel", "stft", "si_sdr")
# What the README shows of docs/quality.md, for whoever has to choose.
SHORT_SPEECH = ("speech-16k", "speech-24k")
SHORT_SPEECH_COLUMNS = ("pesq_wb", "estoi", "mel", "visqol_speech", "dnsmos", "speaker")
SHORT_SPEECH_PEERS = ("opus", "lyra-v2")
SHORT_MUSIC_COLUMNS = ("visqol_audio", "mel")


def speech() -> str:
    """Each model of ours at the settings just below three rates, beside every peer."""
    results = read_results(RESULTS / "speech")
    chosen = _chosen(results, SPEECH_KBPS)
    return _table(results, SPEECH_COLUMNS, lambda row: row["role"] != "ours" or _system(row) in chosen)


def speech_short() -> str:
    """Two models of ours beside Lyra and Opus of 6 to 12 kbps, in the measures that tell most."""
    results = read_results(RESULTS / "speech")
    shown = _chosen(results, SPEECH_KBPS, SHORT_SPEECH) | _opus(results, ("6", "8", "9", "12"), "voip")
    return _short(
        results,
        SHORT_SPEECH_COLUMNS,
        lambda row: _system(row) in shown or row["codec"] == "lyra-v2" or row["role"] == "anchor",
    )


def speech_bd() -> str:
    """How many fewer bits ours takes than each peer, or more."""
    from audiocodec.evaluate.report.statistics import bd_table_markdown

    results = read_results(RESULTS / "speech")
    return bd_table_markdown(replace(results, metrics=[name for name in SPEECH_COLUMNS if name in results.metrics]))


def speech_bd_short() -> str:
    """The same of what :func:`speech_short` shows."""
    from audiocodec.evaluate.report.statistics import bd_table_markdown

    results = read_results(RESULTS / "speech")
    systems = [system for system in results.systems if system.codec in (*SHORT_SPEECH, *SHORT_SPEECH_PEERS)]
    return bd_table_markdown(replace(results, metrics=list(SHORT_SPEECH_COLUMNS), systems=systems))


def music() -> str:
    """All systems on music."""
    return _table(read_results(RESULTS / "music"), MUSIC_COLUMNS)


def music_short() -> str:
    """Our model of music at the settings just below four rates, beside Opus of 6 to 24 kbps."""
    results = read_results(RESULTS / "music")
    shown = _chosen(results, MUSIC_KBPS, ("music-48k",))
    shown |= _opus(results, ("6", "8", "9", "12", "16", "20", "24"), "audio")
    return _short(results, SHORT_MUSIC_COLUMNS, lambda row: _system(row) in shown or row["role"] == "anchor")


def music_stereo() -> str:
    """All systems on music in stereo."""
    columns = tuple(f"{name}{ending}" for name in MUSIC_COLUMNS for ending in ("", "_lr"))
    return _table(read_results(RESULTS / "music-stereo"), columns)


def words() -> str:
    """Word error rates of all systems."""
    return _table(read_results(RESULTS / "words"), ("wer",))


def model_card(name: str, run: str = "speech") -> str:
    """Every setting of one model that ``run`` measured, with every measure."""
    results = read_results(RESULTS / run)
    return _table(results, tuple(results.metrics), lambda row: row["codec"] == name, peers=False)


def sources(name: str) -> str:
    """The training data of a model, from the ``sources.json`` that the preparation script wrote."""
    rows = json.loads((ROOT / "pretrained" / name / "sources.json").read_text(encoding="utf-8"))
    lines = ["| Debian package | version | hours | recordings | licence | copyright |", "|---|---|---:|---:|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['package']} | {row['version']} | {row['hours']:.2f} | {row['recordings']} | {row['licence']} "
            f"| [file]({row['copyright']}) |"
        )
    total = sum(row["hours"] for row in rows)
    lines.append(f"| all | | {total:.2f} | {sum(row['recordings'] for row in rows)} | | |")
    return "\n".join(lines)


TABLES: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "first-command": (lambda: (RESULTS / "first-command.md").read_text(encoding="utf-8"), ("README.md",)),
    "speech-short": (speech_short, ("README.md",)),
    "speech-bd-short": (speech_bd_short, ("README.md",)),
    "music-short": (music_short, ("README.md",)),
    "speech": (speech, ("docs/quality.md",)),
    "speech-bd": (speech_bd, ("docs/quality.md",)),
    "music": (music, ("docs/quality.md",)),
    "music-stereo": (music_stereo, ("docs/quality.md",)),
    "words": (words, ("docs/quality.md",)),
    "speech-24k": (lambda: model_card("speech-24k"), ("pretrained/speech-24k/CARD.md",)),
    "speech-24k-sources": (lambda: sources("speech-24k"), ("pretrained/speech-24k/CARD.md",)),
    "music-48k": (lambda: model_card("music-48k", "music"), ("pretrained/music-48k/CARD.md",)),
    "music-48k-stereo": (lambda: model_card("music-48k", "music-stereo"), ("pretrained/music-48k/CARD.md",)),
    "music-48k-sources": (lambda: sources("music-48k"), ("pretrained/music-48k/CARD.md",)),
    "speech-16k": (lambda: model_card("speech-16k"), ("pretrained/speech-16k/CARD.md",)),
    "speech-16k-vp": (lambda: model_card("speech-16k-vp"), ("pretrained/speech-16k-vp/CARD.md",)),
    "codebooks": (
        lambda: (RESULTS / "codebooks" / "table.md").read_text(encoding="utf-8"),
        ("pretrained/speech-16k-vp/CARD.md",),
    ),
    "speed": (tables_speed.speed, ("docs/speed.md", "README.md")),
    "where": (tables_speed.where, ("docs/speed.md",)),
    "live": (tables_speed.live, ("docs/speed.md",)),
    "start": (tables_speed.start, ("docs/speed.md",)),
    "scaling": (tables_speed.scaling, ("docs/speed.md",)),
    "training": (tables_speed.training, ("docs/speed.md",)),
    "kernels": (tables_speed.kernels, ("docs/speed.md",)),
    "before-after": (tables_speed.before_after, ("docs/speed.md",)),
    "live-pipe": (tables_live.pipe, ("docs/live.md",)),
    "live-call": (tables_live.call, ("docs/live.md",)),
    "live-soak": (tables_live.soak, ("docs/live.md",)),
    "live-kills": (tables_live.kills, ("docs/live.md",)),
    "live-fuzz": (tables_live.fuzz, ("docs/live.md",)),
    "loss-run": (tables_loss.run, ("docs/loss.md",)),
    "loss-copies": (tables_loss.copies_of_opus, ("docs/loss.md",)),
    "loss-promises": (tables_loss.promises, ("docs/loss.md",)),
    "loss-pesq": (lambda: tables_loss.measure("pesq_wb"), ("docs/loss.md",)),
    "loss-stoi": (lambda: tables_loss.measure("stoi"), ("docs/loss.md",)),
    "loss-estoi": (lambda: tables_loss.measure("estoi"), ("docs/loss.md",)),
    "loss-plcmos": (lambda: tables_loss.measure("plcmos"), ("docs/loss.md",)),
    "speech-16k-sources": (lambda: sources("speech-16k"), ("pretrained/speech-16k/CARD.md",)),
}


def _system(row: Row) -> tuple[str, str]:
    return row["codec"], row["setting"]


def _chosen(results: Results, rates: tuple[float, ...], names: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Model and setting with the most bits at or below each of ``rates``, as written; of all of ours, or ``names``."""
    ours = [row for row in results.summary if row["role"] == "ours" and (not names or row["codec"] in names)]
    fitting = (
        [row for row in ours if row["codec"] == name and row["kbps"] <= kbps]
        for name in {row["codec"] for row in ours}
        for kbps in rates
    )
    return {_system(max(rows, key=lambda row: row["kbps"])) for rows in fitting if rows}


def _opus(results: Results, rates: tuple[str, ...], mode: str) -> set[tuple[str, str]]:
    """Opus at these settings of its rate. Raises ValueError where the run has not all of them."""
    wanted = {("opus", f'"{rate}" VBR {mode}') for rate in rates}
    if missing := wanted - {_system(row) for row in results.summary}:
        raise ValueError(f"{results.name} has no {sorted(missing)}")
    return wanted


def _short(results: Results, metrics: tuple[str, ...], keep: Callable[[Row], object]) -> str:
    """Without what rates are made of, speeds, and the peers that were absent."""
    columns = ("codec", "setting", "kbps", *metrics)
    summary = [{name: row[name] for name in columns} for row in results.summary if keep(row)]
    return markdown(replace(results, metrics=list(metrics), summary=summary, absent={}))


def _table(results: Results, metrics: tuple[str, ...], keep: Callable[[Row], object] = bool, peers: bool = True) -> str:
    shown = [name for name in metrics if name in results.metrics]
    summary = [row for row in results.summary if keep(row)]
    return markdown(replace(results, metrics=shown, summary=summary, absent=results.absent if peers else {}))


def updated() -> Iterator[tuple[Path, str, str]]:
    """Each document with its text as it is, and as it should be. Raises ValueError if it has no place for a table."""
    for path in sorted({document for _, documents in TABLES.values() for document in documents}):
        old = new = (ROOT / path).read_text(encoding="utf-8")
        for name, (make, documents) in TABLES.items():
            if path in documents:
                new = _insert(new, name, make(), path)
        yield ROOT / path, old, new


def _insert(text: str, name: str, table: str, document: str) -> str:
    marked = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- /table -->)", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{document} has no place for the table {name}")
    return marked.sub(lambda match: f"{match[1]}{table.strip()}\n{match[2]}", text)


def main(arguments: list[str]) -> int:
    """Write, or check."""
    differing = [path for path, old, new in updated() if old != new]
    if arguments == ["--check"]:
        for path in differing:
            print(f"{path.relative_to(ROOT)} differs from the stored run; run: python docs/tables.py", file=sys.stderr)
        return int(bool(differing))
    for path, old, new in updated():
        if old != new:
            path.write_text(new, encoding="utf-8")
            print(f"updated {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
