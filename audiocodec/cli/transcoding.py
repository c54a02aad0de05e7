"""``encode`` and ``decode``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from audiocodec.cli.options import (
    Bitrate,
    Force,
    Levels,
    Mode,
    Model,
    OutDir,
    Quiet,
    Runtime,
    RuntimeChoice,
    Stereo,
    StereoChoice,
)
from audiocodec.cli.picking import AUTO, Picker
from audiocodec.cli.progress import Update, progress_bar
from audiocodec.errors import AudiocodecError, BitstreamError, UsageError

if TYPE_CHECKING:
    from audiocodec.transcode import DecodeReport, EncodeReport

VPC = ".vpc"
R = TypeVar("R")
_MOST_WARNINGS = 5

_ENCODE_EPILOG = """Examples:

  audiocodec encode speech.wav                        writes speech.vpc

  audiocodec encode song.flac --model speech-16k      by this model, whatever it holds

  audiocodec encode speech.wav small.vpc --bitrate 1.5

  audiocodec encode a.wav b.flac c.mp3 --out-dir coded/

  arecord -f S16_LE -r 16000 | audiocodec encode - - > live.vpc
"""
_DECODE_EPILOG = """Examples:

  audiocodec decode small.vpc                         writes small.wav

  audiocodec decode small.vpc speech.flac

  audiocodec decode coded/*.vpc --out-dir decoded/

  audiocodec decode small.vpc - | aplay
"""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog=_ENCODE_EPILOG)(encode)
    app.command(epilog=_DECODE_EPILOG)(decode)


def encode(
    paths: Annotated[list[str], typer.Argument(metavar="INPUT [OUTPUT]", help="Audio file, or - for standard input.")],
    out_dir: OutDir = None,
    bitrate: Bitrate = None,
    levels: Levels = None,
    model: Model = AUTO,
    mode: Annotated[Mode, typer.Option("--mode", help="Entropy coded, or plain numbers.")] = Mode.range,
    stereo: Stereo = StereoChoice.auto,
    force: Force = False,
    runtime: Runtime = RuntimeChoice.auto,
    quiet: Quiet = False,
) -> None:
    """Encode audio to .vpc.

    Reads WAV, FLAC, Ogg Vorbis, Opus and MP3, 8 to 192 kHz, mono and stereo. Without OUTPUT the file is written beside
    the input.

    By default the model is picked by what the recording holds, speech or music, among those installed for it, and the
    report says which and why; where none is, one for the other is taken, with a note. Of a long file the start, the
    middle and the end are listened to, of a pipe the first 5 s; from pipe to pipe nothing waits for that, and it
    counts as speech.
    """
    jobs = plan(paths, out_dir, VPC)
    refuse_mixed_up(jobs, lambda target: target.suffix.lower() not in (".wav", ".flac", ".mp3", ".ogg", ".opus"))
    check_jobs(jobs, force)
    from audiocodec.audio import AudioReader
    from audiocodec.transcode import encode_file

    pick = Picker(model, bitrate, levels, quiet, runtime.value)

    def work(source: str, target: str, update: Update) -> EncodeReport:
        with AudioReader(source) as reader:
            codec, rate, picked = pick(reader, target)
            report = encode_file(
                codec, reader, target, rate, mode=mode.value, stereo=stereo.value, force=force, progress=update
            )
            return replace(report, picked=picked)

    def tell(report: EncodeReport, target: str) -> int:
        warn(report.problems)
        say(encode_line(report), target, quiet)
        return 0

    run(jobs, work, tell, quiet)


def decode(
    paths: Annotated[list[str], typer.Argument(metavar="INPUT [OUTPUT]", help=".vpc file, or - for standard input.")],
    out_dir: OutDir = None,
    subtype: Annotated[
        str | None,
        typer.Option(
            "--subtype", metavar="NAME", help="Sample format: PCM_16, PCM_24, FLOAT, ... (libsndfile's names)."
        ),
    ] = None,
    extension: Annotated[
        str, typer.Option("--format", metavar="EXTENSION", help="Format where OUTPUT names none: wav, flac, ogg, mp3.")
    ] = "wav",
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME|PATH", help="Default: the model that the file names.")
    ] = None,
    force: Force = False,
    runtime: Runtime = RuntimeChoice.auto,
    quiet: Quiet = False,
) -> None:
    """Decode .vpc to audio.

    The audio has the rate, the channels and the length that were encoded; the extension of OUTPUT chooses its format.
    From a damaged file everything that can be decoded is written, and the exit code is 3.
    """
    jobs = plan(paths, out_dir, "." + extension.lower().lstrip("."))
    refuse_mixed_up(jobs, lambda target: target.suffix.lower() != VPC)
    check_jobs(jobs, force)
    from audiocodec.models import finder
    from audiocodec.transcode import decode_file

    find_codec = finder(model, runtime.value)

    def work(source: str, target: str, update: Update) -> DecodeReport:
        return decode_file(find_codec, source, target, subtype=subtype, force=force, progress=update)

    def tell(report: DecodeReport, target: str) -> int:
        warn(report.problems)
        say(decode_line(report), target, quiet)
        return BitstreamError.exit_code if report.problems else 0

    run(jobs, work, tell, quiet)


def plan(paths: list[str], out_dir: str | None, suffix: str) -> list[tuple[str, str]]:
    """Pairs of (input, output) from what stood on the command line.

    Raises:
        UsageError: more than two paths without a folder, or two outputs of one name.
    """
    if out_dir is None:
        if len(paths) > 2:
            raise UsageError(f"{len(paths)} files named; for several inputs pass --out-dir FOLDER")
        source = paths[0]
        beside = "-" if source == "-" else str(Path(source).with_suffix(suffix))
        return [(source, paths[1] if len(paths) == 2 else beside)]
    if "-" in paths:
        raise UsageError("standard input has no name to use in --out-dir; write `- OUTPUT` instead")
    jobs = [(source, str(Path(out_dir) / Path(source).with_suffix(suffix).name)) for source in paths]
    seen: dict[str, str] = {}
    for source, target in jobs:
        if target in seen:
            raise UsageError(f"{seen[target]} and {source} would both become {target}; encode them one at a time")
        seen[target] = source
    return jobs


def refuse_mixed_up(jobs: list[tuple[str, str]], plausible: Callable[[Path], bool]) -> None:
    """Refuse an output whose name is that of an input: ``encode a.wav b.wav`` would replace a recording by a .vpc."""
    for _, target in jobs:
        if target != "-" and not plausible(Path(target)):
            raise UsageError(f"{target} does not look like an output; for several inputs pass --out-dir FOLDER")
        if target == "-" and sys.stdout.isatty():
            raise UsageError("standard output is a terminal; name an output file, or pipe it somewhere")


def check_jobs(jobs: list[tuple[str, str]], force: bool) -> None:
    """Refuse outputs that exist or cannot be, before a model is loaded."""
    from audiocodec.output import check_output

    for source, target in jobs:
        check_output(target, force, source)


def run(
    jobs: list[tuple[str, str]], work: Callable[[str, str, Update], R], tell: Callable[[R, str], int], quiet: bool
) -> None:
    """Do one job after the other; of several, one that fails does not stop the rest.

    Raises:
        AudiocodecError: the only job failed.
        typer.Exit: with the exit code of the first job that failed, if one did.
    """
    codes = []
    for number, (source, target) in enumerate(jobs, 1):
        title = source if len(jobs) == 1 else f"{number}/{len(jobs)} {source}"
        try:
            with progress_bar(title, quiet) as update:
                report = work(source, target, update)
            codes.append(tell(report, target))  # once the bar is gone, which takes over both outputs
        except AudiocodecError as error:
            if len(jobs) == 1:
                raise
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            codes.append(error.exit_code)
    failed = [code for code in codes if code]
    if len(jobs) > 1 and failed:
        print(f"error: {len(failed)} of {len(jobs)} files failed", file=sys.stderr, flush=True)
    if failed:
        raise typer.Exit(failed[0])


def warn(problems: tuple[str, ...]) -> None:
    """Name the first problems on standard error, and count the rest."""
    for problem in problems[:_MOST_WARNINGS]:
        print(f"warning: {problem}", file=sys.stderr)
    if len(problems) > _MOST_WARNINGS:
        print(f"warning: and {len(problems) - _MOST_WARNINGS} more", file=sys.stderr)


def say(line: str, target: str, quiet: bool) -> None:
    """Report a job that is done, on standard error where standard output carries the data."""
    if not quiet:
        print(line, file=sys.stderr if target == "-" else sys.stdout, flush=True)


def encode_line(report: EncodeReport) -> str:
    """A report in words."""
    return (
        f"{report.source} -> {report.target}: {report.duration_s:.2f} s, {size(report.bytes_in)} -> "
        f"{size(report.bytes_out)}, {report.written_kbps:.2f} kbps, {report.ratio:.0f} times smaller, "
        f"{report.speed:.0f}x real time{', ' * bool(report.picked)}{report.picked}"
    )


def decode_line(report: DecodeReport) -> str:
    """A report in words."""
    stereo = "mono" if report.channels == 1 else "stereo"
    return (
        f"{report.source} -> {report.target}: {report.duration_s:.2f} s, {report.sample_rate} Hz {stereo}, "
        f"{size(report.bytes_in)} -> {size(report.bytes_out)}, {report.speed:.0f}x real time"
    )


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"
