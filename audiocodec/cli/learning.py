"""``train`` and ``data pack``."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from audiocodec.cli.options import Quiet
from audiocodec.cli.progress import count_bar

_TRAIN_EPILOG = """Examples:

  audiocodec train recipes/smoke.yaml

  audiocodec train recipes/librispeech.yaml --out runs/mine --minutes 60

  audiocodec train recipes/librispeech.yaml --out runs/mine --resume

  audiocodec train recipes/smoke.yaml --set optimiser.learning_rate=1e-3
"""
_PACK_EPILOG = """Example:

  audiocodec data pack recordings/ -o shards/ --rate 16000 --codec flac --shard-mb 60
"""


class ShardCodec(str, Enum):
    """How recordings are stored in shards."""

    flac = "flac"
    opus = "opus"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog=_TRAIN_EPILOG)(train)
    data = typer.Typer(help="Prepare training data.", no_args_is_help=True, rich_markup_mode=None)
    data.command("pack", epilog=_PACK_EPILOG)(pack)
    # A second command keeps `pack` a word to type: typer folds a group of one command into its parent.
    data.callback()(_data)
    app.add_typer(data, name="data")


def _data() -> None:
    """Prepare training data."""


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")],
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FOLDER", help="Default: runs/ and the recipe's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; repeatable.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda; default: a GPU if there is one.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; default: torch's.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="End after this time.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="End after this many steps.")] = None,
    init: Annotated[
        str | None, typer.Option("--init", metavar="FOLDER", help="Start from the weights of this model.")
    ] = None,
) -> None:
    """Train a model by a recipe.

    Ctrl-C ends after the step at hand, with a checkpoint; --resume continues exactly.
    """
    from audiocodec.train.loop import train_from_recipe

    report = train_from_recipe(
        recipe,
        overrides=overrides or (),
        out_dir=out,
        resume=resume,
        device=device,
        threads=threads,
        minutes=minutes,
        steps=steps,
        init=init,
    )
    raise typer.Exit(report.exit_code)


def pack(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A folder of recordings, searched recursively.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="SHARDS", help="The folder to write shards to.")],
    rate: Annotated[int, typer.Option("--rate", min=8000, max=192000, help="Sampling rate in Hz.")] = 16000,
    codec: Annotated[ShardCodec, typer.Option("--codec", help="flac is lossless; opus is 64 kbps.")] = ShardCodec.flac,
    shard_mb: Annotated[float, typer.Option("--shard-mb", help="Size of a shard in megabytes.")] = 60.0,
    workers: Annotated[int, typer.Option("--workers", min=1)] = 2,
    quiet: Quiet = False,
) -> None:
    """Pack a folder of recordings into shards that travel well."""
    from audiocodec.train.pack import pack_folder

    with count_bar("packing", quiet) as update:
        report = pack_folder(
            Path(folder),
            Path(out),
            rate=rate,
            codec=codec.value,
            shard_mb=shard_mb,
            workers=workers,
            progress=lambda done, total: update(done, total, ""),
        )
    for reason in report.skipped[:5]:
        print(f"warning: skipped {reason}", file=sys.stderr)
    if not quiet:
        skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
        print(
            f"{out}: {report.recordings} recordings, {report.hours:.2f} h, "
            f"{report.shards} shards, {report.bytes / 1e6:.1f} MB{skipped}"
        )
