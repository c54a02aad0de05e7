"""The network's graphs by ONNX Runtime, on one CPU thread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from audiocodec.errors import ModelError
from audiocodec.facts import DECODER, DEQUANTISER, ENCODER, QUANTISER, ExportedFacts, ModelFacts
from audiocodec.runtime.base import Indices, Samples

if TYPE_CHECKING:
    from audiocodec.rates import RateSetting

State = dict[str, NDArray[Any]]
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


class OnnxRuntime:
    """The graphs of a model folder; each is loaded when it is first used."""

    name, device = "onnx", "cpu"

    def __init__(self, folder: Path, exported: ExportedFacts) -> None:
        self._folder, self._exported = folder, exported

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
        return self._by_rate(self._quantiser, "latents", latents, rates), state

    def decoder_state(self, batch: int, apart: bool = False) -> State:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        state = self._decoder.initial_state(batch)
        if apart:
            state["state.noise.0"][1::2] = self.facts.noise_frames // 2
        return state

    def decode(self, indices: Indices, rates: Sequence[RateSetting], state: State) -> tuple[Samples, State]:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        whole = np.ascontiguousarray(indices, np.int64)
        latents = self._by_rate(self._dequantiser, "indices", whole, rates)
        return self._decoder.step("latents", latents, _detail(rates), state)

    def tail(self, state: State) -> Samples:
        """See :class:`audiocodec.runtime.base.Runtime`."""
        return state["state.overlap.0"]

    @cached_property
    def _encoder(self) -> _Step:
        return _Step(self._session(ENCODER), self._exported.fill)

    @cached_property
    def _decoder(self) -> _Step:
        return _Step(self._session(DECODER), self._exported.fill)

    @cached_property
    def _quantiser(self) -> Any:
        return self._session(QUANTISER)

    @cached_property
    def _dequantiser(self) -> Any:
        return self._session(DEQUANTISER)

    def _session(self, name: str) -> Any:
        options = onnxruntime.SessionOptions()
        # One thread, as small blocks are fastest; and what a value is must not depend on how many there are.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors, which are raised as well
        path = self._folder / name
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class but this
            reason = " ".join(str(error).split())
            again = f"run `audiocodec export {self._folder}` again, or pass --runtime torch"
            raise ModelError(f"{path} cannot be run ({reason}); {again}") from None

    @staticmethod
    def _by_rate(session: Any, name: str, values: NDArray[Any], rates: Sequence[RateSetting]) -> NDArray[Any]:
        """Run a bottleneck's graph, which knows one rate at a time, for the rows of each rate."""
        if all(rate == rates[0] for rate in rates):
            return _run_bottleneck(session, name, values, rates[0])
        rows = [_run_bottleneck(session, name, values[i : i + 1], rate) for i, rate in enumerate(rates)]
        return np.concatenate(rows)


class _Step:
    """A graph with state."""

    def __init__(self, session: Any, fill: dict[str, float]) -> None:
        self._session, self._fill = session, fill
        self._held = [value for value in session.get_inputs() if value.name.startswith("state.")]
        self._names = [value.name for value in self._held]

    def initial_state(self, batch: int) -> State:
        return {
            value.name: np.full(
                [batch if isinstance(size, str) else size for size in value.shape],
                self._fill.get(value.name, 0.0),
                _TYPES[value.type],
            )
            for value in self._held
        }

    def step(self, name: str, values: NDArray[Any], detail: Samples, state: State) -> tuple[NDArray[Any], State]:
        result, *after = self._session.run(None, {name: values, "detail": detail, **state})
        return result, dict(zip(self._names, after, strict=True))


def _run_bottleneck(session: Any, name: str, values: NDArray[Any], rate: RateSetting) -> NDArray[Any]:
    result: NDArray[Any] = session.run(None, {name: values, "levels": np.array(rate.levels, np.int64)})[0]
    return result


def _detail(rates: Sequence[RateSetting]) -> Samples:
    return np.log2(np.array([rate.base_levels for rate in rates], np.float32))
