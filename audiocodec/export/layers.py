"""The layers of ``nn/layers.py`` as ONNX nodes.

Between the layers that look at time, frames lie in rows, ``[batch * time, channels]``: a product with its bias is then
one ``Gemm``.
"""

from __future__ import annotations

from audiocodec.export.graph import Graph
from audiocodec.nn.layers import CausalDepthwise, UnitStack
from audiocodec.rates import DETAIL_CENTRE, DETAIL_SCALE

EPSILON = 1e-6  # FrameNorm's


def linear(g: Graph, x: str, name: str) -> str:
    """``nn.Linear`` of rows."""
    return g.op("Gemm", x, g.weight(f"{name}.weight"), g.weight(f"{name}.bias"), transB=1)


def detail_rows(g: Graph, detail: str, frames: str) -> str:
    """``detail [batch]`` as the network sees it, once for each frame: rows ``[batch * frames, 1]``."""
    feature = g.op("Mul", g.op("Sub", detail, g.const(DETAIL_CENTRE)), g.const(DETAIL_SCALE))
    shape = g.concat(0, g.ints(1), frames, g.ints(1))
    return g.reshape(g.op("Expand", g.op("Unsqueeze", feature, g.ints(1, 2)), shape), -1, 1)


def unit_stack(g: Graph, x: str, units: UnitStack, name: str, batch: str, state: list[str]) -> tuple[str, list[str]]:
    """Rows through residual units. ``state``: one ``[batch, context, channels]`` a unit, as what follows it is.

    ``batch``: any value whose first axis is the batch.
    """
    after, places = [], {}
    for i, (unit, held) in enumerate(zip(units.each(), state, strict=True)):
        prefix, depthwise = f"{name}.units.{i}", unit.depthwise
        channels = depthwise.weight.shape[1]
        frames = g.op("Reshape", x, g.batched(batch, channels))
        if depthwise.dilation not in places:
            places[depthwise.dilation] = _places(g, frames, depthwise)
        whole = g.concat(1, held, frames)
        after.append(g.last(whole, depthwise.context, 1))
        y = g.reshape(_taps(g, whole, places[depthwise.dilation], f"{prefix}.depthwise"), -1, channels)
        y = g.op("RMSNormalization", y, g.weight(f"{prefix}.norm.scale"), axis=-1, epsilon=EPSILON)
        y = g.op("Gelu", linear(g, y, f"{prefix}.widen"), approximate="tanh")
        x = g.op("Add", x, linear(g, y, f"{prefix}.narrow"))
    return x, after


def _places(g: Graph, frames: str, layer: CausalDepthwise) -> str:
    """Where the taps of each frame lie in context and frames, ``[time, kernel]``."""
    count = g.op("Squeeze", g.op("Shape", frames, start=1, end=2))
    steps = g.op("Unsqueeze", g.op("Range", g.index(0), count, g.index(1)), g.ints(1))
    return g.op("Add", steps, g.ints(*(tap * layer.dilation for tap in range(layer.kernel))))


def _taps(g: Graph, whole: str, places: str, name: str) -> str:
    # All taps gathered, weighed and summed: three operators. A sum of shifted products has eleven, which is twice the
    # time for a single frame and an eighth more for 128; Conv with groups wants time last, and its transpositions take
    # three times as long for a frame, a sixth less for 128.
    weighed = g.op("Mul", g.op("Gather", whole, places, axis=1), g.weight(f"{name}.weight"))
    return g.op("Add", g.op("ReduceSum", weighed, g.ints(2), keepdims=0), g.weight(f"{name}.bias"))
