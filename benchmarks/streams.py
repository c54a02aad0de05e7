"""How many live streams keep up: a process on each core, the streams of one taking turns at every frame."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import common
from live import Call

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


def _live(model: str, runtime: str, audio: Path, streams: int, seconds: float, begin: float) -> tuple[float, float]:
    """In a process: the share of late frames, and CPU seconds a frame of all ``streams``."""
    codec = _codec(model, runtime)
    frame_s = 1 / codec.frame_rate
    speech = common.looped_speech(audio, codec.sample_rate, 60.0)
    calls = [Call(codec, codec.choose_rate(), speech, start) for start in range(streams)]
    for _ in range(_WARMING_FRAMES):
        for call in calls[:4]:
            call.frame()
    begin = max(begin, time.monotonic())
    frames, late = round(seconds / frame_s), 0
    used = time.process_time()
    for frame in range(frames):
        due = begin + frame * frame_s
        time.sleep(max(0.0, due - time.monotonic()))
        for call in calls:
            call.frame()
        behind = time.monotonic() - due - frame_s
        late += behind > 0
        if behind > _LAG_S:
            return 1.0, (time.process_time() - used) / (frame + 1)
    return late / frames, (time.process_time() - used) / frames


def by_streams(
    model: str, runtime: str, audio: Path, counts: Sequence[int], seconds: float, processes: int
) -> list[Run]:
    """Runs at rising counts until two in a row do not keep up, and at counts between the last that did and the next."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:

        def run(streams: int) -> Run:
            shares = [streams // processes + (place < streams % processes) for place in range(processes)]
            begin = time.monotonic() + _LEAD_S
            asked = [pool.submit(_live, model, runtime, audio, share, seconds, begin) for share in shares if share]
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
