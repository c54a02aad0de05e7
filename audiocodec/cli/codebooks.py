"""``codebook``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from audiocodec.cli.options import Force, Quiet, Threads, set_threads

_EPILOG = """Examples:

  audiocodec codebook runs/mine/best --size 1024 --data speech/ -o models/mine

  audiocodec codebook models/mine --size 64 --size 256 --size 4096 --data speech/ -o models/three-rates

  audiocodec codebook models/mine --size 256 --data calls/ -o models/call-centre --minutes 30

  audiocodec encode in.wav out.vpc --model models/three-rates --levels 256
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(codebook)


def codebook(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name or path of a model trained by VP.")],
    sizes: Annotated[
        list[int], typer.Option("--size", min=2, max=65535, help="Words of a codebook; repeatable, one rate each.")
    ],
    data: Annotated[
        list[str], typer.Option("--data", metavar="DIR", help="Recordings: folder, list or shards; repeatable.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="NEW", help="Folder of the new model.")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Audio to take from the recordings.")] = 60.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the audio, and where words start.")] = 0,
    fit_seconds: Annotated[float, typer.Option("--fit-seconds", min=1, help="Time to fit entropy tables in.")] = 120.0,
    cache: Annotated[
        str | None, typer.Option("--cache", metavar="DIR", help="Keep decoded recordings here for the next time.")
    ] = None,
    force: Force = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Make a model with other codebooks from a network that was trained by vector perturbation.

    The network stays as it is. Sizes choose bitrates, which encode finds by --bitrate or --levels; recordings choose
    what the words are good at. Nothing is entered in an index: name the new model by its path.
    """
    set_threads(threads)
    from audiocodec.models import resolve
    from audiocodec.train.codebook import compile_codebooks
    from audiocodec.train.entropyfit import FitSettings

    def tell(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    made = compile_codebooks(
        resolve(model),
        Path(out),
        sizes,
        [Path(place) for place in data],
        minutes=minutes,
        seed=seed,
        force=force,
        cache=None if cache is None else Path(cache),
        fit=FitSettings(steps=1_000_000, seconds=fit_seconds),
        tell=tell,
    )
    if quiet:
        return
    for size, row in made.rates.items():
        kbps, mean, raw = (row[name] / 1000 for name in ("file_bps", "mean_file_bps", "mean_raw_file_bps"))
        print(f"--levels {size:<6} {kbps:.2f} kbps  (mean {mean:.2f}, raw {raw:.2f})")
    print(f"{made.folder}: model {made.fingerprint.hex()}; pass --model {made.folder}")
