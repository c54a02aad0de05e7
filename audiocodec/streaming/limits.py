"""What both ends of a stream keep to."""

MAX_BLOCK_FRAMES = 4096
"""Most frames, of all channels together, computed at once: a header that asks for more would cost gigabytes."""
FILE_PACKET_FRAMES = 400
"""Frames a packet in files: 8 s at 50 frames/s; a damaged packet loses that much, a smaller one costs more bytes."""
LIVE_PACKET_FRAMES = 2
"""Frames a packet from pipe to pipe: 40 ms at 50 frames/s, and 2 kbps for its nine bytes beside those of the frames."""
FILE_BLOCK_FRAMES = 64
"""Frames computed at once for files: products of matrices near their full speed, and little to pad a short file by."""
