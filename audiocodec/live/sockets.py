"""UDP sockets for a call, whichever addresses a name has: one socket serves IPv4 and IPv6 where the system lets it.

On such a socket an IPv4 address reads ``::ffff:192.0.2.7``. Everywhere else it is told as ``("192.0.2.7", port)``:
:func:`received` and :func:`sent` translate.

Of a socket that is bound to all addresses an answer leaves from the one that was called (:class:`Caller`), where the
system tells which that was.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from typing import Any, NamedTuple

from audiocodec.live import pktinfo

Address = Any  # (host, port), of IPv6 with two numbers more; or a Caller
_MAPPED = "::ffff:"
_MOST_CALLED = 8  # addresses of one name


class Caller(NamedTuple):
    """Who sent a datagram, and to which address of this machine: ``here``, as the system takes it with an answer."""

    host: str
    port: int
    rest: tuple[int, ...]
    here: pktinfo.Told


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of ``host`` that can be had; empty: to all of this machine's.

    Raises:
        OSError: there is none, or the port is taken.
    """
    if not host and socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, ("::", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    problem: OSError | None = None
    for family, _, _, _, found in _found(host or "0.0.0.0", port, socket.AI_PASSIVE):
        try:
            return _bound(family, found)
        except OSError as error:
            problem = problem or error
    raise problem or OSError(errno.EADDRNOTAVAIL, "no address of that name")


def calling(host: str, port: int) -> tuple[socket.socket, list[Address]]:
    """A socket and all addresses of ``host`` that it reaches: which of them somebody listens on is not known.

    Raises:
        OSError: there is no such name, or no network.
    """
    found = _found(host, port, 0)
    families = [family for family, *_ in found]
    family = families[0]
    if socket.AF_INET6 in families and socket.has_dualstack_ipv6():
        family = socket.AF_INET6
    else:
        found = [one for one in found if one[0] == family]
    addresses = dict.fromkeys(_plain(address) for *_, address in found)
    return _opened(family), list(addresses)[:_MOST_CALLED]


def received(one: socket.socket, most: int) -> tuple[bytes, Address]:
    """A datagram, of which ``most`` bytes are taken, and who sent it. Raises OSError."""
    data, source, here = pktinfo.receive(one, most)
    address = _plain(source)
    return data, address if here is None else Caller(address[0], address[1], tuple(address[2:]), here)


def sent(one: socket.socket, data: bytes, address: Address) -> None:
    """Send to ``address``; to a `Caller` from the address that was called. Raises OSError."""
    if isinstance(address, Caller):
        pktinfo.send(one, data, _fitting((address.host, address.port, *address.rest), one), address.here)
    else:
        one.sendto(data, _fitting(address, one))


def _plain(address: Address) -> Address:
    """As it is told: an IPv4 address as such."""
    host, port = address[:2]
    return (host[len(_MAPPED) :], port) if host.startswith(_MAPPED) and "." in host else address


def _fitting(address: Address, one: socket.socket) -> Address:
    """As ``one`` takes it."""
    return (_MAPPED + address[0], address[1]) if one.family == socket.AF_INET6 and len(address) == 2 else address


def named(host: str, port: int) -> str:
    """For a message."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"


def _found(host: str, port: int, flags: int) -> list[Any]:
    return [
        one
        for one in socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM, 0, flags)
        if one[0] in (socket.AF_INET, socket.AF_INET6)
    ]


def _opened(family: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        with contextlib.suppress(OSError):  # a system without: IPv6 alone
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return one


def _bound(family: int, address: Address) -> socket.socket:
    one = _opened(family)
    try:
        one.bind(address)
    except BaseException:
        one.close()
        raise
    if ipaddress.ip_address(one.getsockname()[0]).is_unspecified:
        pktinfo.ask(one)
    return one
