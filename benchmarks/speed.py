"""Encoding plus decoding on one thread beside EnCodec 24 kHz, Lyra v2, and what the arithmetic alone would take.

Ours runs the whole of what ``audiocodec encode`` and ``decode`` do: reading, network, entropy coding, packets, writing.
EnCodec (arXiv 2210.13438, PyPI's ``encodec``) runs its network and residual quantiser at 6 kbps, the whole recording at
once; its weights are random, for its speed does not depend on them. Lyra v2 runs its three networks by LiteRT, frame by
frame; without the package or the networks it is left out. Neither writes a file or codes entropy, which is in their
favour. The floor: the network's multiply-accumulates at the rate of the best large float32 matrix product on the same
core in the same run.

All take turns in one process; ratios are those of medians of CPU seconds (wall seconds are in the JSON). Promised:
speech is coded at least 10 times as fast as by EnCodec and as fast as by Lyra, music at least 4 times as fast as by
EnCodec; the network runs at 40 % of the floor's rate or more; entropy coding takes at most 5 % of encoding. Exits 1
where one is broken.

    python benchmarks/speed.py --model speech-16k
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import contestants
from peak import MatrixPeak
from pipeline import PARTS, Pipeline

if TYPE_CHECKING:
    from audiocodec.codec import Codec

ENCODEC_TIMES = {"speech": 10.0, "music": 4.0}
LYRA_TIMES = 1.0
FLOOR_SHARE = 0.40
ENTROPY_SHARE = 0.05


def domain_of(codec: Codec) -> str:
    """Speech or music: by the index of the models; one that is in none is for music above 24 kHz."""
    from audiocodec.models import list_models

    known = {model.fingerprint: model.domain for model in list_models()}
    return known.get(codec.fingerprint.hex()) or ("music" if codec.sample_rate > 24_000 else "speech")


def summary(medians: dict[str, dict[str, float]], costs: dict[str, float], peak: float, seconds: float) -> dict:
    """Of median CPU seconds by contestant and step, the multiply-accumulates of a second of audio, and the peak rate:
    ratios to ours, and the network's share of the floor."""
    totals: dict[str, float] = {}
    for name, row in medians.items():
        who = name.rpartition(" ")[0]
        totals[who] = totals.get(who, 0.0) + row["cpu"]
    floor = {part: cost * seconds / peak for part, cost in costs.items()}
    network = {part: medians[f"network {step}"]["cpu"] for part, step in (("encoder", "encode"), ("decoder", "decode"))}
    return {
        "seconds_cpu": totals,
        "times_faster_than": {
            who: totals[who] / totals["audiocodec"] for who in ("encodec", "lyra-v2") if who in totals
        },
        "floor_seconds": floor,
        "network_share_of_floor": {
            **{part: floor[part] / took for part, took in network.items()},
            "both": sum(floor.values()) / sum(network.values()),
        },
    }


def promises(domain: str, result: dict[str, Any]) -> dict[str, tuple[float, str, float]]:
    """What is promised of a measurement: the value, at least or at most, and the limit."""
    times = result["times_faster_than"]
    found = {"times EnCodec": (times["encodec"], "at least", ENCODEC_TIMES[domain])}
    if "lyra-v2" in times and domain == "speech":
        found["times Lyra v2"] = (times["lyra-v2"], "at least", LYRA_TIMES)
    found["network's share of the floor"] = (result["network_share_of_floor"]["both"], "at least", FLOOR_SHARE)
    encoding = result["breakdown"]["encode"]
    share = encoding["entropy coding"] / sum(encoding.values())
    found["entropy coding's share of encoding"] = (share, "at most", ENTROPY_SHARE)
    return found


def kept(value: float, sense: str, limit: float) -> bool:
    """Whether a promise holds."""
    return value >= limit if sense == "at least" else value <= limit


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the contestants, and then ours once more with stopwatches inside."""
    codec = common.load_codec(options)
    rate = codec.choose_rate(options.bitrate)
    pipeline, peak = Pipeline(codec, rate, options.audio, options.seconds, folder), MatrixPeak()
    steps = {"audiocodec": pipeline.steps(), "network": pipeline.network_steps()}
    steps["encodec"] = contestants.encodec_steps(options.audio, options.seconds)
    absent = contestants.absent_lyra(options.lyra)
    if absent is None:
        steps["lyra-v2"] = contestants.lyra_steps(options.lyra, options.audio, options.seconds)
    else:
        print(f"without Lyra v2: {absent}")
    turns: dict[str, common.Step] = {}
    for who, row in steps.items():
        # Before each contestant, so that the peak is that of the same minutes.
        turns |= {f"{who} {name}": step for name, step in row.items()} | {f"peak before {who}": peak}
    times = common.take_turns(turns, options.repeat)
    times = {name: row for name, row in times.items() if not name.startswith("peak")}
    costs = common.costs_of(codec)
    return {
        "model": codec.config.name,
        "domain": domain_of(codec),
        "runtime": codec.runtime.name,
        "kbps": rate.expected_bps / 1000,
        "seconds": options.seconds,
        "lyra_absent": absent,
        "times": times,
        "macs_per_second": costs,
        "peak_macs_per_second": peak.macs_per_second,
        "peak_by_size": peak.rates,
        **summary(common.medians(times), costs, peak.macs_per_second, options.seconds),
        "breakdown": pipeline.breakdown(options.repeat),
    }


def report(result: dict[str, Any]) -> None:
    """Print a measurement."""
    seconds, medians = result["seconds"], common.medians(result["times"])
    print(f"{result['model']} by {result['runtime']} at {result['kbps']:.2f} kbps, CPU s for {seconds:g} s of audio:")
    for who, total in result["seconds_cpu"].items():
        speeds = ", ".join(f"{step} {seconds / medians[f'{who} {step}']['cpu']:.1f}x" for step in ("encode", "decode"))
        times = result["times_faster_than"].get(who)
        told = f"; ours {times:.1f} times as fast" if times else ""
        print(f"  {who:<11} {total:7.3f}  ({speeds} real time){told}")
    print(
        f"  floor       {sum(result['floor_seconds'].values()):7.3f}  "
        f"({sum(result['macs_per_second'].values()) / 1e6:.0f} M multiply-accumulates a second of audio at "
        f"{result['peak_macs_per_second'] / 1e9:.1f} G a second)"
    )
    shares = ", ".join(f"{part} {100 * share:.0f} %" for part, share in result["network_share_of_floor"].items())
    print(f"network at this share of the floor's rate: {shares}")
    for step, parts in result["breakdown"].items():
        total = sum(parts.values())
        told = ", ".join(f"{part} {100 * parts[part] / total:.1f} %" for part in PARTS)
        print(f"{step}, {total:.3f} CPU s: {told}")


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--bitrate", type=float, help="kbps; without it, the model's default rate")
    made.add_argument("--seconds", type=float, default=60.0)
    made.add_argument("--repeat", type=int, default=5)
    made.add_argument("--lyra", type=Path, default=contestants.LYRA_FOLDER, help="folder with Lyra's three networks")
    options = made.parse_args()
    common.one_core()
    with tempfile.TemporaryDirectory(prefix="audiocodec-speed-") as name:
        result = measure(options, Path(name))
    report(result)
    judged = promises(result["domain"], result)
    for what, (value, sense, limit) in judged.items():
        verdict = "kept" if kept(value, sense, limit) else "BROKEN"
        print(f"{what}: {value:.3g}, promised {sense} {limit:g}: {verdict}")
    machine = common.machine()
    print(f"{machine['processor']}, 1 thread, load {machine['load']}")
    common.finish({**result, "promises": judged, "machine": machine}, options.json)
    return int(not all(kept(*promise) for promise in judged.values()))


if __name__ == "__main__":
    sys.exit(main())
