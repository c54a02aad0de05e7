"""What both ends of a stream keep to."""

MAX_BLOCK_FRAMES = 4096
"""Most frames, of all channels together, computed at once: a header that asks for more would cost gigabytes."""
FILE_PACKET_FRAMES = 400
"""Frames a packet in files: 8 s at 50 frames/s; a damaged packet loses that much, a smaller one costs more bytes."""
LIVE_PACKET_FRAMES = 2
"""Frames a packet from pipe to pipe: 40 ms at 50 frames/s, and 2 kbps for its nine bytes beside those of the frames."""
FILE_BLOCK_FRAMES = 64
"""Frames computed at once for files: products of matrices near their full speed, and little to pad a short file by."""
MOST_SAMPLES = 1 << 24
"""Of sound, in all channels, given out at once; 17 minutes at 16 kHz. Seven bytes can say five minutes of silence, and
a few hundred of a stranger's would take the memory of all."""
MOST_PROBLEMS = 100
"""That a decoder keeps in words; a stream may go on for months, and each of its packets come twice."""
