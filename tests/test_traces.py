"""Traces of lost packets: as many as wanted, as long in a row as wanted, the same again for the same seed."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from audiocodec.evaluate.traces import Losses, loss_trace

MANY = 200_000


def runs(trace: np.ndarray) -> list[int]:
    """Packets lost in a row, each time."""
    return [len(list(group)) for lost, group in groupby(trace.tolist()) if lost]


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("burst", [1.0, 3.0, 8.0])
def test_shares_and_bursts_are_those_asked_for(loss, burst):
    trace = loss_trace(MANY, loss, burst, seed=1)
    found = np.mean(runs(trace))
    assert trace.mean() == pytest.approx(loss, rel=0.15)
    # Independent packets follow each other by chance as well
    assert found == pytest.approx(burst if burst > 1 else 1 / (1 - loss), rel=0.1)


def test_independent_losses_do_not_know_each_other():
    trace = loss_trace(MANY, 0.2, 1.0, seed=3)
    assert trace[1:][trace[:-1]].mean() == pytest.approx(0.2, abs=0.01)


def test_the_same_seed_loses_the_same_packets():
    first = loss_trace(500, 0.1, 3.0, seed=4, name="a.flac")
    assert np.array_equal(first, loss_trace(500, 0.1, 3.0, seed=4, name="a.flac"))
    assert np.array_equal(first[:100], loss_trace(100, 0.1, 3.0, seed=4, name="a.flac"))
    assert not np.array_equal(first, loss_trace(500, 0.1, 3.0, seed=5, name="a.flac"))
    assert not np.array_equal(first, loss_trace(500, 0.1, 3.0, seed=4, name="b.flac"))


def test_what_is_lost_at_one_rate_is_lost_at_a_higher_one():
    few, many = (loss_trace(MANY, loss, 1.0, seed=6) for loss in (0.01, 0.05))
    assert not (few & ~many).any()


def test_nothing_and_everything():
    assert not loss_trace(100, 0.0, 3.0, seed=0).any()
    assert loss_trace(100, 1.0, 1.0, seed=0).all()


@pytest.mark.parametrize(("loss", "burst"), [(-0.1, 1.0), (1.1, 1.0), (0.1, 0.5), (0.9, 3.0), (1.0, 3.0)])
def test_what_no_chain_can_do_is_refused(loss, burst):
    with pytest.raises(ValueError, match="loss of"):
        Losses(loss, burst)
