"""The tree of commands."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

# Typer joins the lines of a paragraph; a blank line keeps them apart.
_EXIT_CODES = """Examples:

  audiocodec encode speech.wav                       writes speech.vpc

  audiocodec encode speech.wav small.vpc --bitrate 1.5

  audiocodec decode small.vpc speech.wav

  audiocodec info small.vpc

Exit codes:

  0 success; 1 the operating system refused; 2 wrong usage; 3 damaged or foreign .vpc (what can be decoded is written);
4 unusable audio; 5 model missing or not the file's; 6 output exists or cannot be written; 7 recipe or config wrong;
8 training or evaluation data missing; 9 optional package missing or broken; 70 a fault of our own; 130 interrupted;
141 reader of a pipe gone; 143 terminated. Interrupted and terminated live streams are whole up to there.
"""

app = typer.Typer(
    name="audiocodec",
    help="Shrink recordings about a hundredfold with a neural codec, and bring them back.",
    epilog=_EXIT_CODES,
    rich_markup_mode=None,  # plain help: rendering it by rich took as long again as everything else
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from audiocodec import __version__

        print(f"audiocodec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if isinstance(ctx.obj, dict):
        ctx.obj["debug"] = debug


# The modules in the order of --help, and what commands each has.
_COMMANDS = {
    "transcoding": ("encode", "decode"),
    "calling": ("call",),
    "inspection": ("info", "models", "doctor"),
    "learning": ("train", "data"),
    "codebooks": ("codebook",),
    "exporting": ("export",),
    "evaluating": ("evaluate",),
    "comparing": ("compare", "blind", "score"),
    "demoing": ("demo",),
}
_registered: set[str] = set()


def register(arguments: Sequence[str]) -> None:
    """Give ``app`` the commands of the module that the command line ``arguments`` name, or all of them.

    Reading what the others take is a tenth of what encoding a second of audio costs, all told.
    """
    named = next((word for word in arguments if not word.startswith("-")), None)
    homes = [module for module, commands in _COMMANDS.items() if named in commands] or list(_COMMANDS)
    for module in homes:
        if module not in _registered:
            _registered.add(module)
            import_module(f"audiocodec.cli.{module}").register(app)
