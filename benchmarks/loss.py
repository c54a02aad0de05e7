"""What packet loss does to speech: our calls beside Opus, with its own concealment and copies, at the same rate.

Every recording goes through the real sender and receiver of a call in simulated time, and through libopus packet by
packet; both send 20 ms a packet and lose the same ones, independently or in bursts (Gilbert-Elliott), by a seed. Ours
is measured at the model's default rate with more and more copies, and beside Opus at each of its rates with the best
setting that takes no more payload than Opus does. Opus is told the loss that comes. Exits 1 where a promise is broken.

    python benchmarks/loss.py --audio FOLDER --json loss.json --plot loss.svg
    python benchmarks/loss.py --quick          one short recording, few networks: whether it runs
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import sources
from lossfindings import Pair, Promise, fall, gathered, mean_of, of_default, of_pairs
from lossmeasure import METRICS, NONE, Condition, Job, Task, conditions, copies_from, fitting, run, sizes
from losspaths import File, Opus, Ours, Way
from lossplot import drawn

from audiocodec import __version__
from audiocodec.evaluate.metrics import METRICS as KNOWN
from audiocodec.evaluate.peers.libopus import absent_libopus, capabilities
from audiocodec.evaluate.recordings import list_audio
from audiocodec.evaluate.workers import spread

if TYPE_CHECKING:
    from audiocodec.codec import Codec

COPIES = (0, 1, 2, 3)  # at the default rate
COPIES_AT = {6.0: 2, 9.0: 1, 12.0: 2}
"""Copies beside Opus at so many kbps: of those tried, the ones that leave the most at 10 % loss and yet fall less."""
ALONE = (24.0,)
"""Kbps of Opus with nothing beside it: below about 18 it has no copies of its own, and ours cannot spend so much."""


def planned(job: Job, files: list[Path], kbps: list[float], workers: int) -> list[tuple[float, Ours, Opus]]:
    """Our setting beside Opus at each rate. Exits where there is none that low."""
    copies = tuple(sorted({COPIES_AT.get(one, COPIES[-1]) for one in kbps}))
    asked = [(path, tuple(kbps), copies) for path in files]
    found = list(spread(sizes, job, asked, workers))
    plan = []
    for one in kbps:
        ours = fitting(found, one, COPIES_AT.get(one, COPIES[-1]))
        if ours is None:
            sys.exit(f"no setting of {job.codec.facts.name} takes as little as Opus at {one:g} kbps")
        plan.append((one, ours, Opus(one)))
    return plan


def tasks_of(files: list[Path], ways: list[Way], networks: tuple[Condition, ...]) -> list[Task]:
    """Each recording by each way; a file meets no network."""
    return [Task(path, way, networks[:1] if isinstance(way, File) else networks) for path in files for way in ways]


def tell(rows: list[dict[str, Any]], promises: list[Promise]) -> None:
    """For people."""
    heads = "".join(f"{KNOWN[name].heading:>9}" for name in METRICS)
    print(f"{'':36}{'loss':>12}{'kbps':>7}{heads}   fall of PESQ, STOI")
    for row in rows:
        means = "".join(f"{mean_of(row, name):9.3f}" for name in METRICS)
        network = f"{row['kind']} {100 * row['loss']:g} %" if row["loss"] else NONE
        lower = [fall(rows, row["way"], row["kind"], row["loss"], name) for name in ("pesq_wb", "stoi")]
        print(f"{row['way']:36}{network:>12}{row['kbps']:7.2f}{means}   {lower[0]:.3f} {lower[1]:.4f}")
    for promise in promises:
        verdict = "kept" if promise.kept else "BROKEN"
        print(
            f"promised: {promise.group}, {promise.what}: {promise.figure:.4g}, at most {promise.limit:.4g}: {verdict}"
        )


def options_of() -> argparse.Namespace:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--loss", type=float, nargs="+", default=[0.01, 0.03, 0.05, 0.1, 0.2], help="shares lost")
    made.add_argument("--burst", type=float, default=3.0, help="packets lost in a row, in the mean")
    made.add_argument("--opus", type=float, nargs="+", default=list(COPIES_AT), help="kbps of Opus to be beside")
    made.add_argument("--alone", type=float, nargs="*", default=list(ALONE), help="kbps of Opus by itself")
    made.add_argument("--seeds", type=int, default=1, help="networks drawn for each recording")
    made.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    made.add_argument("--most", type=int, help="take so many recordings, spread over all")
    made.add_argument("--work", type=Path, metavar="FILE", help="keep here what is done; a later run goes on from it")
    made.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the results")
    made.add_argument("--quick", action="store_true", help="little of everything: whether it runs")
    options = made.parse_args()
    if options.quick:
        options.loss, options.opus, options.alone, options.most = [0.05], [12.0], [], 1
    return options


def chosen(options: argparse.Namespace) -> list[Path]:
    """The recordings. Raises DataError where there are none."""
    files = [options.audio] if options.audio.is_file() else list_audio(options.audio)
    many = min(options.most or len(files), len(files))
    return [files[number * len(files) // many] for number in range(many)]


def main() -> int:
    options, began = options_of(), time.monotonic()
    if reason := absent_libopus():
        sys.exit(reason)
    codec, files = common.load_codec(options), chosen(options)
    networks = conditions(options.loss, options.burst)
    job = Job(codec, networks, options.seeds)
    plan = planned(job, files, options.opus, options.workers)
    level = codec.choose_rate().base_levels
    default = [Ours(level, copies) for copies in COPIES[: 1 if options.quick else None]]
    beside, alone = [way for _, *both in plan for way in both], [Opus(kbps) for kbps in options.alone]
    ways: list[Way] = list(dict.fromkeys([File(level), *default, *beside, *alone]))
    model = f"{codec.fingerprint.hex()} {_files_beside(codec)} {codec.runtime.name}"
    identity = f"{__version__} {model} {networks} {options.seeds}"
    outcomes = run(job, tasks_of(files, ways, networks), options.workers, options.work, identity)
    rows = gathered(outcomes, [way.name for way in ways], [path.name for path in files])
    pairs = [Pair(kbps, ours.name, opus.name) for kbps, ours, opus in plan]
    promises = [*of_default(rows, [way.name for way in default], ways[0].name), *of_pairs(rows, pairs)]
    tell(rows, promises)
    measured = {
        "default": [way.name for way in default],
        "pairs": [vars(pair) for pair in pairs],
        "alone": [way.name for way in alone],
        "ways": {way.name: {"wait_ms": way.wait_ms} for way in ways},
        "promises": [promise.told() for promise in promises],
        "rows": rows,
    }
    write({**about(codec, files, options), "seconds": time.monotonic() - began, **measured}, options)
    return int(not all(promise.kept for promise in promises))


def _files_beside(codec: Codec) -> str:
    """A digest of what the fingerprint leaves out: the graphs, and the network that estimates lost frames."""
    folder = codec.files.folder if codec.files else None
    paths = sorted([*folder.glob("*.onnx"), *folder.glob("*.safetensors")]) if folder else []
    return sources.digest([], paths)


def about(codec: Codec, files: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    """What was measured, and by what."""
    return {
        "model": codec.facts.name,
        "fingerprint": codec.fingerprint.hex(),
        "libopus": {**capabilities(), "copies_from": copies_from(files[0], options.loss)},
        "seeds": options.seeds,
        "burst": options.burst,
        "files": [path.name for path in files],
        "machine": common.machine(),
    }


def write(result: dict[str, Any], options: argparse.Namespace) -> None:
    """The drawing and the figures, where they are wanted."""
    if options.plot:
        options.plot.write_text(drawn(result), encoding="utf-8")
    if options.json:
        options.json.write_text(compact(result), encoding="utf-8")


def compact(result: dict[str, Any]) -> str:
    """JSON with a line for each row: indented, scores of every recording would be a line each."""
    rows = result["rows"]
    head = json.dumps({**result, "rows": []}, indent=2).removesuffix("[]\n}")
    return head + "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in rows) + "\n  ]\n}\n"


if __name__ == "__main__":
    sys.exit(main())
