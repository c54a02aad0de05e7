"""``evaluate``: models and peers over recordings, by recipe or by options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audiocodec.cli.options import DEFAULT_MODEL, Force, Json, Quiet, set_threads
from audiocodec.cli.progress import count_bar

if TYPE_CHECKING:
    from audiocodec.evaluate.recipe import EvaluationRecipe
    from audiocodec.evaluate.results import Results

_EPILOG = """Examples:

  audiocodec evaluate recordings/

  audiocodec evaluate recordings/ --bitrate 1.5 --bitrate 3 --peer opus:6,12 --out results/

  audiocodec evaluate recordings/ --peer opus --no-model --json

  audiocodec evaluate recipes/evaluate_speech.yaml --out results/ --resume

  audiocodec evaluate recipes/evaluate_speech.yaml --set files.folder=recordings/ --set workers=2

  audiocodec evaluate results/ --blind listening-test/

Peers, each with its rates after a colon (kbps; bits a second for codec2, quality for vorbis): opus, opus-audio,
opus-cbr, codec2, lc3, lyra, amr-wb, aac, he-aac, mp3, vorbis, encodec, dac, mimi, snac. Any other codec is a pair of
commands in a recipe.

Measures of speech: pesq_wb, pesq_nb, stoi, estoi, visqol_speech, dnsmos, plcmos, distillmos, speaker, wer (with
transcripts); of music: visqol_audio; of both: mel, stft, lsd, si_sdr.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(evaluate)


def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="RECIPE|FOLDER", help="A recipe, a folder of recordings, or one of results.")
    ],
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME|PATH")] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="Evaluate the peers alone.")] = False,
    bitrate: Annotated[list[float] | None, typer.Option("--bitrate", "-b", metavar="KBPS", help="Repeatable.")] = None,
    levels: Annotated[list[int] | None, typer.Option("--levels", "-l", metavar="N", help="Repeatable.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="NAME[:RATE,...]", help="Such as opus:6,12 or lyra; repeatable."),
    ] = None,
    lyra: Annotated[str | None, typer.Option("--lyra", metavar="FOLDER", help="Lyra v2's TFLite networks.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="speech|music", help="Default: speech.")] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Default: all of the domain.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; repeatable.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Keep results here; of a recipe: runs/evaluate-NAME."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the evaluation in the folder.")] = False,
    markdown: Annotated[str | None, typer.Option("--markdown", metavar="FILE", help="Write the table here.")] = None,
    blind: Annotated[
        str | None, typer.Option("--blind", metavar="FOLDER", help="Make a listening test with hidden names here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; more than one blurs speeds.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure models beside other codecs: rates as written, quality, speed; a report and a listening test.

    An evaluation that is kept can be interrupted and goes on with --resume; nothing is computed twice.
    """
    from audiocodec.errors import UsageError
    from audiocodec.evaluate.finish import check_extras, finish
    from audiocodec.evaluate.results import is_results, read_results

    set_threads(1)
    check_extras(markdown, blind, force)
    options = {
        "--model": model,
        "--no-model": no_model,
        "--bitrate": bitrate,
        "--levels": levels,
        "--peer": peer,
        "--domain": domain,
        "--metric": metric,
    }
    if is_results(Path(target)):
        given = {"--out": out, "--resume": resume, "--set": overrides, "--lyra": lyra, "--workers": workers, **options}
        if wrong := [name for name, value in given.items() if value]:
            raise UsageError(f"{target} holds results, which {wrong[0]} does not change; pass a recipe or recordings")
        results = read_results(Path(target))
        seed = results.environment.get("seed", 0)
        finish(results, markdown=markdown, blind=blind, force=force, seed=seed)
        _show(results, json, quiet)
        return
    recipe, from_file = _recipe(target, options, overrides or [], lyra, workers)
    place = out if out is not None or not from_file else f"runs/evaluate-{recipe.name}"
    if blind is not None and place is None:
        raise UsageError("a listening test needs the decoded audio; keep it with --out FOLDER")
    results = _run(recipe, place, resume, force, quiet)
    finish(results, markdown=markdown, blind=blind, force=force, listen=recipe.listen, seed=recipe.seed)
    _show(results, json, quiet)


def _recipe(
    target: str, options: dict[str, Any], overrides: list[str], lyra: str | None, workers: int | None
) -> tuple[EvaluationRecipe, bool]:
    """The recipe in a file, or the one that options stand for; and whether it was a file."""
    from audiocodec.config import load_settings, parse
    from audiocodec.errors import ConfigError, UsageError
    from audiocodec.evaluate.recipe import EvaluationRecipe

    if Path(target).is_file():
        given = [name for name, value in options.items() if value]
        if given:
            raise UsageError(f"{given[0]} goes with a folder of recordings; change a recipe with --set KEY=VALUE")
        more = ([f"lyra={lyra}"] if lyra else []) + ([f"workers={workers}"] if workers else [])
        return load_settings(EvaluationRecipe, Path(target), [*overrides, *more]), True
    if overrides:
        raise UsageError("--set goes with a recipe; a folder of recordings has options of its own")
    ours = {
        "model": options["--model"] or DEFAULT_MODEL,
        "bitrates": options["--bitrate"] or [],
        "levels": options["--levels"] or [],
    }
    settings = {
        "name": Path(target).resolve().name or "evaluation",
        "domain": options["--domain"] or "speech",
        "files": {"folder": target},
        "models": [] if options["--no-model"] else [ours],
        "peers": options["--peer"] or [],
        "lyra": lyra,
        "metrics": options["--metric"] or "all",
        "workers": workers or 1,
    }
    try:
        return parse(EvaluationRecipe, settings, "options"), False
    except ConfigError as error:
        raise UsageError(str(error)) from None


def _run(recipe: EvaluationRecipe, place: str | None, resume: bool, force: bool, quiet: bool) -> Results:
    from rich.markup import escape

    from audiocodec.evaluate.run import evaluate as run

    with count_bar("evaluating", quiet) as update:

        def progress(done: int, total: int, name: str) -> None:
            update(done, total, escape(name))

        return run(recipe, place, resume=resume, force=force, progress=progress)


def _show(results: Results, json: bool, quiet: bool) -> None:
    if json:
        import json as writer

        from audiocodec.evaluate.report.table import notes

        print(writer.dumps(results.summary, indent=2))
        for note in [] if quiet else notes(results).splitlines():
            print(f"warning: {note}", file=sys.stderr)
    elif not quiet:
        from rich.console import Console

        from audiocodec.evaluate.report.table import rich_table

        # In a pipe, rich would cut the table to 80 columns
        Console(width=None if sys.stdout.isatty() else 220).print(rich_table(results))
        if results.folder is not None:
            print(f"results in {results.folder}: report.html, table.md, files.csv, summary.json")
