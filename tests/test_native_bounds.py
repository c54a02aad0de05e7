"""Where the numbers of the entropy coder in C end: what fits 32 bits is computed so, and anything else as exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from native_helpers import any_model, both, built, check_alike, lanes_of, most_lanes

from audiocodec.bitstream import EntropyModel
from audiocodec.bitstream.entropy import DeepLayer
from audiocodec.bitstream.rangecoder import TOTAL

NARROW = [7, 2, 64, 1, 16384, 500]  # level counts of the tables below


def narrow_model(deep: int = 32) -> EntropyModel:
    """Tables whose sums fit 32 bits by far."""
    return any_model(np.random.default_rng(5), NARROW, 8, deep, 300, 64)


def check_every_width(model: EntropyModel, frames: int = 21) -> None:
    indices = np.random.default_rng(6).integers(0, NARROW, (frames, 2, len(NARROW)))
    assert len({check_alike(both(model, lanes=lanes), indices) for lanes in (16, 8, 4, 0)}) == 1


def room_of(model: EntropyModel) -> int:
    """What may be added to the first hidden bias so that no sum needs more than 30 bits."""
    present = model.levels[0] > 1
    rows = [np.abs(table[:, present].astype(np.int64)).sum((0, 1)) for table in (model.history, model.current)]
    biases = np.abs(model.hidden_bias[0].astype(np.int64)) + np.abs(model.start_bias.astype(np.int64))
    assert (256 * sum(rows) + biases < 1 << 28).all()
    return int((1 << 30) - 1 - (256 * sum(rows) + biases)[0])


@built
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("over", [0, 1])
def test_hidden_sums_at_the_end_of_32_bits(sign: int, over: int) -> None:
    # The largest value of every feature and the weights' signs alike, so that sums come near what is allowed.
    model = narrow_model(0)
    bias = np.abs(model.hidden_bias)
    model = replace(model, hidden_bias=bias, start_bias=np.abs(model.start_bias))
    bias = bias.copy()
    bias[0, 0] += room_of(model) + over
    model = replace(model, hidden_bias=bias * sign, start_bias=model.start_bias * sign)
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize("over", [0, 1])
def test_sums_of_deep_units_at_the_end_of_32_bits(over: int) -> None:
    model = narrow_model()
    deep = model.deep
    assert deep is not None
    inputs = np.abs(deep.inputs[:, model.levels[0] > 1].astype(np.int64)).sum((0, 1))
    bias = deep.bias.copy()
    bias[0, 3] = (1 << 31) - 1 - 256 * inputs[3] + over
    model = replace(model, deep=replace(deep, bias=bias))
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize("over", [0, 1])
def test_readouts_at_the_end_of_32_bits(over: int) -> None:
    model = narrow_model(0)
    readout = np.zeros_like(model.readout)
    readout[1, 2, :2] = 32767
    readout[1, 2, 40] = -1 - over
    model = replace(model, readout=readout)
    assert lanes_of(model) == (0 if over else most_lanes())
    check_every_width(model)


@built
@pytest.mark.parametrize(("largest", "weight"), [(32766, 300), (200, 32767), (0, 32767)])
def test_units_that_are_too_large_in_some_frames(largest: int, weight: int) -> None:
    # Around the largest unit that fits, also where the weights behind allow less than 16 bits have; in the last case
    # nothing but 0 is left, as the hidden bias takes the rest.
    model = narrow_model()
    deep = model.deep
    assert deep is not None
    inputs, outputs = deep.inputs.copy(), deep.outputs.copy()
    inputs[:, :, 0] = np.sign(inputs[:, :, 0]) * 8
    inputs[0, 0, 0], inputs[0, 2, 0] = 500, 0
    outputs[0, :32] = weight
    bias = np.full_like(deep.bias, -(1 << 28))
    bias[0, 0] = largest << 10
    hidden_bias = model.hidden_bias.copy()
    if largest == 0:
        hidden_bias[0, 0] += room_of(replace(model, hidden_bias=hidden_bias)) * (1 if hidden_bias[0, 0] > 0 else -1)
    elif largest == 200:
        start = hidden_bias[0, 0] = abs(hidden_bias[0, 0])
        total = int(np.abs(outputs[:, 0].astype(np.int64)).sum())
        hidden_bias[0, 0] = start + room_of(replace(model, hidden_bias=hidden_bias)) - 201 * total
    model = replace(model, hidden_bias=hidden_bias, deep=DeepLayer(inputs, bias, outputs))
    assert lanes_of(model) == most_lanes()
    check_every_width(model, 60)


@built
def test_more_cells_than_sums_are_kept_of() -> None:
    rng = np.random.default_rng(2)
    model = any_model(rng, NARROW, 8, 0, 3000, 32)
    density = rng.multinomial(TOTAL, np.full(1024, 1 / 1024), (40, 40)).astype(np.uint16)
    bias = np.full_like(model.output_bias, 20 << 25)
    check_every_width(replace(model, density=density, output_bias=bias), 200)
