"""Builds one ONNX graph, node by node: every method adds a node and returns the name of its result.

Weights are not copied. They are initializers whose data lie in the model's ``weights.safetensors``, which is nothing
but tensors one behind the other, at an offset: what ONNX calls external data. So the graph beside it stays small, one
file remains the truth, and any runtime reads both. With ``embed`` they are copied in instead, for a file on its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from audiocodec.errors import UsageError

OPSET = 23  # the first with RMSNormalization
IR_VERSION = 11
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64
_STORED = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16}


class Weights:
    """Where each tensor of a ``weights.safetensors`` lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self.entries: dict[str, dict[str, Any]] = json.loads(file.read(size))
        self.entries.pop("__metadata__", None)
        self.start = 8 + size

    def tensor(self, name: str, embed: bool) -> TensorProto:
        """An initializer of the stored type: a reference into the file, or with ``embed`` a copy of the data."""
        entry = self.entries[name]
        if entry["dtype"] not in _STORED:
            raise UsageError(f"weights of type {entry['dtype']} are not exported; store them in float32 or float16")
        begin, end = entry["data_offsets"]
        made = TensorProto(name=name, data_type=_STORED[entry["dtype"]], dims=entry["shape"])
        if embed:
            with self.path.open("rb") as file:
                file.seek(self.start + begin)
                made.raw_data = file.read(end - begin)
            return made
        made.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.path.name), ("offset", self.start + begin), ("length", end - begin)):
            made.external_data.append(onnx.StringStringEntryProto(key=key, value=str(value)))
        return made


class Graph:
    """A graph in the making. Values are named by strings, as ONNX does."""

    END = np.iinfo(np.int64).max
    """Where a slice ends that takes all there is."""

    def __init__(self, name: str, weights: Weights, embed: bool = False) -> None:
        self.name, self.weights, self.embed = name, weights, embed
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}
        self._widened: dict[str, str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._shapes: dict[tuple[str, int], str] = {}

    def input(self, name: str, shape: Sequence[int | str], kind: int = _FLOAT) -> str:
        """An input; axes given by name are free."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str], kind: int = _FLOAT) -> None:
        """Call ``value`` an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one result."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, results: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with several results."""
        names = [f"{kind.lower()}_{len(self._nodes)}_{i}" for i in range(results)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names

    def weight(self, name: str) -> str:
        """A stored tensor as float32; runtimes compute what depends on weights alone once, when they load."""
        if name not in self._widened:
            self._initializers[name] = self.weights.tensor(name, self.embed)
            half = self._initializers[name].data_type != _FLOAT
            self._widened[name] = self.op("Cast", name, to=_FLOAT) if half else name
        return self._widened[name]

    @property
    def external(self) -> list[str]:
        """Tensors of the model's weights that it takes from their file."""
        return [name for name, made in self._initializers.items() if made.data_location == TensorProto.EXTERNAL]

    def const(self, value: float | Sequence[float] | NDArray[Any]) -> str:
        """Floats, or an array as it is."""
        array = value if isinstance(value, np.ndarray) else np.array(value, np.float32)
        return self._constant(np.ascontiguousarray(array))

    def ints(self, *values: int) -> str:
        """A list of int64: shapes, axes, indices."""
        return self._constant(np.array(values, np.int64))

    def index(self, value: int) -> str:
        """A single int64, for ``Gather``."""
        return self._constant(np.array(value, np.int64))

    def _constant(self, array: NDArray[Any]) -> str:
        for name, made in self._initializers.items():  # equal constants are kept once
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            alike = made.data_type == kind and list(made.dims) == list(array.shape)
            if name.startswith("const_") and alike and made.raw_data == array.tobytes():
                return name
        name = f"const_{len(self._initializers)}"
        self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        """``x[start:end]`` along an axis; negative ends count from the end, as in Python."""
        return self.op("Slice", x, self.ints(start), self.ints(end), self.ints(axis))

    def last(self, x: str, count: int, axis: int) -> str:
        """The last ``count`` along an axis."""
        return self.slice(x, -count, self.END, axis) if count else self.slice(x, 0, 0, axis)

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps an axis, -1 takes what is left."""
        return self.op("Reshape", x, self.ints(*shape))

    def batched(self, like: str, channels: int) -> str:
        """The shape ``[batch, time, channels]`` of rows, ``like`` having the batch as its first axis."""
        key = (like, channels)
        if key not in self._shapes:
            batch = self.op("Shape", like, start=0, end=1)
            self._shapes[key] = self.concat(0, batch, self.ints(-1, channels))
        return self._shapes[key]

    def concat(self, axis: int, *parts: str) -> str:
        """Parts one behind the other."""
        return self.op("Concat", *parts, axis=axis)

    def frames_of(self, x: str, size: int) -> str:
        """``[batch, n * size]`` to windows of two neighbours, ``[batch, n - 1, 2 * size]``."""
        hops = self.reshape(x, 0, -1, size)
        return self.concat(2, self.slice(hops, 0, -1, 1), self.slice(hops, 1, self.END, 1))

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._initializers.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="audiocodec")
        return made
