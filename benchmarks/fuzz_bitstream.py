"""Mutates streams and reads them: ``python benchmarks/fuzz_bitstream.py --count 100000``.

Bit flips, cuts, splices of two streams, inserted and random bytes, half of them with the checksums of whole packets
made right again, so that the payload decoders see damage too. Every stream must end in events or in BitstreamError,
within ``--seconds`` of CPU each, in memory that does not grow. Exit code 1 with the stream saved when one does not.
"""

from __future__ import annotations

import argparse
import binascii
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bitstream_helpers import make_file, make_header, random_tokens, small_model

from audiocodec.bitstream import EntropyModel, StreamHeader, StreamReader
from audiocodec.bitstream.packet import read_layout
from audiocodec.bitstream.varint import Incomplete, Malformed
from audiocodec.errors import BitstreamError


def seeds(model: EntropyModel) -> list[bytes]:
    mono, stereo = random_tokens(200), random_tokens(60, channels=2)
    return [
        make_file(make_header(), mono, 50, model),
        make_file(make_header(mode="raw", packet_frames=32), mono, 20),
        make_file(make_header(channels=2), stereo, 7, model),
        make_file(make_header(), mono[:3], 1, model),
        make_file(make_header(), np.tile(random_tokens(500, seed=1), (18, 1, 1)), 200, model),
    ]


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(out) + 1))
        kind = int(rng.integers(0, 6))
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            out[at : at + int(rng.integers(0, 20))] = rng.bytes(int(rng.integers(0, 20)))
        elif kind == 3:
            start = int(rng.integers(0, len(other)))
            out[at:at] = other[start : start + int(rng.integers(0, 300))]
        elif kind == 4:
            del out[at : at + int(rng.integers(0, 50))]
        elif out:
            out[at % len(out)] = int(rng.choice([0, 1, 127, 128, 181, 192, 255]))
    return reseal(bytes(out)) if rng.random() < 0.5 else bytes(out)


def reseal(data: bytes) -> bytes:
    """Make the checksums of a stream's header and packets right again, as far as their extents can be told."""
    out = bytearray(data)
    try:
        size = data[9] + 10 + 4
        out[size - 4 : size] = binascii.crc32(bytes(out[: size - 4])).to_bytes(4, "big")
        header, at = StreamHeader.unpack(bytes(out))
        while at < len(out):
            end = read_layout(out, at, header).end
            if end > len(out):
                break
            crc = binascii.crc_hqx(bytes(out[at : end - 2]), header.packet_seed)
            out[end - 2 : end] = crc.to_bytes(2, "big")
            at = end
    except (BitstreamError, Incomplete, Malformed, IndexError):
        pass
    return bytes(out)


def read(data: bytes, model: EntropyModel, rng: np.random.Generator) -> str:
    reader = StreamReader(lambda _: model)
    cut = int(rng.integers(0, len(data) + 1))
    count = 0
    try:
        for events in (reader.events(data[:cut]), reader.events(data[cut:]), reader.final_events()):
            count += sum(1 for _ in events)
    except BitstreamError:
        return "refused"
    return "read" if count else "empty"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0, help="most CPU time for one stream")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    model = small_model()
    streams = seeds(model)
    for stream in streams:  # fills the coder's caches, so that what follows needs no more memory
        read(stream, model, rng)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tally: dict[str, int] = {}
    slowest = 0.0
    for number in range(arguments.count):
        # The long stream is much slower to read than the others: now and then is enough.
        pick = 4 if rng.random() < 0.002 else int(rng.integers(0, 4))
        data = mutate(streams[pick], streams[int(rng.integers(0, 5))], rng)
        if rng.random() < 0.02:
            data = rng.bytes(int(rng.integers(0, 400)))
        began = time.process_time()
        try:
            outcome = read(data, model, rng)
        except Exception as error:
            outcome = repr(error)
        slowest = max(slowest, time.process_time() - began)
        tally[outcome] = tally.get(outcome, 0) + 1
        if outcome not in ("read", "refused") or slowest > arguments.seconds:
            Path("fuzz_failure.vpc").write_bytes(data)
            print(f"stream {number}: {outcome}, {slowest:.2f} s; saved as fuzz_failure.vpc")
            return 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{arguments.count} streams: {tally}; slowest {slowest:.3f} s of CPU; memory grew by {grown:.0f} MB")
    return 0 if grown < 100 else 1


if __name__ == "__main__":
    raise SystemExit(main())
