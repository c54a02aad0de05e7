"""``encode`` and ``decode``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.jobs import run, say, warn
from audiocodec.cli.loading import Placing
from audiocodec.cli.options import (
    Batch,
    Bitrate,
    Device,
    Force,
    Jobs,
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
from audiocodec.cli.picking import AUTO
from audiocodec.cli.places import audio_in, check_jobs, coded_in, plan, refuse_mixed_up
from audiocodec.cli.works import Decoding, Encoding
from audiocodec.errors import BitstreamError

if TYPE_CHECKING:
    from audiocodec.reports import DecodeReport, EncodeReport

VPC = ".vpc"

_ENCODE_EPILOG = """Examples:

  audiocodec encode speech.wav                        writes speech.vpc

  audiocodec encode song.flac --model speech-16k      by this model, whatever it holds

  audiocodec encode speech.wav small.vpc --bitrate 1.5

  audiocodec encode a.wav b.flac recordings/ --out-dir coded/     folders with all audio in them, side by side

  arecord -f S16_LE -r 16000 | audiocodec encode - - > live.vpc
"""
_DECODE_EPILOG = """Examples:

  audiocodec decode small.vpc                         writes small.wav

  audiocodec decode small.vpc speech.flac

  audiocodec decode coded/ --out-dir decoded/ --jobs 2

  audiocodec decode coded/ --out-dir decoded/ --device cuda

  audiocodec decode small.vpc - | aplay
"""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command(epilog=_ENCODE_EPILOG)(encode)
    app.command(epilog=_DECODE_EPILOG)(decode)


def encode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT [OUTPUT]", help="Audio file, or - for standard input; with --out-dir also folders."
        ),
    ],
    out_dir: OutDir = None,
    jobs: Jobs = None,
    bitrate: Bitrate = None,
    levels: Levels = None,
    model: Model = AUTO,
    mode: Annotated[Mode, typer.Option("--mode", help="Entropy coded, or plain numbers.")] = Mode.range,
    stereo: Stereo = StereoChoice.auto,
    force: Force = False,
    runtime: Runtime = RuntimeChoice.auto,
    device: Device = "cpu",
    batch: Batch = None,
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
    files = plan(paths, out_dir, VPC, audio_in)
    refuse_mixed_up(files, lambda target: target.suffix.lower() not in (".wav", ".flac", ".mp3", ".ogg", ".opus"))
    check_jobs(files, force, out_dir)
    placing = Placing.of(runtime.value, device, batch, len(files))
    work = Encoding(model, bitrate, levels, mode.value, stereo.value, force, placing, quiet)

    def tell(report: EncodeReport, target: str) -> int:
        warn(report.problems)
        say(encode_line(report), target, quiet)
        return 0

    run(files, work, tell, quiet, jobs)


def decode(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT [OUTPUT]", help=".vpc file, or - for standard input; with --out-dir also folders."
        ),
    ],
    out_dir: OutDir = None,
    jobs: Jobs = None,
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
    device: Device = "cpu",
    batch: Batch = None,
    quiet: Quiet = False,
) -> None:
    """Decode .vpc to audio.

    The audio has the rate, the channels and the length that were encoded; the extension of OUTPUT chooses its format.
    From a damaged file everything that can be decoded is written, and the exit code is 3.
    """
    files = plan(paths, out_dir, "." + extension.lower().lstrip("."), coded_in)
    refuse_mixed_up(files, lambda target: target.suffix.lower() != VPC)
    check_jobs(files, force, out_dir)
    placing = Placing.of(runtime.value, device, batch, len(files))
    work = Decoding(model, subtype, force, placing)

    def tell(report: DecodeReport, target: str) -> int:
        warn(report.problems)
        say(decode_line(report), target, quiet)
        return BitstreamError.exit_code if report.problems else 0

    run(files, work, tell, quiet, jobs)


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
