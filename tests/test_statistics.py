"""Intervals, tests and rate differences against closed forms, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_helpers import METRICS, make_results

from audiocodec.evaluate.report.curves import bd_interval, bd_rate, efficient, efficient_bd_rate
from audiocodec.evaluate.report.estimates import bootstrap_interval, holm, wilcoxon
from audiocodec.evaluate.report.statistics import amount, bd_table_markdown, comparisons

RATES = np.array([1.0, 2.0, 4.0, 8.0])
QUALITY = np.array([0.5, 0.7, 0.85, 0.9])


@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 3.0])
def test_a_constant_factor_in_rate_is_its_bd_rate(factor, higher_is_better):
    quality = QUALITY if higher_is_better else -QUALITY
    found = bd_rate(factor * RATES, quality, RATES, quality, higher_is_better)
    assert found.percent == pytest.approx(100.0 * (factor - 1.0), abs=1e-9)
    assert found.overlap == ((0.5, 0.9) if higher_is_better else (-0.9, -0.5))


def test_two_points_are_interpolated_linearly_over_the_common_range_alone():
    # log2 rate is 10 q for a and 10 q + 1 - 2 (q - 0.5) for b; on [0.3, 0.4] the mean gap is 1 + 0.3 octaves
    found = bd_rate([2.0**1, 2.0**4], [0.1, 0.4], [2.0 ** (3 + 1.4), 2.0 ** (6 + 0.8)], [0.3, 0.6])
    assert found.overlap == pytest.approx((0.3, 0.4))
    assert found.percent == pytest.approx(100.0 * (2.0**-1.3 - 1.0))


def test_swapping_the_curves_inverts_the_ratio():
    other = QUALITY + np.array([0.03, 0.05, 0.01, 0.02])
    one = bd_rate(RATES, QUALITY, RATES, other)
    two = bd_rate(RATES, other, RATES, QUALITY)
    assert (1.0 + one.percent / 100.0) * (1.0 + two.percent / 100.0) == pytest.approx(1.0)


def test_the_piecewise_cubic_is_scipys():
    from scipy.interpolate import PchipInterpolator

    rng = np.random.default_rng(0)
    for count in (2, 3, 4, 7):
        for _ in range(20):
            quality = np.sort(rng.uniform(size=(2, count)), axis=1)
            rates = np.exp(np.sort(rng.uniform(size=(2, count)), axis=1))
            low, high = quality[:, 0].max(), quality[:, -1].min()
            found = bd_rate(rates[0], quality[0], rates[1], quality[1])
            if low >= high:
                assert found.percent is None
                continue
            areas = [PchipInterpolator(q, np.log(r)).integrate(low, high) for q, r in zip(quality, rates, strict=True)]
            expected = 100.0 * math.expm1((areas[0] - areas[1]) / (high - low))
            assert found.percent == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("rates", "quality", "reason"),
    [
        ([1.0], [0.7], "two settings"),
        ([1.0, 2.0], [0.7, math.nan], "two settings"),
        ([1.0, None], [0.7, 0.8], "two settings"),
        ([1.0, 2.0, 4.0], [0.6, 0.8, 0.7], "does not rise"),
        ([1.0, 2.0], [0.95, 0.99], "no range"),
        ([1.0, 2.0], [0.9, 0.99], "no range"),  # they touch in one point
    ],
)
def test_where_there_is_no_rate_difference_there_is_a_reason(rates, quality, reason):
    found = bd_rate(rates, quality, RATES, QUALITY)
    assert found.percent is None
    assert reason in found.reason


def test_a_setting_that_a_cheaper_one_beats_is_left_out():
    assert efficient([6.0, 8.0, 9.0, 12.0], [0.83, 0.90, 0.88, 0.93]) == [0, 1, 3]
    assert efficient([6.0, 8.0, 9.0, 12.0], [0.60, 0.61, 0.20, 0.20], higher_is_better=False) == [0, 2]
    assert efficient([2.0, 1.0], [0.9, 0.8]) == [1, 0]
    noise = np.array([0.5, 0.9, 0.6, 0.7])
    assert "hardly" in efficient_bd_rate(RATES, noise, RATES, QUALITY).reason, "two of four would be left"
    rates, quality = np.array([1.0, 2.0, 3.0, 4.0, 8.0]), np.array([0.5, 0.7, 0.6, 0.85, 0.9])
    assert efficient_bd_rate(rates / 2, quality, RATES, QUALITY).percent == pytest.approx(-50.0)


def test_the_interval_of_a_rate_difference_holds_it():
    rng = np.random.default_rng(1)
    offsets = rng.normal(0.0, 0.02, size=(1, 12))
    quality = QUALITY[:, None] + offsets
    noisy = QUALITY[:, None] + offsets + rng.normal(0.0, 0.004, size=(4, 12))
    rates = np.repeat(RATES[:, None], 12, axis=1)
    low, high = bd_interval((rates / 2, noisy), (rates, quality), True, seed=0)
    assert low < -50.0 < high
    assert high - low < 20.0
    assert bd_interval((rates / 2, noisy), (rates, quality), True, seed=0) == (low, high)
    # The same recordings in both curves: what they share does not blur the difference
    exact = bd_interval((rates / 2, quality), (rates, quality), True, seed=0)
    assert exact == pytest.approx((-50.0, -50.0))
    assert bd_interval((rates[:, :2] / 2, noisy[:, :2]), (rates[:, :2], quality[:, :2]), True, seed=0) is None


def test_a_bootstrap_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=400)
    low, high = bootstrap_interval(values, seed=0)
    standard_error = values.std(ddof=1) / 20.0
    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.1 * standard_error)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.1 * standard_error)
    assert bootstrap_interval(values, seed=0) == (low, high)
    assert bootstrap_interval(values, seed=1) != (low, high)


def test_a_bootstrap_interval_needs_two_finite_values():
    assert bootstrap_interval([], seed=0) is None
    assert bootstrap_interval([1.0, None, math.nan, math.inf], seed=0) is None
    assert bootstrap_interval([2.0, 2.0, None], seed=0) == (2.0, 2.0)
    low, high = bootstrap_interval([1.0, 2.0], seed=0)
    assert 1.0 <= low <= high <= 2.0


def test_wilcoxon_against_its_closed_form():
    # All of n distinct differences of one sign: 2 in 2^n orders
    for n in (2, 5, 8):
        a = np.arange(1.0, n + 1.0)
        test = wilcoxon(2 * a, a)
        assert (test.n, test.p) == (n, pytest.approx(2.0 ** (1 - n)))
        assert test.smallest_p == test.p
        assert test.difference == pytest.approx(a.mean())
    # One of five goes the other way, with the least rank: W = 1, and 2 * 2 of 32 orders are as far
    assert wilcoxon([1.0, -2.0, -3.0, -4.0, -5.0], np.zeros(5)).p == pytest.approx(4 / 32)


def test_wilcoxon_is_scipys_without_ties_and_exact_with_them():
    from itertools import product

    from scipy.stats import rankdata
    from scipy.stats import wilcoxon as signed_rank

    rng = np.random.default_rng(0)
    for n in (6, 14, 50, 60):
        gaps = rng.normal(0.3, 1.0, size=n)
        method = "exact" if n <= 50 else "approx"
        assert wilcoxon(gaps, np.zeros(n)).p == pytest.approx(signed_rank(gaps, method=method).pvalue)
    gaps = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 0.0])
    ranks = rankdata(np.abs(gaps[:-1]))
    sums = np.array([np.dot(signs, ranks) for signs in product((-1, 1), repeat=6)])
    observed = abs(np.dot(np.sign(gaps[:-1]), ranks))
    assert wilcoxon(gaps, np.zeros(7)).p == pytest.approx(np.mean(np.abs(sums) >= observed))


def test_wilcoxon_where_it_is_undefined():
    assert wilcoxon([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).p is None
    assert "zero" in wilcoxon([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).reason
    assert wilcoxon([0.1 + 0.2, 1.0], [0.3, 1.0]).p is None, "a rounding error is no difference"
    assert wilcoxon([], []).n == 0
    assert wilcoxon([None, 1.0], [1.0, math.nan]).n == 0
    assert wilcoxon([2.0], [1.0]).p is None
    with pytest.raises(ValueError, match="paired"):
        wilcoxon([1.0], [1.0, 2.0])


def test_wilcoxon_leaves_out_pairs_that_are_not_whole():
    test = wilcoxon([3.0, None, 5.0, 9.0, 1.5], [1.0, 2.0, math.nan, 3.0, 1.0])
    assert (test.n, test.p) == (3, pytest.approx(0.25))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_rate_differences_in_words():
    assert amount(-38.2) == "38 % fewer bits"
    assert amount(12.0) == "12 % more bits"
    assert amount(200.0) == "3.0 times the bits"
    assert amount(-0.2) == "as many bits (within 0.5 %)"


def test_comparisons_of_results():
    compared = comparisons(make_results(None))
    by_metric = {one.metric: one for one in compared.curves}
    assert list(by_metric) == list(METRICS)
    assert by_metric["estoi"].by_file.percent == pytest.approx(-50.0)
    assert by_metric["estoi"].words == "50 % fewer bits than opus at equal ESTOI (over 0.840 to 0.890)"
    assert by_metric["mel"].by_file.percent < 0.0
    pairs = [(one.a.setting, one.b.setting) for one in compared.systems if one.metric == "estoi"]
    assert pairs == [("34 levels", "6"), ("22 levels", "6"), ("34 levels", "12")], "near its rate, and near half of it"
    assert len(compared.systems) == len(METRICS) * len(pairs)
    assert all(one.test.n == 3 for one in compared.systems)
    assert all(one.winner is None for one in compared.systems), "three recordings cannot be significant"


def test_significance_is_told_with_enough_recordings():
    files = tuple(f"{index:02d}.flac" for index in range(12))
    compared = comparisons(make_results(None, files=files))
    winners = {(one.metric, one.a.setting, one.b.setting): one.winner for one in compared.systems}
    assert winners["estoi", "34 levels", "6"].codec == "ours-16k"
    assert winners["pesq_wb", "34 levels", "12"].codec == "opus"
    assert winners["estoi", "34 levels", "12"] is None
    assert winners["mel", "34 levels", "6"].codec == "ours-16k", "less is better"


def test_two_models_are_compared_with_each_other():
    from audiocodec.evaluate.results import SystemInfo

    results = make_results(None, opus={})
    twin = [SystemInfo("other-16k", one.setting, "ours") for one in results.systems if one.role == "ours"]
    results.rows += [{**row, "codec": "other-16k", "kbps": 2 * row["kbps"]} for row in results.rows]
    results.systems += twin
    results.summary += [{**row, "codec": "other-16k", "kbps": 2 * row["kbps"]} for row in results.summary]
    pairs = {(one.a, one.b): one.by_file.percent for one in comparisons(results).curves if one.metric == "estoi"}
    assert pairs == {("ours-16k", "other-16k"): pytest.approx(-50.0)}


def test_the_table_of_rate_differences():
    table = bd_table_markdown(make_results(None)).splitlines()
    assert table[0] == "| bits at equal quality | PESQ-WB | ESTOI | mel |"
    assert table[2].startswith("| ours-16k against opus | ")
    assert "-50 % (-50 to -50)" in table[2]
    assert len(table) == 3
    assert bd_table_markdown(make_results(None, opus={})) == ""
    one_setting = bd_table_markdown(make_results(None, opus={"6": (6.0, 2.0, 0.85, 0.6)}))
    assert one_setting.count("n/a") == 3


def test_no_winner_where_one_outlier_turns_the_mean_against_the_ranks() -> None:
    from audiocodec.evaluate.report.statistics import SystemComparison
    from audiocodec.evaluate.results import SystemInfo

    a, b = SystemInfo("a", "", "ours"), SystemInfo("b", "", "peer")
    for last, winner in ((-9.0, None), (-0.01, a)):
        test = wilcoxon([0.1 + 0.01 * n for n in range(13)] + [last], [0.0] * 14)
        assert test.p is not None
        assert test.p < 0.05
        assert SystemComparison("stoi", a, b, test, test.p).winner == winner
