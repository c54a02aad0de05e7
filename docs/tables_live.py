"""Tables of docs/live.md: what ``docs/measure_live.sh`` and runs of fuzzing left in ``docs/results/live``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

STORED = Path(__file__).resolve().parent / "results" / "live"


def pipe() -> str:
    """Latency from one end of the pipe to the other."""
    lines = ["| raw samples | p50 ms | p95 ms | p99 ms | most ms | held up by the machine ms |", "|" + " ---: |" * 6]
    for path in sorted(STORED.glob("pipe-*.json"), key=lambda path: int(path.stem.removeprefix("pipe-"))):
        row = _read(path.name)
        cells = " | ".join(f"{row['milliseconds'][name]:.1f}" for name in ("p50", "p95", "p99", "max"))
        lines.append(f"| {row['rate']} Hz | {cells} | {row['source_late_ms']:.1f} |")
    return "\n".join(lines)


def call() -> str:
    """Both sides of a call over a bad network."""
    row = _read("call.json")
    lines = [
        f"{row['minutes']:g} minutes, {100 * row['loss']:g} % of datagrams lost, each delayed by up to "
        f"{row['jitter_ms']:g} ms more, {row['redundancy']} copies:",
        "",
        "| side | mouth to ear p50 ms | p95 ms | p99 ms | drift ms | memory MB | grown by MB | frames from copies "
        "| concealed |",
        "| --- |" + " ---: |" * 8,
    ]
    for side in row["sides"]:
        report, delays = side["report"], side["mouth_to_ear_ms"]
        frames = max(report["played_frames"] + report["concealed_frames"], 1)
        shares = " | ".join(f"{100 * report[name] / frames:.2f} %" for name in ("recovered_frames", "concealed_frames"))
        times = " | ".join(f"{delays[name]:.0f}" for name in ("p50", "p95", "p99"))
        lines.append(
            f"| {side['side']} | {times} | {side['drift_ms']:.1f} | {side['memory_mb']:.0f} "
            f"| {side['growth_mb']:.1f} | {shares} |"
        )
    return "\n".join(lines)


def soak() -> str:
    """Many streams at once, the most first."""
    lines = [
        "| streams at a time | begun at least ms apart | minutes | in all | seconds of audio a second "
        "| processors busy "
        "| encode p50 / p95 / p99 / most ms "
        "| decode p50 / p95 / p99 / most ms | memory MB | grown by MB | samples apart | |",
        "|" + " ---: |" * 11 + " --- |",
    ]
    runs = [_read(path.name) for path in STORED.glob("soak*.json")]
    for row in sorted(runs, key=lambda row: (-row["at_once"], row["every_ms"])):
        times = [
            " / ".join(f"{row[kind][name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
            for kind in ("encode", "decode")
        ]
        heard = " and ".join(f"{row[kind]['audio_seconds_a_second']:.1f}" for kind in ("encode", "decode"))
        sizes, grown = (" and ".join(f"{size:.1f}" for size in row[name]) for name in ("memory_mb", "growth_mb"))
        lines.append(
            f"| {row['at_once']} | {row['every_ms']:g} | {row['minutes']:g} | {row['streams']} | {heard} "
            f"| {100 * row['cpu_share']:.0f} % | {times[0]} | {times[1]} | {sizes} | {grown} | {row['apart']:.1e} "
            f"| {'not held: ' + '; '.join(row['broken']) if row['broken'] else 'held'} |"
        )
    return "\n".join(lines)


def kills() -> str:
    """What processes that were killed lost."""
    lines = ["| killed | times | as promised | most frames lost |", "| --- |" + " ---: |" * 3]
    for kind, rows in _read("kills.json")["rounds"].items():
        lost = [one["lost_frames"] for one in rows if "lost_frames" in one]
        lines.append(
            f"| {kind} | {len(rows)} | {sum(one['kept'] for one in rows)} | {f'{max(lost):g}' if lost else ''} |"
        )
    return "\n".join(lines)


def fuzz() -> str:
    """Long runs of fuzzing, by the last lines that libFuzzer wrote."""
    lines = ["| target | inputs tried | hours | inputs kept | edges reached | findings |", "| --- |" + " ---: |" * 5]
    total = 0.0
    for path in sorted(STORED.glob("fuzz-*.txt")):
        text = path.read_text(encoding="utf-8")
        done = re.search(r"Done (\d+) runs in (\d+) second", text)
        state = re.findall(r"cov: (\d+) .*?corp: (\d+)/", text)
        assert done is not None
        hours = int(done[2]) / 3600
        total += hours
        edges, kept = state[-1]
        # Slow units, which it saves too, were slow because of what else the machine did
        findings = len(re.findall(r"Test unit written to \S*(?:crash|oom|timeout|leak)-", text))
        name = path.stem.removeprefix("fuzz-")
        lines.append(f"| {name} | {int(done[1]):,} | {hours:.2f} | {kept} | {edges} | {findings} |")
    lines.append(f"| all | | {total:.2f} | | | |")
    return "\n".join(lines)


def _read(name: str) -> Any:
    return json.loads((STORED / name).read_text(encoding="utf-8"))
