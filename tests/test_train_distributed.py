"""Processes that train together under torchrun: the batch, gradients and end of one process, whatever their number."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from test_train_run import ADVERSARIAL, RECIPE
from train_helpers import write_corpus

from audiocodec.checkpoint import load_model
from audiocodec.errors import ConfigError, UsageError
from audiocodec.train import distributed
from audiocodec.train.feed import Batch, Purpose, seed_for
from audiocodec.train.interrupt import stop_on_signals
from audiocodec.train.loop import TrainReport, train_from_recipe
from audiocodec.train.state import load_state

# The command line, and what each process is left with.
RANK = """
import os, sys
import torch
from audiocodec.cli import main
from audiocodec.train.trainer import Trainer

run = Trainer.run
def watched(self, stop):
    run(self, stop)
    judges = self.adversary.net.state_dict() if self.adversary else {}
    state = {"step": self.step, "net": self.net.state_dict(), "average": self.average.state_dict(), "judges": judges}
    torch.save(state, f"rank{os.environ['RANK']}.pt")

Trainer.run = watched
sys.exit(main(sys.argv[1:]))
"""
# Everything quantised and one frame of noise in the decoder: no draw of the network's changes anything. Every loss that
# is relative to a mean over the batch, and the penalty's moments of it; half of the batch is judged.
EXACT = {
    "model": {**RECIPE["model"], "noise_frames": 1, "bottleneck": {"kind": "fsp", "quantise_probability": 1.0}},
    "batch": {"size": 4, "seconds": 0.3},
    "loss": {"waveform": 1.0, "convergence": 0.5, "loudness": 0.1, "penalty": 1.0},
    "optimiser": {"kind": "adamw", "learning_rate": 1e-4, "clip": 1e9},
    "clean_steps": 0,
}
# At the start hinge's terms of decoded and of recorded audio cancel, down to rounding.
JUDGED = [
    *ADVERSARIAL,
    "adversarial.loss=least_squares",
    "adversarial.start=0",
    "adversarial.examples=2",
    "adversarial.every=1",
]
QUIET = {"validation": {"clips": 1, "seconds": 1.0, "metrics": [], "best_by": "loss", "every_steps": 100}}
WALK = {"kind": "vp", "groups": 2, "codebook_size": 16, "push_fraction": 0.5}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus()
    Path("rank.py").write_text(RANK)
    return tmp_path


def write_recipe(**changes: Any) -> None:
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **EXACT, **QUIET, **changes}))


def together(out: str, *arguments: str, overrides: list[str] = JUDGED) -> subprocess.Popen[str]:
    """Two processes on the CPU that train ``recipe.yaml``; torchrun itself is the process returned."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "rank.py"]
    settings = [word for each in overrides for word in ("--set", each)]
    return subprocess.Popen(
        [*launcher, "train", "recipe.yaml", "--out", out, "--device", "cpu", "--threads", "1", *settings, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


def finished(process: subprocess.Popen[str]) -> None:
    told, errors = process.communicate(timeout=250)
    assert process.returncode == 0, errors + told


def alone(out: str, steps: int, **options: Any) -> TrainReport:
    options.setdefault("overrides", JUDGED)
    return train_from_recipe(
        "recipe.yaml", out_dir=out, threads=1, device="cpu", steps=steps, on_progress=lambda progress: None, **options
    )


def logged(out: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in Path(out, "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == "train"]


def averages(out: str) -> dict[str, torch.Tensor]:
    return load_state(Path(out, "training.safetensors"))["average"]


def assert_same_in_both_processes(steps: int) -> None:
    first, second = (torch.load(f"rank{rank}.pt") for rank in range(2))
    assert first["step"] == second["step"] >= steps
    for part in ("net", "average", "judges"):
        assert first[part].keys() == second[part].keys()
        assert [name for name, value in first[part].items() if not torch.equal(value, second[part][name])] == []


def assert_same_gradients(one: str, other: str) -> None:
    """After the first step AdamW's first moment is a tenth of the gradient (a fifth of the discriminators')."""
    a, b = load_file(Path(one, "training.safetensors")), load_file(Path(other, "training.safetensors"))
    moments = [name for name in a if name.endswith("exp_avg")]
    assert {name.split("/")[1] for name in moments} == {"optimisers", "adversary"}
    for name in moments:
        assert float((a[name] - b[name]).norm()) <= 1e-5 * float(a[name].norm()), name
    assert torch.allclose(a["/adversary/norms"], b["/adversary/norms"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)  # two launches, which take minutes on a busy machine
def test_two_processes_make_the_step_of_one_and_either_goes_on_with_the_other(folder):
    write_recipe()
    pair = together("pair", "--steps", "1")
    alone("alone", 1)
    finished(pair)
    assert_same_in_both_processes(1)
    load_model(Path("pair/model"))
    assert_same_gradients("alone", "pair")
    (one,), (two,) = logged("alone"), logged("pair")
    assert {name for name in one if "steps_per_s" not in name} <= two.keys()
    for name in ("loss", "gradient", "penalty", "waveform", "loudness", "adversarial", "feature", "discriminator"):
        assert two[name] == pytest.approx(one[name], rel=1e-5), name

    shutil.copytree("alone", "grown")  # 1 -> 2
    grown = together("grown", "--steps", "3", "--resume")
    before = averages("pair")
    assert alone("pair", 1, resume=True).step == 1  # 2 -> 1, without a step more
    assert all(torch.equal(value, before[name]) for name, value in averages("pair").items())
    assert alone("pair", 3, resume=True).step == 3
    assert alone("alone", 3, resume=True).step == 3
    finished(grown)
    assert_same_in_both_processes(3)
    wanted = averages("alone")
    for out in ("pair", "grown"):
        assert [entry["step"] for entry in logged(out)] == [1, 2, 3]
        assert logged(out)[-1]["loss"] == pytest.approx(logged("alone")[-1]["loss"], rel=1e-3)
        # AdamW makes a step of the learning rate also of a gradient that is nothing but rounding: here up to two.
        for name, value in averages(out).items():
            assert float((value - wanted[name]).abs().max()) <= 4e-4, name


@pytest.mark.slow
def test_vector_perturbation_and_a_signal_at_the_launcher(folder):
    model = {**RECIPE["model"], "pitch": False, "bottleneck": WALK, "level_scale": [1.0, 1.0], "level_settings": [16]}
    write_recipe(model=model, checkpoint_seconds=1e-9, clean_steps=2)
    running = together("walk", "--steps", "10000", overrides=["log_steps=1"])
    deadline = time.monotonic() + 200
    while not (Path("walk/log.jsonl").exists() and len(logged("walk")) >= 4):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode != 0
    assert_same_in_both_processes(4)
    last = json.loads(Path("walk/log.jsonl").read_text().splitlines()[-1])
    assert last["message"].startswith("stopped")
    with safe_open(Path("walk/training.safetensors"), "pt") as state:
        assert bool(state.get_tensor("/net/bottleneck.queues.0.filled").item() > 100)
    step = last["step"]
    assert alone("walk", step + 1, overrides=["log_steps=1"], resume=True).step == step + 1


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_in_one_line(folder):
    write_recipe(batch={"size": 5, "seconds": 0.3})
    refused = together("odd", "--steps", "1")
    _, errors = refused.communicate(timeout=250)
    assert refused.returncode != 0
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert told == [
        "error: batch.size is 5, which 2 processes cannot share equally; make it a multiple of 2 (--set batch.size=6)"
    ]
    assert f"exitcode  : {ConfigError.exit_code}" in errors
    assert not Path("odd").exists()


def test_parts_are_the_batch(folder):
    batch = Batch(torch.arange(24.0).view(6, 4), torch.arange(6))
    parts = [batch.part(rank, 3) for rank in range(3)]
    assert [part.levels.tolist() for part in parts] == [[0, 3], [1, 4], [2, 5]]
    for part in parts:
        assert torch.equal(part.waves, batch.waves[part.levels])
    assert batch.part(0, 1) is batch


def test_processes_draw_differently_and_the_first_as_one_alone():
    seeds = [seed_for(3, 7, Purpose.NETWORK, rank) for rank in range(64)]
    assert seeds[0] == seed_for(3, 7, Purpose.NETWORK)
    assert len({*seeds}) == 64


def test_a_signal_that_comes_twice_is_one():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals(patient=True) as stop:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stop.signal_number == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    assert distributed.own_device(torch.device("cuda:1")) == torch.device("cuda:1")
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda:1")
    assert distributed.own_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(UsageError, match="--device cuda"):
        distributed.own_device(torch.device("cuda:0"))
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="--nproc-per-node 2"):
        distributed.own_device(torch.device("cuda"))


def test_one_process_agrees_with_itself():
    assert distributed.leads()
    assert distributed.meet(signal.SIGTERM, 2.5) == (signal.SIGTERM, 2.5)
    assert distributed.in_turns(lambda: 3) == distributed.from_leader(lambda: 3) == 3
    values = torch.tensor([1.0, 2.0])
    assert distributed.averaged(values) is values
    with pytest.raises(ConfigError, match="model"):
        distributed.agreed(lambda: (_ for _ in ()).throw(ConfigError("model")))
