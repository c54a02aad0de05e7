"""Tables of docs/speed.md: what the benchmarks wrote into ``docs/results/speed``, and the evaluation before and after.

``docs/results/torch`` has the rows of our models as they were measured when torch ran the network, in blocks of 16
frames; ``docs/results`` has them as ONNX Runtime runs it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import mean, median
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
SPEED = RESULTS / "speed"
PARTS_OF = ("encode", "decode")
MODELS = ("speech-16k", "speech-24k", "music-48k")
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


def speed() -> str:
    """Each model's file pipeline beside its peers and the floor."""
    lines = [
        "| model | kbps | M MAC/s | encode | decode | times EnCodec | times Lyra v2 | network's share of the floor "
        "| entropy coding's share of encoding |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in MODELS:
        run = _json(f"speed-{name}")
        times = {step: run["seconds"] / median(run["times"][f"audiocodec {step}"]["cpu"]) for step in PARTS_OF}
        parts = run["breakdown"]["encode"]
        ratios = run["times_faster_than"]
        lines.append(
            f"| {name} | {run['kbps']:.2f} | {sum(run['macs_per_second'].values()) / 1e6:.0f} "
            f"| {times['encode']:.0f}x | {times['decode']:.0f}x | {ratios['encodec']:.1f} | {ratios['lyra-v2']:.2f} "
            f"| {100 * run['network_share_of_floor']['both']:.0f} % "
            f"| {100 * parts['entropy coding'] / sum(parts.values()):.1f} % |"
        )
    return "\n".join(lines)


def where() -> str:
    """Shares of a file's time, by part."""
    parts = list(_json(f"speed-{MODELS[0]}")["breakdown"]["encode"])
    lines = [f"| | {' | '.join(parts)} |", "| --- |" + " ---: |" * len(parts)]
    for name in MODELS:
        for step, row in _json(f"speed-{name}")["breakdown"].items():
            shares = (f"{100 * row[part] / sum(row.values()):.1f} %" for part in parts)
            lines.append(f"| {name}, {step} | {' | '.join(shares)} |")
    return "\n".join(lines)


def live() -> str:
    """Milliseconds of one frame, encoding and decoding."""
    lines = [
        "| model | | p50 | p95 | p99 | largest |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in MODELS:
        for label, row in _json(f"latency-{name}")["milliseconds"].items():
            values = " | ".join(f"{row[key]:.2f}" for key in ("p50", "p95", "p99", "max"))
            lines.append(f"| {name} | {label} | {values} |")
    return "\n".join(lines)


def start() -> str:
    """Starting, and memory."""
    memory, startup = _json("memory"), _json("startup")
    lines = ["| | |", "| --- | ---: |"]
    for row in startup["ratios"]:
        lines.append(f"| {row['of']}, over {row['to']} (at most {row['limit']:g}) | {row['ratio']:.2f} |")
    for length, row in (("10 s", memory["short"]), ("an hour", memory["long"])):
        for step in PARTS_OF:
            lines.append(f"| peak memory, {step} {length}, MB | {row[f'{step}_mb']:.1f} |")
    return "\n".join(lines)


def scaling() -> str:
    """Every axis with its exponent, and what is said of it."""
    run = _json("scaling")
    lines = []
    for axis in (*_json("scaling-length")["axes"], *(axis for axis in run["axes"] if axis["name"] != "file length")):
        lines.append(f"- **{axis['name']}**: " + "; ".join(axis["said"]) + ".")
    lines.append("- **live streams**: " + "; ".join(run["streams"]["said"]) + ".")
    return "\n".join(lines)


def training() -> str:
    """Where a training step's time goes."""
    runs = [_json(f"training-{name}") for name in ("smoke", "speech", "gan")]
    parts = list(runs[0]["parts_s"])
    lines = [
        f"| recipe | ms a step | audio s a second | share of peak | {' | '.join(parts)} |",
        "| --- | ---: | ---: | ---: |" + " ---: |" * len(parts),
    ]
    for run in runs:
        shares = " | ".join(f"{100 * run['parts_s'][part] / run['step_s']:.1f} %" for part in parts)
        lines.append(
            f"| {run['recipe']} | {1e3 * run['step_s']:.0f} | {run['audio_speed']:.1f} "
            f"| {100 * run['share_of_peak']:.0f} % | {shares} |"
        )
    return "\n".join(lines)


def kernels() -> str:
    """The graphs at several block lengths, and variants of them."""
    run = _json("kernels")
    encoder, decoder = run["encoder"]["ms_per_s"], run["decoder"]["ms_per_s"]
    lines = ["| | encoder | decoder |", "| --- | ---: | ---: |"]
    lines += [f"| {label} | {encoder[label][0]:.2f} | {decoder[label][0]:.2f} |" for label in encoder]
    for label in ("int8", "int8 in units"):
        row = run[label]
        lines.append(
            f"| {label}: equal tokens, ESTOI (in float {row['estoi_float']:.4f}), largest difference of sound "
            f"| {100 * row['equal_tokens']:.1f} %, {row['estoi']:.4f} | {row['largest_difference']:.4f} |"
        )
    return "\n".join(lines)


def _json(name: str) -> Any:
    return json.loads((SPEED / f"{name}.json").read_text(encoding="utf-8"))


def _rows(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["file"], row["codec"], row["setting"]): row for row in csv.DictReader(file)}


def _is_number(text: str) -> bool:
    return text not in ("", "-")
