"""Tables of docs/speed.md: what the benchmarks wrote into ``docs/results/speed``, and the evaluation before and after.

``docs/results/torch`` has the rows of our models as they were measured when torch ran the network, in blocks of 16
frames; ``docs/results`` has them as ONNX Runtime runs it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

RESULTS = Path(__file__).resolve().parent / "results"
_MEASURES = {
    "speech": ("kbps", "pesq_wb", "stoi", "estoi", "visqol_speech", "dnsmos", "distillmos", "mel"),
    "words": ("kbps", "wer"),
    "music": ("kbps", "visqol_audio", "mel"),
    "music-stereo": ("kbps", "visqol_audio_lr", "mel_lr"),
}


def before_after() -> str:
    """Means of each run's measures over all rows of ours, by torch and by ONNX Runtime."""
    lines = [
        "| run | rows | measure | torch, blocks of 16 | ONNX Runtime, blocks of 64 | largest change of a row |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for run, measures in _MEASURES.items():
        before, after = _rows(RESULTS / "torch" / f"{run}.csv"), _rows(RESULTS / run / "files.csv")
        for measure in measures:
            pairs = [
                (float(row[measure]), float(after[key][measure]))
                for key, row in before.items()
                if _is_number(row[measure]) and _is_number(after[key][measure])
            ]
            old, new = (mean(values) for values in zip(*pairs, strict=True))
            largest = max(abs(a - b) for a, b in pairs)
            lines.append(f"| {run} | {len(pairs)} | {measure} | {old:.4f} | {new:.4f} | {largest:.4f} |")
    return "\n".join(lines)


def _rows(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["file"], row["codec"], row["setting"]): row for row in csv.DictReader(file)}


def _is_number(text: str) -> bool:
    return text not in ("", "-")
