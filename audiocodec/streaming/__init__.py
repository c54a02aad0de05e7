"""Live encoding and decoding: samples in as they come, packets out as they are ready, and the mirror image.

A stream is computed in blocks of ``header.block_frames`` frames, at whatever sizes it is pushed: the same samples
always give the same bytes. Blocks of one frame have the algorithmic latency of the model; larger ones are faster and
are what files use. For many streams at once there are `audiocodec.streaming.groups` and
`audiocodec.streaming.asynchronous`, which stay apart: a command that codes one file must not wait for their imports.
"""

from audiocodec.streaming.decoder import StreamDecoder
from audiocodec.streaming.encoder import StreamEncoder
from audiocodec.streaming.limits import FILE_BLOCK_FRAMES, FILE_PACKET_FRAMES, LIVE_PACKET_FRAMES, MAX_BLOCK_FRAMES

__all__ = [
    "FILE_BLOCK_FRAMES",
    "FILE_PACKET_FRAMES",
    "LIVE_PACKET_FRAMES",
    "MAX_BLOCK_FRAMES",
    "StreamDecoder",
    "StreamEncoder",
]
