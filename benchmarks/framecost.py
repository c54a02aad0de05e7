"""What a frame of a live stream costs where many share a process: CPU milliseconds, in the network and around it.

Speech through ``--streams`` encoders, a link that loses packets at random, and as many decoders, by ``push_many``. With
``--beside`` another checkout of this repository is measured in turn with this one, in a process of its own, so that
what else the machine does meets both; the best round and the median of each are told.

    python benchmarks/framecost.py
    git worktree add /tmp/before HEAD~5 && python benchmarks/framecost.py --beside /tmp/before
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started; memory as in soak.py.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "262144")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

PARTS = ("encode", "encode, network", "encode, rest", "decode", "decode, network", "decode, rest", "both")
Costs = dict[str, float]
"""CPU milliseconds a frame of each of ``PARTS``."""
_TICKS = 40  # of a round: each stream says a frame


class Streams:
    """In a process: the encoders and decoders, and a stopwatch in the network."""

    def __init__(self, options: argparse.Namespace) -> None:
        from audiocodec import StreamDecoder, StreamEncoder, push_many
        from audiocodec.codec import load

        self._push_many = push_many
        self._count, self._loss = options.streams, options.loss
        self._network_s = 0.0
        self._watch_the_network()
        codec = load(options.model, runtime="onnx")
        speech = common.looped_speech(options.audio, codec.sample_rate, 60.0)
        whole = len(speech) // codec.hop_samples * codec.hop_samples
        self._frames = speech[:whole].reshape(-1, 1, codec.hop_samples)
        self._encoders = [StreamEncoder(codec, codec.choose_rate()) for _ in range(self._count)]
        self._decoders = [StreamDecoder(codec, live=True) for _ in range(self._count)]
        push_many([(one, other.header.pack()) for one, other in zip(self._decoders, self._encoders, strict=True)])
        self._luck = np.random.default_rng(0)
        self._places = self._luck.integers(len(self._frames), size=self._count)

    def _watch_the_network(self) -> None:
        import onnxruntime

        run = onnxruntime.InferenceSession.run

        def timed(*arguments: Any) -> Any:
            begin = time.process_time()
            try:
                return run(*arguments)
            finally:
                self._network_s += time.process_time() - begin

        onnxruntime.InferenceSession.run = timed

    def round(self) -> Costs:
        """Some frames of every stream."""
        costs = dict.fromkeys(PARTS, 0.0)
        for _ in range(_TICKS):
            self._places += 1
            said = self._timed(
                costs, "encode", self._encoders, [self._frames[at % len(self._frames)] for at in self._places]
            )
            heard = [place for place in range(self._count) if self._luck.random() >= self._loss]
            came = [b"".join(said[place]) for place in heard]
            self._timed(costs, "decode", [self._decoders[place] for place in heard], came)
        costs["both"] = costs["encode"] + costs["decode"]
        return {part: 1000 * cost / (_TICKS * self._count) for part, cost in costs.items()}

    def _timed(self, costs: Costs, part: str, streams: list[Any], data: list[Any]) -> list[Any]:
        pushes = list(zip(streams, data, strict=True))
        self._network_s, begin = 0.0, time.process_time()
        results = self._push_many(pushes)
        all_s = time.process_time() - begin
        costs[part] += all_s
        costs[f"{part}, network"] += self._network_s
        costs[f"{part}, rest"] += all_s - self._network_s
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results


def work(options: argparse.Namespace) -> None:
    """In a process: a round for every line of standard input; the first, while all is cold, does not count."""
    streams = Streams(options)
    streams.round()
    for _ in sys.stdin:
        print(json.dumps(streams.round()), flush=True)


def measure(checkouts: dict[str, Path], options: argparse.Namespace) -> dict[str, list[Costs]]:
    """The rounds of every checkout, in turns."""
    chosen = ["--model", options.model, "--audio", str(options.audio.resolve())]
    chosen += ["--streams", str(options.streams), "--loss", str(options.loss)]
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--work", *chosen],
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, checkout in checkouts.items()
    }
    rounds: dict[str, list[Costs]] = {name: [] for name in checkouts}
    for number in range(options.rounds):
        for name in list(workers)[:: 1 if number % 2 else -1]:
            asked, told = workers[name].stdin, workers[name].stdout
            assert asked is not None
            assert told is not None
            asked.write("\n")
            asked.flush()
            rounds[name].append(json.loads(told.readline()))
    for worker in workers.values():
        worker.communicate()
    return rounds


def summary(rounds: list[Costs]) -> dict[str, dict[str, float]]:
    """The best round and the median, of each part."""
    columns = {part: [one[part] for one in rounds] for part in PARTS}
    return {part: {"best": min(costs), "median": statistics.median(costs)} for part, costs in columns.items()}


def tell(found: dict[str, dict[str, dict[str, float]]]) -> None:
    """For people."""
    for part in PARTS:
        this = found["this"][part]
        line = f"{part:16s} best {this['best']:.4f}, median {this['median']:.4f} CPU ms a frame"
        if "beside" in found:
            other = found["beside"][part]
            line += f"; beside {other['best']:.4f} and {other['median']:.4f}, this is "
            line += f"{this['best'] / other['best']:.3f} and {this['median'] / other['median']:.3f} of it"
        print(line)


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--streams", type=int, default=50)
    made.add_argument("--loss", type=float, default=0.05, help="share of packets lost, each by itself")
    made.add_argument("--rounds", type=int, default=12)
    made.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another one, to measure in turn with this")
    made.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.work:
        work(options)
        return 0
    checkouts = {"this": common.REPOSITORY} | ({"beside": options.beside} if options.beside else {})
    found = {name: summary(rounds) for name, rounds in measure(checkouts, options).items()}
    tell(found)
    setting = {"model": options.model, "streams": options.streams, "loss": options.loss, "rounds": options.rounds}
    common.finish({**setting, "parts": found, "machine": common.machine()}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
