"""What the benchmarks work out of their measurements, without measuring: fits, knees, shares, verdicts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from argparse import Namespace

import numpy as np
import onnxruntime
import pytest
from conftest import ROOT

SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_a_fixed_cost_gives_the_knee_and_leaves_the_exponent_alone(bench):
    noise = np.random.default_rng(0).normal(1.0, 0.01, len(SIZES))
    found = bench("fit").growth(SIZES, (0.08 + 0.01 * np.array(SIZES)) * noise)
    assert found.knee == pytest.approx(8, rel=0.1)
    assert found.fixed == pytest.approx(0.08, rel=0.1)
    assert found.exponent == pytest.approx(1, abs=0.15)
    assert found.even
    assert found.straight_from >= 8
    assert not found.bends_up


def test_an_even_law_is_straight_from_its_first_size(bench):
    found = bench("fit").growth(SIZES, [3.0 * size**0.7 for size in SIZES])
    assert found.exponent == pytest.approx(0.7)
    assert found.straight_from == 1


def test_proportional_costs_have_no_knee_and_constant_ones_no_end_of_it(bench):
    proportional = bench("fit").growth(SIZES, [0.5 * size for size in SIZES])
    assert proportional.knee is None
    assert proportional.exponent == pytest.approx(1)
    constant = bench("fit").growth(SIZES, [2.0] * len(SIZES))
    assert constant.knee >= SIZES[-1]
    assert constant.exponent == pytest.approx(0)


def test_a_unit_that_gets_dearer_is_told(bench):
    costs = [(1.0 * size + 2.0) * (1.5 if size > 32 else 1.0) for size in SIZES]
    found = bench("fit").growth(SIZES, costs)
    assert found.bends_up
    assert found.cheapest == 32
    assert found.rise == pytest.approx(1.5, rel=0.1)
    assert found.knee == pytest.approx(2)  # of the sizes before that


@pytest.mark.parametrize(("sizes", "costs"), [([1, 2], [1, 2]), ([1, 1, 2], [1, 1, 1]), ([1, 2, 3], [1, 0, 1])])
def test_what_cannot_be_fitted_is_refused(bench, sizes, costs):
    with pytest.raises(ValueError, match="three or more"):
        bench("fit").growth(sizes, costs)


def test_a_call_is_laid_beside_what_was_spoken(bench):
    call, rng = bench("call"), np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0, 0.3, 400), 1600)
    spoken = (loudness * rng.standard_normal(len(loudness))).astype(np.float32)  # 40 s at 16 kHz
    heard = np.concatenate([np.zeros(2240, np.float32), spoken])[16000:]  # 140 ms late, begun a second later
    found = call.delays(spoken, heard, 16000, 1.0)
    assert len(found) > 10
    assert all(abs(delay - 140) <= 2 for _, delay in found)
    assert abs(call.drift_ms(found)) < 1
    assert call.drift_ms([(float(when), 100.0 + when) for when in range(0, 60, 2)]) == pytest.approx(36)
    assert call.growth_mb([50.0] * 40 + [60.0] * 40) == 10
    assert call.growth_mb([1.0]) is None


def test_stopwatches_count_what_is_inside_once(bench):
    now = [0.0]
    watches = bench("stopwatches").Stopwatches(clock=lambda: now[0])

    def work(seconds: float) -> None:
        now[0] += seconds

    def items():
        for _ in range(3):
            work(1.0)
            yield None

    def outer() -> None:
        work(2.0)
        watches.call("inner", work, 5.0)
        for _ in watches.wrap_iterator("items", items)():
            work(0.5)

    watches.call("outer", outer)
    assert watches.take() == {"inner": 5.0, "items": 3.0, "outer": 3.5}
    assert watches.take() == {}


def test_streams_that_keep_up_are_those_below_the_first_that_do_not(bench):
    streams = bench("streams")
    runs = [streams.Run(count, late, 0.0, 0.0) for count, late in ((1, 0.0), (4, 0.01), (8, 0.2), (16, 0.0))]
    assert streams.most(runs) == 4
    assert streams.most(runs[:2]) == 4
    assert streams.most(runs[2:3]) == 0


def test_a_soak_tells_latencies_and_what_is_broken(bench):
    service, soak = bench("service"), bench("soak")
    told = service.Told(wall_s=10.0, cpu_s=4.0, sizes_mb=[100.0] * 8, alike=1.0, apart=1e-7)
    for ms in range(100):
        told.encode.add(ms / 1000)
        told.decode.add(ms / 2000)
    result = soak.summary([told])
    assert result["encode"]["p50_ms"] == pytest.approx(49, abs=0.2)
    assert result["encode"]["p99_ms"] == pytest.approx(98, abs=0.2)
    assert result["encode"]["max_ms"] == pytest.approx(99)
    assert result["encode"]["late"] == pytest.approx(0.79, abs=0.011)
    assert result["decode"]["audio_seconds_a_second"] == pytest.approx(0.2)
    assert soak.broken(result) == []
    for change in ({"apart": 1e-4}, {"alike": 0.9}, {"growth_mb": [20.0]}, {"faults": ["x"]}):
        assert len(soak.broken({**result, **change})) == 1
    told.encode.add(5.0)
    told.encode.add(60.0)  # beyond the histogram
    assert len(soak.broken(soak.summary([told]))) == 1


def test_what_a_frame_costs_is_what_its_parts_do(bench, monkeypatch):
    framecost = bench("framecost")
    monkeypatch.setattr(framecost, "_TICKS", 3)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", onnxruntime.InferenceSession.run)  # put back afterwards
    options = Namespace(model="speech-16k", audio=ROOT / "samples" / "speech.flac", streams=2, loss=0.3)
    costs = framecost.Streams(options).round()
    for way in ("encode", "decode"):
        assert costs[f"{way}, network"] > 0
        assert costs[f"{way}, rest"] > 0
        assert costs[way] == pytest.approx(costs[f"{way}, network"] + costs[f"{way}, rest"])
    assert costs["both"] == pytest.approx(costs["encode"] + costs["decode"])
    other = {part: 3 * cost for part, cost in costs.items()}
    assert framecost.summary([other, costs, other])["both"] == {"best": costs["both"], "median": other["both"]}


def measured(encodec: float = 12.0, lyra: float = 1.5, entropy: float = 0.04) -> tuple[dict, dict]:
    cpu = {"audiocodec": 0.5, "network": 0.4, "encodec": 0.5 * encodec, "lyra-v2": 0.5 * lyra}
    medians = {f"{who} {step}": {"cpu": took} for who, took in cpu.items() for step in ("encode", "decode")}
    return medians, {"encode": {"network": 1 - entropy, "entropy coding": entropy}}


@pytest.mark.parametrize(
    ("domain", "numbers", "broken"),
    [
        ("speech", {}, set()),
        ("speech", {"encodec": 9.0}, {"times EnCodec"}),
        ("music", {"encodec": 9.0, "lyra": 0.5}, set()),
        ("speech", {"lyra": 0.9}, {"times Lyra v2"}),
        ("speech", {"entropy": 0.06}, {"entropy coding's share of encoding"}),
    ],
)
def test_promises_of_speed(bench, domain, numbers, broken):
    speed = bench("speed")
    medians, breakdown = measured(**numbers)
    result = speed.summary(medians, {"encoder": 4e6, "decoder": 4e6}, peak=1e9, seconds=50.0)
    judged = speed.promises(domain, {**result, "breakdown": breakdown})
    assert {what for what, promise in judged.items() if not speed.kept(*promise)} == broken
    assert result["network_share_of_floor"]["both"] == pytest.approx(0.5)


def test_torch_is_hidden_from_a_process_that_measures_memory(bench, tmp_path):
    memory = bench("memory")
    assert memory.peak_mb(tmp_path, ["--version"], torch=False)[0] > 1
    hidden = memory.PROBE.partition("target, status")[0] + (
        "import importlib.util\nassert importlib.util.find_spec('torch') is None\nimport numpy\nimport torch\n"
    )
    done = memory.subprocess.run([memory.sys.executable, "-c", hidden, "without"], stderr=memory.subprocess.PIPE)
    assert done.returncode == 1
    assert b"ModuleNotFoundError: No module named 'torch'" in done.stderr


def test_the_part_that_leads_a_step_is_named(bench):
    training = bench("training")
    parts = dict.fromkeys(training.PARTS, 1.0) | {training.LOSSES: 4.0}
    said = training.verdict({"parts_s": parts, "making_a_batch_s": 9.5, "step_s": 10.0})
    assert said.startswith("losses leads with 40 %")
    assert "data follows close behind" in said


def test_a_plot_is_a_drawing_with_every_point(bench):
    plot = bench("plot")
    chart = plot.Chart("by <size>", "rows", "speed", [(1, 10), (10, 70), (100, 90)], {"other": (5, 50)}, knee=7.0)
    drawn = ET.fromstring(plot.svg([chart, chart, chart]))
    assert len([node for node in drawn.iter() if node.tag.endswith("circle")]) == 12
