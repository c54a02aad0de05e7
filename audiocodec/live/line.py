"""The line: a UDP socket, two ends of sound and a clock, driving a :class:`~audiocodec.live.session.Session`.

One thread and one loop: it sleeps until a datagram comes or ten milliseconds of sound may be due, and never on anything
else. Coding a frame takes a tenth of the time that the frame lasts.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable

from audiocodec.ending import Ending
from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.live import sockets
from audiocodec.live.ends import Microphone, Speaker
from audiocodec.live.report import CallReport
from audiocodec.live.session import Address, Datagrams, Session, Stage

_TICK_S = 0.005
_AT_ONCE = 64  # datagrams read before sound is served again, however many come
_LONGEST_READ = 2048  # more than any datagram that is listened to: what is cut here is ignored there
_LAST_WORDS_S = 0.5  # after a recording has ended, for the other side to hear it
_VIEW_EVERY_S = 0.25


class Line:
    """A bound socket. Raises UsageError for an address that cannot be had."""

    def __init__(self, listen: tuple[str, int] | None = None, connect: tuple[str, int] | None = None) -> None:
        host, port = connect or listen or ("", 0)
        self.name = sockets.named(host, port)
        self.called: list[Address] = []
        """Where the one who is called may be, by whichever of a name's addresses."""
        try:
            if connect:
                self._socket, self.called = sockets.calling(host, port)
            else:
                self._socket = sockets.listening(host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            what = "called" if connect else "listened on"
            raise UsageError(f"{self.name} cannot be {what} ({error})") from None
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """Of this side, once it is known."""
        return int(self._socket.getsockname()[1])

    def send(self, datagrams: Datagrams) -> None:
        """What the network does not take is lost, as anything may be on it."""
        for data, address in datagrams:
            with contextlib.suppress(OSError):
                sockets.sent(self._socket, data, address)

    def serve(self, session: Session, clock: Callable[[], float], wait_s: float) -> None:
        """Wait for datagrams, give them to the session and send its answers."""
        with contextlib.suppress(OSError, ValueError):
            select.select([self._socket], [], [], wait_s)
        for _ in range(_AT_ONCE):
            try:
                data, source = sockets.received(self._socket, _LONGEST_READ)
            except BlockingIOError:
                return
            except OSError:  # news of an earlier datagram that found nobody
                continue
            self.send(session.receive(data, source, clock()))

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


def talk(
    line: Line,
    session: Session,
    microphone: Microphone,
    speaker: Speaker,
    *,
    duration_s: float | None = None,
    wait_s: float | None = None,
    ending: Ending | None = None,
    watch: Callable[[CallReport], None] = lambda _report: None,
    clock: Callable[[], float] = time.monotonic,
) -> CallReport:
    """Hold the call until either side ends it, ``ending`` is asked for, ``duration_s`` or the recording is over.

    Any exception ends it as well, and a device that stops, of which the report then says so (``problem``). The other
    side is told in every case.

    Args:
        line: the socket.
        session: the call, not begun.
        microphone: what is sent.
        speaker: what plays what comes.
        duration_s: of the call.
        wait_s: how long to wait for the other side to answer.
        ending: ends the call from outside; it can be asked once both sides speak.
        watch: is shown the report some times a second.
        clock: monotonic, in seconds.

    Raises:
        AudiocodecError: there was no call: no answer, or a refusal.
    """
    try:
        _wait(line, session, clock, wait_s, watch)
        if session.stage is Stage.TALKING:
            if ending is not None:
                ending.live = True
            _hold(line, session, microphone, speaker, duration_s, ending, watch, clock)
    finally:
        report = session.snapshot(clock())
        line.send(session.hang_up())
    if session.problem is not None:
        raise session.problem
    return report


def _wait(
    line: Line,
    session: Session,
    clock: Callable[[], float],
    wait_s: float | None,
    watch: Callable[[CallReport], None],
) -> None:
    start = clock()
    while session.stage is Stage.WAITING:
        if wait_s is not None and clock() - start > wait_s:
            where = line.name if line.called else "anybody"
            raise AudiocodecError(f"no answer from {where} within {wait_s:g} s; is `audiocodec call` running there?")
        line.send(session.tick(clock()))
        line.serve(session, clock, 0.05)
        watch(session.report)


def _hold(
    line: Line,
    session: Session,
    microphone: Microphone,
    speaker: Speaker,
    duration_s: float | None,
    ending: Ending | None,
    watch: Callable[[CallReport], None],
    clock: Callable[[], float],
) -> None:
    start = next_view = clock()
    microphone.start(start)
    speaker.start(start)
    session.report.first_sample_in_s, session.report.first_sample_out_s = microphone.first_s, speaker.first_s
    last_words: float | None = None
    while session.stage is Stage.TALKING:
        line.serve(session, clock, _TICK_S)
        now = clock()
        line.send(session.speak(microphone.read(now)))
        samples, heard_at = speaker.wanted(now)
        if samples:
            speaker.write(session.hear(samples, heard_at))
        line.send(session.tick(now))
        if microphone.ended and last_words is None:
            last_words = now + _LAST_WORDS_S
        over = now - start >= duration_s if duration_s is not None else last_words is not None and now >= last_words
        session.report.late_audio = microphone.overruns + speaker.underruns
        if now >= next_view:
            watch(session.snapshot(now))
            next_view = now + _VIEW_EVERY_S
        session.report.problem = _broken(microphone, speaker, now)
        if over or session.report.problem or (ending is not None and ending.asked):
            break
    _play_rest(session, speaker, clock)
    speaker.finish()


def _broken(microphone: Microphone, speaker: Speaker, now: float) -> str:
    """One direction alone is no call, and who goes on speaking into nothing does not know it."""
    for what, device in (("microphone", microphone), ("speaker", speaker)):
        if device.stopped(now):
            return f"the {what} stopped during the call; see whether it is still connected, and call again"
    return ""


def _play_rest(session: Session, speaker: Speaker, clock: Callable[[], float]) -> None:
    """What the other side had said before it hung up, and the buffer still holds."""
    until = clock() + (session.report.delay_ms + session.report.codec_delay_ms) / 1000
    while session.stage is Stage.OVER and clock() < until:
        time.sleep(_TICK_S)
        samples, heard_at = speaker.wanted(clock())
        if samples:
            speaker.write(session.hear(samples, heard_at))
