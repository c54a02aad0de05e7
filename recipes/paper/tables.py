"""The table in Markdown: what each method reached, and what became of the paper's orderings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from paper.jobs import Methods
from paper.orderings import RULE, Claim, all_claims
from paper.results import DOMAINS, Result

MINUS = "\N{MINUS SIGN}"
# Name in the results, heading, decimals.
COLUMNS = (("pesq", "PESQ-WB", 3), ("stoi", "STOI", 3), ("cvu", "CVU", 4), ("kbps", "kbps written", 3))


def table(results: Sequence[Result], methods: Methods) -> str:
    """``table.md``: made of the results alone, and the same for the same results."""
    good = [result for result in results if result.failure is None]
    parts = [_opening(good), _qualities(good, methods, methods.methods, "## Methods")]
    if any(result.method in methods.ablations for result in good):
        parts.append(_ablations(good, methods))
    parts.append(_orderings(all_claims(results)))
    if failed := [result for result in results if result.failure is not None]:
        parts.append(_failures(failed))
    return "\n\n".join(parts) + "\n"


def _opening(good: Sequence[Result]) -> str:
    def told(of: Callable[[Result], int]) -> str:
        values = sorted({of(result) for result in good})
        return " to ".join(str(value) for value in ([values[0], values[-1]] if len(values) > 1 else values))

    if not good:
        return "# The table of VP-VAE, remade\n\nNo run has finished yet."
    seconds = sum(float(result.data["train_seconds"]) + float(result.data["finish_seconds"]) for result in good)
    seeds = sorted({result.seed for result in good})
    return (
        "# The table of VP-VAE, remade\n\n"
        "Made by `recipes/paper/run.py` from the results in `runs/`; docs/paper.md tells what was run and how to read "
        "it.\n"
        f"\nScale *{good[0].data['scale']}*: {len(good)} runs of {told(lambda r: r.data['steps'])} steps each, "
        f"networks of {told(lambda r: r.data['parameters'])} parameters, seeds {', '.join(map(str, seeds))}, "
        f"{seconds / 60:.0f} minutes in all. *In-domain*: {len(good[0].by_file('in', 'seconds'))} excerpts of the "
        f"held-back part of the corpus; *out-of-domain*: {len(good[0].by_file('out', 'seconds'))} recordings of "
        "speakers and material that were not trained on. Means over the seeds, with ± the standard deviation between "
        "them; *words* is the perplexity of the frame codes, CVU that over K."
    )


def _qualities(good: Sequence[Result], methods: Methods, names: Iterable[str], title: str) -> str:
    heads = [f"{DOMAINS[domain]} {label}" for domain in DOMAINS for _, label, _ in COLUMNS]
    lines = [
        title,
        "",
        "| K | method | seeds | raw kbps | " + " | ".join(heads) + " | words |",
        "| ---: | --- | ---: | ---: |" + " ---: |" * (len(heads) + 1),
    ]
    for codes in sorted({result.codes for result in good}):
        for name in names:
            if runs := [result for result in good if (result.method, result.codes) == (name, codes)]:
                lines.append(_line(runs, codes, methods.named(name).label))
    return "\n".join(lines)


def _ablations(good: Sequence[Result], methods: Methods) -> str:
    codes = {result.codes for result in good if result.method in methods.ablations}
    kept = [result for result in good if result.codes in codes]
    parents = {method.bottleneck["kind"] for method in methods.ablations.values()}
    names = [name for name in methods.methods if name in parents] + [*methods.ablations]
    return _qualities(kept, methods, names, "## Ablations")


def _line(runs: Sequence[Result], codes: int, label: str) -> str:
    cells = [str(codes), label, str(len(runs)), _cell(runs, "in", "raw_kbps", 3, spread=False)]
    cells += [_cell(runs, domain, name, decimals) for domain in DOMAINS for name, _, decimals in COLUMNS]
    return "| " + " | ".join([*cells, _cell(runs, "in", "perplexity", 1)]) + " |"


def _cell(runs: Sequence[Result], domain: str, name: str, decimals: int, spread: bool = True) -> str:
    values = [value for run in runs if (value := run.value(domain, name)) is not None]
    if not values:
        return "n/a"
    mean = f"{np.mean(values):.{decimals}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{decimals}f}" if spread and len(values) > 1 else mean


def _orderings(claims: Sequence[Claim]) -> str:
    lines = ["## Orderings", "", RULE, "", "| the paper's ordering | here |", "| --- | --- |"]
    lines += [f"| {claim.statement} | **{claim.verdict}** |" for claim in claims]
    lines += ["", "Each comparison; differences are the first named minus the second.", ""]
    lines += ["| ordering | K | measure | difference, or words, of each seed | 95 % over files | verdict |"]
    lines += ["| --- | ---: | --- | --- | --- | --- |"]
    for claim in claims:
        for row in claim.rows:
            signed = not row.what.startswith("words")
            each = ", ".join(_number(gap, row.decimals, signed) for gap in row.gaps)
            bounds = " to ".join(_number(end, row.decimals, True) for end in row.interval) if row.interval else ""
            lines.append(f"| {claim.statement} | {row.codes} | {row.what} | {each} | {bounds} | {row.verdict} |")
    return "\n".join(lines)


def _number(value: float, decimals: int, signed: bool) -> str:
    return f"{value:{'+' if signed else ''}.{decimals}f}".replace("-", MINUS)


def _failures(failed: Sequence[Result]) -> str:
    lines = ["## Runs that failed", ""]
    lines += [f"- {run.method}, K = {run.codes}, seed {run.seed}: {run.failure}" for run in failed]
    return "\n".join(lines)
