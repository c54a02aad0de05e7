"""``train`` and ``data pack`` as commands: what they pass on, what they print, how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import speech_like, tiny_config

from audiocodec.cli import main

RECIPE = {
    "name": "tiny",
    "model": {k: v for k, v in tiny_config().model_dump(mode="json").items() if k != "name"},
    "data": {"train": "speech.npy", "prefetch": 1, "initialise_minutes": 0.1},
    "batch": {"size": 2, "seconds": 0.3},
    "schedule": {"steps": 1000},
    "validation": {"clips": 1, "seconds": 1.0, "metrics": ["stoi"], "best_by": "stoi"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recordings").mkdir()
    for seed in (0, 1):
        soundfile.write(f"recordings/{seed}.wav", speech_like(1.5, seed=seed), 16000)
    Path("empty").mkdir()
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    return told


def test_train_runs_a_recipe_and_its_overrides(folder: Path) -> None:
    threads = torch.get_num_threads()
    np.save("speech.npy", (20000 * speech_like(6)).astype(np.int16))
    np.save("speech_index.npy", np.array([[i * 16000, 16000] for i in range(6)]))
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    arguments = ["--out", "run", "--steps", "2", "--device", "cpu", "--threads", "1", "--set", "seed=7"]
    try:
        assert main(["train", "recipe.yaml", *arguments]) == 0
        assert yaml.safe_load(Path("run/recipe.yaml").read_text())["seed"] == 7
        assert main(["train", "recipe.yaml", *arguments]) == 6  # the folder holds a run
        assert main(["train", "recipe.yaml", *arguments, "--resume"]) == 0
    finally:
        torch.set_num_threads(threads)


def test_train_refuses_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "missing.yaml"]) == 7
    assert "missing.yaml" in one_line(capsys)
    Path("typo.yaml").write_text(yaml.safe_dump({**RECIPE, "bach": {"size": 2}}))
    assert main(["train", "typo.yaml"]) == 7
    assert "did you mean 'batch'" in one_line(capsys)
    Path("nothing.yaml").write_text(yaml.safe_dump({**RECIPE, "data": {"train": "empty"}}))
    assert main(["train", "nothing.yaml", "--out", "run"]) == 8
    assert "empty" in one_line(capsys)


def test_pack_makes_shards_and_counts_what_it_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("recordings/broken.wav").write_text("no audio")
    assert main(["data", "pack", "recordings", "-o", "shards", "--codec", "flac", "--workers", "1"]) == 0
    told = capsys.readouterr()
    assert "2 recordings" in told.out
    assert "1 skipped" in told.out
    assert "broken.wav" in told.err
    assert json.loads(Path("shards/manifest.json").read_text())["recordings"] == 2
    assert main(["data", "pack", "empty", "-o", "more"]) == 8
    one_line(capsys)
