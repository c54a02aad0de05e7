"""State of a step, by name: inputs ``state.PART.N``, outputs ``next.PART.N``, in one order for both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from onnx import TensorProto
from torch import Tensor

from audiocodec.export.graph import Graph

_KINDS = {torch.float32: TensorProto.FLOAT, torch.float64: TensorProto.DOUBLE, torch.int64: TensorProto.INT64}


def names(parts: Sequence[str], initial: Sequence[tuple[Tensor, ...]]) -> list[str]:
    """Of the inputs, in order."""
    return [f"state.{part}.{i}" for part, values in zip(parts, initial, strict=True) for i in range(len(values))]


class StateTensors:
    """Declares the state's inputs, and later its outputs.

    ``initial`` is the network's own initial state for a batch of one, a tuple of tensors for each of ``parts``.
    """

    def __init__(self, g: Graph, initial: Sequence[tuple[Tensor, ...]], parts: Sequence[str]) -> None:
        self._g = g
        self._shapes = {
            part: [(_KINDS[value.dtype], ("batch", *value.shape[1:])) for value in values]
            for part, values in zip(parts, initial, strict=True)
        }
        self._names = {
            part: [g.input(f"state.{part}.{i}", shape, kind) for i, (kind, shape) in enumerate(rows)]
            for part, rows in self._shapes.items()
        }
        self._after: dict[str, list[str]] = {part: [] for part in parts}

    def __getitem__(self, part: str) -> list[str]:
        return self._names[part]

    def next(self, part: str, values: Sequence[str]) -> None:
        """What ``part`` holds after this block."""
        self._after[part] = list(values)

    def close(self) -> None:
        """Declare the outputs, in the order of the inputs."""
        for part, rows in self._shapes.items():
            for i, ((kind, shape), value) in enumerate(zip(rows, self._after[part], strict=True)):
                self._g.output(value, f"next.{part}.{i}", shape, kind)
