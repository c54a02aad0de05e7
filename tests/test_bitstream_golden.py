"""Streams of every version ever released decode to the same tokens for ever (tests/make_golden.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bitstream_helpers import read_all, tokens_of
from make_golden import NAMES

from audiocodec.bitstream import End, EntropyModel, Lost, Silence

GOLDEN = Path(__file__).parent / "golden"
STREAMS = sorted(GOLDEN.glob("*.vpc"))


def test_every_version_has_golden_streams() -> None:
    expected = {f"{name}-{version[0]}.{version[1]}" for version, names in NAMES.items() for name in names}
    assert {path.stem for path in STREAMS} == expected


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_golden_stream(path: Path) -> None:
    name, version = path.stem.rsplit("-", 1)
    which = f"deep-{version}" if name == "deep" else version
    model = EntropyModel.load(GOLDEN / f"entropy-{which}.safetensors")
    events = read_all(path.read_bytes(), model)
    with np.load(GOLDEN / f"tokens-{which}.npz") as tokens:
        assert np.array_equal(tokens_of(events), tokens[name])
    assert not any(isinstance(event, Lost) for event in events)
    assert isinstance(events[-1], End)
    assert events[-1].total_samples is not None
    assert [event.frames for event in events if isinstance(event, Silence)] == ([40] if name == "live" else [])
