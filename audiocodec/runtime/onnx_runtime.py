"""The network's graphs by ONNX Runtime, on one CPU thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from audiocodec.errors import ModelError
from audiocodec.facts import DECODER, DEQUANTISER, ENCODER, QUANTISER, ExportedFacts, ModelFacts
from audiocodec.modelfiles import ModelFiles
from audiocodec.runtime import rows
from audiocodec.runtime.base import Indices, Latents, Samples
from audiocodec.runtime.rows import Arrays, Joined, Rows, State, arrays

if TYPE_CHECKING:
    from audiocodec.rates import RateSetting

_STORED = {"F16": np.float16, "F32": np.float32}
_SENT = ("_folder", "_weights", "_exported")
_USUAL_ROWS = 2  # of a stream: the state it begins with, and returns to at every silence, is made once
_MOST_STATE = 1 << 22  # values of a stream: a hundred times what the largest model holds
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class OnnxRuntime:
    """The graphs of a model folder; each is loaded when it is first used."""

    name, device = "onnx", "cpu"

    def __init__(self, files: ModelFiles, exported: ExportedFacts) -> None:
        self._folder, self._weights, self._exported = files.folder, files.weights, exported

    def __getstate__(self) -> dict[str, Any]:
        """All but the sessions, which belong to a process: another that is sent a codec makes its own."""
        return {name: value for name, value in vars(self).items() if name in _SENT}

    @property
    def facts(self) -> ModelFacts:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._exported.facts

    def encoder_state(self, batch: int) -> State:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._encoder.initial_state(batch)

    def encode(self, wave: Samples, rates: Sequence[RateSetting], state: State) -> tuple[Indices, State]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        latents, state = self._encoder.step("audio", np.ascontiguousarray(wave, np.float32), _detail(rates), state)
        return _by_rate(self._quantiser, "latents", latents, rates), state

    def decoder_state(self, batch: int, apart: bool = False) -> State:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        state = self._decoder.initial_state(batch)
        if not apart:
            return state
        starts = state["state.noise.0"].copy()
        starts[1::2] = self.facts.noise_frames // 2
        return {**state, "state.noise.0": starts}

    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: State) -> tuple[Samples, State]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self.synthesise(self.latents(indices, rates), rates, state)

    def latents(self, indices: Indices, rates: Sequence[RateSetting]) -> Latents:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        whole = np.ascontiguousarray(indices, np.int64)
        return _by_rate(self._dequantiser, "indices", whole, rates)

    def synthesise(self, latents: Latents, rates: Sequence[RateSetting], state: State) -> tuple[Samples, State]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return self._decoder.step("latents", np.ascontiguousarray(latents, np.float32), _detail(rates), state)

    def tail(self, state: State) -> Samples:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return arrays(state, {})["state.overlap.0"]

    def join(self, states: Sequence[State]) -> Joined:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return rows.join(states)

    def part(self, state: State, sizes: Sequence[int]) -> list[Rows]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return rows.part(state, sizes)

    @cached_property
    def _encoder(self) -> _Step:
        return _Step(self._graph(ENCODER), self._exported.fill)

    @cached_property
    def _decoder(self) -> _Step:
        return _Step(self._graph(DECODER), self._exported.fill)

    @cached_property
    def _quantiser(self) -> _Graph:
        return self._graph(QUANTISER)

    @cached_property
    def _dequantiser(self) -> _Graph:
        return self._graph(DEQUANTISER)

    def _graph(self, name: str) -> _Graph:
        graph = self._exported.graphs[name]
        data = graph.read(self._folder / name)
        options = onnxruntime.SessionOptions()
        # One thread, as small blocks are fastest; and what a value is must not depend on how many there are.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # A pattern for each size of batch would be kept, and streams that come and go make all sizes.
        options.enable_mem_pattern = False
        options.log_severity_level = 4  # what is worse than a warning is raised, and told once
        # Weights are handed over, not looked for: by its own means ONNX Runtime finds none behind symbolic links, and
        # in some versions any file that a graph names.
        names = list(graph.weights)
        if names:
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(self._weight(weight)) for weight in names]
            options.add_external_initializers(names, values)
        return _Graph(self._folder / name, data, options)

    def _weight(self, name: str) -> NDArray[Any]:
        if name not in self._weights or (tensor := self._weights[name]).dtype not in _STORED:
            raise ModelError(f"{self._folder} has no weights {name!r} that its graphs ask for")
        return np.frombuffer(tensor.data, _STORED[tensor.dtype]).reshape(tensor.shape)


class _Graph:
    """One graph, and its file to tell of where it fails."""

    def __init__(self, path: Path, data: bytes, options: Any) -> None:
        self.path = path
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class but this
            raise self._failure(error) from None

    @property
    def state(self) -> list[Any]:
        """What it is given of a state."""
        return [value for value in self._session.get_inputs() if value.name.startswith("state.")]

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All of its outputs. Raises ModelError where it cannot be run."""
        try:
            results: list[NDArray[Any]] = self._session.run(None, feeds)
        except Exception as error:
            raise self._failure(error) from None
        return results

    def _failure(self, error: Exception) -> ModelError:
        reason = " ".join(str(error).split())
        again = f"run `audiocodec export {self.path.parent}` again, or pass --runtime torch"
        return ModelError(f"{self.path} cannot be run ({reason}); {again}")


class _Step:
    """A graph with state."""

    def __init__(self, graph: _Graph, fill: dict[str, float]) -> None:
        self._graph, self._fill, self._held = graph, fill, graph.state
        self._names = [value.name for value in self._held]
        sizes = [math.prod(size for size in value.shape if not isinstance(size, str)) for value in self._held]
        if sum(sizes) > _MOST_STATE:
            raise ModelError(f"{graph.path} asks for a state of {sum(sizes)} values, more than any model has")
        self._silence: dict[int, Arrays] = {}
        self._rooms: list[Arrays] = []  # as many as threads were here at a time

    def initial_state(self, batch: int) -> Arrays:
        if batch > _USUAL_ROWS:
            return self._initial(batch)
        if batch not in self._silence:
            self._silence[batch] = self._initial(batch)
            for values in self._silence[batch].values():
                values.setflags(write=False)
        return self._silence[batch]

    def _initial(self, batch: int) -> Arrays:
        return {
            value.name: np.full(
                [batch if isinstance(size, str) else size for size in value.shape],
                self._fill.get(value.name, 0.0),
                _TYPES[value.type],
            )
            for value in self._held
        }

    def step(self, name: str, values: NDArray[Any], detail: Samples, state: State) -> tuple[NDArray[Any], Arrays]:
        try:
            room = self._rooms.pop()
        except IndexError:
            room = {}
        try:
            result, *after = self._graph.run({name: values, "detail": detail, **arrays(state, room)})
        finally:
            self._rooms.append(room)
        return result, dict(zip(self._names, after, strict=True))


def _by_rate(graph: _Graph, name: str, values: NDArray[Any], rates: Sequence[RateSetting]) -> NDArray[Any]:
    """Run a bottleneck's graph, which knows one rate at a time, for the rows of each rate."""
    found: NDArray[Any] | None = None
    alike = all(rate is rates[0] for rate in rates)  # most often; to compare what they hold takes far longer
    for rate in rates[:1] if alike else dict.fromkeys(rates):
        chosen = [] if alike else [row for row, own in enumerate(rates) if own == rate]
        every = alike or len(chosen) == len(rates)
        feeds = {name: values if every else values[chosen], "levels": np.array(rate.levels, np.int64)}
        result = graph.run(feeds)[0]
        if every:
            return result
        if found is None:
            found = np.empty((len(rates), *result.shape[1:]), result.dtype)
        found[chosen] = result
    assert found is not None, "a batch of no rows"
    return found


def _detail(rates: Sequence[RateSetting]) -> Samples:
    return np.log2(np.array([rate.base_levels for rate in rates], np.float32))
