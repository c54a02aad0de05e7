"""One recording by one way through the network, measured at every loss; and what rates the ways come to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import losspaths
import numpy as np
import sources
from losspaths import Opus, Ours, Recording, Way

from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import SPEECH_RATE
from audiocodec.evaluate.peers.libopus import OpusSettings, encode_packets, has_copy
from audiocodec.evaluate.traces import loss_trace
from audiocodec.evaluate.workers import spread
from audiocodec.live.payload import Contents, PayloadFormat
from audiocodec.live.sender import call_header, lowest_rate

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

METRICS = ("pesq_wb", "stoi", "estoi", "plcmos")
NONE = "none"  # the network that loses nothing
_DECIMALS = 4
_ASKED_S = 3  # of speech, to see from which rate Opus has copies
_MEASURING = ("audiocodec.evaluate.measure", "audiocodec.evaluate.recordings", "audiocodec.evaluate.traces")


@dataclass(frozen=True)
class Condition:
    """A network: ``burst`` is the mean number of packets lost in a row, 1 where they are independent."""

    kind: str
    loss: float
    burst: float = 1.0


@dataclass(frozen=True)
class Job:
    """What is the same for all: the networks, and how many seeds each is drawn by."""

    codec: Codec
    conditions: tuple[Condition, ...]
    seeds: int

    @property
    def clear(self) -> Condition:
        """The one that loses nothing."""
        return self.conditions[0]


@dataclass(frozen=True)
class Task:
    """A recording, and the way that it takes."""

    path: Path
    way: Way
    conditions: tuple[Condition, ...] = field(repr=False)

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.path.name}: {self.way.name}"


def conditions(losses: Sequence[float], burst: float) -> tuple[Condition, ...]:
    """No loss, then each loss of independent packets, then each in bursts."""
    kinds = {"random": 1.0, "burst": burst}
    return Condition(NONE, 0.0), *(Condition(kind, loss, mean) for kind, mean in kinds.items() for loss in losses)


def measure(job: Job, task: Task) -> dict[str, Any]:
    """A row for each network: scores, ``[seeds]`` of each measure, kbps of the payloads, the share that was lost.

    What expects a loss codes otherwise before any packet is lost. Where that changes what is heard, there is a row
    ``none`` of that loss as well: the same packets, none of them lost, which is what loss takes away from.
    """
    recording = losspaths.read(task.path)
    play, rows = task.way.start(job.codec, recording), []
    nothing = loss_trace(recording.packets, 0.0, 1.0, 0)
    for condition in task.conditions:
        seeds = range(job.seeds if condition.loss else 1)
        drawn = [loss_trace(recording.packets, condition.loss, condition.burst, seed, task.path.name) for seed in seeds]
        rows.append(_row(recording, condition, [play(lost, condition.loss) for lost in drawn], drawn))
    for loss in sorted({condition.loss for condition in task.conditions} if task.way.adapts else ()):
        told, plain = play(nothing, loss), play(nothing, 0.0)
        if not np.array_equal(told.samples, plain.samples):
            rows.append(_row(recording, Condition(NONE, loss), [told], [nothing]))
    return {"key": task.key, "file": task.path.name, "way": task.way.name, "rows": rows}


def _row(
    recording: Recording, condition: Condition, heard: Sequence[losspaths.Heard], lost: Sequence[losspaths.Lost]
) -> dict[str, Any]:
    seconds = len(recording.samples) / recording.rate
    pairs = [_pair(recording, one) for one in heard]
    scores = {name: [round(pair.score(name, "speech"), _DECIMALS) for pair in pairs] for name in METRICS}
    return {
        "kind": condition.kind,
        "loss": condition.loss,
        "kbps": 8e-3 * sum(one.payload_bytes for one in heard) / seconds / len(heard),
        "lost": sum(float(one.mean()) for one in lost) / len(lost),
        "scores": scores,
    }


def _pair(recording: Recording, heard: losspaths.Heard) -> Pair:
    """No delay is searched: each way says how late it is, and a wrong search would hide what was lost."""
    return Pair(recording.samples, recording.rate, heard.samples, heard.sample_rate, delay_s=0.0, max_delay_s=0.0)


def sizes(job: Job, asked: tuple[Path, tuple[float, ...], tuple[int, ...]]) -> dict[str, Any]:
    """The payload bytes of a recording: of Opus at each rate (the fewest that any loss makes it take), of our frames at
    each setting, of copies.

    Frames and copies are coded apart, so that any setting with any number of copies is a sum of two of these.
    """
    path, kbps, copies = asked
    recording, codec = losspaths.read(path), job.codec
    nothing = loss_trace(recording.packets, 0.0, 1.0, 0)
    speech, least = recording.at(codec.sample_rate), lowest_rate(codec)
    frames = {setting.base_levels: _payload_bytes(codec, speech, setting, 0) for setting in codec.rates}
    alone, told = frames[least.base_levels], {condition.loss for condition in job.conditions}
    return {
        "opus": {
            one: min(Opus(one).start(codec, recording)(nothing, loss).payload_bytes for loss in told) for one in kbps
        },
        "frames": frames,
        "copies": {many: _payload_bytes(codec, speech, least, many) - alone for many in copies},
    }


def _payload_bytes(codec: Codec, speech: losspaths.Samples, rate: RateSetting, copies: int) -> int:
    """As the sender would come to, in a tenth of its time: the network runs over blocks, and nothing is silent."""
    payloads = PayloadFormat(call_header(codec, rate), rate.levels, codec.entropy)
    frames = np.asarray(codec.encode(speech[None], rate).indices)[0][:, None]  # [frames, 1, groups]
    return sum(
        len(payloads.pack(Contents(frames[at : at + 1], frames[max(0, at - copies) : at]))) for at in range(len(frames))
    )


def copies_from(path: Path, losses: Sequence[float]) -> list[tuple[float, int]]:
    """(share lost, kbps): the least rate at which Opus, told of that loss, puts copies into most of its packets."""
    recording = losspaths.read(path)
    speech = recording.at(SPEECH_RATE)[: _ASKED_S * SPEECH_RATE]
    found = []
    for loss in losses:
        for kbps in range(6, 65):
            packets, _ = encode_packets(speech, OpusSettings(1000 * kbps, round(100 * loss)))
            if sum(map(has_copy, packets)) > len(packets) / 2:
                found.append((loss, kbps))
                break
    return found


def fitting(found: list[dict[str, Any]], kbps: float, copies: int) -> Ours | None:
    """Our best setting with so many copies that takes no more than Opus does at ``kbps``, over all recordings."""

    def total(part: str, key: float) -> int:
        return sum(row[part][key] for row in found)

    room = total("opus", kbps) - total("copies", copies)
    levels = [one for one in found[0]["frames"] if total("frames", one) <= room]
    return Ours(max(levels), copies) if levels else None


def run(job: Job, tasks: Sequence[Task], workers: int, store: Path | None, identity: str) -> Iterator[dict[str, Any]]:
    """Outcomes of all tasks; those in ``store`` of this ``identity`` and code are taken from there, others added."""
    by_modules = {modules: f"{identity} {code_of(modules)}" for modules in {task.way.modules for task in tasks}}
    made_by = {task.key: by_modules[task.way.modules] for task in tasks}
    known = _stored(store, made_by)
    if store is not None and store.exists() and not store.read_bytes().endswith(b"\n"):
        with store.open("a", encoding="utf-8") as file:
            file.write("\n")  # what follows is not the rest of a line that a killed run began
    yield from (known[task.key] for task in tasks if task.key in known)
    left = [task for task in tasks if task.key not in known]
    for outcome in spread(measure, job, left, workers):
        if store is not None:
            with store.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"identity": made_by[outcome["key"]], **outcome}) + "\n")
        yield outcome


def code_of(modules: Sequence[str]) -> str:
    """A digest of what a way runs and of what measures it; how files are written bears on nothing."""
    here = [Path(__file__), Path(losspaths.__file__)]
    return sources.digest([*modules, *_MEASURING], here, without=["audiocodec.output"])


def _stored(store: Path | None, made_by: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    if store is None or not store.exists():
        return {}
    found = {}
    for line in store.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the last line, of a run that was killed
            continue
        if row.pop("identity") == made_by.get(row["key"]):
            found[row["key"]] = row
    return found
