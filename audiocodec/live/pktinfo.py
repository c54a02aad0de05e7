"""Which of a machine's addresses a datagram came to, and answers from that one (RFC 3542, section 6; ip(7)).

A UDP socket bound to all addresses sends from whichever the routes choose. Who called another of them takes no answer
from there, and neither does the firewall in between. Linux and macOS tell the address with the datagram, and take it
with the answer; elsewhere the routes choose.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from typing import Any

Told = tuple[int, int, bytes]  # level, kind and content of ancillary data

_IPV4 = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)  # Python has the name since 3.14
_IPV6_ASK = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6 = getattr(socket, "IPV6_PKTINFO", None)
_INFO4 = struct.Struct("@i4s4s")  # in_pktinfo: interface, the address of ours to answer from, the one written to
_INFO6 = struct.Struct("@16sI")  # in6_pktinfo: the address written to, interface
_ROOM = 128  # bytes of ancillary data


def ask(one: socket.socket) -> None:
    """Have the address told with every datagram, where that can be; of IPv4 on a socket of IPv6 as ``::ffff:...``."""
    level, option = (socket.IPPROTO_IP, _IPV4) if one.family == socket.AF_INET else (socket.IPPROTO_IPV6, _IPV6_ASK)
    if option is not None and hasattr(one, "recvmsg"):
        with contextlib.suppress(OSError):
            one.setsockopt(level, option, 1)


def receive(one: socket.socket, most: int) -> tuple[bytes, Any, Told | None]:
    """A datagram, of which ``most`` bytes are taken, its sender, and what to give to ``send``. Raises OSError."""
    if not hasattr(one, "recvmsg"):  # Windows
        return *one.recvfrom(most), None
    data, told, _, source = one.recvmsg(most, _ROOM)
    return data, source, next(filter(None, (_answering(*part) for part in told)), None)


def send(one: socket.socket, data: bytes, to: Any, here: Told) -> None:
    """Send from where it was received. Raises OSError."""
    try:
        one.sendmsg([data], [here], 0, to)
    except BlockingIOError:
        raise
    except OSError:  # nothing can be sent from it: a broadcast's, or one that the machine has no more
        one.sendto(data, to)


def _answering(level: int, kind: int, told: bytes) -> Told | None:
    """The same for every datagram to an address, whichever interface it came by: it tells callers apart as well."""
    if (level, kind) == (socket.IPPROTO_IP, _IPV4) and len(told) == _INFO4.size:
        _, ours, _ = _INFO4.unpack(told)
        return level, kind, _INFO4.pack(0, ours, bytes(4))
    if (level, kind) == (socket.IPPROTO_IPV6, _IPV6) and len(told) == _INFO6.size:
        raw, interface = _INFO6.unpack(told)
        address = ipaddress.IPv6Address(raw)
        if not address.is_multicast:
            return level, kind, _INFO6.pack(raw, interface if address.is_link_local else 0)
    return None
