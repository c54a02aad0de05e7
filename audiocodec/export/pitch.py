"""``nn/pitch.py`` as ONNX nodes: the search for the pitch, and the pulse train that the decoder makes of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from audiocodec.errors import UsageError
from audiocodec.export.graph import Graph
from audiocodec.nn import pitch as ours
from audiocodec.nn.pitch import PitchTracker, PulseTrain


def track(g: Graph, wave: str, tracker: PitchTracker, state: list[str]) -> tuple[str, str, list[str]]:
    """Position and strength ``[batch, frames]``, and the state after them."""
    before, slow_before, position_before, _ = state
    whole = g.concat(1, before, wave)
    slow = g.concat(1, slow_before, _decimated(g, whole, tracker))
    lag, strength = _search(g, slow, tracker)
    log_pitch = g.op("Sub", g.const(math.log(tracker.rate)), g.op("Log", lag))
    low, high = math.log(ours.LOWEST_HZ), math.log(ours.HIGHEST_HZ)
    position = g.op("Div", g.op("Sub", log_pitch, g.const(low)), g.const(high - low))
    position = g.op("Clip", position, g.const(ours.LEAST_POSITION), g.const(1 - ours.LEAST_POSITION))
    position = _hold(g, position, g.op("GreaterOrEqual", strength, g.const(ours.VOICED)), position_before)
    after = [
        g.last(whole, ours.TAPS - tracker.stride, 1),
        g.last(slow, max(0, tracker.history - tracker.hop), 1),
        *(g.op("Gather", g.last(value, 1, 1), g.index(0), axis=1) for value in (position, strength)),
    ]
    return position, strength, after


def _decimated(g: Graph, whole: str, tracker: PitchTracker) -> str:
    """The low-passed wave at the rate of the search, ``[batch, samples / stride]``."""
    # As a product: a block of samples and its neighbour give the outputs that begin in the first. Conv takes 20 times
    # as long for one channel.
    taps, stride, hop = tracker.taps.numpy(), tracker.stride, tracker.hop * tracker.stride
    held = ours.TAPS - stride
    block = next((size for size in range(stride, hop + 1, stride) if hop % size == 0 and size >= held), None)
    if block is None:
        raise UsageError(f"a pitch with frames of {hop} samples has no ONNX form: they are shorter than its low-pass")
    matrix = np.zeros((2 * block, block // stride), np.float32)
    for column in range(block // stride):
        first = block - held + column * stride
        matrix[first : first + ours.TAPS, column] = taps
    padded = g.op("Pad", whole, g.ints(0, block - held, 0, 0))
    return g.reshape(g.op("MatMul", g.frames_of(padded, block), g.const(matrix)), 0, -1)


def _search(g: Graph, slow: str, tracker: PitchTracker) -> tuple[str, str]:
    """The best lag in decimated samples and its correlation, ``[batch, frames]`` each."""
    lags = np.arange(tracker.shortest - 1, tracker.longest + 2)
    product, energy = _products(g, slow, tracker, lags), _energies(g, slow, tracker, lags)
    score = g.op("Div", product, g.op("Sqrt", g.op("Add", energy, g.const(ours.LEAST_ENERGY))))
    middle, left, right = g.slice(score, 1, -1, 2), g.slice(score, 0, -2, 2), g.slice(score, 2, g.END, 2)
    peak = g.op("And", g.op("GreaterOrEqual", middle, left), g.op("GreaterOrEqual", middle, right))
    best = g.op("ReduceMax", g.op("Where", peak, middle, g.const(-1.0)), g.ints(2), keepdims=1)
    enough = g.op("GreaterOrEqual", middle, g.op("Mul", best, g.const(ours.OCTAVE_SHARE)))
    found = g.op("And", g.op("And", peak, enough), g.op("Greater", middle, g.const(0.0)))
    place = g.op("ArgMax", g.op("Cast", found, to=TensorProto.FLOAT), axis=2, keepdims=1)
    left, centre, right = (
        g.op("Squeeze", g.op("GatherElements", score, g.op("Add", place, g.index(i)), axis=2), g.ints(2))
        for i in range(3)
    )
    bend = g.op("Sub", g.op("Add", left, right), g.op("Mul", centre, g.const(2.0)))
    bend = g.op("Min", bend, g.const(ours.LEAST_BEND))
    offset = g.op("Div", g.op("Mul", g.op("Sub", left, right), g.const(0.5)), bend)
    offset = g.op("Clip", offset, g.const(-0.5), g.const(0.5))
    lag = g.op("Gather", g.const(lags[1:-1].astype(np.float32)), g.op("Squeeze", place, g.ints(2)), axis=0)
    return g.op("Add", lag, offset), g.op("Clip", centre, g.const(0.0), g.const(1.0))


def _products(g: Graph, slow: str, tracker: PitchTracker, lags: NDArray[np.int64]) -> str:
    """The window of each frame times that of each lag before it, summed: ``[batch, frames, lags]``."""
    # Row k of many copies of n + 1 values, cut anew into rows of n, begins k values early: all lags without a gather.
    count, first = len(lags), tracker.history - tracker.window
    longer = g.op("Pad", slow, g.ints(0, 0, 0, 1))
    size = g.op("Shape", slow, start=1, end=2)
    copies = g.reshape(g.op("Expand", g.op("Unsqueeze", longer, g.ints(1)), g.ints(1, count, 1)), 0, -1)
    end = g.op("Mul", size, g.ints(count))
    rows = g.reshape(g.op("Slice", copies, g.ints(0), end, g.ints(1)), 0, count, -1)
    shift = int(lags[0])
    over = max(0, tracker.hop - tracker.history)  # frames longer than what the search looks at leave some over
    earlier = g.slice(rows, first - shift, -shift - over, 2)
    present = g.op("Unsqueeze", g.slice(slow, first, -over or g.END, 1), g.ints(1))
    summed = _window_sums(g, g.op("Mul", earlier, present), tracker.window, tracker.hop)
    return g.op("Transpose", summed, perm=[0, 2, 1])


def _window_sums(g: Graph, x: str, window: int, hop: int) -> str:
    """Sums over windows ``hop`` apart, ``[batch, rows, (n - 1) * hop + window]`` to ``[batch, rows, n]``."""
    # Whole hops, and the beginning of one hop more: a third of what AveragePool takes.
    whole, rest = divmod(window, hop)
    parts = np.stack([np.ones(hop), np.arange(hop) < rest], axis=1).astype(np.float32)
    padded = g.op("Pad", x, g.ints(0, 0, 0, 0, 0, (whole + 1) * hop - window))
    hops = g.op("Reshape", padded, g.ints(0, 0, -1, hop))
    full, begun = g.ops("Split", 2, g.op("MatMul", hops, g.const(parts)), axis=3, num_outputs=2)
    full, begun = g.op("Squeeze", full, g.ints(3)), g.op("Squeeze", begun, g.ints(3))
    total = g.slice(begun, whole, g.END, 2)
    for i in range(whole):
        total = g.op("Add", total, g.slice(full, i, i - whole, 2))
    return total


def _energies(g: Graph, slow: str, tracker: PitchTracker, lags: NDArray[np.int64]) -> str:
    """Energy of the window of each frame times that of the one at each lag, ``[batch, frames, lags]``."""
    # Differences of a running sum, in float64: a loud vowel must not drown the silence behind it.
    squares = g.op("Cast", g.op("Mul", slow, slow), to=TensorProto.DOUBLE)
    total = g.op("CumSum", g.op("Pad", squares, g.ints(0, 1, 0, 0)), g.index(1))
    held = max(0, tracker.history - tracker.hop)
    frames = g.op("Div", g.op("Sub", g.op("Shape", slow, start=1, end=2), g.ints(held)), g.ints(tracker.hop))
    starts = g.op("Mul", g.op("Range", g.index(0), g.op("Squeeze", frames), g.index(1)), g.index(tracker.hop))
    first = np.concatenate([[0], lags])
    begin = g.op("Add", g.op("Unsqueeze", starts, g.ints(1)), g.const(tracker.history - tracker.window - first[None]))
    low = g.op("Gather", total, begin, axis=1)
    high = g.op("Gather", total, g.op("Add", begin, g.index(tracker.window)), axis=1)
    energy = g.op("Cast", g.op("Sub", high, low), to=TensorProto.FLOAT)
    return g.op("Mul", g.slice(energy, 0, 1, 2), g.slice(energy, 1, g.END, 2))


def _hold(g: Graph, value: str, valid: str, before: str) -> str:
    """Invalid entries ``[batch, frames]`` take the last valid one, or ``before [batch]``."""
    # ONNX has no running maximum: that of each frame is looked for among all before it, which are a block at most.
    size = g.op("Shape", value, start=1, end=2)
    count = g.op("Squeeze", size)
    numbers = g.op("Range", g.index(1), g.op("Add", count, g.index(1)), g.index(1))
    own = g.op("Where", valid, numbers, g.index(0))
    past = g.op("LessOrEqual", g.op("Unsqueeze", numbers, g.ints(0)), g.op("Unsqueeze", numbers, g.ints(1)))
    seen = g.op("Where", g.op("Unsqueeze", past, g.ints(0)), g.op("Unsqueeze", own, g.ints(1)), g.index(0))
    chosen = g.op("ReduceMax", seen, g.ints(2), keepdims=0)
    return g.op("GatherElements", g.concat(1, g.op("Unsqueeze", before, g.ints(1)), value), chosen, axis=1)


def pulses(g: Graph, position: str, source: PulseTrain, state: list[str]) -> tuple[str, list[str]]:
    """The spectrum of the pulse train ``[batch, stem frames, stem hop]``, and the state after it."""
    tail, phase_before, position_before = state
    position = g.op("Div", g.op("Round", g.op("Mul", position, g.const(ours.GRID))), g.const(ours.GRID))
    low, high = math.log(ours.LOWEST_HZ), math.log(ours.HIGHEST_HZ)
    before = g.concat(1, g.op("Unsqueeze", position_before, g.ints(1)), g.slice(position, 0, -1, 1))
    step = g.op("Unsqueeze", g.op("Sub", position, before), g.ints(2))
    moved = g.op("Mul", step, g.const(source.glide.numpy()[None, None, :]))
    track = g.op("Cast", g.op("Add", g.op("Unsqueeze", before, g.ints(2)), moved), to=TensorProto.DOUBLE)
    log_hertz = g.op("Add", g.op("Mul", track, _double(g, high - low)), _double(g, low))
    hertz = g.reshape(g.op("Exp", log_hertz), 0, -1)
    cycles = g.op("Div", hertz, _double(g, source.sample_rate))
    phase = g.op("Add", g.op("Unsqueeze", phase_before, g.ints(1)), g.op("CumSum", cycles, g.index(1)))
    harmonics = g.op("Floor", g.op("Div", _double(g, source.sample_rate / 2), hertz))
    harmonics = g.op("Cast", harmonics, to=TensorProto.FLOAT)
    near = g.op("Cast", g.op("Sub", phase, g.op("Round", phase)), to=TensorProto.FLOAT)
    turn = g.op("Mul", near, g.const(math.pi))
    sine, turn = _away_from_zero(g, g.op("Sin", turn), turn), _away_from_zero(g, turn, turn)
    many = g.op("Add", g.op("Mul", harmonics, g.const(2.0)), g.const(1.0))
    ratio = g.op("Div", g.op("Sin", g.op("Mul", many, turn)), sine)
    level = g.op("Sqrt", g.op("Mul", harmonics, g.const(0.5)))
    wave = g.op("Div", g.op("Mul", g.op("Sub", ratio, g.const(1.0)), g.const(0.5)), level)
    whole = g.concat(1, tail, wave)
    spectrum = g.op("MatMul", g.frames_of(whole, source.stem_hop), g.const(source.basis.numpy()))
    last = g.op("Gather", g.last(phase, 1, 1), g.index(0), axis=1)
    after = [
        g.last(whole, source.stem_hop, 1),
        g.op("Sub", last, g.op("Floor", last)),
        g.op("Gather", g.last(position, 1, 1), g.index(0), axis=1),
    ]
    return spectrum, after


def _double(g: Graph, value: float) -> str:
    return g.const(np.array(value, np.float64))


def _away_from_zero(g: Graph, value: str, sign_of: str) -> str:
    """``value``, or 1e-4 of the same sign as ``sign_of`` where it is nearer to zero than that."""
    least = g.const(ours.LEAST_TURN)
    small = g.op("Less", g.op("Abs", value), least)
    negative = g.op("Less", sign_of, g.const(0.0))
    return g.op("Where", small, g.op("Where", negative, g.const(-ours.LEAST_TURN), least), value)
