"""Calls: two people, a datagram network between them, one model at both ends (SPEC.md, section 9).

Everything that decides anything is free of clocks and sockets: time and datagrams are handed in, so that a test can
play minutes of a bad network in a second. Only ``line``, ``ends`` and ``device`` touch the machine.
"""

from audiocodec.live.jitter import JitterBuffer, JitterSettings
from audiocodec.live.receiver import Receiver
from audiocodec.live.rtp import RtpPacket
from audiocodec.live.sender import Sender
from audiocodec.live.session import Session

__all__ = ["JitterBuffer", "JitterSettings", "Receiver", "RtpPacket", "Sender", "Session"]
