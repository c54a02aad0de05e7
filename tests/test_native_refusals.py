"""What would lead the entropy coder in C out of its memory is refused, or does no harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bitstream_helpers import (
    deep_model,
    small_model,
)
from native_helpers import both, built, outcome

from audiocodec.bitstream import EntropyModel, native
from audiocodec.bitstream.rangecoder import TOTAL, encode_intervals


@built
@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, lambda a: a * np.uint16(0)),
        (0, lambda a: np.full_like(a, 16385)),
        (0, lambda a: a[:-1]),
        (0, lambda a: a.astype(np.int64)),
        (1, lambda a: a[:0]),
        (2, lambda a: np.zeros((4, 5, 12), np.int16)),
        (2, lambda a: np.zeros((8, 257, 12), np.int16)),
        (2, lambda a: np.asfortranarray(a)),
        (2, lambda a: a[0]),
        (4, lambda a: a[:1]),
        (5, lambda a: a[:-1]),
        (9, lambda a: a[:, :-1]),
        (9, lambda a: np.zeros((6, 6, 1025), np.uint16)),
        (9, lambda a: np.frombuffer(b"\0" + a.tobytes() + b"\0", np.uint8)[1:-1].view(np.uint16).reshape(a.shape)),
        (10, lambda a: None),
        (11, lambda a: None),
        (12, lambda a: a[:0]),
        (12, lambda a: "weights"),
    ],
)
def test_tables_that_do_not_fit_are_refused(number: int, change: Any) -> None:
    assert native.extension is not None
    tables = tables_of(deep_model())
    native.extension.Coder(*tables)
    tables[number] = change(tables[number])
    with pytest.raises((ValueError, TypeError, BufferError)):
        native.extension.Coder(*tables)


def tables_of(model: EntropyModel) -> list[Any]:
    """The constructor's arguments, in order."""
    deep = model.deep
    assert deep is not None
    rows = [model.levels[0], model.relative[0], model.history, model.current, model.readout, model.hidden_bias[0]]
    rows += [model.start_bias, model.output_bias[0], model.start_output_bias, model.density]
    return [*rows, deep.inputs, deep.bias[0], deep.outputs]


@built
def test_arguments_out_of_bounds_are_refused() -> None:
    assert native.extension is not None
    coder = native.extension.Coder(*tables_of(deep_model()))
    out = np.zeros((3, 1, 5), np.int64)
    for indices in (out[..., :4], out.astype(np.int32), out[0], out + 40, out - 1):
        with pytest.raises((ValueError, BufferError)):
            coder.intervals(indices, np.zeros((3, 4, 2), np.int64))
    for pairs in (np.zeros((2, 4, 2), np.int64), np.zeros((3, 5, 2), np.int64), np.zeros((3, 4, 2), np.int32)):
        with pytest.raises(ValueError, match=r"must be|type or shape"):
            coder.intervals(out, pairs)
    whole = 1 << 32
    for state in ((whole, whole - 1, 4), (0, 0, 4), (0, whole, 4), (0, whole - 1, -1), (0, whole - 1, 1 << 62)):
        with pytest.raises(ValueError, match="state"):
            coder.read(b"", *state, out)
    with pytest.raises(ValueError, match="type or shape"):
        coder.read(b"", 0, 1 << 30, 4, out[..., :4].copy())
    frozen = out.copy()
    frozen.setflags(write=False)
    with pytest.raises((ValueError, BufferError)):
        coder.read(b"", 0, 1 << 30, 4, frozen)
    for pair in ((-1, 1), (0, 0), (1, TOTAL), (TOTAL, 1), (1 << 62, 1 << 62), (0, -5)):
        with pytest.raises(ValueError, match="outside"):
            encode_intervals(np.array([pair], np.int64))
    assert coder.read(b"\xff" * 9, (1 << 32) - 1, 1 << 24, 4, out) is None
    with pytest.raises(TypeError):
        native.extension.Coder(levels=3)


@built
def test_densities_changed_after_the_check_do_no_harm() -> None:
    model = small_model()
    density = model.density.copy()
    changed = replace(model, density=density)
    ours, _ = both(changed)
    for value in (65535, 0):
        density[...] = value
        for data in (b"", b"\xff\xfe" * 40, np.random.default_rng(0).bytes(80)):
            assert outcome(ours, data, 10, 1)
