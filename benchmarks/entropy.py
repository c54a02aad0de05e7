"""Entropy coding in C beside the reference in Python; promised: eight times as many symbols a second decoded.

Both code the same indices, which the shipped tables say are likely (random bytes, decoded), as packets of a file and as
live packets of one frame, and take turns; a ratio is that of the medians of CPU seconds. What they write and read is
compared, too. Exits 1 where a decoding ratio is below the promise, or the coder in C is not there.

    python benchmarks/entropy.py --model music-48k
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import common
import numpy as np

from audiocodec.bitstream import EntropyModel, native
from audiocodec.bitstream.history import Ints
from audiocodec.bitstream.nativecoder import NativeCoder
from audiocodec.bitstream.rangecoder import RangeDecoder, encode_intervals, encode_pairs
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError

PROMISE = 8.0  # with AVX2; with AVX-512 it is more than ten, with neither about seven
FILE_FRAMES = 100
Encode = Callable[[SymbolCoder, Ints], bytes]


def likely(coder: SymbolCoder, frames: int) -> Ints:
    """Indices ``[frames, 1, groups]`` as the tables expect them."""
    rng, runs = np.random.default_rng(0), []
    while len(runs) * 10 < frames:  # a few byte strings are no code, hence short runs and another try
        try:
            runs.append(coder.read(RangeDecoder(rng.bytes(4000)), 10, 1))
        except BitstreamError:
            continue
    return np.concatenate(runs)[:frames]


def in_python(coder: SymbolCoder, indices: Ints) -> bytes:
    return encode_pairs(coder.intervals(indices).tolist())


def in_c(coder: SymbolCoder, indices: Ints) -> bytes:
    return encode_intervals(coder.intervals(indices))


def seconds(work: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median CPU seconds of each, taking turns; the first turn fills caches and the reference's tables."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeat + 1):
        for name, do in work.items():
            start = time.process_time()
            do()
            if turn > 0:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(
    ways: dict[str, tuple[SymbolCoder, Encode]], packets: list[Ints], repeat: int
) -> dict[str, dict[str, float]]:
    """Symbols a second of encoding and decoding by each way, and their ratio."""
    codes = {name: [encode(coder, indices) for indices in packets] for name, (coder, encode) in ways.items()}
    if codes["C"] != codes["Python"]:
        raise SystemExit("the two write different bytes")
    encoding: dict[str, Callable[[], object]] = {}
    decoding: dict[str, Callable[[], object]] = {}
    for name, (coder, encode) in ways.items():
        decoded = [coder.decode(code, len(one), 1) for code, one in zip(codes[name], packets, strict=True)]
        if not all(np.array_equal(a, b) for a, b in zip(decoded, packets, strict=True)):
            raise SystemExit(f"{name} reads other indices than were written")
        encoding[name] = lambda coder=coder, encode=encode: [encode(coder, one) for one in packets]
        decoding[name] = lambda coder=coder, data=codes[name]: [
            coder.decode(code, len(one), 1) for code, one in zip(data, packets, strict=True)
        ]
    symbols = sum(one[..., np.array(ways["C"][0].levels) > 1].size for one in packets)
    result = {}
    for direction, work in (("encode", encoding), ("decode", decoding)):
        taken = seconds(work, repeat)
        result[direction] = {name: symbols / taken[name] for name in taken} | {"ratio": taken["Python"] / taken["C"]}
    return result


def main() -> int:
    made = common.parser(__doc__ or "")
    made.add_argument("--model", default="speech-16k", help="name of a shipped model")
    made.add_argument("--setting", type=int, default=5, help="which of its rates, from 0")
    made.add_argument("--frames", type=int, default=1000)
    made.add_argument("--repeat", type=int, default=9)
    options = made.parse_args()
    if native.extension is None:
        raise SystemExit(f"the entropy coder in C is {native.absence}")
    model = EntropyModel.load(common.REPOSITORY / "pretrained" / options.model / "entropy.safetensors")
    python, c = ReferenceCoder(model, options.setting), NativeCoder(model, options.setting, native.extension)
    ways: dict[str, tuple[SymbolCoder, Encode]] = {"Python": (python, in_python), "C": (c, in_c)}
    indices = likely(c, options.frames)
    rows = {}
    for name, frames in (("file", FILE_FRAMES), ("live", 1)):
        packets = [indices[first : first + frames] for first in range(0, len(indices), frames)]
        rows[name] = compare(ways, packets, options.repeat)
        for direction, row in rows[name].items():
            speeds = ", ".join(f"{way} {row[way] / 1e3:7.0f}" for way in ways)
            print(f"{name} {direction}: {speeds} thousand symbols/s, ratio {row['ratio']:.1f}")
    least = min(row["decode"]["ratio"] for row in rows.values())
    print(f"decoding at least {least:.1f} times as fast, promised {PROMISE:g}")
    kept = {"model": options.model, "setting": options.setting, "rows": rows, "promise": PROMISE}
    common.finish({**kept, "machine": common.machine()}, options.json)
    return int(least < PROMISE)


if __name__ == "__main__":
    sys.exit(main())
