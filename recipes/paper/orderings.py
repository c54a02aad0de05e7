"""Whether the paper's orderings held here: each claim asked of the stored runs by one stated rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paper.results import DOMAINS, Result

Verdict = Literal["held", "did not hold", "not resolved"]

MEASURES = {"pesq": "PESQ-WB", "stoi": "STOI"}
# "At or above" allows less than this; half of what the paper's table tells VP and FSP apart by, out of domain.
TOLERANCE = {"pesq": 0.01, "stoi": 0.002}
# The paper's collapsed codebooks use one word of 1024 (CVU 0.0010).
COLLAPSED_WORDS = 4.0
RESAMPLES = 2000

RULE = f"""Two methods are compared at one K by the differences between their runs of the same seed on the same
file. The interval is a 95 % bootstrap over files ({RESAMPLES} draws) of the mean difference; a difference counts only
where the whole interval lies on one side of zero, *every* seed's own mean lies there too, and there are two seeds at
least. *At or above* holds where interval and seeds lie above -{TOLERANCE["pesq"]} PESQ-WB or -{TOLERANCE["stoi"]} STOI,
and does not where they lie below zero, by however little. CVU has no files: all seeds, two at least, have to agree.
A codebook has collapsed where frames use fewer than {COLLAPSED_WORDS:g} words (perplexity) in-domain, in every seed.
A claim held if it did in every row, did not hold if any row contradicts it, and is not resolved otherwise."""


@dataclass(frozen=True)
class Row:
    """One comparison: ``gaps`` are the mean differences of each seed, ``interval`` that of their mean over files."""

    what: str
    codes: int
    gaps: tuple[float, ...]
    interval: tuple[float, float] | None
    verdict: Verdict
    decimals: int = 3


@dataclass(frozen=True)
class Claim:
    """An ordering of the paper, and what became of it."""

    statement: str
    rows: tuple[Row, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all rows together."""
        found = {row.verdict for row in self.rows}
        if "did not hold" in found:
            return "did not hold"
        return "held" if found == {"held"} else "not resolved"


@dataclass(frozen=True)
class Pair:
    """``better`` is above ``worse`` in the paper; ``equal_counts``: or at least as good."""

    statement: str
    better: str
    worse: str
    domains: tuple[str, ...] = ("in", "out")
    equal_counts: bool = False
    codes_used: bool = False
    """Whether CVU is part of the claim."""


PAIRS = (
    Pair("FSP is above FSQ at every K", "fsp", "fsq"),
    Pair("VP is at or above FSP out of domain", "vp", "fsp", ("out",), equal_counts=True),
    Pair("FSP: tanh is above the normal activation", "fsp", "fsp-normal"),
    Pair("FSP: tanh is above the Laplace activation", "fsp", "fsp-laplace"),
    Pair("VP: Metropolis-Hastings is above accepting always", "vp", "vp-always", codes_used=True),
    Pair("VP: the norm loss helps", "vp", "vp-unnormed"),
    Pair("FSP: the norm loss helps", "fsp", "fsp-unnormed"),
)
COLLAPSING = {"vq-vae": "VQ-VAE collapses on audio", "simvq": "SimVQ collapses on audio"}


def all_claims(results: Sequence[Result]) -> list[Claim]:
    """The paper's orderings, as far as there are runs to ask."""
    good = [result for result in results if result.failure is None]
    claims = [Claim(pair.statement, tuple(_pair_rows(good, pair))) for pair in PAIRS[:2]]
    claims += [Claim(text, tuple(_collapse_rows(good, name))) for name, text in COLLAPSING.items()]
    return claims + [Claim(pair.statement, tuple(_pair_rows(good, pair))) for pair in PAIRS[2:]]


def _pair_rows(results: Sequence[Result], pair: Pair) -> Iterable[Row]:
    runs = {(r.method, r.codes, r.seed): r for r in results}
    for codes in sorted({r.codes for r in results}):
        seeds = sorted({r.seed for r in results})
        both = [
            (runs[pair.better, codes, seed], runs[pair.worse, codes, seed])
            for seed in seeds
            if (pair.better, codes, seed) in runs and (pair.worse, codes, seed) in runs
        ]
        if not both:
            continue
        for domain in pair.domains:
            for measure, label in MEASURES.items():
                if row := _quality_row(both, pair, codes, domain, measure, f"{label}, {DOMAINS[domain]}"):
                    yield row
            if pair.codes_used:
                gaps = tuple(a.value(domain, "cvu") or 0.0 for a, _ in both)
                gaps = tuple(x - (b.value(domain, "cvu") or 0.0) for x, (_, b) in zip(gaps, both, strict=True))
                verdict = verdict_of(gaps, None, 0.0)
                yield Row(f"CVU, {DOMAINS[domain]}", codes, gaps, None, verdict, decimals=4)


def _quality_row(
    both: Sequence[tuple[Result, Result]], pair: Pair, codes: int, domain: str, measure: str, what: str
) -> Row | None:
    found = []
    for better, worse in both:
        above, below = better.by_file(domain, measure), worse.by_file(domain, measure)
        found.append({name: above[name] - below[name] for name in above.keys() & below.keys()})
    names = sorted(set.intersection(*map(set, found)))
    if not names:
        return None
    gaps = np.array([[row[name] for name in names] for row in found])  # [seeds, files]
    interval = bootstrap(gaps.mean(axis=0))
    each = tuple(float(gap) for gap in gaps.mean(axis=1))
    verdict = verdict_of(each, interval, TOLERANCE[measure] if pair.equal_counts else 0.0)
    return Row(what, codes, each, interval, verdict)


def bootstrap(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``values [files]``; the same values give the same interval."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def verdict_of(gaps: Sequence[float], interval: tuple[float, float] | None, tolerance: float) -> Verdict:
    """By :data:`RULE`; ``gaps`` are better minus worse, one for each seed."""
    if len(gaps) < 2:
        return "not resolved"
    low, high = (min(gaps), max(gaps)) if interval is None else (min(*gaps, interval[0]), max(*gaps, interval[1]))
    if high < 0.0:
        return "did not hold"
    return "held" if low > -tolerance else "not resolved"


def _collapse_rows(results: Sequence[Result], method: str) -> Iterable[Row]:
    for codes in sorted({r.codes for r in results}):
        values = [r.value("in", "perplexity") for r in results if (r.method, r.codes) == (method, codes)]
        used = tuple(value for value in values if value is not None)
        if not used:
            continue
        verdict: Verdict = "not resolved"
        if len(used) >= 2 and max(used) < COLLAPSED_WORDS:
            verdict = "held"
        elif len(used) >= 2 and min(used) >= COLLAPSED_WORDS:
            verdict = "did not hold"
        yield Row("words in use, in-domain", codes, used, None, verdict, decimals=1)
