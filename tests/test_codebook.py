"""``audiocodec codebook``: any number of words, of any audio, from one network that is never touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import ROOT, speech_like, tiny_config

from audiocodec import load
from audiocodec.bottleneck import vector_part
from audiocodec.checkpoint import load_model, save_model
from audiocodec.cli import main
from audiocodec.errors import ConfigError, DataError
from audiocodec.nn.model import CodecNet
from audiocodec.train.codebook import compile_codebooks, config_for, in_order, latents_of
from audiocodec.train.entropyfit import FitSettings
from audiocodec.train.loop import train_from_recipe
from audiocodec.train.ship import ship

QUICK = ["--fit-seconds", "1", "--minutes", "2"]


def recipe() -> dict:
    """The recipe of the VP speech model, but tiny."""
    whole = yaml.safe_load((ROOT / "recipes" / "free_speech_vp.yaml").read_text())
    model = {"stem_width": 16, "frame_width": 16, "encoder_units": [1, 1], "decoder_units": [1, 1]}
    model |= {"envelope_dims": 8, "shape_dims": 4, "level_scale": [1, 1, 0.25, 0]}
    model |= {"level_offset": [0, 0, 0, 64], "level_settings": [16, 64]}
    model["bottleneck"] = whole["model"]["bottleneck"] | {"groups": 3, "codebook_size": 64}
    changes = {
        "model": {**whole["model"], **model},
        "data": {"train": "speech", "prefetch": 0, "initialise_minutes": 0.3},
        "batch": {"size": 2, "seconds": 0.5},
        "schedule": {"steps": 2, "warmup_steps": 1},
        "clean_steps": 1,
        "validation": {"clips": 1, "seconds": 1.0, "counts": [16], "metrics": [], "best_by": "loss"},
    }
    return {**whole, **changes}


def recordings(folder: Path, seeds: range, gain: float = 1.0) -> Path:
    folder.mkdir()
    for seed in seeds:
        soundfile.write(folder / f"{seed}.wav", gain * speech_like(8.2, seed=seed), 16000)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings and, in run/model, what two steps of training leave."""
    folder = tmp_path_factory.mktemp("codebook")
    recordings(folder / "speech", range(8))
    (folder / "empty").mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe()))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_from_recipe("recipe.yaml", out_dir="run", threads=1, device="cpu", on_progress=lambda _: None)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def compiled(place: Path) -> Path:
    """A model with codebooks of 16 and 64 words, made by the command."""
    before = (ROOT / "pretrained" / "index.json").read_bytes()
    sizes = ["--size", "64", "--size", "16"]
    code = main(["codebook", str(place / "run/model"), *sizes, "--data", str(place / "speech"), *QUICK, "-o",
                 str(place / "made")])  # fmt: skip
    assert code == 0
    assert not list(place.glob(".made*"))
    assert not (place / "index.json").exists()
    assert (ROOT / "pretrained" / "index.json").read_bytes() == before
    return place / "made"


def latent_error(folder: Path, size: int, wave: np.ndarray) -> float:
    net = load_model(folder)[0]
    latents = latents_of(net, [wave], size)[None]
    levels = torch.tensor([net.config.levels(size)])
    vectors = vector_part(net.bottleneck)
    return float((vectors.from_indices(vectors.indices(latents, levels), levels) - latents).norm())


def test_trained_then_compiled_a_model_encodes_and_decodes_at_each_size(place, compiled, monkeypatch, capsys):
    monkeypatch.chdir(place)
    soundfile.write("in.wav", speech_like(3.0, seed=50), 16000)
    sizes = []
    for size in ("16", "64"):
        assert main(["encode", "in.wav", f"{size}.vpc", "--model", "made", "--levels", size]) == 0
        assert main(["decode", f"{size}.vpc", f"{size}.wav", "--model", "made"]) == 0
        assert soundfile.info(f"{size}.wav").frames == 48000
        sizes.append(Path(f"{size}.vpc").stat().st_size)
    assert sizes[0] < sizes[1]
    codec = load("made")
    assert [rate.levels for rate in codec.rates] == [(16, 16, 4, 64), (64, 64, 16, 64)]
    assert codec.choose_rate(bitrate_kbps=codec.rates[0].expected_bps / 1000).base_levels == 16
    assert main(["encode", "in.wav", "no.vpc", "--model", "run/model"]) == 5
    assert "audiocodec codebook" in capsys.readouterr().err
    errors = [latent_error(compiled, size, speech_like(8.0, seed=50)) for size in (16, 64)]
    assert errors[1] < 0.9 * errors[0]


def test_the_network_is_untouched_and_a_finished_model_takes_other_sizes(place, compiled):
    again = place / "again"
    made = compile_codebooks(compiled, again, [32], [place / "speech"], minutes=2, fit=FitSettings(steps=5))
    assert made.fingerprint != load(compiled).fingerprint
    assert list(made.rates) == ["32"]
    weights = [load_model(folder)[0].state_dict() for folder in (place / "run/model", compiled, again)]
    for name in (name for name in weights[0] if not name.startswith("bottleneck.")):
        assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:])
    assert sorted(n for n in weights[2] if n.startswith("bottleneck.")) == ["bottleneck.learnt.codebook_32",
                                                                            "bottleneck.learnt.codebook_8"]  # fmt: skip
    once_more = compile_codebooks(compiled, place / "same", [32], [place / "speech"], minutes=2,
                                  fit=FitSettings(steps=5))  # fmt: skip
    assert once_more.fingerprint == made.fingerprint


def test_a_codebook_made_of_a_domain_beats_the_general_one_on_it(place, compiled):
    domain = recordings(place / "quiet", range(20, 24), gain=0.05)
    compile_codebooks(compiled, place / "own", [16], [domain], fit=FitSettings(steps=5))
    wave = 0.05 * speech_like(8.0, seed=60)
    assert latent_error(place / "own", 16, wave) < 0.8 * latent_error(compiled, 16, wave)


def test_refusals_are_one_line_each(place, compiled, monkeypatch, capsys):
    monkeypatch.chdir(place)
    scalar = tiny_config()
    save_model(place / "fsp", CodecNet(scalar), scalar)
    (place / "full").mkdir()
    cases = [
        (["fsp", "--size", "16", "-o", "new"], 5, "vector perturbation"),
        (["absent", "--size", "16", "-o", "new"], 5, "no model"),
        (["run/model", "--size", "16", "-o", "new", "--data", "empty"], 8, "no usable audio in empty"),
        (["run/model", "--size", "4096", "-o", "new"], 8, "fewer than 4096 code words"),
        (["run/model", "--size", "16", "-o", "made"], 6, "--force"),
        (["made", "--size", "16", "-o", "made", "--force"], 6, "the model itself"),
        (["run/model", "--size", "16", "-o", "full", "--force"], 6, "no model folder"),
        (["run/model", "--size", "16", "-o", "no/where"], 6, "does not exist"),
        (["run/model", "--size", "1", "-o", "new"], 2, "--size"),
        (["run/model", "-o", "new"], 2, "--size"),
    ]
    for arguments, code, words in cases:
        data = [] if "--data" in arguments else ["--data", "speech"]
        assert main(["codebook", *arguments, *data, *QUICK]) == code, arguments
        told = capsys.readouterr().err.splitlines()
        assert told[-1].startswith("error: ")
        assert words in told[-1]
        assert not (place / "new").exists()


def test_force_replaces_a_model(place, compiled):
    target = place / "replaced"
    for size, force in ((16, False), (8, True)):
        compile_codebooks(
            compiled, target, [size], [place / "speech"], minutes=2, force=force, fit=FitSettings(steps=5)
        )
        assert json.loads((target / "config.json").read_text())["level_settings"] == [size]
    assert not list(place.glob(".replaced*"))


def test_sizes_of_groups_follow_the_level_scale(place):
    config = load_model(place / "run/model")[0].config
    made = config_for(config, [256, 16, 256])
    assert made.level_settings == (16, 256)
    assert made.bottleneck.codebooks == (4, 16, 64, 256)
    assert not made.bottleneck.queue
    with pytest.raises(ConfigError, match="--size"):
        config_for(config, [16, 70000])


def test_neighbouring_code_words_are_alike():
    torch.manual_seed(0)
    points = torch.randn(500, 3) * torch.tensor([0.1, 3.0, 1.0])
    words = in_order(points[:50], points)
    assert bool((words[1:, 1] >= words[:-1, 1] - 0.3).all())
    assert torch.equal(words.sort(dim=0).values, points[:50].sort(dim=0).values)


def test_shipping_makes_codebooks_enters_the_index_and_keeps_the_card(place, compiled):
    shelf = place / "shelf"
    (shelf / "vp").mkdir(parents=True)
    (shelf / "vp" / "CARD.md").write_text("what it is")
    run = place / "run" / "model"
    ship(run, shelf / "vp", place / "speech", minutes=2.0, fit_seconds=1.0, settings="16,32", description="words")
    assert (shelf / "vp" / "CARD.md").read_text() == "what it is"
    codec = load(shelf / "vp")
    assert [rate.base_levels for rate in codec.rates] == [16, 32]
    index = json.loads((shelf / "index.json").read_text())
    entry = {"name": "vp", "fingerprint": codec.fingerprint.hex(), "description": "words", "sample_rate": 16000}
    assert index["models"] == [entry]
    assert (shelf / "vp" / "weights.safetensors").stat().st_size < 0.7 * (
        compiled / "weights.safetensors"
    ).stat().st_size
    assert [path.name for path in shelf.iterdir() if path.name.startswith(".")] == []


def test_shipping_takes_other_sizes_and_leaves_nothing_behind(place, compiled, monkeypatch):
    target = place / "other" / "vp"
    with pytest.raises(DataError, match="no usable audio"):
        ship(compiled, target, place / "empty", settings="32")
    with pytest.raises(ConfigError, match="--settings: '3x'"):
        ship(compiled, target, place / "speech", settings="3x")
    assert not target.exists()
    target.mkdir()
    (target / "entropy.safetensors").write_bytes(b"of the model that was here")
    monkeypatch.setattr("audiocodec.train.measure.MAX_LEVELS", 1)  # alphabets too large for tables
    ship(compiled, target, place / "speech", minutes=2.0, settings="32")  # a finished model, without that codebook
    assert not (target / "entropy.safetensors").exists()
    assert [rate.base_levels for rate in load(target).rates] == [32]
