"""How many live streams keep up: a process on each core, the streams of one taking turns at every frame.

python benchmarks/streams.py                    one after the other
python benchmarks/streams.py --grouped          by ``push_many``, the network running once for all in a process
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import common
from live import Call, frames_together

LATE = 0.01  # share of the frames' deadlines that may be missed
_LEAD_S = 0.5  # between asking the processes and their common first frame
_LAG_S = 1.0  # of delay at which a run is given up
_WARMING_FRAMES = 25


@dataclass(frozen=True)
class Run:
    """So many streams at once. ``late``: the share of 20 ms deadlines missed by the worst process; ``busy_s``: CPU
    seconds of all processes for a frame of every stream; ``busy_share``: of the time that their cores had."""

    streams: int
    late: float
    busy_s: float
    busy_share: float

    @property
    def keeps_up(self) -> bool:
        """Whether a listener would hear no gaps to speak of."""
        return self.late <= LATE


@lru_cache(maxsize=1)
def _codec(model: str, runtime: str) -> Any:
    from audiocodec.codec import load

    return load(model, runtime=runtime)


def _live(
    model: str, runtime: str, audio: Path, grouped: bool, streams: int, seconds: float, begin: float
) -> tuple[float, float]:
    """In a process: the share of late frames, and CPU seconds a frame of all ``streams``."""
    codec = _codec(model, runtime)
    frame_s = 1 / codec.frame_rate
    speech = common.looped_speech(audio, codec.sample_rate, 60.0)
    calls = [Call(codec, codec.choose_rate(), speech, start) for start in range(streams)]
    for _ in range(_WARMING_FRAMES):
        for call in calls[:4]:
            call.frame()
    if grouped:
        frames_together(calls)
    begin = max(begin, time.monotonic())
    frames, late = round(seconds / frame_s), 0
    used = time.process_time()
    for frame in range(frames):
        due = begin + frame * frame_s
        time.sleep(max(0.0, due - time.monotonic()))
        if grouped:
            frames_together(calls)
        else:
            for call in calls:
                call.frame()
        behind = time.monotonic() - due - frame_s
        late += behind > 0
        if behind > _LAG_S:
            return 1.0, (time.process_time() - used) / (frame + 1)
    return late / frames, (time.process_time() - used) / frames


def by_streams(
    model: str,
    runtime: str,
    audio: Path,
    counts: Sequence[int],
    seconds: float,
    processes: int,
    grouped: bool = False,
) -> list[Run]:
    """Runs at rising counts until two in a row do not keep up, and at counts between the last that did and the next."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:

        def run(streams: int) -> Run:
            shares = [streams // processes + (place < streams % processes) for place in range(processes)]
            begin = time.monotonic() + _LEAD_S
            asked = [
                pool.submit(_live, model, runtime, audio, grouped, share, seconds, begin) for share in shares if share
            ]
            told = [one.result() for one in asked]
            busy = sum(cpu for _, cpu in told)
            return Run(streams, max(late for late, _ in told), busy, busy / len(told) / frame_s)

        frame_s = 1 / _codec(model, runtime).frame_rate
        run(processes)  # the processes load the model
        runs: list[Run] = []
        for count in counts:
            runs.append(run(count))
            if len(runs) > 1 and not (runs[-1].keeps_up or runs[-2].keeps_up):
                break
        low, high = _bracket(runs)
        while low and high and high - low > max(processes, low // 10):
            runs.append(run((low + high) // 2))
            low, high = _bracket(runs)
    return sorted(runs, key=lambda one: one.streams)


def _bracket(runs: Sequence[Run]) -> tuple[int, int]:
    """The largest count below which all keep up, and the first that does not; 0 where there is none."""
    high = min((one.streams for one in runs if not one.keeps_up), default=0)
    return max((one.streams for one in runs if one.keeps_up and (not high or one.streams < high)), default=0), high


def most(runs: Sequence[Run]) -> int:
    """The largest number of streams that keeps up, with all smaller numbers tried."""
    return _bracket(runs)[0]


def main() -> None:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--streams", type=int, nargs="+", default=(1, 10, 50, 100, 200))
    made.add_argument("--seconds", type=float, default=5.0, help="of each run")
    made.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--grouped", action="store_true", help="by push_many instead of one after the other")
    options = made.parse_args()
    setting = {"model": options.model, "runtime": common.load_codec(options).runtime.name, "grouped": options.grouped}
    runs = by_streams(
        setting["model"],
        setting["runtime"],
        options.audio,
        options.streams,
        options.seconds,
        options.processes,
        options.grouped,
    )
    print(f"{setting['model']} by {setting['runtime']}, {'grouped' if options.grouped else 'one after the other'}:")
    for one in runs:
        cost = f"{1000 * one.busy_s / one.streams:.3f} CPU ms a frame of each"
        print(f"  {one.streams:>5} streams: {100 * one.late:6.2f} % late, {cost}, busy {100 * one.busy_share:.0f} %")
    print(f"{most(runs)} streams keep up in {options.processes} processes (at most {100 * LATE:g} % late)")
    common.finish({**setting, "runs": [asdict(one) for one in runs], "machine": common.machine()}, options.json)


if __name__ == "__main__":
    main()
