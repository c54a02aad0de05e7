"""What scaling.py measures: costs of our codec along one axis of size after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import numpy as np
import soundfile
from blocks import decode_blocks, encode_blocks

from audiocodec.streaming import FILE_BLOCK_FRAMES

if TYPE_CHECKING:
    from audiocodec.codec import Codec

_WRITTEN_SECONDS = 600  # of a file made for the benchmark, held at once


@dataclass
class Axis:
    """Costs in CPU seconds at sizes. ``audio_seconds``: how much audio each size stands for; ``extra``: other points
    that belong in the drawing and not in the fit, by name; ``fixed_is``: what a cost that does not grow consists of."""

    name: str
    unit: str
    fixed_is: str
    sizes: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    audio_seconds: list[float] = field(default_factory=list)
    extra: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def throughput(self) -> list[float]:
        """Audio seconds a CPU second."""
        return [audio / cost for audio, cost in zip(self.audio_seconds, self.costs, strict=True)]

    def take(self, costs: dict[float, float], audio_seconds: dict[float, float]) -> Axis:
        """Hold these, by size."""
        self.sizes = sorted(costs)
        self.costs = [costs[size] for size in self.sizes]
        self.audio_seconds = [audio_seconds[size] for size in self.sizes]
        return self


def by_length(codec: Codec, speech: np.ndarray, lengths: Sequence[float], repeat: int) -> Axis:
    """Files of so many seconds, encoded and decoded; those longer than two minutes once."""
    from audiocodec.transcode import decode_file, encode_file

    axis = Axis("file length", "s of audio", "opening, checking and closing two files, and the last block's padding")
    rate, costs = codec.choose_rate(), {}
    with tempfile.TemporaryDirectory(prefix="audiocodec-scaling-") as name:
        original, coded, decoded = (Path(name) / file for file in ("in.wav", "out.vpc", "out.wav"))
        for length in lengths:
            _write(original, speech, codec.sample_rate, length)

            def there_and_back() -> None:
                encode_file(codec, original, coded, rate, force=True)
                decode_file(codec, coded, decoded, force=True)

            costs[length] = _cost(there_and_back, repeat if length <= 120 else 1)
    return axis.take(costs, {length: length for length in lengths})


def _write(target: Path, speech: np.ndarray, rate: int, seconds: float) -> None:
    left = round(seconds * rate)
    piece = np.resize(speech, min(left, _WRITTEN_SECONDS * rate))
    with soundfile.SoundFile(str(target), "w", rate, 1, subtype="PCM_16") as file:
        while left > 0:
            file.write(piece[:left])
            left -= len(piece)


def _cost(step: common.Step, repeat: int) -> float:
    return common.medians(common.take_turns({"": step}, repeat))[""]["cpu"]


def by_block(codec: Codec, speech: np.ndarray, blocks: Sequence[int], frames: int, repeat: int) -> Axis:
    """One call of the network there and back, of so many frames."""
    axis = Axis("block length", "frames a call", "starting every operator and reading every weight")
    calls = {size: max(1, frames // size) for size in blocks}
    costs = _in_turns({size: _network_step(codec, speech[None], size, calls[size]) for size in blocks}, repeat)
    per_call = {size: costs[size] / calls[size] for size in blocks}
    return axis.take(per_call, {size: size / codec.frame_rate for size in blocks})


def by_batch(codec: Codec, speech: np.ndarray, rows: Sequence[int], calls: int, repeat: int) -> Axis:
    """One call of the network there and back, of so many rows of a file's block."""
    axis = Axis("batch size", "rows a call", "starting every operator and reading every weight")
    block = FILE_BLOCK_FRAMES
    steps = {}
    for count in rows:
        batch = np.stack([np.roll(speech, -row * codec.sample_rate) for row in range(count)])
        steps[count] = _network_step(codec, batch, block, calls)
    costs = _in_turns(steps, repeat)
    per_call = {count: costs[count] / calls for count in rows}
    return axis.take(per_call, {count: count * block / codec.frame_rate for count in rows})


def by_width(
    codec: Codec, speech: np.ndarray, factors: Sequence[float], shipped: Sequence[str], seconds: float, repeat: int
) -> Axis:
    """A second of audio by untrained networks of other widths, against their multiply-accumulates; by torch.

    The shipped models stand beside them, by ``codec``'s runtime and by torch.
    """
    from audiocodec.codec import load

    what = "what does not widen: lapped transform, pitch search, starting torch's operators"
    axis = Axis("model width", "M multiply-accumulates a second of audio", what)
    networks: dict[str, Any] = {f"{factor:g}": _widened(codec, factor) for factor in factors}
    sizes = {name: sum(common.costs_of(network).values()) / 1e6 for name, network in networks.items()}
    for name in shipped:
        by_torch = load(name, runtime="torch")
        for model in (by_torch, load(name, runtime=codec.runtime.name)):
            label = f"{name}, {model.runtime.name}"
            networks[label], sizes[label] = model, sum(common.costs_of(by_torch).values()) / 1e6
    steps: dict[str, common.Step] = {}
    calls: dict[str, int] = {}
    audio: dict[str, float] = {}
    for name, network in networks.items():
        calls[name] = max(1, round(seconds * network.frame_rate / FILE_BLOCK_FRAMES))
        steps[name] = _network_step(network, speech[None], FILE_BLOCK_FRAMES, calls[name])
        audio[name] = calls[name] * FILE_BLOCK_FRAMES / network.frame_rate
    costs = {name: cost / audio[name] for name, cost in _in_turns(steps, repeat).items()}
    known = [f"{factor:g}" for factor in factors]
    axis.extra = {name: (sizes[name], costs[name]) for name in networks if name not in known}
    return axis.take({sizes[name]: costs[name] for name in known}, {sizes[name]: 1.0 for name in known})


def _widened(codec: Codec, factor: float) -> Codec:
    """An untrained network whose layers are ``factor`` times as wide as the model's."""
    from audiocodec.codec import Codec
    from audiocodec.nn.model import CodecNet

    widths = {name: getattr(codec.config, name) * factor for name in ("stem_width", "frame_width")}
    rounded = {name: max(8, round(width / 8) * 8) for name, width in widths.items()}
    return Codec.of(CodecNet(codec.config.model_copy(update=rounded)))


def _network_step(codec: Codec, wave: np.ndarray, block: int, calls: int) -> common.Step:
    """Blocks of ``wave [rows, samples]``, looped, there and back."""
    rate, samples = codec.choose_rate(), calls * block * codec.hop_samples
    looped = np.take(wave, np.arange(samples), axis=1, mode="wrap")

    def there_and_back() -> None:
        decode_blocks(codec, rate, encode_blocks(codec, rate, looped, block))

    return there_and_back


def _in_turns(steps: dict[Any, common.Step], repeat: int) -> dict[Any, float]:
    named = {str(key): step for key, step in steps.items()}
    found = common.medians(common.take_turns(named, repeat))
    return {key: found[str(key)]["cpu"] for key in steps}
