"""Where a step of training spends its time: waiting for data, forward, losses, backward, optimiser; and which leads.

Steps a recipe's own trainer with stopwatches around its parts, on the CPU or a GPU, whose queue is emptied before a
watch is read: on a GPU the parts therefore add up to more than an undisturbed step, which is timed as well. Seconds are
wall seconds. The step's arithmetic (matrix products and convolutions, counted while one step runs) is set beside the
rate of large float32 matrix products on the same device. No promise is checked.

    python benchmarks/training.py
    python benchmarks/training.py recipes/free_speech.yaml --set data.train=FOLDER --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import common
import torch
from stopwatches import Stopwatches
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from audiocodec.train.feed import prefetched
from audiocodec.train.journal import NoJournal
from audiocodec.train.loop import choose_device
from audiocodec.train.losses import ReconstructionLoss
from audiocodec.train.network import load_network, new_network, reconstruct, save_network
from audiocodec.train.recipe import Recipe, load_recipe
from audiocodec.train.sources import Feed, open_sources
from audiocodec.train.trainer import Parts, Trainer

DATA, FORWARD, LOSSES, BACKWARD, OPTIMISER = "waiting for data", "forward", "losses", "backward", "optimiser"
ADVERSARY, REST = "discriminators", "the rest"
PARTS = (DATA, FORWARD, LOSSES, ADVERSARY, BACKWARD, OPTIMISER, REST)
HINTS = {
    DATA: "batches are made more slowly than they are used: a cache, more prefetching, or fewer augmentations",
    FORWARD: "the network itself: its arithmetic, and starting its many small operators",
    LOSSES: "spectra of several sizes, elementwise work that matrix units do not help with",
    ADVERSARY: "several passes of the discriminators for one of the codec",
    BACKWARD: "the gradients of network and losses, twice the forward's arithmetic",
    OPTIMISER: "every weight is read and written several times a step: larger batches share that",
    REST: "what is between the parts: random numbers, sums for the log",
}
_PEAK_SIZES = {"cpu": (512, 1024, 1536), "cuda": (2048, 4096, 8192)}


def make_trainer(recipe: Recipe, device: torch.device, out: Path) -> tuple[Trainer, Feed]:
    """What ``audiocodec train`` would step."""
    sources = open_sources(recipe)
    feed = Feed(recipe, sources.train, pin=device.type == "cuda")
    torch.manual_seed(recipe.seed)
    if recipe.init_from is not None:
        net = load_network(Path(recipe.init_from), recipe.model)
    else:
        net = new_network(recipe.model, feed.plain_crops, recipe.data.initialise_minutes)
    net = net.to(device).train()
    criterion = ReconstructionLoss(recipe.loss, recipe.model.sample_rate).to(device)
    forward = torch.compile(net) if recipe.compile else net
    if recipe.compile:
        criterion.compile()
    parts = Parts(net, forward, partial(reconstruct, net), criterion, feed, sources.clips, partial(save_network, net))
    return Trainer(recipe, parts, NoJournal(), out, device), feed


def watched(trainer: Trainer, watches: Stopwatches) -> list[Any]:
    """Stopwatches around the parts of a step, as context managers."""
    found = [
        watches.patched(trainer.parts.net, "forward", FORWARD),
        watches.patched(trainer.parts.criterion, "forward", LOSSES),
        watches.patched(torch.Tensor, "backward", BACKWARD),
        watches.patched(trainer.optimisers, "step", OPTIMISER),
        watches.patched(trainer.average, "update", OPTIMISER),
    ]
    if trainer.adversary is not None:
        found += [watches.patched(trainer.adversary, name, ADVERSARY) for name in ("objective", "learn")]
    return found


def matrix_peak(device: torch.device, repeat: int = 5) -> float:
    """Multiply-accumulates a second of the best float32 matrix product, with the precision that the recipe set."""
    best = 0.0
    for size in _PEAK_SIZES.get(device.type, _PEAK_SIZES["cpu"]):
        left, right = torch.randn(2, size, size, device=device)
        for _ in range(repeat):
            _settle(device)
            start = time.perf_counter()
            torch.matmul(left, right)
            _settle(device)
            best = max(best, size**3 / (time.perf_counter() - start))
    return best


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Counted(TorchDispatchMode):
    """Counts the arithmetic of what runs within. torch's own counter follows modules as well, and cannot do so where
    gradients are taken within a step, as an adversarial objective does."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function.overloadpacket)
        if formula is not None:
            self.operations += formula(*args, **(kwargs or {}), out_val=result)
        return result


def macs_of_step(trainer: Trainer, batch: Any) -> float:
    """Multiply-accumulates of matrix products and convolutions in one step, both ways."""
    with _Counted() as counted:
        trainer.train_step(batch)
    return counted.operations / 2


def measure(recipe: Recipe, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Steps without watches, then with them; the peak is taken in between and after."""
    from contextlib import ExitStack

    device = choose_device(options.device)
    if recipe.precision != "float32":
        torch.set_float32_matmul_precision("high")
    trainer, feed = make_trainer(recipe, device, out)
    settle = partial(_settle, device)
    watches = Stopwatches(time.perf_counter, settle)
    undisturbed, rows = [], []
    with prefetched(feed, recipe.data.prefetch) as take:
        for _ in range(options.warm):
            trainer.train_step(take(trainer.step))
        macs = 0.0 if recipe.compile else macs_of_step(trainer, take(trainer.step))
        peak = matrix_peak(device)
        for _ in range(options.steps):
            start = watches.now()
            trainer.train_step(take(trainer.step))
            undisturbed.append(watches.now() - start)
        peak = max(peak, matrix_peak(device))
        with ExitStack() as stack:
            for watch in watched(trainer, watches):
                stack.enter_context(watch)
            for _ in range(options.steps):
                batch = watches.call(DATA, take, trainer.step)
                watches.call(REST, trainer.train_step, batch)
                rows.append(watches.take())
    made = []
    for step in range(options.steps):
        start = time.perf_counter()
        feed(trainer.step + step)
        made.append(time.perf_counter() - start)
    step_s = statistics.median(undisturbed)
    return {
        "recipe": recipe.name,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "threads": torch.get_num_threads(),
        "precision": recipe.precision,
        "audio_seconds_a_step": recipe.batch.size * recipe.crop_samples / recipe.model.sample_rate,
        "step_s": step_s,
        "parts_s": {part: statistics.median(row.get(part, 0.0) for row in rows) for part in PARTS},
        "making_a_batch_s": statistics.median(made),
        "macs_a_step": macs or None,
        "peak_macs_per_second": peak,
        "share_of_peak": macs / step_s / peak if macs else None,
    }


def verdict(result: dict[str, Any]) -> str:
    """Which part leads, and what that means."""
    parts = result["parts_s"]
    leader = max(parts, key=parts.get)
    said = f"{leader} leads with {100 * parts[leader] / sum(parts.values()):.0f} % of a step: {HINTS[leader]}"
    if leader != DATA and result["making_a_batch_s"] > 0.8 * result["step_s"]:
        said += "; data follows close behind: making a batch by itself takes nearly as long as a step"
    return said


def main() -> int:
    made = common.parser(__doc__ or "")
    made.add_argument("recipe", nargs="?", type=Path, default=common.REPOSITORY / "recipes" / "smoke.yaml")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a value of the recipe")
    made.add_argument("--device", help="cpu, cuda, ...; without it, a GPU if there is one")
    made.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    made.add_argument("--steps", type=int, default=20)
    made.add_argument("--warm", type=int, default=5, help="steps before those that count")
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="audiocodec-training-") as name:
        result = measure(load_recipe(options.recipe, options.set), options, Path(name))
    speed = result["audio_seconds_a_step"] / result["step_s"]
    print(f"{result['recipe']} on {result['device_name'] or result['device']}: {1000 * result['step_s']:.1f} ms a step")
    print(f"{speed:.1f} audio seconds a second")
    total = sum(result["parts_s"].values())
    for part, seconds in result["parts_s"].items():
        print(f"  {part:<18} {1000 * seconds:9.2f} ms  {100 * seconds / total:5.1f} %")
    print(f"making a batch by itself takes {1000 * result['making_a_batch_s']:.2f} ms")
    if result["macs_a_step"]:
        arithmetic, peak = result["macs_a_step"] / 1e9, result["peak_macs_per_second"] / 1e9
        print(f"{arithmetic:.2f} G multiply-accumulates a step, a peak of {peak:.0f} G a second:")
        print(f"  {100 * result['share_of_peak']:.0f} % of the peak")
    said = verdict(result)
    print(said)
    common.finish({**result, "audio_speed": speed, "leads": said, "machine": common.machine()}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
