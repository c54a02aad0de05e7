"""What all baselines promise: each trains by a change of `kind`, resumes, and refuses settings that do not fit."""

from __future__ import annotations

import copy
import math
import sys

import pytest
import torch
from baseline_helpers import KINDS, SMALL, levels_of, made, quiet, started  # noqa: F401
from conftest import tiny_config

from audiocodec.bottleneck import target_deviation
from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import ModelConfig, parse
from audiocodec.config_baselines import BASELINES
from audiocodec.errors import ConfigError, MissingExtraError
from audiocodec.nn.model import CodecNet
from audiocodec.train.optimiser import Optimisers
from audiocodec.train.recipe import OptimiserConfig


@pytest.mark.parametrize("kind", KINDS)
def test_forward_at_inference_is_the_decoding_of_the_indices(kind):
    bottleneck = started(kind).eval()
    latents, levels = torch.randn(2, 50, 4), levels_of(bottleneck)
    indices = bottleneck.indices(latents, levels)
    assert indices.dtype == torch.int64
    assert indices.shape == (2, 50, len(bottleneck.sizes))
    assert (indices >= 0).all()
    assert (indices < levels[:, None]).all()
    seen = bottleneck.from_indices(indices, levels)
    assert seen.shape == latents.shape
    assert torch.equal(bottleneck(latents, levels), seen)
    assert bottleneck.alphabet(bottleneck.sizes) == bottleneck.sizes
    assert bottleneck.deviation == target_deviation(BASELINES[kind](**SMALL[kind]))
    assert torch.isfinite(bottleneck.undisturbed(latents)).all()
    others = tuple(size + 1 for size in bottleneck.sizes)
    with pytest.raises(ValueError, match="was built for"):
        bottleneck.alphabet(others)
    with pytest.raises(ValueError, match="was built for"):
        bottleneck.indices(latents, torch.tensor([others, others]))


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_float32_under_autocast_and_random_draws_are_of_torchs_generator(kind):
    bottleneck = started(kind)
    state = copy.deepcopy(bottleneck.state_dict())
    latents, levels = torch.randn(2, 50, 4).bfloat16(), levels_of(bottleneck)
    outs = []
    for autocast in (True, False):
        bottleneck.load_state_dict(state)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outs.append((bottleneck.penalty(latents), bottleneck(latents, levels)))
    assert outs[0][1].dtype == torch.float32
    assert all(torch.equal(*pair) for pair in zip(*outs, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_trains_by_a_change_of_kind_alone_and_resumes_identically(kind, tmp_path):
    """The recipe of FSP; its level_scale and level_settings give way to the baseline's."""
    torch.manual_seed(0)
    settings = {"pitch": False, "envelope_dims": 2, "shape_dims": 2, "level_scale": (1.0,) * 4}
    net = CodecNet(tiny_config(**settings, bottleneck={"kind": kind}))
    counts = net.config.level_settings
    waves, base = 0.1 * torch.randn(2, 6400), torch.tensor([counts[0], counts[-1]])

    def step(net: CodecNet, optimisers: Optimisers, seed: int) -> None:
        torch.manual_seed(seed)
        out = net(waves, base)
        loss = (out.audio - waves).square().mean() + out.penalty
        loss.backward()
        assert not bool(optimisers.step(loss, 1.0)[1])

    before = copy.deepcopy(net.state_dict())
    optimisers = Optimisers(net, OptimiserConfig())
    step(net, optimisers, 1)
    save_model(tmp_path / "model", net, net.config)
    saved = copy.deepcopy((net.state_dict(), optimisers.state_dict()))
    step(net, optimisers, 2)
    after = net.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved >= {name for name in after if name.endswith("frame_in.weight") or "code_transform" in name}
    assert not any("frozen_codebook" in name for name in moved)
    assert all(torch.isfinite(value).all() for value in after.values())

    torch.manual_seed(99)
    other = CodecNet(net.config)
    other.load_state_dict(saved[0])
    optimisers = Optimisers(other, OptimiserConfig())
    optimisers.load_state_dict(saved[1])
    step(other, optimisers, 2)
    assert all(torch.equal(value, after[name]) for name, value in other.state_dict().items())
    loaded, files = load_model(tmp_path / "model")
    assert files.config == net.config
    assert all(torch.equal(value, saved[0][name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("kind", ["vq-vae", "vq-ema", "simvq", "residual-vq"])
def test_a_latent_that_is_not_finite_changes_no_code_word(kind):
    bottleneck = started(kind)
    before = copy.deepcopy(bottleneck.state_dict())
    bottleneck(torch.full((2, 5, 4), math.nan), levels_of(bottleneck))
    assert all(torch.equal(value, before[name]) for name, value in bottleneck.state_dict().items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tokenbridge"])
def test_without_the_package_the_error_names_the_extra(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiocodec\[baselines\]'"):
        made(kind)
    assert made("tokenbridge") is not None


SHAPE = {"pitch": False, "envelope_dims": 2, "shape_dims": 2}


@pytest.mark.parametrize(
    ("bottleneck", "changes", "message"),
    [
        ({"kind": "vq-vae"}, {"pitch": True}, "pitch: false"),
        ({"kind": "simvq", "groups": 3}, {}, "3 equal groups"),
        ({"kind": "fsq", "levels": 256}, {}, r"levels \[8, 6, 5\] are 3, but"),
        ({"kind": "fsq", "levels": [8, 5, 5, 1]}, {}, "greater than or equal to 2"),
        ({"kind": "tokenbridge", "levels": 1000}, {}, "levels"),
        ({"kind": "residual-fsq", "levels": [64, 64, 64, 64]}, {}, "more than 65535 codes"),
        ({"kind": "vq-ema", "decai": 0.5}, {}, r"unknown key 'bottleneck\.decai'; did you mean 'decay'"),
        ({"kind": "rvq"}, {}, "choose fsp or vp, or of vq-vae, vq-ema, simvq"),
    ],
)
def test_settings_that_do_not_hold_together_are_refused(bottleneck, changes, message):
    data = {"level_scale": [1.0] * 4, **SHAPE, **changes, "bottleneck": bottleneck}
    with pytest.raises(ConfigError, match=message):
        parse(ModelConfig, data, "x")


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_a_model_are_those_of_its_baseline_whatever_a_recipe_says_of_others(kind):
    recipe = {**SHAPE, "level_scale": [1, 1], "level_settings": [16, 256, 512], "max_levels": 512}
    config = parse(ModelConfig, {**recipe, "bottleneck": {"kind": kind}}, "x")
    sizes = config.bottleneck.sizes
    assert config.tokens == len(sizes)
    wanted = [sizes] if "residual" not in kind else [sizes[:n] + (1,) * (8 - n) for n in range(1, 9)]
    assert [config.levels(base) for base in config.level_settings] == wanted
    assert math.prod(config.levels(config.level_settings[0])) in (1000, 1024)
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
