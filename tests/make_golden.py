"""Writes the golden streams of format versions that have none yet: ``python tests/make_golden.py``.

A golden file is written once per released version and kept for ever: the files of older versions must decode to the
same tokens, and are never rewritten. The version is in the files' names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bitstream_helpers import (
    LEVELS,
    OTHER_LEVELS,
    coupled_tokens,
    deep_model,
    drawn_tokens,
    make_file,
    make_header,
    random_tokens,
    samples_for,
    small_model,
)

from audiocodec.bitstream import TITLE, EntropyModel, PacketEncoder
from audiocodec.bitstream.header import COUPLED_VERSION, VERSION, running_fields
from audiocodec.bitstream.index import StreamEnd, end_packet

GOLDEN = Path(__file__).parent / "golden"
RUNNING_VERSION = (1, 1)
NAMES = {
    VERSION: ("mono", "stereo", "raw", "live", "deep"),
    RUNNING_VERSION: ("live",),
    COUPLED_VERSION: ("midside", "midsideraw", "mid", "live"),
}
Streams = dict[str, tuple[bytes, np.ndarray]]


def main() -> None:
    """Write tables, streams and the tokens they hold."""
    GOLDEN.mkdir(exist_ok=True)
    model = small_model()
    write_deep()
    for version, make in ((VERSION, independent), (RUNNING_VERSION, running), (COUPLED_VERSION, coupled)):
        name = f"{version[0]}.{version[1]}"
        if (GOLDEN / f"tokens-{name}.npz").exists():
            continue
        streams = make(model)
        model.save(GOLDEN / f"entropy-{name}.safetensors")
        for stem, (data, _) in streams.items():
            (GOLDEN / f"{stem}-{name}.vpc").write_bytes(data)
        tokens = {stem: held.astype(np.uint16) for stem, (_, held) in streams.items()}
        np.savez_compressed(GOLDEN / f"tokens-{name}.npz", **tokens)


def write_deep() -> None:
    """Version 1.0 with tables of a deep layer, which came when it was out already."""
    name = f"deep-{VERSION[0]}.{VERSION[1]}"
    if (GOLDEN / f"tokens-{name}.npz").exists():
        return
    model = deep_model()
    coder = model.for_levels(LEVELS)
    assert coder is not None
    tokens = drawn_tokens(coder, np.random.default_rng(4), 70, 2)
    model.save(GOLDEN / f"entropy-{name}.safetensors")
    (GOLDEN / f"{name}.vpc").write_bytes(make_file(make_header(channels=2), tokens, 30, model))
    np.savez_compressed(GOLDEN / f"tokens-{name}.npz", deep=tokens.astype(np.uint16))


def independent(model: EntropyModel) -> Streams:
    """Version 1.0: channels by themselves."""
    mono, stereo = random_tokens(70, seed=1), random_tokens(33, channels=2, levels=OTHER_LEVELS, seed=2)
    raw = make_header(mode="raw", levels=(1024, 8, 1, 65535, 3), records=((TITLE, b"golden"),))
    wide = random_tokens(20, levels=raw.levels, seed=3)
    live = make_header(block_frames=1, packet_frames=8, source_rate=16000)
    encoder = PacketEncoder(live, model)
    end = end_packet(live, 52, StreamEnd(samples_for(live, 52), ()))
    pause = encoder.frames(0, mono[:5]) + encoder.silence(5, 40) + encoder.frames(45, mono[5:12]) + end
    return {
        "mono": (make_file(make_header(), mono, 30, model), mono),
        "stereo": (make_file(make_header(channels=2, levels=OTHER_LEVELS), stereo, 33, model), stereo),
        "raw": (make_file(raw, wide, 20), wide),
        "live": (live.pack() + pause, mono[:12]),
    }


def running(model: EntropyModel) -> Streams:
    """Version 1.1: packets of three frames, but for the last before a silence, the silence and the last of all."""
    tokens = random_tokens(12, seed=7)
    live = make_header(block_frames=1, source_rate=16000, **running_fields(3))
    encoder = PacketEncoder(live, model)
    places = [(0, 0, 3), (3, 3, 5), (45, 5, 8), (48, 8, 11), (51, 11, 12)]
    first, second, *others = [encoder.frames(at, tokens[start:stop]) for at, start, stop in places]
    end = end_packet(live, 52, StreamEnd(samples_for(live, 52), ()))
    return {"live": (b"".join([live.pack(), first, second, encoder.silence(5, 40), *others, end]), tokens)}


def coupled(model: EntropyModel) -> Streams:
    """Version 2.0: mid and side."""
    both = make_header(channels=2, side_levels=OTHER_LEVELS)
    alone = make_header(channels=2, side_levels=(1,) * len(LEVELS))
    raw = make_header(channels=2, mode="raw", levels=(1024, 8, 1), side_levels=(5, 1, 2), records=((TITLE, b"golden"),))
    live = make_header(channels=2, side_levels=OTHER_LEVELS, block_frames=1, packet_frames=8, source_rate=16000)
    tokens, mid, wide = coupled_tokens(both, 40, 4), coupled_tokens(alone, 40, 5), coupled_tokens(raw, 33, 6)
    encoder = PacketEncoder(live, model)
    end = end_packet(live, 52, StreamEnd(samples_for(live, 52), ()))
    pause = encoder.frames(0, tokens[:5]) + encoder.silence(5, 40) + encoder.frames(45, tokens[5:12]) + end
    return {
        "midside": (make_file(both, tokens, 30, model), tokens),
        "midsideraw": (make_file(raw, wide, 20), wide),
        "mid": (make_file(alone, mid, 30, model), mid),
        "live": (live.pack() + pause, tokens[:12]),
    }


if __name__ == "__main__":
    main()
