"""``info``, ``models`` and ``doctor``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.options import Json

if TYPE_CHECKING:
    from audiocodec.doctor import Check, Diagnosis

_INFO_EPILOG = """Examples:

  audiocodec info small.vpc

  audiocodec info small.vpc --json

  audiocodec info speech-16k --latency
"""
_DOCTOR_EPILOG = """Examples:

  audiocodec doctor

  audiocodec doctor --json
"""
_MODELS_EPILOG = """Example:

  audiocodec models --json
"""
_EXIT_UNSOUND = 9


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog=_INFO_EPILOG)(info)
    app.command(epilog=_MODELS_EPILOG)(models)
    app.command(epilog=_DOCTOR_EPILOG)(doctor)


def info(
    thing: Annotated[str, typer.Argument(metavar="FILE|MODEL", help="A .vpc file, or a model's name or folder.")],
    latency: Annotated[
        bool, typer.Option("--latency", help="Measure a model's on this machine: framing, overlap, computing, pipes.")
    ] = False,
    json: Json = False,
) -> None:
    """Describe a .vpc file or a model: rates, latency, size, cost.

    The latency of a model is what its algorithm must wait for. With --latency a live stream is coded frame by frame,
    and medians and 95th percentiles (p50, p95) are printed of encoding, of decoding, and of both with the waiting: end
    to end is of all samples, in packets of 1 frame. Then 5 s of noise go through
    `audiocodec encode - - | audiocodec decode - -` in real time, raw samples in pieces of 10 ms: through pipe is of all
    samples too, in packets of 2 frames, from when a sample's piece was written until it came out.
    """
    from audiocodec.describe import describe_thing

    _show(describe_thing(thing, latency), json)


def models(json: Json = False) -> None:
    """List the models that are installed."""
    from audiocodec.describe import describe_models

    found = describe_models()
    if json:
        _print_json(found)
    elif not found:
        print("no models are installed; pass --model PATH to other commands, or train one", file=sys.stderr)
    for entry in [] if json else found:
        print(f"{entry['name']:20} {entry['fingerprint']}  {entry['description']}")


def doctor(json: Json = False) -> None:
    """Say what is installed, what is broken and how to repair it. Takes some seconds."""
    from audiocodec.doctor import examine

    diagnosis = examine()
    if json:
        print(diagnosis.as_json())
    else:
        _print_diagnosis(diagnosis)
    if not diagnosis.sound:
        raise typer.Exit(_EXIT_UNSOUND)


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Python {diagnosis.python}, {diagnosis.platform}, {escape(diagnosis.device)}")
    console.print("formats: " + ", ".join(f"{k}{'' if ok else ' (missing)'}" for k, ok in diagnosis.formats.items()))
    console.print(f"entropy coder: {escape(diagnosis.entropy_coder)}")
    console.print("models: " + escape(", ".join(diagnosis.models) or diagnosis.models_problem))
    for group in dict.fromkeys(group for check in diagnosis.packages for group in check.groups):
        console.print(f"\n[bold]{group}[/bold]")
        for check in diagnosis.packages:
            if group in check.groups:
                console.print(_line(check))
    console.print("\nThe core is sound." if diagnosis.sound else "\n[red]The core is not sound.[/red]")


def _line(check: Check) -> str:
    from rich.markup import escape

    colour = {"ok": "green", "absent": "yellow", "broken": "red"}[check.state]
    head = f"  [{colour}]{check.state:7}[/{colour}] {check.name:18} {check.version or '':12}"
    if check.state == "ok":
        return head.rstrip()
    return f"{head} {escape(check.detail)}\n{'':10}remedy: {escape(check.remedy)}"


def _show(facts: dict[str, object], json: bool) -> None:
    if json:
        _print_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            shown: object = ", ".join(f"{name} {number}" for name, number in value.items())
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        print(f"{key.replace('_', ' '):24} {shown}")


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))
