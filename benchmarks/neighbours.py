"""Neighbour search of vector perturbation beside brute force; promised: ten times the speed, the same perturbations.

The authors of VP-VAE (arXiv 2602.17133) take all distances (``torch.cdist``) and ``topk`` over the whole queue of
latents, twice a step. ``audiocodec.bottleneck.neighbours`` searches an index, and has to build it when the queue has
changed by a 64th: that time is counted, shared among the steps between (1 % of 2048 latents enter at a step). Both
take turns on one thread; the ratio is that of the medians of CPU seconds a step. Then two-sample Kolmogorov-Smirnov
tests hold the index's radii and moves to the exact search's, and a z-test its acceptance, on other draws of the same
latents: normal, clustered, and the shipped model's for real speech (``--audio``: 45 minutes fill a queue of K = 1024).
``--frontier`` adds what more or fewer leaves, and the common shortcut of searching a random part of the queue, give in
speed and deviation. Needs SciPy. Exits 1 where either promise is broken.

    python benchmarks/neighbours.py
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import soxr
import torch
from scipy.special import digamma
from scipy.stats import ks_2samp, norm
from torch import Tensor

from audiocodec.bottleneck.neighbours import NeighbourIndex, kth_distances
from audiocodec.bottleneck.perturb import perturb
from audiocodec.evaluate.recordings import list_audio, read_mono

PROMISE = 10.0
LEAST_P = 0.01
DIMS, POINTS_PER_WORD, NEAR = 8, 128, 8
LATENTS, PUSHED = 2048, 20
MERGES = 64
Search = Callable[[Tensor], Tensor]


def brute_force(points: Tensor, rows: int) -> Search:
    """``cdist`` and ``topk`` over all points, ``rows`` latents at a time."""

    def search(queries: Tensor) -> Tensor:
        parts = [torch.cdist(q, points).topk(POINTS_PER_WORD, largest=False).values for q in queries.split(rows)]
        return torch.cat(parts)[:, [NEAR - 1, POINTS_PER_WORD - 1]]

    return search


def indexed(points: Tensor, probes: int | None = None) -> Search:
    """Our search in an index that is there already."""
    index = NeighbourIndex(points, POINTS_PER_WORD, probes)
    return lambda queries: index.kth_distances(queries, (NEAR, POINTS_PER_WORD))


def thinned(points: Tensor, part: int) -> Search:
    """Brute force over one point of ``part``, with k and M divided by it (k at least 1) and the bias taken off.

    The logarithm of the distance to the m-th of n has mean ``(digamma(m) - log n + ...) / d`` and, of that, standard
    deviation ``1 / (d sqrt(m))``.
    """
    kept = points[torch.randperm(len(points))[: len(points) // part]]
    ks = [max(1, NEAR // part), POINTS_PER_WORD // part]
    wanted = [float(digamma(k)) for k in (NEAR, POINTS_PER_WORD)]
    shifts = [
        (w - float(digamma(k)) - torch.tensor(float(part)).log().item()) / DIMS for w, k in zip(wanted, ks, strict=True)
    ]
    scale = torch.tensor(shifts).exp()

    def search(queries: Tensor) -> Tensor:
        parts = [torch.cdist(q, kept).topk(ks[1], largest=False).values for q in queries.split(256)]
        return torch.cat(parts)[:, [k - 1 for k in ks]] * scale

    return search


def cpu_seconds(steps: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Median CPU seconds of each, taking turns; the first turn warms caches and allocators."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeat + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn > 0:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def speed(words: int, rows: int, repeat: int) -> dict[str, float]:
    """Seconds of a step's two searches by either way, and their ratio, at a codebook of ``words``."""
    torch.manual_seed(0)
    points, queries = torch.randn(words * POINTS_PER_WORD, DIMS), torch.randn(LATENTS, DIMS)
    brute, ours = brute_force(points, rows), indexed(points)
    times = cpu_seconds(
        {
            "brute": lambda: brute(queries),
            "index": lambda: ours(queries),
            "build": lambda: NeighbourIndex(points, POINTS_PER_WORD),
        },
        repeat,
    )
    steps_between = len(points) / MERGES / PUSHED
    step = 2 * times["index"] + times["build"] / steps_between
    row = {**times, "brute_step": 2 * times["brute"], "index_step": step, "ratio": 2 * times["brute"] / step}
    print(
        f"K = {words:<5} {len(points):>7} latents: brute force {row['brute_step']:.2f} s a step, "
        f"index {step:.3f} s (two searches of {times['index']:.3f} s, and {times['build']:.2f} s of building "
        f"every {steps_between:.0f} steps): {row['ratio']:.1f} times"
    )
    return row


def normal(count: int) -> Tensor:
    return torch.randn(count, DIMS)


def clustered(count: int) -> Tensor:
    """Twenty clusters of different sizes and widths, far apart."""
    centres = 3 * torch.randn(20, DIMS, generator=torch.Generator().manual_seed(5))
    label = torch.multinomial(torch.linspace(1, 10, 20), count, replacement=True)
    return centres[label] + torch.logspace(-1.5, 0, 20)[label, None] * torch.randn(count, DIMS)


def encoder_latents(audio: Path, model: str, count: int) -> Tensor:
    """Latents of real speech, the model's first dimensions, of unit variance, in random order.

    At most ``count``, and fewer where there is little speech: it is coded again from up to 16 offsets within a frame,
    and never looped, because latents that are nearly equal would make a density of their own.
    """
    import audiocodec

    codec = audiocodec.load(model)
    hop, rows = codec.hop_samples, []
    files = [audio] if audio.is_file() else list_audio(audio)
    read = [read_mono(path) for path in files]
    speech = [torch.from_numpy(soxr.resample(samples, rate, codec.sample_rate)) for samples, rate in read]
    detail = torch.log2(torch.tensor([9.0]))
    with torch.inference_mode():
        for offset in range(0, hop, hop // 16):
            for part in torch.cat(speech)[offset:].split(30 * codec.sample_rate):
                if len(part) >= hop:
                    rows.append(codec.net.encoder(part[None, : len(part) // hop * hop], detail)[0, :, :DIMS])
            if sum(map(len, rows)) >= count:
                break
    latents = torch.cat(rows).float().clone()
    latents = (latents - latents.mean(dim=0)) / latents.std(dim=0)
    return latents[torch.randperm(len(latents))[:count]]


def moved(search: Search, latents: Tensor) -> dict[str, Tensor]:
    """Radius, length of accepted moves and acceptance."""
    moves = perturb(latents, lambda z: tuple(search(z).unbind(dim=1)))  # type: ignore[arg-type,return-value]
    length = (moves.moved - latents).norm(dim=1)[moves.accepted]
    return {"radius": moves.radius, "length": length, "accepted": moves.accepted.float()}


def compare(search: Search, points: Tensor, first: Tensor, second: Tensor) -> dict[str, float]:
    """``search`` on ``second`` beside the exact search on ``first``: p-values; and point by point, on ``second``."""

    def exact(queries: Tensor) -> Tensor:
        return kth_distances(queries, points, (NEAR, POINTS_PER_WORD))

    one, other = moved(exact, first), moved(search, second)
    row = {f"p_{name}": float(ks_2samp(one[name], other[name], method="asymp").pvalue) for name in ("radius", "length")}
    rates = [made["accepted"].mean().item() for made in (one, other)]
    spread = (sum(rate * (1 - rate) for rate in rates) / len(first)) ** 0.5
    row["p_accepted"] = float(2 * norm.sf(abs(rates[0] - rates[1]) / max(spread, 1e-9)))  # yes or no: no KS test
    ratio = torch.log(search(second[:1024]) / exact(second[:1024]))
    row |= {"mean_near": ratio[:, 0].mean().item(), "mean_far": ratio[:, 1].mean().item()}
    row |= {"deviation_near": ratio[:, 0].std().item(), "deviation_far": ratio[:, 1].std().item()}
    return row | {"accepted_exact": rates[0], "accepted": rates[1]}


def describe(name: str, row: dict[str, float]) -> str:
    return (
        f"{name:<22} p {row['p_radius']:.3f} radius, {row['p_length']:.3f} length, {row['p_accepted']:.3f} acceptance "
        f"({row['accepted_exact']:.3f}, {row['accepted']:.3f}); D_8 {100 * row['mean_near']:+.2f} % "
        f"(deviation {100 * row['deviation_near']:.2f}), D_128 {100 * row['mean_far']:+.2f} % "
        f"(deviation {100 * row['deviation_far']:.2f})"
    )


def distributions(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The index beside the exact search on three kinds of latents, at K = 1024 where there are enough of them."""
    count, rows = 1024 * POINTS_PER_WORD, {}
    for name in ("normal", "clustered", "encoder"):
        torch.manual_seed(1)
        total = count + 2 * options.latents
        if name == "encoder":
            pool = encoder_latents(options.audio, options.model, total)
        else:
            pool = (normal if name == "normal" else clustered)(total)
        first, second, points = pool.split([options.latents, options.latents, len(pool) - 2 * options.latents])
        rows[name] = {"points": len(points), **compare(indexed(points), points, first, second)}
        print(describe(f"{name}, {len(points)}", rows[name]))
    return rows


def frontier(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Speed and deviation of other choices, normal latents, K = 1024."""
    torch.manual_seed(2)
    points, first, second = normal(1024 * POINTS_PER_WORD), normal(options.latents), normal(options.latents)
    brute = brute_force(points, options.rows)
    ways = {f"index, {p} leaves": indexed(points, p) for p in (16, 32, 64, 128, 256)}
    ways |= {f"one latent in {part}": thinned(points, part) for part in (2, 4, 8, 16)}
    queries = normal(LATENTS)
    steps: dict[str, Callable[[], Any]] = {n: (lambda s=s: s(queries)) for n, s in ways.items()}
    times = cpu_seconds({"brute": lambda: brute(queries), **steps}, options.repeat)
    rows = {}
    for name, search in ways.items():
        rows[name] = {"ratio": times["brute"] / times[name], **compare(search, points, first, second)}
        print(f"{rows[name]['ratio']:5.1f} times  {describe(name, rows[name])}")
    return rows


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model whose latents are taken")
    made.add_argument("--words", type=int, nargs="+", default=[1024, 4096], help="codebook sizes")
    made.add_argument("--rows", type=int, default=256, help="latents that brute force takes at a time")
    made.add_argument("--latents", type=int, default=2048, help="latents on each side of the distributions' tests")
    made.add_argument("--repeat", type=int, default=5)
    made.add_argument("--frontier", action="store_true", help="measure other choices as well")
    options = made.parse_args()
    torch.set_num_threads(1)
    speeds = {str(words): speed(words, options.rows, options.repeat) for words in options.words}
    tests = distributions(options)
    others = frontier(options) if options.frontier else {}
    ratio = min(row["ratio"] for row in speeds.values())
    least = min(row[f"p_{name}"] for row in tests.values() for name in ("radius", "length", "accepted"))
    machine = common.machine()
    print(
        f"ratio {ratio:.1f}, promised at least {PROMISE:g}; least p {least:.3f}, promised at least {LEAST_P:g}; "
        f"{machine['processor']}, 1 thread, load {machine['load']}"
    )
    result = {"ratio": ratio, "promise": PROMISE, "least_p": least, "speed": speeds, "distributions": tests}
    common.finish({**result, "frontier": others, "machine": machine}, options.json)
    return int(ratio < PROMISE or least < LEAST_P)


if __name__ == "__main__":
    sys.exit(main())
