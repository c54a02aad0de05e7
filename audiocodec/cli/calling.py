"""``call``: two sides speak with each other over UDP."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.options import (
    DEFAULT_MODEL,
    Bitrate,
    Force,
    Json,
    Levels,
    Quiet,
    Runtime,
    RuntimeChoice,
    set_threads,
)
from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.live.ends import Microphone, Speaker
    from audiocodec.live.report import CallReport
    from audiocodec.live.settings import CallSettings

_EPILOG = """Examples:

  audiocodec call --listen 5004                          waits for somebody

  audiocodec call --connect host.example:5004            speaks with whoever waits there

  audiocodec call --connect 192.0.2.7:5004 --redundancy 2 --bitrate 2

  audiocodec call --listen 5004 --in talk.wav --out heard.wav --duration 30     without sound devices
"""
_ANSWER_S = 15.0  # how long a caller waits


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(call)


def call(
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="[HOST:]PORT", help="Wait here to be called; any host by default.")
    ] = None,
    connect: Annotated[
        str | None, typer.Option("--connect", metavar="HOST:PORT", help="Call the one who listens there.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME|PATH", help="The same one on both sides.")
    ] = DEFAULT_MODEL,
    bitrate: Bitrate = None,
    levels: Levels = None,
    frames: Annotated[
        int, typer.Option("--frames", min=1, max=3, help="In a packet: fewer headers, a frame more of delay each.")
    ] = 1,
    redundancy: Annotated[
        int,
        typer.Option(
            "--redundancy", min=0, max=15, metavar="N", help="Send the N frames before once more, at the lowest rate."
        ),
    ] = 0,
    delay_ms: Annotated[
        float | None, typer.Option("--delay-ms", min=0.0, max=2000.0, help="Of the jitter buffer; default: adaptive.")
    ] = None,
    least_delay_ms: Annotated[
        float, typer.Option("--min-delay-ms", min=0.0, max=2000.0, help="The shortest that it adapts to.")
    ] = 20.0,
    most_delay_ms: Annotated[
        float, typer.Option("--max-delay-ms", min=20.0, max=2000.0, help="The longest that it adapts to.")
    ] = 400.0,
    spoken: Annotated[
        str | None, typer.Option("--in", metavar="FILE", help="Speak this recording instead of the microphone.")
    ] = None,
    heard: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Record what is heard instead of playing it.")
    ] = None,
    microphone: Annotated[
        str | None, typer.Option("--microphone", metavar="NAME", help="Sound device, by name or number.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option("--speaker", metavar="NAME", help="Sound device, by name or number.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", min=0.1, metavar="SECONDS", help="Hang up after so long.")
    ] = None,
    runtime: Runtime = RuntimeChoice.auto,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Speak with another side that runs the same, both ways at once, over UDP.

    Both sides need the same model, each chooses its own rate. A recording that is over, --duration or Ctrl-C ends the
    call on both sides. Nothing is encrypted: for the open internet use a tunnel (WireGuard, ssh -w).
    """
    place = address(listen, connect)
    from audiocodec.cli.call_view import watching
    from audiocodec.codec import load
    from audiocodec.live.line import Line, talk
    from audiocodec.live.session import Session
    from audiocodec.live.settings import CallSettings

    codec = load(model, runtime=runtime.value)
    if codec.runtime.name == "torch":  # importing it takes seconds that ONNX Runtime need not wait for
        set_threads(1)
    most_ms = max(most_delay_ms, least_delay_ms, delay_ms or 0.0)
    delay_s = None if delay_ms is None else delay_ms / 1000
    rate = codec.choose_rate(bitrate, levels)
    settings = CallSettings(rate, frames, redundancy, delay_s, least_delay_ms / 1000, most_ms / 1000)
    with contextlib.ExitStack() as closing:
        line = Line(connect=place) if connect else Line(listen=place)
        closing.callback(line.close)
        mouth, ear = _ends(closing, codec.sample_rate, spoken, heard, microphone, speaker, force)
        session = Session(codec, settings, call=line.peer)
        _warm_up(codec, settings)
        if not quiet and not connect:
            print(f"listening on port {line.port}; Ctrl-C ends", file=sys.stderr, flush=True)
        watch = closing.enter_context(watching(session, quiet))
        wait_s = _ANSWER_S if connect else None
        report = talk(line, session, mouth, ear, duration_s=duration, wait_s=wait_s, watch=watch)
    _tell(report, json, quiet)


def _tell(report: CallReport, as_json: bool, quiet: bool) -> None:
    if as_json:
        import json

        print(json.dumps(report.as_dict(), indent=2))
    elif not quiet:
        print(report.line())


def address(listen: str | None, connect: str | None) -> tuple[str, int]:
    """Host (empty for any) and port of whichever option is given.

    Raises:
        UsageError: both or none are given, or it names no port.
    """
    if (listen is None) == (connect is None):
        raise UsageError("give --listen PORT to be called, or --connect HOST:PORT to call")
    text = listen or connect or ""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(f"{text!r} names no port; give {'[HOST:]PORT' if connect is None else 'HOST:PORT'}")
    if connect is not None and (not host or int(port) == 0):
        raise UsageError(f"{text!r} names nobody to call; give HOST:PORT")
    return host, int(port)


def _ends(
    closing: contextlib.ExitStack,
    sample_rate: int,
    spoken: str | None,
    heard: str | None,
    microphone: str | None,
    speaker: str | None,
    force: bool,
) -> tuple[Microphone, Speaker]:
    if (spoken and microphone) or (heard and speaker):
        raise UsageError("--in stands in for --microphone, and --out for --speaker; give one of each")
    from audiocodec.live.ends import FileMicrophone, FileSpeaker
    from audiocodec.output import check_output

    mouth: Microphone
    ear: Speaker
    if heard is not None:
        check_output(heard, force, spoken)
        ear = closing.enter_context(FileSpeaker(heard, sample_rate, force))
    else:
        from audiocodec.live.device import DeviceSpeaker

        ear = closing.enter_context(DeviceSpeaker(sample_rate, speaker))
    if spoken is not None:
        mouth = closing.enter_context(FileMicrophone(spoken, sample_rate))
    else:
        from audiocodec.live.device import DeviceMicrophone

        mouth = closing.enter_context(DeviceMicrophone(sample_rate, microphone))
    return mouth, ear


def _warm_up(codec: Codec, settings: CallSettings) -> None:
    """Load graphs and tables before anybody waits for the first word."""
    import numpy as np

    from audiocodec.live.sender import Sender

    sender = Sender(codec, settings.rate, frames=settings.frames, redundancy=settings.redundancy)
    noise = np.random.default_rng(0).normal(0, 0.01, 8 * codec.hop_samples).astype(np.float32)
    sender.push(noise)
    indices, _ = codec.encode_block(noise[None, : codec.hop_samples], settings.rate, codec.runtime.encoder_state(1))
    codec.decode_block(indices, settings.rate, codec.runtime.decoder_state(1))
