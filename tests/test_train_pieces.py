"""The parts of the training loop, each by its promise."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from audiocodec.errors import ModelError, OutputError
from audiocodec.train import state as state_module
from audiocodec.train.average import Average
from audiocodec.train.feed import Batch, Purpose, generator_for, prefetched, seed_for
from audiocodec.train.journal import Journal, Progress, terminal_watcher
from audiocodec.train.optimiser import Muon, Optimisers, orthogonalise
from audiocodec.train.recipe import OptimiserConfig, ScheduleConfig
from audiocodec.train.schedule import ema_decay, learning_rate_factor, progress
from audiocodec.train.state import load_state, save_state
from audiocodec.train.validate import Validation, usable_metrics, validate

SEED = 20260


# Schedule


def test_cosine_rises_stays_and_falls():
    config = ScheduleConfig(steps=1000, warmup_steps=10, flat=0.2, final=0.1)
    factor = [learning_rate_factor(config, step, 0.0) for step in range(1001)]
    assert factor[0] == pytest.approx(0.1)
    assert factor[10] == factor[200] == 1.0
    assert factor[600] == pytest.approx(0.55)  # the middle of the fall from 1 to 0.1
    assert factor[1000] == pytest.approx(0.1)
    assert sorted(factor[10:], reverse=True) == factor[10:]


def test_a_run_by_time_follows_the_clock_alone():
    config = ScheduleConfig(minutes=10, warmup_steps=0, shape="linear")
    assert learning_rate_factor(config, 123_456, 300.0) == pytest.approx(0.5)
    assert progress(config, 5, 600.0) == 1.0


def test_a_run_of_no_steps_is_over():
    assert progress(ScheduleConfig(steps=0), 0, 0.0) == 1.0


def test_young_averages_forget_quickly():
    assert ema_decay(0.999, 0) == pytest.approx(0.1)
    assert ema_decay(0.999, 10**6) == 0.999


# Optimisers


def small_net() -> nn.Module:
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.Unflatten(1, (3, 1)), nn.Conv1d(3, 4, 1))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_both_optimisers_reduce_a_loss(kind):
    net, inputs = small_net(), torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    target = torch.sin(inputs[:, :4])
    optimisers = Optimisers(net, OptimiserConfig(kind=kind, learning_rate=0.01, muon_learning_rate=0.02))
    losses = []
    for _ in range(60):
        loss = (net(inputs)[..., 0] - target).square().mean()
        losses.append(loss.item())
        loss.backward()
        optimisers.step(loss, 1.0)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(kind, bad):
    net = small_net()
    optimisers = Optimisers(net, OptimiserConfig(kind=kind, weight_decay=0.1))
    loss = net(torch.ones(2, 6)).square().mean()
    loss.backward()
    _, refused = optimisers.step(loss, 1.0)
    assert refused.item() == 0.0
    before = [p.detach().clone() for p in net.parameters()]
    states = [_tensors(member.state_dict()) for member in optimisers.members]
    loss = net(torch.ones(2, 6)).square().mean()
    loss.backward()
    if bad == "gradient":
        next(net.parameters()).grad[0, 0] = math.nan
    _, refused = optimisers.step(loss * math.inf if bad == "loss" else loss, 1.0)
    assert refused.item() == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    for old, member in zip(states, optimisers.members, strict=True):
        new = _tensors(member.state_dict())
        assert all(torch.equal(old[key], new[key]) for key in old)


def _tensors(state):
    return {(i, k): v.clone() for i, each in state["state"].items() for k, v in each.items()}


def test_muon_takes_the_matrices_and_adamw_the_rest():
    optimisers = Optimisers(small_net(), OptimiserConfig(kind="muon"))
    adam, muon = optimisers.members
    assert isinstance(muon, Muon)
    assert sorted(p.ndim for p in muon.param_groups[0]["params"]) == [2, 2, 3]
    assert {p.ndim for group in adam.param_groups for p in group["params"]} == {1}


@pytest.mark.parametrize("shape", [(2, 8, 20), (1, 20, 8)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(SEED))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_clipping_bounds_the_gradient_of_a_step():
    weight = nn.Linear(2, 1, bias=False)
    optimisers = Optimisers(weight, OptimiserConfig(clip=0.5))
    loss = 1000.0 * weight(torch.ones(1, 2)).sum()
    loss.backward()
    norm, _ = optimisers.step(loss, 1.0)
    moment = optimisers.members[0].state[weight.weight]["exp_avg"] / (1 - 0.9)
    assert norm.item() == pytest.approx(1000 * math.sqrt(2), rel=1e-4)
    assert moment.norm().item() == pytest.approx(0.5, rel=1e-3)


# Averages


def test_average_is_the_recursion_and_is_swapped_in_and_out():
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
        average = Average(net)
        net.weight.fill_(3.0)
    average.update(0.75)
    with average.applied():
        assert net.weight.item() == pytest.approx(1.5)
        assert not net.training
    assert net.weight.item() == 3.0
    assert net.training
    with pytest.raises(ValueError, match="within"), average.applied():
        raise ValueError("within")
    assert net.weight.item() == 3.0


# Checkpoints

STATE = {
    "step": 7,
    "score": -0.1 + 0.3,
    "none": None,
    "pair": (3, 0.25),
    "optimisers": [{"state": {0: {"m": torch.arange(6.0).view(2, 3).mT}}, "groups": [{"betas": (0.9, 0.99)}]}],
    "text": "ä",
}


def test_a_state_comes_back_exactly(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    save_state(path, STATE)
    again = load_state(path)
    moment = again["optimisers"][0]["state"][0]
    assert torch.equal(moment.pop("m"), STATE["optimisers"][0]["state"][0]["m"])
    expected = {**STATE, "optimisers": [{"state": {0: {}}, "groups": [{"betas": (0.9, 0.99)}]}]}
    assert again == expected
    assert [p.name for p in path.parent.iterdir()] == ["state.safetensors"]


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    save_state(path, STATE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_module.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_state(path, {"step": 8})
    monkeypatch.undo()
    assert load_state(path)["step"] == 7
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_and_foreign_checkpoints_are_model_errors(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, STATE)
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"\x00" * 64, content.replace(b"training-1", b"training-0")):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="resume"):
            load_state(path)
    with pytest.raises(ModelError):
        load_state(tmp_path / "absent")


# Batches


def test_draws_depend_on_seed_step_and_purpose_alone():
    seeds = {seed_for(s, n, p) for s in range(3) for n in range(50) for p in Purpose}
    assert len(seeds) == 3 * 50 * len(Purpose)
    assert all(0 <= seed < 2**63 for seed in seeds)
    first = generator_for(1, 2, Purpose.CROPS).random(4)
    assert np.array_equal(first, generator_for(1, 2, Purpose.CROPS).random(4))


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_prefetching_gives_each_step_its_own_batch(ahead):
    def make(step: int) -> Batch:
        return Batch(torch.full((1, 2), float(step)), torch.tensor([step]))

    with prefetched(make, ahead) as take:
        assert [int(take(step).levels) for step in range(5, 12)] == list(range(5, 12))


def test_an_error_while_prefetching_reaches_the_loop():
    def make(step: int) -> Batch:
        raise OSError("disk gone")

    with prefetched(make, 2) as take, pytest.raises(OSError, match="disk gone"):
        take(0)


# Validation


class Distance(nn.Module):
    def forward(self, estimate, target):
        return (estimate - target).abs().mean(), {}


def test_validation_measures_each_count_and_averages_over_them():
    draws = np.random.default_rng(SEED)
    gate = np.repeat(draws.random(20), 1600)  # syllables, for STOI to follow
    clips = [(gate * draws.standard_normal(32_000) * 0.1).astype(np.float32) for _ in range(2)]

    def degrade(waves, levels):
        noise = torch.randn(waves.shape, generator=torch.Generator().manual_seed(1))
        return waves + 0.5 / levels[:, None] * noise

    result = validate(degrade, Distance(), clips, [2, 50], ["stoi", "estoi"], 16_000, torch.device("cpu"))
    values = result.values
    assert values["stoi@50"] > 0.9 > values["stoi@2"]
    assert values["loss@2"] > values["loss@50"]
    assert values["loss"] == pytest.approx((values["loss@2"] + values["loss@50"]) / 2)
    assert result.score("estoi") == values["estoi"]
    assert result.score("loss") == -values["loss"]
    assert set(result.audio) == {"decoded@2", "decoded@50"}


def test_what_could_not_be_measured_is_never_the_best():
    assert Validation({"pesq": math.nan}, {}).score("pesq") == -math.inf
    assert Validation({}, {}).score("stoi") == -math.inf


def test_metrics_whose_package_is_absent_are_left_out_and_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    usable, message = usable_metrics(["pesq", "stoi"])
    assert usable == ["stoi"]
    assert "not measuring pesq" in message
    assert usable_metrics(["stoi"]) == (["stoi"], "")


# Journal


def test_the_journal_keeps_every_entry_and_a_resumed_run_appends(tmp_path):
    seen = []
    for resume, step in ((False, 1), (True, 2)):
        with Journal(tmp_path, 16_000, seen.append, resume) as journal:
            journal.report(Progress("train", step, 1.5, 0.25, {"loss": 0.5, "bad": math.nan}))
            journal.audio("clip", np.full(1600, math.nan, np.float32), step)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert entries == [{"kind": "train", "step": n, "elapsed_s": 1.5, "loss": 0.5, "bad": None} for n in (1, 2)]
    assert [progress.step for progress in seen] == [1, 2]


def test_without_tensorboard_the_journal_still_writes(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with Journal(tmp_path, 16_000, lambda progress: None) as journal:
        assert not journal.has_board
        journal.report(Progress("note", 0, 0.0, 0.0, message="hello"))
        journal.audio("clip", np.zeros(10, np.float32), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert json.loads((tmp_path / "log.jsonl").read_text())["message"] == "hello"


def test_a_pipe_gets_plain_lines(capsys):
    with terminal_watcher() as watch:
        watch(Progress("train", 30, 90.0, 0.5, {"loss": 1.25, "loss@9": 1.0, "rate": 1e-4}))
    assert capsys.readouterr().out == "train      step 30  1.5 min  50.0 %  loss 1.250  rate 0.0001\n"
