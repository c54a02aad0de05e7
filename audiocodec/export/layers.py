"""The layers of ``nn/layers.py`` as ONNX nodes.

Between the layers that look at time, frames lie in rows, ``[batch * time, channels]``: a product with its bias is then
one ``Gemm``.
"""

from __future__ import annotations

from audiocodec.export.graph import Graph
from audiocodec.nn.layers import CausalDepthwise, UnitStack
from audiocodec.nn.seanet import DETAIL_CENTRE, DETAIL_SCALE

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
    after = []
    for i, (unit, held) in enumerate(zip(units.each(), state, strict=True)):
        prefix, depthwise = f"{name}.units.{i}", unit.depthwise
        channels = depthwise.weight.shape[1]
        whole = g.concat(1, held, g.op("Reshape", x, g.batched(batch, channels)))
        after.append(g.last(whole, depthwise.context, 1))
        y = g.reshape(_taps(g, whole, depthwise, f"{prefix}.depthwise"), -1, channels)
        y = g.op("RMSNormalization", y, g.weight(f"{prefix}.norm.scale"), axis=-1, epsilon=EPSILON)
        y = g.op("Gelu", linear(g, y, f"{prefix}.widen"), approximate="tanh")
        x = g.op("Add", x, linear(g, y, f"{prefix}.narrow"))
    return x, after


def _taps(g: Graph, whole: str, layer: CausalDepthwise, name: str) -> str:
    # A sum of shifted products, as in training. Conv with groups wants time last: two transpositions, which cost a
    # single frame more than all else, and win little in blocks of 32 frames.
    weight, products = g.weight(f"{name}.weight"), []
    for tap in range(layer.kernel):
        start, rest = tap * layer.dilation, (tap - layer.kernel + 1) * layer.dilation
        part = g.slice(whole, start, rest or g.END, 1)
        products.append(g.op("Mul", part, g.op("Gather", weight, g.index(tap), axis=0)))
    return g.op("Sum", *products, g.weight(f"{name}.bias"))
