"""How our codec's cost grows: with file length, batch, block, width of the model, and number of live streams.

Along each axis the cost in CPU seconds is fitted twice: its exponent over the largest sizes, where it is even in
log-log, and a fixed cost beside one that is proportional, whose ratio is the knee: the size below which the fixed cost
leads. What the fixed cost consists of, and how far the proportional part is from the rate of matrix products on the
same core, is said with it. Live streams run in as many processes as there are cores, each stream a frame (20 ms) at a
time; told is the largest number whose deadlines are met. No promise is checked.

    python benchmarks/scaling.py --plot scaling.svg
    python benchmarks/scaling.py --quick       coarse, in less than a minute
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools, and for the processes started here.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
from axes import Axis, by_batch, by_block, by_length, by_width
from fit import Growth, growth
from peak import MatrixPeak
from plot import Chart, svg
from streams import LATE, Run, by_streams, most

if TYPE_CHECKING:
    from audiocodec.codec import Codec

AXES = ("length", "batch", "block", "width", "streams")


@dataclass(frozen=True)
class Plan:
    """Sizes along each axis."""

    lengths: Sequence[float] = (1, 3, 10, 30, 100, 300, 1000, 3600, 10_800, 36_000)
    batches: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)
    blocks: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128)
    widths: Sequence[float] = (0.25, 0.5, 1, 2, 4)
    streams: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 100, 200)
    shipped: Sequence[str] = ("speech-16k", "speech-24k", "music-48k")
    block_frames: int = 512  # in all, at each length of block
    batch_calls: int = 4
    width_seconds: float = 5.0
    stream_seconds: float = 5.0


QUICK = Plan(
    (1, 2, 4), (1, 4, 16), (1, 8, 64), (0.25, 0.5, 1), (1, 4, 16), ("speech-16k",), 64, 1, 1.0, 0.5
)  # fmt: skip


def explain(axis: Axis, found: Growth, floor: float | None) -> list[str]:
    """What a fit says, in sentences; ``floor``: the rate of the largest size over that of matrix products."""
    uneven = "" if found.even else ", where it still bends"
    said = [f"grows with exponent {found.exponent:.2f} from {found.straight_from:.4g} {axis.unit} on{uneven}"]
    fixed = f"{1000 * found.fixed:.3g} ms are fixed ({axis.fixed_is})"
    if found.knee is None:
        said.append(f"no knee: {fixed}, less than the smallest size costs")
    elif found.knee >= axis.sizes[-1]:
        said.append(f"no knee up to {axis.sizes[-1]:.4g}: {fixed}, and little else")
    else:
        each = f"{1000 * found.per_unit:.3g} ms each"
        said.append(f"knee at {found.knee:.3g} {axis.unit}: {fixed}, as much as {found.knee:.3g} of {each}")
    if found.bends_up:
        said.append(
            f"a unit is cheapest at {found.cheapest:.4g} and {100 * (found.rise - 1):.0f} % dearer at "
            f"{axis.sizes[-1]:.4g}: what is computed at once outgrows a core's cache, and operators that copy or work "
            "element by element then wait for memory"
        )
    if floor is not None:
        said.append(f"at {axis.sizes[-1]:.4g}, the arithmetic runs at {100 * floor:.0f} % of the matrix product's rate")
    return said


def explain_streams(runs: Sequence[Run], processes: int) -> list[str]:
    """What the runs of live streams say."""
    best, highest = most(runs), max(one.streams for one in runs)
    said = [f"{best} streams keep up on {processes} cores (at most {100 * LATE:g} % of deadlines missed)"]
    each = [one.busy_s / one.streams for one in runs]
    if each[0] > 1.2 * min(each):
        more = f"{100 * (each[0] / min(each) - 1):.0f} % more where streams are few"
        said.append(f"a frame costs {more}: between two frames other programs, or sleep, take the caches")
    if best == highest:
        return [*said, "more were not tried"]
    reached = next((one for one in runs if one.streams == best), runs[0])
    cause = (
        "the processors are full, for a frame costs the same however many streams there are"
        if reached.busy_share > 0.7
        else "frames wait for processors that other programs hold (the load is in the JSON)"
    )
    return [*said, f"their frames keep the cores busy for {100 * reached.busy_share:.0f} % of the time; {cause}"]


def measure(codec: Codec, options: argparse.Namespace, plan: Plan) -> tuple[list[Axis], list[Run]]:
    """Along the axes wanted."""
    speech = common.looped_speech(options.audio, codec.sample_rate, 60.0)
    lengths = [length for length in plan.lengths if length <= options.longest]
    wanted: dict[str, Callable[[], Axis]] = {
        "length": lambda: by_length(codec, speech, lengths, options.repeat),
        "batch": lambda: by_batch(codec, speech, plan.batches, plan.batch_calls, options.repeat),
        "block": lambda: by_block(codec, speech, plan.blocks, plan.block_frames, options.repeat),
        "width": lambda: by_width(codec, speech, plan.widths, plan.shipped, plan.width_seconds, options.repeat),
    }
    axes = [make() for name, make in wanted.items() if name in options.axes]
    runs = []
    if "streams" in options.axes:
        setting = (options.model, codec.runtime.name, options.audio)
        runs = by_streams(*setting, plan.streams, plan.stream_seconds, options.processes)
    return axes, runs


def chart(axis: Axis, found: Growth) -> Chart:
    """Throughput along an axis."""
    points = list(zip(axis.sizes, axis.throughput, strict=True))
    others = {name: (size, 1 / cost) for name, (size, cost) in axis.extra.items()}  # of a second of audio
    return Chart(f"by {axis.name}", axis.unit, "audio seconds a CPU second", points, others, found.knee)


def report(axis: Axis, found: Growth, peak: float, macs: float | None) -> dict[str, Any]:
    """Print an axis, and what belongs into the JSON."""
    print(f"by {axis.name}:")
    for size, cost, speed in zip(axis.sizes, axis.costs, axis.throughput, strict=True):
        print(f"  {size:>8.4g} {axis.unit:<40} {1000 * cost:10.2f} ms  {speed:7.1f} x real time")
    for name, (size, cost) in axis.extra.items():
        print(f"  {size:>8.0f} {name:<40} {1000 * cost:10.2f} ms  {1 / cost:7.1f} x real time")
    each = axis.sizes[-1] * 1e6 if axis.name == "model width" else (macs or 0.0)
    floor = each * axis.throughput[-1] / peak if each else None
    said = explain(axis, found, floor)
    for sentence in said:
        print(f"  {sentence}")
    return {**asdict(axis), "throughput": axis.throughput, "fit": asdict(found), "said": said}


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--axes", nargs="+", choices=AXES, default=AXES)
    made.add_argument("--longest", type=float, default=3600.0, help="seconds of the longest file; 36000 are ten hours")
    made.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="for live streams")
    made.add_argument("--repeat", type=int, default=5)
    made.add_argument("--quick", action="store_true", help="few sizes, once each: whether it runs, not how fast it is")
    made.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the results")
    options = made.parse_args()
    options.repeat = 1 if options.quick else options.repeat
    codec, peak = common.load_codec(options), MatrixPeak()
    macs = sum(common.costs_of(codec).values())
    peak()
    axes, runs = measure(codec, options, QUICK if options.quick else Plan())
    peak()
    fits = [growth(axis.sizes, axis.costs) for axis in axes]
    rows = [
        report(axis, found, peak.macs_per_second, None if axis.name == "file length" else macs)
        for axis, found in zip(axes, fits, strict=True)
    ]
    charts = [chart(axis, found) for axis, found in zip(axes, fits, strict=True)]
    streams: dict[str, Any] = {}
    if runs:
        said = explain_streams(runs, options.processes)
        print(f"by live streams, in {options.processes} processes:")
        for one in runs:
            told = f"{100 * one.late:6.2f} % late, cores busy {100 * one.busy_share:5.1f} %"
            print(f"  {one.streams:>8} streams {1000 * one.busy_s / one.streams:8.3f} CPU ms a frame of each, {told}")
        print("".join(f"  {sentence}\n" for sentence in said), end="")
        streams = {"runs": [asdict(one) for one in runs], "most": most(runs), "said": said}
        busy = [(float(one.streams), 100 * one.busy_share) for one in runs]
        charts.append(Chart("by live streams", "streams", "cores busy, %", busy, {}, most(runs) or None))
    if options.plot:
        options.plot.write_text(svg(charts), encoding="utf-8")
    setting = {"model": codec.config.name, "runtime": codec.runtime.name, "quick": options.quick}
    result = {**setting, "axes": rows, "streams": streams, "peak_macs_per_second": peak.macs_per_second}
    common.finish({**result, "machine": common.machine()}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
