"""``train_from_recipe``: a recipe and a folder in, a trained model in that folder out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import yaml

from audiocodec.bottleneck.across import process_count
from audiocodec.errors import OutputError, UsageError
from audiocodec.nn.model import CodecNet
from audiocodec.train.distributed import agreed, from_leader, in_turns, joined, launched, leads, own_device, share_of
from audiocodec.train.interrupt import StopRequest, stop_on_signals
from audiocodec.train.journal import Journal, NoJournal, OnProgress, Progress, terminal_watcher
from audiocodec.train.losses import ReconstructionLoss
from audiocodec.train.network import load_network, new_network, reconstruct, save_network
from audiocodec.train.recipe import Recipe, as_json, load_recipe, with_end
from audiocodec.train.sources import Feed, open_sources
from audiocodec.train.state import checkpoint_path
from audiocodec.train.tokenuse import token_use
from audiocodec.train.trainer import Parts, Trainer


@dataclass(frozen=True)
class TrainReport:
    """How a run ended. ``signal_number`` is the signal that stopped it early, None if its schedule ended."""

    out_dir: Path
    step: int
    elapsed_s: float
    best_score: float | None
    refused_steps: int
    signal_number: int | None

    @property
    def exit_code(self) -> int:
        """What a command line returns: 0, 130 after Ctrl-C, 143 after SIGTERM."""
        return 0 if self.signal_number is None else 128 + self.signal_number


def train_from_recipe(
    recipe_path: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    out_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str | None = None,
    threads: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    init: str | None = None,
    on_progress: OnProgress | None = None,
) -> TrainReport:
    """Train a model.

    Called in each of several processes that torchrun started, they train one model together; the first alone writes
    files and calls ``on_progress`` (:mod:`audiocodec.train.distributed`).

    Args:
        recipe_path: YAML, see :class:`audiocodec.train.recipe.Recipe`.
        overrides: ``section.key=value`` each, on top of the recipe.
        out_dir: where everything goes; default ``runs/NAME``.
        resume: continue the run in ``out_dir`` from its last checkpoint, or begin it if there is none.
        device: "cpu", "cuda", ...; default: a GPU if there is one.
        threads: of torch on the CPU; default: torch's own choice (OMP_NUM_THREADS).
        minutes, steps: replace the end of the recipe's schedule.
        init: folder of a model to start from; replaces the recipe's ``init_from``.
        on_progress: called with each log entry; default: a bar on a terminal, lines into a pipe.

    Raises:
        ConfigError: the recipe; DataError: no audio to train on; OutputError: ``out_dir`` holds a run already, or
        cannot be written; ModelError: ``init`` or the checkpoint; UsageError: no such device; AudiocodecError: the
        training diverged, or another process was lost; SystemExit: another process has one of these and says so.
    """
    extra = [f"init_from={init}"] if init is not None else []
    place = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    with ExitStack() as stack:
        stack.enter_context(joined(place))
        recipe = from_leader(lambda: _read(Path(recipe_path), [*overrides, *extra], minutes, steps))
        out = Path(out_dir) if out_dir is not None else Path("runs") / recipe.name
        resuming = from_leader(lambda: _prepare_output(out, recipe, resume))
        if recipe.precision != "float32":
            torch.set_float32_matmul_precision("high")
        watcher = on_progress or (stack.enter_context(terminal_watcher()) if leads() else _unseen)
        stop = stack.enter_context(stop_on_signals(patient=launched()))
        return _run(recipe, out, resuming, place, watcher, stop)


def _read(path: Path, overrides: Sequence[str], minutes: float | None, steps: int | None) -> Recipe:
    recipe = with_end(load_recipe(path, overrides), minutes, steps)
    share_of(recipe.batch.size, "batch.size")
    if recipe.adversarial.weight and recipe.adversarial.examples is not None:
        share_of(recipe.adversarial.examples, "adversarial.examples")
    return recipe


def _unseen(progress: Progress) -> None:
    """What a process shows that does not lead."""


def choose_device(name: str | None) -> torch.device:
    """The device called ``name``; if None, a GPU if there is one, else the CPU. Raises UsageError if it is absent.

    Of several GPUs it is this process's own, where torchrun started several.
    """
    if name is None:
        return own_device(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = own_device(torch.device(name))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"cannot use the device '{name}': {reason}; pass --device cpu") from None
    return device


def _run(
    recipe: Recipe, out: Path, resuming: bool, device: torch.device, watcher: OnProgress, stop: StopRequest
) -> TrainReport:
    # One process fills a cache, the others find it full.
    sources = (in_turns if recipe.data.cache is not None else agreed)(lambda: open_sources(recipe))
    feed = Feed(recipe, sources.train, pin=device.type == "cuda")
    torch.manual_seed(recipe.seed)  # initial weights
    net = from_leader(lambda: _network(recipe, feed, resuming)).to(device)
    criterion = agreed(lambda: ReconstructionLoss(recipe.loss, recipe.model.sample_rate)).to(device)
    forward = partial(torch.compile(net) if recipe.compile else net, frame_loss=recipe.frame_loss)
    if recipe.compile:
        criterion.compile()
    save, use = partial(save_network, net), partial(token_use, net)
    parts = Parts(net, forward, partial(reconstruct, net), criterion, feed, sources.clips, save, use)
    with Journal(out, recipe.model.sample_rate, watcher, resuming) if leads() else NoJournal() as journal:
        trainer = Trainer(recipe, parts, journal, out, device)
        if resuming:
            trainer.resume()
        elif trainer.adversary is not None and recipe.adversarial.init_from is not None:
            trainer.adversary.begin_from(Path(recipe.adversarial.init_from))
        if not journal.has_board:
            trainer.note("TensorBoard is not installed; everything is in log.jsonl (or: pip install tensorboard)")
        for message in sources.notes:
            trainer.note(message)
        trainer.note(_opening(net, recipe, device, trainer.step))
        trainer.run(stop)
        if stop:
            trainer.note(f"stopped; go on with --resume --out {out}")
        return TrainReport(
            out, trainer.step, trainer.elapsed_s(), trainer.best_score, trainer.refused_steps, stop.signal_number
        )


def _network(recipe: Recipe, feed: Feed, resuming: bool) -> CodecNet:
    if resuming:
        return CodecNet(recipe.model)  # its weights are those of the checkpoint
    if recipe.init_from is not None:
        return load_network(Path(recipe.init_from), recipe.model)
    return new_network(recipe.model, feed.plain_crops, recipe.data.initialise_minutes)


def _prepare_output(out: Path, recipe: Recipe, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from; refuses a folder that another run would overwrite."""
    exists = checkpoint_path(out).exists()
    if exists and not resume:
        raise OutputError(f"{out} holds a run already; pass --resume to go on with it, or another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.yaml").write_text(yaml.safe_dump(as_json(recipe), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from None
    return exists


def _opening(net: torch.nn.Module, recipe: Recipe, device: torch.device, step: int) -> str:
    million = sum(p.numel() for p in net.parameters()) / 1e6
    start = f"resuming {recipe.name}" if step else f"training {recipe.name}"
    where = f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    others = f", in {process_count()} processes" if process_count() > 1 else ""
    return f"{start}: {million:.2f} M parameters on {where}{others}"
