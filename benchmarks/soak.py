"""Whether a machine holds so many live streams at once: a soak with loss and disconnects.

A process on each core holds its share of the streams as a service would, under asyncio and computed by a `StreamGroup`.
Each stream is speech, a frame every 20 ms by the clock, encoded, sent over a link that loses packets in bursts, and
decoded. Streams end at random moments without a farewell, and others begin in their place. Exits 1 where a promise is
broken: latencies at the 99th percentile are bounded, nothing is raised, memory is flat, samples go on as time does, all
that was lost is concealed and counted, and each stream gives what it gives alone.

    python benchmarks/soak.py
    python benchmarks/soak.py --streams 60 --minutes 1 --processes 1
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
# Batches of all sizes leave holes in glibc's heap, which grew by 30 MB in a minute, given back when asked to
# (malloc_trim); as mappings of their own they leave none, at no cost that could be measured.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "262144")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import common
import numpy as np
from service import Load, Proof, Service, Told, over_ms, percentile_ms

if TYPE_CHECKING:
    from audiocodec.codec import Codec

LATENCY_LIMIT_MS = 100.0
"""Of the 99th percentile, to encode and to decode."""
GROWTH_LIMIT_MB = 8.0
"""Of a process: the garbage of many small objects moves its size by some."""
APART_LIMIT = 1e-5
ALIKE_LIMIT = 0.99
"""A token may differ where a product is rounded otherwise, and its packet with it."""
_FRAME_MS = 20.0


def hold(load: Load) -> Told:
    """In a process: hold the streams, then look at some of them again."""
    from audiocodec import StreamGroup
    from audiocodec.codec import load as load_codec

    codec = load_codec(load.model, runtime=load.runtime)  # type: ignore[arg-type]
    with tempfile.TemporaryFile() as kept:
        with StreamGroup(every_ms=load.every_ms) as group:
            service = Service(codec, load, group, kept)
            asyncio.run(service.run())
        prove(service, codec, kept)
    return service.told


def prove(service: Service, codec: Codec, kept: BinaryIO) -> None:
    """Lay some streams beside what encoder and decoder give alone."""
    told = service.told
    equal = packets = 0
    apart = 0.0
    for proof in told.proofs:
        equal += sum(one == other for one, other in zip(proof.sent, alone(service, codec, proof), strict=True))
        packets += len(proof.sent)
        apart = max(apart, distance(codec, proof, kept))
    told.proofs, told.alike = [], equal / packets if packets else None
    told.apart = apart if packets else None


def alone(service: Service, codec: Codec, proof: Proof) -> list[bytes]:
    """The packets of a stream by itself."""
    from audiocodec import StreamEncoder

    encoder = StreamEncoder(codec, codec.choose_rate())
    frames = range(proof.start, proof.start + len(proof.sent))
    return [packet for frame in frames for packet in encoder.push(service.frames(frame))]


def distance(codec: Codec, proof: Proof, kept: BinaryIO) -> float:
    """By how much samples differ at most from those that a decoder alone makes of the same packets."""
    from audiocodec import StreamDecoder, StreamEncoder

    decoder, most = StreamDecoder(codec, live=True), 0.0
    decoder.push(StreamEncoder(codec, codec.choose_rate()).header.pack())
    packets = iter(proof.arrived)  # the last of which may have been cut off
    for together, place, count in proof.kept:
        wanted = decoder.push(b"".join(islice(packets, together)))
        kept.seek(place)
        found = np.frombuffer(kept.read(4 * count), np.float32)
        if wanted.shape[1] != count:
            return float("inf")
        most = max(most, float(np.abs(wanted[0] - found).max(initial=0.0)))
    return most


def soak(options: argparse.Namespace) -> list[Told]:
    """Every process's measurements."""
    shares = [
        options.streams // options.processes + (place < options.streams % options.processes)
        for place in range(options.processes)
    ]
    loads = [
        Load(
            model=options.model,
            runtime=options.runtime,
            audio=options.audio,
            streams=share,
            first=sum(shares[:place]),
            seconds=60 * options.minutes,
            life_s=options.life,
            loss=options.loss,
            burst=options.burst,
            every_ms=options.every_ms,
            proofs=-(-options.proofs // options.processes),
            proof_s=10.0,
            seed=options.seed,
        )
        for place, share in enumerate(shares)
        if share
    ]
    with ProcessPoolExecutor(len(loads), multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(hold, loads))


def summary(told: list[Told]) -> dict[str, Any]:
    """All processes together."""
    wall_s = max(one.wall_s for one in told)
    result: dict[str, Any] = {"seconds": wall_s}
    for kind in ("encode", "decode"):
        histograms = [getattr(one, kind) for one in told]
        counts = np.sum([one.counts for one in histograms], axis=0)
        shares = {f"p{share:g}_ms": percentile_ms(counts, share / 100) for share in (50, 95, 99, 99.9)}
        result[kind] = {
            "frames": int(counts.sum()),
            "audio_seconds_a_second": float(counts.sum()) * _FRAME_MS / 1000 / wall_s,
            **shares,
            "max_ms": max(one.most_ms for one in histograms),
            "late": over_ms(counts, _FRAME_MS),
        }
    for name in ("streams", "packets", "lost_packets", "concealed_frames", "checked"):
        result[name] = sum(getattr(one, name) for one in told)
    result["cpu_share"] = sum(one.cpu_s for one in told) / (wall_s * len(os.sched_getaffinity(0)))
    result["cpu_ms_a_frame"] = 1000 * sum(one.cpu_s for one in told) / max(result["encode"]["frames"], 1)
    result["memory_mb"] = [one.sizes_mb[-1] for one in told if one.sizes_mb]
    result["growth_mb"] = [common.growth_mb(one.sizes_mb) for one in told]
    result["alike"] = min((one.alike for one in told if one.alike is not None), default=None)
    result["apart"] = max((one.apart for one in told if one.apart is not None), default=None)
    result["faults"] = [fault for one in told for fault in one.faults]
    return result


def broken(result: dict[str, Any]) -> list[str]:
    """The promises that are."""
    found = [
        f"{kind}: p99 {result[kind]['p99_ms']:.1f} ms, promised {LATENCY_LIMIT_MS:g}"
        for kind in ("encode", "decode")
        if result[kind]["p99_ms"] > LATENCY_LIMIT_MS
    ]
    found += [f"a process grew by {more:.1f} MB" for more in result["growth_mb"] if more and more > GROWTH_LIMIT_MB]
    if result["apart"] is not None and result["apart"] > APART_LIMIT:
        found.append(f"samples are {result['apart']:.1e} from those of a stream alone")
    if result["alike"] is not None and result["alike"] < ALIKE_LIMIT:
        found.append(f"only {100 * result['alike']:.2f} % of packets are those of a stream alone")
    return found + result["faults"][:10]


def tell(result: dict[str, Any]) -> None:
    """For people."""
    for kind in ("encode", "decode"):
        row = result[kind]
        print(
            f"{kind}: {row['audio_seconds_a_second']:.1f} s of audio a second; latency in ms: p50 {row['p50_ms']:.1f}, "
            f"p95 {row['p95_ms']:.1f}, p99 {row['p99_ms']:.1f}, p99.9 {row['p99.9_ms']:.1f}, max {row['max_ms']:.0f}; "
            f"{100 * row['late']:.2f} % took longer than a frame"
        )
    print(
        f"{result['streams']} streams in all, {result['packets']} packets, {result['lost_packets']} lost; "
        f"{result['checked']} streams counted at their end, {result['concealed_frames']} frames concealed in them"
    )
    print(
        f"processors busy {100 * result['cpu_share']:.0f} %, {result['cpu_ms_a_frame']:.3f} CPU ms a frame; memory "
        f"{', '.join(f'{size:.0f}' for size in result['memory_mb'])} MB, grown by "
        f"{', '.join('?' if more is None else f'{more:.1f}' for more in result['growth_mb'])}"
    )
    if result["apart"] is not None:
        alike = f"{100 * result['alike']:.2f} % of packets equal"
        print(f"beside streams alone: samples within {result['apart']:.1e}, {alike}")


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--streams", type=int, default=100)
    made.add_argument("--minutes", type=float, default=10.0)
    made.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--life", type=float, default=30.0, help="mean seconds until a stream is cut off")
    made.add_argument("--loss", type=float, default=0.05, help="share of packets lost")
    made.add_argument("--burst", type=float, default=2.0, help="mean number of packets lost in a row")
    made.add_argument("--every-ms", type=float, default=0.0, help="least time between two batches of a group")
    made.add_argument("--proofs", type=int, default=20, help="streams of which ten seconds are looked at again")
    made.add_argument("--seed", type=int, default=0, help="of lives and losses")
    options = made.parse_args()
    result = summary(soak(options))
    tell(result)
    faults = broken(result)
    for fault in faults:
        print(f"BROKEN: {fault}")
    print(f"{options.streams} streams: {'not held' if faults else 'held'}, {options.processes} processes")
    setting = {key: value for key, value in vars(options).items() if key not in ("json", "audio")}
    setting["at_once"] = setting.pop("streams")
    common.finish({**setting, **result, "broken": faults, "machine": common.machine()}, options.json)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
