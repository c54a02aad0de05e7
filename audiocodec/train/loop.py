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

from audiocodec.errors import OutputError, UsageError
from audiocodec.nn.model import CodecNet
from audiocodec.train.interrupt import StopRequest, stop_on_signals
from audiocodec.train.journal import Journal, OnProgress, terminal_watcher
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
        training diverged.
    """
    extra = [f"init_from={init}"] if init is not None else []
    recipe = with_end(load_recipe(Path(recipe_path), [*overrides, *extra]), minutes, steps)
    out = Path(out_dir) if out_dir is not None else Path("runs") / recipe.name
    resuming = _prepare_output(out, recipe, resume)
    if threads is not None:
        torch.set_num_threads(threads)
    place = choose_device(device)
    if recipe.precision != "float32":
        torch.set_float32_matmul_precision("high")
    with ExitStack() as stack:
        watcher = on_progress or stack.enter_context(terminal_watcher())
        stop = stack.enter_context(stop_on_signals())
        return _run(recipe, out, resuming, place, watcher, stop)


def choose_device(name: str | None) -> torch.device:
    """The device called ``name``; if None, a GPU if there is one, else the CPU. Raises UsageError if it is absent."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"cannot use the device '{name}': {reason}; pass --device cpu") from None
    return device


def _run(
    recipe: Recipe, out: Path, resuming: bool, device: torch.device, watcher: OnProgress, stop: StopRequest
) -> TrainReport:
    sources = open_sources(recipe)
    feed = Feed(recipe, sources.train, pin=device.type == "cuda")
    torch.manual_seed(recipe.seed)  # initial weights
    if resuming:
        net = CodecNet(recipe.model)
    elif recipe.init_from is not None:
        net = load_network(Path(recipe.init_from), recipe.model)
    else:
        net = new_network(recipe.model, feed.plain_crops, recipe.data.initialise_minutes)
    net.to(device)
    criterion = ReconstructionLoss(recipe.loss, recipe.model.sample_rate).to(device)
    forward = torch.compile(net) if recipe.compile else net
    if recipe.compile:
        criterion.compile()
    save, use = partial(save_network, net), partial(token_use, net)
    parts = Parts(net, forward, partial(reconstruct, net), criterion, feed, sources.clips, save, use)
    with Journal(out, recipe.model.sample_rate, watcher, resuming) as journal:
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
    return f"{start}: {million:.2f} M parameters on {where}"
