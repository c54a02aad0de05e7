"""The .vpc bitstream: header, packets, entropy coding and files. Imports no torch. SPEC.md is the normative text."""

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.file import FileReader, FileWriter
from audiocodec.bitstream.header import SOURCE_BITS, TITLE, StreamHeader
from audiocodec.bitstream.packet import PacketEncoder
from audiocodec.bitstream.reader import End, Event, Frames, Header, Lost, Silence, StreamReader

__all__ = [
    "SOURCE_BITS",
    "TITLE",
    "End",
    "EntropyModel",
    "Event",
    "FileReader",
    "FileWriter",
    "Frames",
    "Header",
    "Lost",
    "PacketEncoder",
    "Silence",
    "StreamHeader",
    "StreamReader",
]
