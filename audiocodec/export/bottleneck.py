"""Bottlenecks as graphs: latents to the integers of a frame, and back.

The level counts ``levels [tokens]`` are an input, so that one graph serves every rate; examples of different rates, as
the mid and side of a stereo stream, take a run each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from audiocodec.bottleneck.base import Bottleneck
from audiocodec.bottleneck.fsp import FSP
from audiocodec.bottleneck.pitched import Pitched
from audiocodec.bottleneck.vp import VP
from audiocodec.errors import UsageError
from audiocodec.export.graph import Graph

_INT, _FLOAT = TensorProto.INT64, TensorProto.FLOAT
_Part = Callable[[Graph, str, str], str]


def build_quantiser(g: Graph, bottleneck: Bottleneck, dims: int, tokens: int) -> None:
    """Inputs ``latents [batch, frames, dims]``, ``levels [tokens]``; output ``indices [batch, frames, tokens]``."""
    latents, levels = g.input("latents", ("batch", "frames", dims)), g.input("levels", (tokens,), _INT)
    indices = _joined(g, bottleneck, latents, levels, _cells, _nearest)
    g.output(indices, "indices", ("batch", "frames", tokens), _INT)


def build_dequantiser(g: Graph, bottleneck: Bottleneck, dims: int, tokens: int) -> None:
    """Inputs ``indices [batch, frames, tokens]``, ``levels [tokens]``; output ``latents [batch, frames, dims]``, scaled
    as the decoder expects them."""
    indices, levels = g.input("indices", ("batch", "frames", tokens), _INT), g.input("levels", (tokens,), _INT)
    latents = _joined(g, bottleneck, indices, levels, _centres, _words)
    g.output(latents, "latents", ("batch", "frames", dims))


def _joined(
    g: Graph,
    bottleneck: Bottleneck,
    x: str,
    levels: str,
    scalar: Callable[[Graph, FSP, str, str, float], str],
    vector: Callable[[Graph, VP, str, str, str], str],
) -> str:
    """``scalar`` of an FSP, ``vector`` of a VP, or of each its part of both."""
    match bottleneck:
        case FSP():
            return scalar(g, bottleneck, x, levels, bottleneck.deviation)
        case VP():
            return vector(g, bottleneck, x, levels, "bottleneck")
        case Pitched():
            learnt = g.slice(x, 0, -1, 2), g.slice(levels, 0, -1, 0)
            pitch = g.slice(x, -1, g.END, 2), g.slice(levels, -1, g.END, 0)
            return g.concat(
                2,
                vector(g, bottleneck.learnt, *learnt, "bottleneck.learnt"),
                scalar(g, bottleneck.pitch, *pitch, bottleneck.deviation),
            )
        case _:
            raise UsageError(f"the bottleneck {type(bottleneck).__name__} has no ONNX form; FSP and VP have")


def _cells(g: Graph, fsp: FSP, latents: str, levels: str, _deviation: float) -> str:
    """FSP: the cell of each squashed value."""
    sizes = g.op("Cast", levels, to=_FLOAT)
    cells = g.op("Cast", g.op("Floor", g.op("Mul", _squash(g, fsp, latents), sizes)), to=_INT)
    return g.op("Min", g.op("Max", cells, g.index(0)), g.op("Sub", levels, g.index(1)))


def _centres(g: Graph, fsp: FSP, indices: str, levels: str, deviation: float) -> str:
    """FSP: the middle of each cell, over ``deviation``; absent dimensions are zero."""
    sizes = g.op("Cast", levels, to=_FLOAT)
    p = g.op("Div", g.op("Add", g.op("Cast", indices, to=_FLOAT), g.const(0.5)), sizes)
    # The middle of a cell is half a cell from the ends: FSP.unsquash's clamp at a quarter of one never acts here.
    scaled = g.op("Div", _unsquash(g, fsp, p), g.const(deviation))
    return g.op("Mul", scaled, _present(g, levels))


def _squash(g: Graph, fsp: FSP, x: str) -> str:
    match fsp.config.activation:
        case "tanh":
            return g.op("Mul", g.op("Add", g.op("Tanh", x), g.const(1.0)), g.const(0.5))
        case "sigmoid":
            return g.op("Sigmoid", x)
        case "laplace":
            rest = g.op("Sub", g.const(1.0), g.op("Exp", g.op("Neg", g.op("Abs", x))))
            return g.op("Add", g.op("Mul", g.op("Mul", g.op("Sign", x), rest), g.const(0.5)), g.const(0.5))
        case _:
            half = g.op("Erf", g.op("Mul", x, g.const(math.sqrt(0.5))))
            return g.op("Mul", g.op("Add", half, g.const(1.0)), g.const(0.5))


def _unsquash(g: Graph, fsp: FSP, p: str) -> str:
    logit = g.op("Log", g.op("Div", p, g.op("Sub", g.const(1.0), p)))
    match fsp.config.activation:
        case "tanh":
            return g.op("Mul", logit, g.const(0.5))
        case "sigmoid":
            return logit
        case "laplace":
            q = g.op("Sub", g.op("Mul", p, g.const(2.0)), g.const(1.0))
            rest = g.op("Log", g.op("Sub", g.const(1.0), g.op("Abs", q)))
            return g.op("Neg", g.op("Mul", g.op("Sign", q), rest))
        case kind:
            raise UsageError(f"a bottleneck with activation {kind!r} cannot be exported: ONNX has no such inverse")


def _nearest(g: Graph, vp: VP, latents: str, levels: str, name: str) -> str:
    """VP: the nearest code word of each group."""
    indices = []
    for group in range(vp.config.groups):
        part = g.slice(latents, group * vp.dims, (group + 1) * vp.dims, 2)
        words = _codebook(g, vp, levels, name, group)
        norms = g.op("ReduceSumSquare", words, g.ints(1), keepdims=0)
        product = g.op("MatMul", part, g.op("Transpose", words, perm=[1, 0]))
        distance = g.op("Sub", norms, g.op("Mul", product, g.const(2.0)))
        indices.append(g.op("ArgMin", distance, axis=2, keepdims=1))
    return g.concat(2, *indices)


def _words(g: Graph, vp: VP, indices: str, levels: str, name: str) -> str:
    """VP: the code words; absent groups are zero."""
    parts = []
    for group in range(vp.config.groups):
        own = g.op("Gather", indices, g.index(group), axis=2)
        part = g.op("Gather", _codebook(g, vp, levels, name, group), own, axis=0)
        parts.append(g.op("Mul", part, g.op("Gather", _present(g, levels), g.ints(group), axis=0)))
    return g.concat(2, *parts)


def _codebook(g: Graph, vp: VP, levels: str, name: str, group: int) -> str:
    """The words ``[K, dims]`` of a group at its level count; one word, of any value, where that is 1."""
    sizes = vp.config.codebooks
    flat = g.concat(0, *(_flat(g, f"{name}.codebook_{size}", group) for size in sizes))
    places = np.zeros(max(sizes) + 1, np.int64)
    places[list(sizes)] = np.cumsum([0, *sizes[:-1]])
    size = g.op("Gather", levels, g.ints(group), axis=0)
    start = g.op("Gather", g.const(places), size, axis=0)
    return g.op("Slice", flat, start, g.op("Add", start, size), g.ints(0))


def _flat(g: Graph, name: str, group: int) -> str:
    return g.op("Gather", g.weight(name), g.index(group), axis=0)


def _present(g: Graph, levels: str) -> str:
    return g.op("Cast", g.op("Greater", levels, g.index(1)), to=_FLOAT)
