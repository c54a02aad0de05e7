"""``encode`` and ``decode``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.jobs import run, say, warn
from audiocodec.cli.loading import Placing
from audiocodec.cli.options import (
    RAW_NAMES,
    Batch,
    Bitrate,
    Device,
    Force,
    Jobs,
    Levels,
    Mode,
    Model,
    OutDir,
    PacketFrames,
    Quiet,
    RawChoice,
    Runtime,
    RuntimeChoice,
    Stereo,
    StereoChoice,
)
from audiocodec.cli.picking import AUTO
from audiocodec.cli.places import audio_in, check_jobs, coded_in, plan, refuse_mixed_up
from audiocodec.cli.works import Decoding, Encoding
from audiocodec.errors import BitstreamError, UsageError

if TYPE_CHECKING:
    from audiocodec.reports import DecodeReport, EncodeReport, Report

VPC = ".vpc"

_ENCODE_EPILOG = """Examples:

  audiocodec encode speech.wav                        writes speech.vpc

  audiocodec encode song.flac --model speech-16k      by this model, whatever it holds

  audiocodec encode speech.wav small.vpc --bitrate 1.5

  audiocodec encode a.wav b.flac recordings/ --out-dir coded/     folders with all audio in them, side by side

  arecord -f S16_LE -r 16000 -t raw | audiocodec encode - - --format s16le --rate 16000 | nc host 5000

  arecord -f S16_LE -r 16000 | timeout 60 audiocodec encode - minute.vpc     ends after a minute, as by Ctrl-C
"""
_DECODE_EPILOG = """Examples:

  audiocodec decode small.vpc                         writes small.wav

  audiocodec decode small.vpc speech.flac

  audiocodec decode coded/ --out-dir decoded/ --jobs 2

  audiocodec decode coded/ --out-dir decoded/ --device cuda

  audiocodec decode small.vpc - | aplay

  nc -l 5000 | audiocodec decode - - --format s16le --rate 48000 | aplay -f S16_LE -r 48000
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
    raw: Annotated[
        RawChoice | None, typer.Option("--format", help="INPUT is samples without a header; give --rate as well.")
    ] = None,
    rate: Annotated[int | None, typer.Option("--rate", metavar="HZ", help="Of samples without a header.")] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, metavar="1|2", help="Of samples without a header; default: 1.")
    ] = None,
    packet_frames: PacketFrames = None,
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

    From pipe to pipe a packet goes out when its frames are complete, and costs 8 bytes beside what they take, 9 after
    five minutes. At the default rate of speech, of 3 kbps in files, streams have 7.0 kbps with 1 frame a packet, 5.0
    with 2, 4.3 with 3 and 3.4 with 10 (--packet-frames), and a sample waits for the rest of its packet, and 10 ms more.
    A --bitrate that is given holds for all of that, and chooses the level by it. The lowest level is expected to take
    4.9, 2.9, 2.2 and 1.2 kbps; where that is more than --bitrate, a note says so.

    WAV and raw samples from a pipe are encoded as they come, until it ends or a signal does (Ctrl-C, SIGTERM, SIGHUP):
    the .vpc is then finished and valid, and the exit code that of the signal; a second signal aborts. Of a file, an
    interrupted .vpc is removed.
    """
    files = plan(paths, out_dir, VPC, audio_in)
    refuse_mixed_up(
        files, lambda target: target.suffix.lower() not in (".wav", ".flac", ".mp3", ".ogg", ".opus", ".raw")
    )
    check_jobs(files, force, out_dir)
    placing = Placing.of(runtime.value, device, batch, len(files))
    samples = _samples(raw, rate, channels)
    work = Encoding(model, bitrate, levels, mode.value, stereo.value, force, placing, quiet, samples, packet_frames)

    def tell(report: EncodeReport, target: str) -> int:
        warn((*report.notes, *report.problems))
        say(encode_line(report), target, quiet)
        return _ended(report)

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
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Where OUTPUT names none: wav, flac, ogg, mp3. Or, whatever OUTPUT is called, of samples alone: "
            + ", ".join(RAW_NAMES)
            + ".",
        ),
    ] = "wav",
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate", min=8000, max=192_000, metavar="HZ", help="Of the audio; default: that of the original."
        ),
    ] = None,
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

    Samples without a header have the rate of the original too, or that of --rate, and its channels; the report names
    both. A pipe is decoded as it comes, until it ends or a signal does (Ctrl-C, SIGTERM, SIGHUP): what was decoded is
    then whole, and the exit code that of the signal; a second signal aborts.
    """
    name = extension.lower().lstrip(".")
    raw = name if name in RAW_NAMES else None
    files = plan(paths, out_dir, ".raw" if raw else f".{name}", coded_in)
    refuse_mixed_up(files, lambda target: target.suffix.lower() != VPC)
    check_jobs(files, force, out_dir)
    placing = Placing.of(runtime.value, device, batch, len(files))
    work = Decoding(model, subtype, force, placing, raw, rate)

    def tell(report: DecodeReport, target: str) -> int:
        warn((*report.notes, *report.problems), report.uncounted)
        say(decode_line(report), target, quiet)
        return _ended(report) or (BitstreamError.exit_code if report.problems else 0)

    run(files, work, tell, quiet, jobs)


def _samples(raw: RawChoice | None, rate: int | None, channels: int | None) -> tuple[str, int, int] | None:
    """What the options say of samples without a header. Raises UsageError where that is not enough."""
    if raw is None and (rate or channels):
        raise UsageError("--rate and --channels are of samples without a header; name their --format as well")
    if raw is None:
        return None
    if rate is None:
        raise UsageError(f"{raw.value} samples do not say at what rate they are; pass --rate HZ")
    return raw.value, rate, channels or 1


def _ended(report: Report) -> int:
    """0, unless a signal ended a live stream: then whatever else there is to do is left undone."""
    if report.ended_by is not None:
        raise typer.Exit(128 + report.ended_by)
    return 0


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
