"""Options that several commands share, and what they mean."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

DEFAULT_MODEL = "speech-16k"  # of evaluate; encode picks one


class Mode(str, Enum):
    """How packets are coded."""

    range = "range"
    raw = "raw"


class StereoChoice(str, Enum):
    """How two channels are coded."""

    auto = "auto"
    mid_side = "mid-side"
    independent = "independent"


class RawChoice(str, Enum):
    """Samples without a header."""

    u8 = "u8"
    s16le = "s16le"
    s24le = "s24le"
    s32le = "s32le"
    f32le = "f32le"
    f64le = "f64le"


RAW_NAMES = tuple(choice.value for choice in RawChoice)
Stereo = Annotated[
    StereoChoice,
    typer.Option(
        "--stereo",
        help="Two channels by themselves, as mid and side, or whichever is cheaper; from pipe to pipe by themselves.",
    ),
]
Model = Annotated[
    str, typer.Option("--model", "-m", metavar="auto|NAME|PATH", help="A model's name or its folder, or auto: by ear.")
]
Bitrate = Annotated[
    float | None,
    typer.Option(
        "--bitrate",
        "-b",
        metavar="KBPS",
        help="At most so many kbps a channel, as expected of all that is written; default: 3, or 6 of a 48 kHz model, "
        "and more from pipe to pipe (see above).",
    ),
]
Levels = Annotated[
    int | None, typer.Option("--levels", "-l", metavar="N", help="The rate by its level count instead of --bitrate.")
]
PacketFrames = Annotated[
    int | None,
    typer.Option(
        "--packet-frames",
        min=1,
        max=1000,
        metavar="N",
        help="Frames of 20 ms in a packet; default: 400 in files (of which blocks of 64 count), 2 from pipe to pipe.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no report; errors only.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
OutDir = Annotated[
    str | None, typer.Option("--out-dir", "-d", metavar="FOLDER", help="Write here; allows any number of inputs.")
]

Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="cpu, or what torch knows: cuda computes many files at once.")
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", min=1, metavar="N", help="Files computed at once by torch; default: 32 on a GPU, else 1."),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        metavar="N",
        help="Files done side by side, each in a process; default: one a core, where they are long enough to pay.",
    ),
]


Threads = Annotated[int, typer.Option("--threads", min=1, metavar="N", help="CPU threads of torch.")]


def set_threads(threads: int) -> None:
    """Set the number of CPU threads of torch, where it is installed: here alone, never in the library."""
    from audiocodec.runtime.choose import installed

    if installed("torch"):
        import torch

        torch.set_num_threads(threads)


class RuntimeChoice(str, Enum):
    """What runs the network."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


Runtime = Annotated[
    RuntimeChoice,
    typer.Option("--runtime", help="ONNX Runtime, torch, or the first of them that is there and has the model."),
]
