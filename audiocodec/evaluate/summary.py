"""From rows of recordings to one row a system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.results import Row, SystemInfo


def summarise(system: SystemInfo, rows: Sequence[Row], metrics: Sequence[str]) -> Row:
    """Means over recordings; savings and speeds from totals; entropy and CVU from the pooled use of levels."""
    summary: Row = {"codec": system.codec, "setting": system.setting, "role": system.role, "files": len(rows)}
    if not rows:
        return summary
    seconds = sum(row["seconds"] for row in rows)
    for key in ("kbps", "payload_kbps", "delay_ms", *metrics):
        summary[key] = finite_mean([row[key] for row in rows])
    for way in ("encode", "decode"):
        spent = sum(row[f"{way}_seconds"] for row in rows)
        summary[f"{way}_speed"] = seconds / spent if spent else None
    if all(row["raw_bytes"] is not None for row in rows):
        summary["raw_kbps"] = finite_mean([row["raw_kbps"] for row in rows])
        written, raw = (sum(row[key] for row in rows) for key in ("file_bytes", "raw_bytes"))
        summary["saving_percent"] = 100.0 * (1.0 - written / raw)
    histograms = [row["histograms"] for row in rows if row["histograms"]]
    if histograms:
        pooled = [np.sum([h[dim] for h in histograms], axis=0) for dim in range(len(histograms[0]))]
        summary["entropy_bits_per_frame"], summary["cvu"] = token_use(pooled)
    return summary


def token_use(histograms: Sequence[npt.NDArray[np.int64]]) -> tuple[float, float | None]:
    """Entropy of the tokens in bits per frame, and codebook use, from how often each level was used.

    The entropy is that of each dimension by itself, summed; CVU = exp(entropy in nats) / levels (arXiv 2602.17133),
    averaged over the dimensions that have more than one level. (0, None) without any.
    """
    bits, uses = 0.0, []
    for counts in histograms:
        total = counts.sum()
        if len(counts) < 2 or total == 0:
            continue
        share = counts[counts > 0] / total
        nats = float(-(share * np.log(share)).sum())
        bits += nats / np.log(2.0)
        uses.append(np.exp(nats) / len(counts))
    return float(bits), float(np.mean(uses)) if uses else None


def finite_mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is finite, None without any."""
    finite: npt.NDArray[np.float64] = np.asarray([value for value in values if value is not None], np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else None
