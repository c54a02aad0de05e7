"""Whole runs of a tiny model: exact resumption after SIGKILL, orderly stops, and every way to be refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from train_helpers import write_corpus

from audiocodec.config import ModelConfig
from audiocodec.errors import AudiocodecError, ConfigError, DataError, ModelError, OutputError, UsageError
from audiocodec.train.loop import TrainReport, train_from_recipe

STEPS = 14
MODEL = {
    "stem_width": 16,
    "frame_width": 16,
    "encoder_units": [1, 1],
    "decoder_units": [1, 1],
    "envelope_dims": 4,
    "shape_dims": 4,
    "level_settings": [3, 9],
}
RECIPE = {
    "name": "tiny",
    "seed": 3,
    "model": {**MODEL, "level_scale": [1.0] * ModelConfig.model_construct(**MODEL).dims},
    "data": {"train": "speech.npy", "prefetch": 1, "initialise_minutes": 0.2},
    "augment": {"mix": 0.5, "noise": 0.5, "room": 0.3},
    "batch": {"size": 2, "seconds": 0.3},
    "optimiser": {"kind": "muon"},
    "schedule": {"steps": STEPS, "warmup_steps": 3},
    "clean_steps": 4,
    "ema_decay": 0.9,
    "validation": {"clips": 2, "seconds": 1.0, "metrics": ["stoi"], "best_by": "stoi", "every_steps": 6},
    "log_steps": 1,
}
KILLED = """
import sys, time
from audiocodec.train.loop import train_from_recipe

def watch(progress):
    if progress.kind == "train" and progress.step == 8:
        print("ready", flush=True)
        time.sleep(120)

overrides = ["checkpoint_seconds=1e-9", *sys.argv[1:]]
train_from_recipe("recipe.yaml", out_dir="killed", threads=1, overrides=overrides, on_progress=watch)
"""
# Discriminators that begin after the codec, before and after whose first steps a run can be cut.
ADVERSARIAL = [
    "adversarial.weight=0.5",
    "adversarial.start=0.3",
    "adversarial.windows=[256]",
    "adversarial.channels=4",
    "adversarial.every=2",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus()
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def run(out: str, *overrides: str, **options) -> TrainReport:
    options.setdefault("on_progress", lambda progress: None)
    return train_from_recipe("recipe.yaml", out_dir=out, threads=1, device="cpu", overrides=overrides, **options)


def log(out: str, kind: str) -> list[dict]:
    return [e for line in Path(out, "log.jsonl").read_text().splitlines() if (e := json.loads(line))["kind"] == kind]


def assert_same_state(one: str, other: str) -> None:
    a, b = load_file(Path(one, "training.safetensors")), load_file(Path(other, "training.safetensors"))
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def killed_and_resumed(*overrides: str) -> TrainReport:
    """A run in the folder "killed" that SIGKILL ends while step 8 is lost, and that then goes on to its end."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, *overrides],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return run("killed", *overrides, resume=True)


@pytest.mark.parametrize("overrides", [[], ADVERSARIAL], ids=["plain", "adversarial"])
def test_a_run_killed_and_resumed_ends_with_the_same_numbers(folder, overrides):
    run("whole", *overrides)
    assert killed_and_resumed(*overrides).step == STEPS
    resumed_at = [entry["step"] for entry in log("killed", "note")][-1]
    assert resumed_at == 7  # step 8 was lost with the kill and made again
    assert_same_state("whole", "killed")
    for model in ("model", "best"):
        for file in Path("whole", model).glob("*.safetensors"):
            assert file.read_bytes() == Path("killed", model, file.name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_with_a_checkpoint_that_continues(folder, number, code):
    def watch(progress):
        if progress.kind == "train" and progress.step == 5:
            os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    report = run("stopped", on_progress=watch)
    assert (report.step, report.exit_code) == (5, code)
    assert signal.getsignal(number) is handler
    assert "--resume" in log("stopped", "note")[-1]["message"]
    assert not log("stopped", "validation")
    assert run("stopped", resume=True).exit_code == 0
    assert run("whole").step == STEPS
    assert_same_state("whole", "stopped")


def test_what_a_run_leaves_behind(folder):
    report = run("out")
    assert (report.step, report.exit_code, report.refused_steps) == (STEPS, 0, 0)
    files = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    assert {"recipe.yaml", "log.jsonl", "training.safetensors", "model/config.json", "best/config.json"} <= files
    assert not [file for file in files if "tmp" in file]
    steps = [entry["step"] for entry in log("out", "train")]
    assert steps == list(range(1, STEPS + 1))
    validations = log("out", "validation")
    assert [entry["step"] for entry in validations] == [6, 12, STEPS]
    assert report.best_score == max(entry["stoi"] for entry in validations)
    assert {"loss@3", "loss@9", "stoi@3", "stoi@9", "loss", "bits@3", "cvu@9"} <= validations[0].keys()
    # What --resume finds at its end stays at its end.
    assert run("out", resume=True).step == STEPS


def test_discriminators_that_have_not_begun_change_nothing(folder):
    run("plain", steps=5)
    run("waiting", *ADVERSARIAL, "adversarial.start=0.99", steps=5)
    run("judged", *ADVERSARIAL, steps=5)
    plain, waiting, judged = (load_file(Path(out, "training.safetensors")) for out in ("plain", "waiting", "judged"))
    assert [name for name in plain if not torch.equal(plain[name], waiting[name])] == []
    assert [name for name in plain if not torch.equal(plain[name], judged[name])]
    entries = log("judged", "train")
    assert ["accuracy" in entry for entry in entries] == [False, False, True, True, True]
    assert {"adversarial", "feature", "discriminator", "discriminator_refused"} <= entries[-1].keys()
    known = ["adversarial.init_from=judged/training.safetensors", "adversarial.start=0"]
    run("known", *ADVERSARIAL, *known, steps=0)
    learnt = {name: value for name, value in judged.items() if "adversary/net" in name}
    known_state = load_file(Path("known", "training.safetensors"))
    assert learnt
    assert all(torch.equal(known_state[name], value) for name, value in learnt.items())
    with pytest.raises(ModelError, match=r"adversarial\.windows and channels"):
        run("other", *ADVERSARIAL, *known, "adversarial.channels=8")
    with pytest.raises(ModelError, match="without discriminators"):
        run("other", *ADVERSARIAL, "adversarial.init_from=plain/training.safetensors")
    with pytest.raises(ConfigError, match=r"adversarial\.channels"):
        run("judged", *ADVERSARIAL, "adversarial.channels=8", resume=True)
    assert run("plain", *ADVERSARIAL, resume=True).step == STEPS  # they may come later


def test_training_reduces_the_loss(folder):
    quiet = ("validation.metrics=[]", "validation.best_by=loss", "validation.every_steps=null")
    run("out", "optimiser.kind=adamw", "optimiser.learning_rate=0.01", *quiet, steps=60)
    losses = [entry["loss"] for entry in log("out", "train")]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_a_run_by_minutes_ends_by_the_clock(folder):
    report = run("out", "log_steps=1000", minutes=0.02)
    assert report.step > 0
    assert report.elapsed_s >= 1.2


def test_starting_from_a_model(folder):
    run("first", steps=2)
    run("second", steps=0, init="first/model")
    first, second = (load_file(Path(out, "model", "weights.safetensors")) for out in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ModelError, match="another shape"):
        run("third", "model.stem_width=24", init="first/model")
    with pytest.raises(ModelError):
        run("fourth", init="absent")


def test_divergence_is_said_plainly(folder):
    with pytest.raises(AudiocodecError, match=r"training diverged: \d+ of the last \d+ steps"):
        run("out", "optimiser.learning_rate=1e30", "optimiser.kind=adamw", "optimiser.clip=1e30", steps=100)


def test_refusals(folder):
    run("out", steps=1)
    with pytest.raises(OutputError, match="--resume"):
        run("out")
    with pytest.raises(ConfigError, match=r"model\.stem_width"):
        run("out", "model.stem_width=24", resume=True)
    with pytest.raises(ConfigError, match=r"optimiser\.kind"):
        run("out", "optimiser.kind=adamw", resume=True)
    with pytest.raises(UsageError, match="--device cpu"):
        train_from_recipe("recipe.yaml", out_dir="other", device="xpu9")
    Path("empty").mkdir()
    with pytest.raises(DataError, match="no usable audio in empty"):
        run("other", "data.train=empty")
    with pytest.raises(DataError, match="nothing to validate on"):
        run("other", "data.held_back=0")
    Path("file").touch()
    with pytest.raises(OutputError, match="--out"):
        run("file/out")
    Path("out/training.safetensors").write_bytes(b"half")
    with pytest.raises(ModelError, match="cannot read the checkpoint"):
        run("out", resume=True)
