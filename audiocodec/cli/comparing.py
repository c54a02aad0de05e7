"""``compare``, ``blind`` and ``score``: recordings against each other, by measures and by ear."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.options import Force, Json, Quiet

if TYPE_CHECKING:
    from audiocodec.evaluate.blind import BlindScores
    from audiocodec.evaluate.compare import Comparison, Recording
    from audiocodec.evaluate.results import Results, SystemInfo

_COMPARE_EPILOG = """Examples:

  audiocodec compare original.wav decoded.wav

  audiocodec compare original.flac decoded.mp3 --domain music --json

  audiocodec compare original.wav decoded.wav --metric pesq_wb --metric stoi --max-delay-ms 500
"""
_BLIND_EPILOG = """Examples:

  audiocodec blind results/ -o listening-test/

  audiocodec blind results/ -o listening-test/ --system "opus 6" --system "speech-16k 22 levels" --file talk.flac
"""
_SCORE_EPILOG = """Examples:

  audiocodec score listening-test/ ratings-*.csv

  audiocodec score listening-test/ ratings-anna.csv ratings-ben.csv --json
"""


class Kind(str, Enum):
    """What the recordings are."""

    speech = "speech"
    music = "music"
    any = "any"


class Mix(str, Enum):
    """Which channels are compared."""

    mono = "mono"
    left = "left"
    right = "right"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog=_COMPARE_EPILOG)(compare)
    app.command(epilog=_BLIND_EPILOG)(blind)
    app.command(epilog=_SCORE_EPILOG)(score)


def compare(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The original; - for standard input.")],
    degraded: Annotated[str, typer.Argument(metavar="DEGRADED", help="What became of it.")],
    domain: Annotated[
        Kind, typer.Option("--domain", help="What they are. any: only measures that hold for every sound.")
    ] = Kind.speech,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Default: all that can run; repeatable.")
    ] = None,
    max_delay_ms: Annotated[
        float, typer.Option("--max-delay-ms", min=0.0, help="Search the delay within this, either way.")
    ] = 200.0,
    channels: Annotated[Mix, typer.Option("--channels", help="mono averages them.")] = Mix.mono,
    json: Json = False,
) -> None:
    """Compare two recordings: delay, level, length, bandwidth, and every measure that can run here."""
    from audiocodec.evaluate.compare import compare_files

    found = compare_files(
        reference,
        degraded,
        domain=None if domain is Kind.any else domain.value,
        metrics=metric or (),
        max_delay_ms=max_delay_ms,
        channels=channels.value,
    )
    if json:
        import json as writer

        print(writer.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(comparison_text(found))


def comparison_text(found: Comparison) -> str:
    """A comparison for people."""
    level = "undefined (silent)" if found.level_db is None else f"{found.level_db:+.1f} dB"
    width = max(len("measure"), *(len(score.heading) for score in found.scores), 0)
    lines = [
        f"reference  {_recording(found.reference, found.channels)}",
        f"degraded   {_recording(found.degraded, found.channels)}",
        f"delay      {_lag(found)}",
        f"waveform   {_polarity(found)}",
        f"level      {level}",
        f"length     {found.length_ms:+.1f} ms, {found.length_samples:+d} samples at {found.reference.rate} Hz",
        "",
        f"{'measure':{width}} {'value':>9}  better   best",
    ]
    for score in found.scores:
        better = "higher" if score.higher_is_better else "lower"
        best = "" if score.best is None else f"{score.best:.{score.decimals}f}"
        note = f"   ({score.note})" if score.note else ""
        lines.append(f"{score.heading:{width}} {score.shown:>9}  {better:6}  {best:>5}{note}".rstrip())
    lines += [f"not measured: {name} ({reason})" for name, reason in found.unmeasured.items()]
    return "\n".join(lines)


def _lag(found: Comparison) -> str:
    digits = 0 if found.lag_by_envelopes else 2
    amount = f"{abs(found.lag_ms):.{digits}f} ms {'late' if found.lag_ms > 0 else 'early'}, removed"
    how = " (by the envelopes, to 1 ms)" if found.lag_by_envelopes else ""
    return f"{amount if found.lag_ms else 'in step'}{how}"


def _polarity(found: Comparison) -> str:
    if found.level_db is None:
        return "undefined (silent)"
    polarity = {None: "", False: ", polarity kept", True: ", polarity turned"}[found.inverted]
    kept = "" if found.inverted is not None else ": not kept, so its polarity is unknown"
    return f"correlation {found.waveform_match:.2f}{kept}{polarity}"


def _recording(recording: Recording, channels: str) -> str:
    mix = "mono"
    if recording.channels > 1:
        mix = f"{recording.channels} channels, " + ("averaged" if channels == "mono" else f"{channels} one taken")
    band = f"sound up to {recording.band_hz / 1000:.1f} kHz" if recording.band_hz else "silent"
    return f"{recording.path}: {recording.rate} Hz, {mix}, {recording.seconds:.3f} s, {band}"


def blind(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="A folder that evaluate --out made.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FOLDER", help="The folder to write the test to.")],
    system: Annotated[
        list[str] | None,
        typer.Option("--system", metavar="NAME", help="Codec and setting, as results name them; 1 to 10; repeatable."),
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="NAME", help="A recording, one a trial; repeatable.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Of the names; default: a new one, kept in key.json.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Make a blind listening test of results (MUSHRA): a page to rate on, random names, a key to keep.

    A trial holds at most 12 sounds: the hidden reference, a 3.5 kHz anchor and up to 10 systems. By default up to
    three rates of ours and the settings of each peer that are nearest to them, on up to eight recordings.
    """
    import secrets

    from audiocodec.evaluate.blind import write_blind_test
    from audiocodec.evaluate.results import read_results

    found = read_results(Path(results))
    test = write_blind_test(
        found,
        Path(out),
        systems=None if system is None else [_system(found, name) for name in system],
        files=file,
        seed=secrets.randbits(32) if seed is None else seed,
        force=force,
    )
    if not quiet:
        print(
            f"{out}: {_trials(len(test.files))} of {test.stimuli} sounds: reference, anchor, {', '.join(test.systems)}"
        )
        for name in test.turned_down:
            print(f"{name}: all sounds turned down alike, one would have clipped")
        print(f"give listeners the folder without {Path(out) / 'key.json'}; they open index.html")


def _system(results: Results, name: str) -> SystemInfo:
    from audiocodec.errors import UsageError

    labels = {system.label: system for system in results.systems}
    if name not in labels:
        raise UsageError(f"'{name}' is not in the results; they hold: {', '.join(labels)}")
    return labels[name]


def score(
    test: Annotated[str, typer.Argument(metavar="TEST", help="The folder of the test, with its key.json.")],
    ratings: Annotated[list[str], typer.Argument(metavar="CSV...", help="What the page saved, one a listener.")],
    json: Json = False,
) -> None:
    """Score a blind listening test: means and 95 % intervals, careless listeners left out (BS.1534-3)."""
    from audiocodec.evaluate.blind import score_blind_test

    found = score_blind_test(Path(test), [Path(name) for name in ratings])
    if json:
        import json as writer
        from dataclasses import asdict

        print(writer.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        print(scores_text(found))


def scores_text(found: BlindScores) -> str:
    """Scores for people."""
    width = max(len("system"), *(len(row.system) for row in found.systems))
    lines = [f"{'system':{width}}     n   mean  95 % CI  median"]
    for row in found.systems:
        half = "" if row.ci95 is None else f"±{row.ci95:.1f}"
        lines.append(f"{row.system:{width}}  {row.n:4d}  {row.mean:5.1f}  {half:>7}  {row.median:6.1f}")
    lines.append(f"\nlisteners: {len(found.listeners)} counted, {len(found.excluded)} excluded after BS.1534-3")
    lines += [f"excluded: {reason}" for reason in found.excluded.values()]
    if found.unfinished:
        lines.append(f"not counted, as not rated to the end: {_trials(found.unfinished)}")
    return "\n".join(lines)


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"
