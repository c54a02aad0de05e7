"""``export``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from audiocodec.cli.options import Force, Quiet

_EPILOG = """Examples:

  audiocodec export runs/mine/model                    so that encode and decode run it without torch

  audiocodec export speech-16k --out graphs/           for other programs, weights included
"""


class Format(str, Enum):
    """Of the graphs."""

    onnx = "onnx"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(export)


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its folder.")],
    _format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.onnx,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FOLDER", help="Default: into the model's own folder.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write a model's encoder step, decoder step and bottleneck as ONNX graphs, state as inputs and outputs.

    In the model's own folder they lie over its weights, and encode and decode use them from then on. With --out they
    carry weights of their own; docs/onnx.md says what goes in and out.
    """
    from audiocodec.errors import MissingExtraError
    from audiocodec.models import resolve
    from audiocodec.runtime.choose import installed

    for package in ("torch", "onnx"):
        if not installed(package):
            raise MissingExtraError(f"exporting needs {package}; pip install 'audiocodec[export]'")
    from audiocodec.export.folder import export_model

    folder = resolve(model)
    for path in export_model(folder, None if out is None else Path(out), force):
        if not quiet:
            print(f"{path}  {path.stat().st_size / 1e3:.0f} kB")
