"""``compare``: recordings against each other, by measures."""

from __future__ import annotations

import sys
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.options import Json

if TYPE_CHECKING:
    from audiocodec.evaluate.compare import Comparison, Recording

_COMPARE_EPILOG = """Examples:

  audiocodec compare original.wav decoded.wav

  audiocodec compare original.flac decoded.mp3 --domain music --json

  audiocodec compare original.wav decoded.wav --metric pesq_wb --metric stoi --max-delay-ms 500
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
    lag = "in step" if found.lag_ms == 0 else f"{abs(found.lag_ms):.2f} ms {'late' if found.lag_ms > 0 else 'early'}"
    level = "undefined (silent)" if found.level_db is None else f"{found.level_db:+.1f} dB"
    lines = [
        f"reference  {_recording(found.reference, found.channels)}",
        f"degraded   {_recording(found.degraded, found.channels)}",
        f"delay      {lag}{', removed' if found.lag_ms else ''}; polarity {'turned' if found.inverted else 'kept'}",
        f"level      {level}",
        f"length     {found.length_ms:+.1f} ms, {found.length_samples:+d} samples at {found.reference.rate} Hz",
        "",
        f"{'measure':14} {'value':>9}  better   best",
    ]
    for score in found.scores:
        better = "higher" if score.higher_is_better else "lower"
        best = "" if score.best is None else f"{score.best:.{score.decimals}f}"
        why = f"   ({score.why})" if score.why else ""
        lines.append(f"{score.heading:14} {score.shown:>9}  {better:6}  {best:>5}{why}".rstrip())
    lines += [f"not measured: {name} ({reason})" for name, reason in found.unmeasured.items()]
    return "\n".join(lines)


def _recording(recording: Recording, channels: str) -> str:
    mix = "mono"
    if recording.channels > 1:
        mix = f"{recording.channels} channels, " + ("averaged" if channels == "mono" else f"{channels} one taken")
    band = f"sound up to {recording.band_hz / 1000:.1f} kHz" if recording.band_hz else "silent"
    return f"{recording.path}: {recording.rate} Hz, {mix}, {recording.seconds:.3f} s, {band}"
