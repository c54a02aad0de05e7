"""A machine with several addresses answers a call from the one that was called."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator

import pytest

from audiocodec.live import pktinfo
from audiocodec.live.line import Line
from audiocodec.live.session import Session, Stage
from audiocodec.live.settings import CallSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all of 127/8 is this machine on Linux alone")
DUAL = pytest.param("", marks=pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a system with IPv6"))


@pytest.fixture(params=[DUAL, "0.0.0.0"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """Bound to all addresses."""
    one = Line(listen=(request.param, 0))
    yield one
    one.close()


def hold(lines: list[Line], sides: list[Session], seconds: float = 2.0) -> None:
    for step in range(round(10 * seconds)):
        now = 0.1 * step
        for line, side in zip(lines, sides, strict=True):
            line.send(side.tick(now))
            line.serve(side, lambda now=now: now, 0.01)


@pytest.mark.parametrize("called", ["127.0.0.1", "127.0.0.2", "::1"])
def test_a_call_is_answered_from_the_address_that_was_called(line: Line, tiny_codec, called: str) -> None:
    """By a real caller, who takes answers from nowhere else; and by a connected socket, whose system takes none."""
    if called == "::1" and line._socket.family == socket.AF_INET:
        pytest.skip("it has no IPv6")
    settings = CallSettings(tiny_codec.rates[0])
    here = Line(connect=(called, line.port))
    caller, waiting = Session(tiny_codec, settings, call=here.called[0]), Session(tiny_codec, settings)
    hold([here, line], [caller, waiting])
    here.close()
    assert (caller.stage, waiting.stage) == (Stage.TALKING, Stage.TALKING)
    assert caller.report.hostile_datagrams == waiting.report.hostile_datagrams == 0
    assert caller.report.round_trip_ms is not None
    assert waiting.report.peer == ("::1" if called == "::1" else "127.0.0.1")
    family = socket.AF_INET6 if called == "::1" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        one.connect((called, line.port))
        one.send(Session(tiny_codec, settings, call=here.called[0]).tick(0.0)[0][0])
        line.serve(Session(tiny_codec, settings), lambda: 0.0, 10.0)
        assert one.recv(2048)


def test_what_came_to_no_single_address_is_answered_as_the_routes_choose(line: Line, tiny_codec) -> None:
    settings = CallSettings(tiny_codec.rates[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(10)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.sendto(Session(tiny_codec, settings, call=("127.0.0.1", 1)).tick(0.0)[0][0], ("127.255.255.255", line.port))
        line.serve(Session(tiny_codec, settings), lambda: 0.0, 10.0)
        assert one.recvfrom(2048)[1] == ("127.0.0.1", line.port)


class Without:
    """A socket of a system that tells no addresses."""

    family = socket.AF_INET

    def __init__(self, one: socket.socket) -> None:
        self.setsockopt = one.setsockopt
        self.recvfrom = one.recvfrom


def test_where_the_system_does_not_tell_nothing_is_asked_for() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
    ):
        one.bind(("127.0.0.1", 0))
        to.sendto(b"hello", one.getsockname())
        without = Without(one)
        pktinfo.ask(without)
        assert one.getsockopt(socket.IPPROTO_IP, pktinfo._IPV4) == 0
        data, _, here = pktinfo.receive(without, 100)
        assert (data, here) == (b"hello", None)
        to.settimeout(10)
        pktinfo.send(one, b"back", ("127.0.0.1", to.getsockname()[1]), (socket.IPPROTO_IP, pktinfo._IPV4, b"short"))
        assert to.recv(100) == b"back"


def test_a_full_socket_loses_the_answer_and_sends_it_from_nowhere_else() -> None:
    class Full:
        def sendmsg(self, *_: object) -> int:
            raise BlockingIOError(errno.EAGAIN, "full")

    with pytest.raises(BlockingIOError):
        pktinfo.send(Full(), b"x", ("127.0.0.1", 1), (0, 0, b""))
