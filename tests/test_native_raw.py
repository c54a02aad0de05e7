"""Raw payloads in C are those of Python's integers, and what would lead C out of its memory is refused."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native_helpers import built, mutations

from audiocodec.bitstream import native
from audiocodec.bitstream.rawcoder import pack_raw, pack_rows, raw_bytes, unpack_raw, unpack_rows
from audiocodec.errors import BitstreamError

COUNTS = st.one_of(st.integers(1, 3), st.integers(1, 60), st.sampled_from([256, 32768, 65535]), st.integers(1, 65535))


def fault_or(work: object, *arguments: object) -> object:
    """What a function gives, or the words of its refusal."""
    try:
        result = work(*arguments)  # type: ignore[operator]
    except BitstreamError as error:
        return str(error)
    return np.asarray(result).ravel().tolist()


def check_alike(levels: tuple[int, ...], indices: np.ndarray, rng: np.random.Generator) -> None:
    frames, channels, _ = indices.shape
    rows = frames * channels
    data = pack_raw(indices, levels)
    assert data == pack_rows(indices.reshape(rows, len(levels)).tolist(), levels)
    assert len(data) == raw_bytes(rows, levels)
    for bad in (data, *mutations(data, rng, 4)):
        bad = bad[: len(data)].ljust(len(data), b"\xff")
        assert fault_or(unpack_raw, bad, frames, channels, levels) == fault_or(unpack_rows, bad, rows, levels)


@built
@settings(max_examples=200, deadline=None)
@example([65535] * 256, 3, 2, 0)  # the longest row
@example([2] * 256, 9, 1, 0)  # rows of whole limbs
@example([65536 // 2] * 64, 5, 1, 0)  # numbers of just below 1024 bits
@example([1] * 5, 40, 1, 0)  # which are no bits at all
@example([1, 2], 3000, 1, 0)  # as many rows a number as there can be
@given(st.lists(COUNTS, min_size=1, max_size=30), st.integers(0, 60), st.integers(1, 3), st.integers(0, 10**6))
def test_c_is_as_python(counts: list[int], frames: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = frames, channels, len(counts)
    most = np.broadcast_to(np.array(counts) - 1, shape)
    for indices in (rng.integers(0, counts, shape), most, np.zeros(shape, np.int64)):
        check_alike(tuple(counts), indices, rng)


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("wrong", [-1, 7, 1 << 40, -(1 << 62)])
@pytest.mark.parametrize("group", [0, 1, 2])
def test_an_index_outside_its_levels_is_refused(
    group: int, wrong: int, python: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if python:
        monkeypatch.setattr(native, "extension", None)
    indices = np.zeros((4, 1, 3), np.int64)
    assert pack_raw(indices, (7, 1, 7)) == bytes(3)
    indices[2, 0, group] = wrong
    with pytest.raises(ValueError, match="outside its levels"):
        pack_raw(indices, (7, 1, 7))


@built
def test_arguments_out_of_bounds_are_refused() -> None:
    assert native.extension is not None
    made = native.extension.RawCoder
    for levels in ([], [0], [65536], [-1], [1 << 40], [2] * 257):
        with pytest.raises(ValueError, match="level counts"):
            made(np.array(levels, np.int64))
    for levels in (np.array([[2]]), np.array([2], np.int32), np.array([2.0], np.float32)):
        with pytest.raises(ValueError, match="type or shape"):
            made(levels)
    coder, out = made(np.array([3, 5])), np.zeros((4, 1, 2), np.int64)
    for indices in (out[..., :1].copy(), out.astype(np.int32), out[0], out[:, :, ::-1], "indices"):
        with pytest.raises((ValueError, BufferError, TypeError)):
            coder.pack(indices)
        with pytest.raises((ValueError, BufferError, TypeError)):
            coder.unpack(b"\0\0", indices)
    frozen = out.copy()
    frozen.setflags(write=False)
    with pytest.raises((ValueError, BufferError)):
        coder.unpack(b"\0\0", frozen)
    assert [coder.unpack(bytes(size), out) for size in range(4)] == [1, 1, 0, 1]
    with pytest.raises(TypeError):
        made(levels=3)


def test_what_was_built_from_an_older_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "audiocodec.bitstream._native", ModuleType("_native"))
    module, absence = native._load()
    assert module is None
    assert "older version" in absence
