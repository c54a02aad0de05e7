"""Writes the golden streams of this format version: ``python tests/make_golden.py``.

A golden file is written once per released version and kept for ever. Run this for a *new* version only (the version is
in the files' names); the files of older versions must decode to the same tokens, and are never rewritten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bitstream_helpers import (
    LEVELS,
    OTHER_LEVELS,
    deep_model,
    drawn_tokens,
    make_file,
    make_header,
    random_tokens,
    samples_for,
    small_model,
)

from audiocodec.bitstream import TITLE, PacketEncoder
from audiocodec.bitstream.header import MAJOR, MINOR
from audiocodec.bitstream.index import StreamEnd, end_packet

GOLDEN = Path(__file__).parent / "golden"
VERSION = f"{MAJOR}.{MINOR}"


def main() -> None:
    """Write tables, streams and the tokens they hold."""
    GOLDEN.mkdir(exist_ok=True)
    model = small_model()
    model.save(GOLDEN / f"entropy-{VERSION}.safetensors")
    mono, stereo = random_tokens(70, seed=1), random_tokens(33, channels=2, levels=OTHER_LEVELS, seed=2)
    raw = make_header(mode="raw", levels=(1024, 8, 1, 65535, 3), records=((TITLE, b"golden"),))
    wide = random_tokens(20, levels=raw.levels, seed=3)
    live = make_header(block_frames=1, packet_frames=8, source_rate=16000)
    encoder = PacketEncoder(live, model)
    end = end_packet(live, 52, StreamEnd(samples_for(live, 52), ()))
    pause = encoder.frames(0, mono[:5]) + encoder.silence(5, 40) + encoder.frames(45, mono[5:12]) + end
    streams = {
        "mono": make_file(make_header(), mono, 30, model),
        "stereo": make_file(make_header(channels=2, levels=OTHER_LEVELS), stereo, 33, model),
        "raw": make_file(raw, wide, 20),
        "live": live.pack() + pause,
    }
    for name, data in streams.items():
        (GOLDEN / f"{name}-{VERSION}.vpc").write_bytes(data)
    write_deep()
    tokens = {"mono": mono, "stereo": stereo, "raw": wide, "live": mono[:12]}
    np.savez_compressed(GOLDEN / f"tokens-{VERSION}.npz", **{k: v.astype(np.uint16) for k, v in tokens.items()})


def write_deep() -> None:
    """The same of tables with a deep layer, which came when version 1.0 was out already."""
    model = deep_model()
    coder = model.for_levels(LEVELS)
    assert coder is not None
    tokens = drawn_tokens(coder, np.random.default_rng(4), 70, 2)
    model.save(GOLDEN / f"entropy-deep-{VERSION}.safetensors")
    (GOLDEN / f"deep-{VERSION}.vpc").write_bytes(make_file(make_header(channels=2), tokens, 30, model))
    np.savez_compressed(GOLDEN / f"tokens-deep-{VERSION}.npz", deep=tokens.astype(np.uint16))


if __name__ == "__main__":
    main()
