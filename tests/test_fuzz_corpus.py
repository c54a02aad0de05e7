"""What long fuzzing found ways into still ends in a result or a BitstreamError, and so do a few mutations of each.

The corpora are those of benchmarks/fuzz_coverage.py, which says how they were made.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import fuzz_bitstream
import fuzz_targets

LEAST_INPUTS = {"stream": 100, "rtp": 5, "call": 20}


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_the_corpus_is_there_and_nothing_in_it_is_a_finding(target):
    inputs = fuzz_targets.corpus(target)
    assert len(inputs) >= LEAST_INPUTS[target]
    for data in inputs.values():
        fuzz_targets.TARGETS[target](data)


@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_mutations_of_the_corpus_are_no_findings(target):
    inputs, rng = sorted(fuzz_targets.corpus(target).values()), np.random.default_rng(0)
    taken = []
    for data in inputs[::3]:
        other = inputs[int(rng.integers(len(inputs)))] or b"\0"
        taken.append(fuzz_targets.TARGETS[target](fuzz_bitstream.mutate(data, other, rng)))
    assert not all(taken)
    assert any(taken) or target == "rtp"  # of so few, with checksums, none may be whole


def test_a_finding_would_be_one():
    """The targets do look: an index outside its alphabet, or a crash, is not passed over."""
    with pytest.raises(TypeError):
        fuzz_targets.stream(None)  # type: ignore[arg-type]
    packet = fuzz_targets.RtpPacket(1, 0, 1, fuzz_targets.FORMAT.pack(_contents())).pack()
    seen = []
    put = fuzz_targets.JitterBuffer.put

    class Watched(fuzz_targets.JitterBuffer):
        def put(self, *arguments, **more):
            seen.append(arguments)
            return put(self, *arguments, **more)

    original, fuzz_targets.JitterBuffer = fuzz_targets.JitterBuffer, Watched
    try:
        fuzz_targets.call(bytes([len(packet), 5]) + packet)
    finally:
        fuzz_targets.JitterBuffer = original
    assert len(seen) == 1


def _contents():
    from audiocodec.live.payload import Contents

    frames = np.zeros((1, 1, len(fuzz_targets.LEVELS)), np.int64)
    return Contents(frames, frames[:0])
