"""``call``: two sides speak with each other over UDP."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from audiocodec.cli.ending import ended_by_signals
from audiocodec.cli.options import (
    DEFAULT_MODEL,
    Force,
    Json,
    Levels,
    Quiet,
    Runtime,
    RuntimeChoice,
    set_threads,
)
from audiocodec.errors import AudiocodecError, UsageError

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.ending import Ending
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


Listen = Annotated[
    str | None, typer.Option("--listen", metavar="[HOST:]PORT", help="Wait here to be called; any host by default.")
]
Connect = Annotated[str | None, typer.Option("--connect", metavar="HOST:PORT", help="Call the one who listens there.")]
SharedModel = Annotated[str, typer.Option("--model", "-m", metavar="NAME|PATH", help="The same one on both sides.")]
Bitrate = Annotated[
    float | None,
    typer.Option(
        "--bitrate", "-b", metavar="KBPS", help="At most so many kbps in a file, 3 by default; calls take more (above)."
    ),
]
Frames = Annotated[
    int, typer.Option("--frames", min=1, max=3, help="In a packet: fewer headers, a frame more of delay each.")
]
Redundancy = Annotated[
    int,
    typer.Option(
        "--redundancy", min=0, max=15, metavar="N", help="Send the N frames before once more, at the lowest rate."
    ),
]


def _number(value: float | None) -> float | None:
    """Ranges let NaN pass, which is neither below nor above anything."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


DelayMs = Annotated[
    float | None,
    typer.Option("--delay-ms", min=0.0, max=2000.0, callback=_number, help="Of the jitter buffer; default: adaptive."),
]
LeastDelayMs = Annotated[
    float,
    typer.Option("--min-delay-ms", min=0.0, max=2000.0, callback=_number, help="The shortest that it adapts to."),
]
MostDelayMs = Annotated[
    float,
    typer.Option("--max-delay-ms", min=20.0, max=2000.0, callback=_number, help="The longest that it adapts to."),
]
Spoken = Annotated[
    str | None, typer.Option("--in", metavar="FILE", help="Speak this recording instead of the microphone.")
]
HeardIn = Annotated[
    str | None, typer.Option("--out", metavar="FILE", help="Record what is heard instead of playing it.")
]
MicrophoneName = Annotated[
    str | None, typer.Option("--microphone", metavar="NAME", help="Sound device, by name or number.")
]
SpeakerName = Annotated[str | None, typer.Option("--speaker", metavar="NAME", help="Sound device, by name or number.")]
Duration = Annotated[
    float | None,
    typer.Option("--duration", min=0.1, metavar="SECONDS", callback=_number, help="Hang up after so long."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(epilog=_EPILOG)(call)


def call(
    listen: Listen = None,
    connect: Connect = None,
    model: SharedModel = DEFAULT_MODEL,
    bitrate: Bitrate = None,
    levels: Levels = None,
    frames: Frames = 1,
    redundancy: Redundancy = 0,
    delay_ms: DelayMs = None,
    least_delay_ms: LeastDelayMs = 20.0,
    most_delay_ms: MostDelayMs = 400.0,
    spoken: Spoken = None,
    heard: HeardIn = None,
    microphone: MicrophoneName = None,
    speaker: SpeakerName = None,
    duration: Duration = None,
    runtime: Runtime = RuntimeChoice.auto,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Speak with another side that runs the same, both ways at once, over UDP.

    Both sides need the same model, each chooses its own rate: what files have at 3 kbps takes 9.0 in packets of 1
    frame, 6.0 with 2 and 5.0 with 3 (--frames), and UDP and IP add 11.2, 5.6 and 3.7. A recording that is over,
    --duration, Ctrl-C, SIGTERM or SIGHUP ends the call on both sides. Nothing is encrypted: for the open internet use a
    tunnel (WireGuard, ssh -w).
    """
    place = address(listen, connect)
    ends = _Ends(spoken, heard, microphone, speaker, force)
    from audiocodec.codec import load
    from audiocodec.live.settings import CallSettings

    codec = load(model, runtime=runtime.value)
    if codec.runtime.name == "torch":  # importing it takes seconds that ONNX Runtime need not wait for
        set_threads(1)
    most_ms = max(most_delay_ms, least_delay_ms, delay_ms or 0.0)
    delay_s = None if delay_ms is None else delay_ms / 1000
    rate = codec.choose_rate(bitrate, levels)
    settings = CallSettings(rate, frames, redundancy, delay_s, least_delay_ms / 1000, most_ms / 1000)
    with ended_by_signals() as ending:
        report = _speak(codec, settings, ends, place, bool(connect), duration, ending, quiet)
    _tell(report, json, quiet)
    if report.problem:
        raise AudiocodecError(report.problem)
    if ending.signum not in (None, signal.SIGINT):  # Ctrl-C is how a call is ended
        raise typer.Exit(128 + ending.signum)


def _speak(
    codec: Codec,
    settings: CallSettings,
    ends: _Ends,
    place: tuple[str, int],
    calls: bool,
    duration_s: float | None,
    ending: Ending,
    quiet: bool,
) -> CallReport:
    """Hold the call; what was heard is kept when it is over, unless there was none."""
    from audiocodec.cli.call_view import watching
    from audiocodec.live.line import Line, talk
    from audiocodec.live.session import Session

    with contextlib.ExitStack() as closing:
        line = Line(connect=place) if calls else Line(listen=place)
        closing.callback(line.close)
        mouth, ear = ends.opened(closing, codec.sample_rate)
        session = Session(codec, settings, call=line.called[0] if calls else None, others=line.called[1:])
        _warm_up(codec, settings)
        if not quiet and not calls:
            print(f"listening on port {line.port}; Ctrl-C ends", file=sys.stderr, flush=True)
        watch = closing.enter_context(watching(session, quiet))
        wait_s = _ANSWER_S if calls else None
        return talk(line, session, mouth, ear, duration_s=duration_s, wait_s=wait_s, ending=ending, watch=watch)


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


@dataclass(frozen=True)
class _Ends:
    """What is spoken and where it is heard: files, or devices by name. Raises UsageError where both are given."""

    spoken: str | None
    heard: str | None
    microphone: str | None
    speaker: str | None
    force: bool

    def __post_init__(self) -> None:
        if (self.spoken and self.microphone) or (self.heard and self.speaker):
            raise UsageError("--in stands in for --microphone, and --out for --speaker; give one of each")

    def opened(self, closing: contextlib.ExitStack, sample_rate: int) -> tuple[Microphone, Speaker]:
        """Both, until ``closing`` ends. Raises AudiocodecError for what cannot be had."""
        from audiocodec.cli.jobs import warn
        from audiocodec.leftovers import told_of
        from audiocodec.live.ends import FileMicrophone, FileSpeaker
        from audiocodec.output import check_output

        mouth: Microphone
        ear: Speaker
        if self.heard is not None:
            check_output(self.heard, self.force, self.spoken)
            warn(told_of(self.heard))
            ear = closing.enter_context(FileSpeaker(self.heard, sample_rate, self.force))
        else:
            from audiocodec.live.device import DeviceSpeaker

            ear = closing.enter_context(DeviceSpeaker(sample_rate, self.speaker))
        if self.spoken is not None:
            mouth = closing.enter_context(FileMicrophone(self.spoken, sample_rate))
        else:
            from audiocodec.live.device import DeviceMicrophone

            mouth = closing.enter_context(DeviceMicrophone(sample_rate, self.microphone))
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
