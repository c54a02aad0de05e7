"""VP beside the pitch, and the way from a network of scalars to one of groups."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest import tiny_config

from audiocodec.bottleneck import FSP, Pitched, vector_part
from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import FspConfig, ModelConfig, VpConfig, parse
from audiocodec.errors import ConfigError, ModelError
from audiocodec.nn.model import CodecNet
from audiocodec.train.codebook import config_for
from audiocodec.train.network import load_network
from audiocodec.train.recipe import Recipe
from audiocodec.train.regroup import importance, turning
from audiocodec.train.state import refuse_other_shape

GROUPS = {
    "pitch": True,
    "envelope_dims": 4,
    "shape_dims": 4,
    "level_scale": (1.0, 1.0, 0.0),
    "level_offset": (0.0, 0.0, 24.0),
    "level_settings": (16, 64),
    "max_levels": 64,
}


def vp_config(**changes: object) -> ModelConfig:
    bottleneck = VpConfig(groups=2, codebook_size=64, push_fraction=1.0)
    return tiny_config(**{**GROUPS, "bottleneck": bottleneck, **changes})


def test_the_pitch_is_one_token_more_and_quantised_as_fsp_does():
    net = CodecNet(vp_config())
    assert isinstance(net.bottleneck, Pitched)
    assert net.config.tokens == 3
    assert net.config.levels(16) == (16, 16, 24)
    latents = torch.randn(2, 50, 9)
    levels = net.levels_of(torch.tensor([16, 64]))
    net.bottleneck.train()
    net.bottleneck.undisturbed(torch.randn(1, 500, 9))  # something to make provisional codebooks of
    indices = net.bottleneck.indices(latents, levels)
    assert indices.shape == (2, 50, 3)
    assert torch.equal(indices[..., 2:], FSP(FspConfig()).indices(latents[..., 8:], levels[:, 2:]))
    seen = net.bottleneck.from_indices(indices, levels)
    assert seen.shape == (2, 50, 9)
    # On the decoder's scale the pitch is what it was, to half a cell of 24.
    error = (torch.tanh(seen[..., 8]) - torch.tanh(latents[..., 8])).abs() / 2
    assert error.max() <= 0.5 / 24 + 1e-5


def test_training_moves_the_pitch_by_less_than_its_cell_and_passes_gradients():
    net = CodecNet(vp_config())
    bottleneck = net.bottleneck.train()
    latents = torch.randn(4, 200, 9, requires_grad=True)
    levels = net.levels_of(torch.full((4,), 64))
    for _ in range(3):
        seen = bottleneck(latents, levels)
    moved = (torch.tanh(seen[..., 8]) - torch.tanh(latents[..., 8])).abs() / 2
    assert 0 < moved.max() <= 0.5 / 24 + 1e-5
    assert (seen[..., :8] != latents[..., :8]).any()
    seen.sum().backward()
    assert torch.equal(latents.grad[..., :8], torch.ones(4, 200, 8))
    assert all(len(queue) > 64 for queue in vector_part(bottleneck).queues)


def test_turning_gives_unit_variances_and_can_be_undone():
    stretch = torch.tensor([90.0, 40, 24, 19, 17, 13, 12, 10, 4, 4, 3, 3, 2, 2, 1.5, 1.5])
    turn = turning(stretch, 4)
    assert torch.allclose((turn @ turn.T).diagonal(), torch.ones(16), atol=1e-4)
    assert torch.linalg.cond(turn.double()) < 1e3
    rows, size = turn.view(4, 4, 16), 4
    members = [set(row.abs().sum(dim=0).nonzero().flatten().tolist()) for row in rows]
    assert all(len(m) == size for m in members)
    assert set().union(*members) == set(range(16))
    assert members[0] | members[1] == set(range(8))  # the first half of the groups has the first half of the dimensions
    volumes = [float(stretch[sorted(m)].log2().sum()) for m in members]
    assert abs(volumes[0] - volumes[1]) < 1.0


def test_errors_that_are_alike_in_groups_are_in_proportion_to_a_scalar_cell():
    """A ball's error, brought back, is as large in each dimension as its number of levels is small."""
    stretch = torch.tensor([8.0, 4, 2, 1, 8, 4, 2, 1])
    back = torch.linalg.inv(turning(stretch, 2))
    error = (back @ torch.randn(8, 20000)).std(dim=1)
    assert torch.allclose(error[:4] * stretch[:4] / error[0] / stretch[0], torch.ones(4), rtol=0.05)


@pytest.mark.parametrize("settings", [(16, 64), (64,)])
def test_a_scalar_network_goes_on_as_a_network_of_groups(tmp_path, settings):
    torch.manual_seed(0)
    scale = (4.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 3.0)
    old = tiny_config(pitch=True, envelope_dims=4, shape_dims=4, level_scale=scale, level_settings=(4, 8, 16))
    scalar = CodecNet(old).eval()
    with torch.no_grad():
        for parameter in scalar.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(tmp_path / "scalar", scalar, old)
    groups = load_network(tmp_path / "scalar", vp_config(level_settings=settings)).eval()
    wave = 0.1 * torch.randn(1, 40 * old.hop_samples)
    # The rates that stand for each other: those of about as many bits.
    bits = {base: sum(torch.tensor(old.levels(base)).log2().tolist()) for base in old.level_settings}
    for base in settings:
        wanted = sum(torch.tensor(groups.config.levels(base)).log2().tolist())
        same = min(bits, key=lambda b: abs(bits[b] - wanted))
        with torch.no_grad():
            before, after = (torch.tensor([float(b)]).log2() for b in (same, base))
            old_latents = scalar.encoder(wave, before)
            new_latents = groups.encoder(wave, after)
            expected = scalar.decoder(scalar.bottleneck.undisturbed(old_latents), before)
            got = groups.decoder(groups.bottleneck.undisturbed(new_latents), after)
        assert not torch.allclose(old_latents, new_latents)
        assert torch.allclose(got, expected, atol=1e-3 * float(expected.abs().max()))


def test_importance_is_the_mean_of_levels():
    config = tiny_config(pitch=False, envelope_dims=1, shape_dims=1, level_scale=(2.0, 1.0), level_settings=(3, 5))
    assert importance(config).tolist() == [8.0, 4.0]


@pytest.mark.parametrize("dims", [2, 3, 5])
def test_rotations_exist_for_any_size_of_group(dims):
    turn = turning(torch.linspace(1, 9, 2 * dims), 2)
    assert torch.allclose((turn @ turn.T).diagonal(), torch.ones(2 * dims), atol=1e-4)


def with_codebooks(folder, like=None, **changes):
    """A network that quantises half of its vectors, begun from a finished one in ``folder``."""
    settings = {
        "groups": 2,
        "codebook_size": 64,
        "push_fraction": 1.0,
        "codebooks": (16, 64),
        "quantise_probability": 0.5,
    }
    bottleneck = VpConfig(**{**settings, **changes})
    like = like or vp_config()
    return load_network(folder, ModelConfig.model_validate({**like.model_dump(), "bottleneck": bottleneck}))


@pytest.fixture
def finished(tmp_path):
    net = CodecNet(vp_config())
    vectors = vector_part(net.bottleneck)
    words = {size: torch.randn(2, size, 4, generator=torch.Generator().manual_seed(size)) for size in (16, 64)}
    net.bottleneck = Pitched(vectors.finished(words))
    config = config_for(net.config, [16, 64])
    save_model(tmp_path / "finished", net, config)
    return tmp_path / "finished"


def test_a_last_stage_quantises_a_share_of_the_vectors_and_moves_the_others(finished):
    net = with_codebooks(finished)
    vectors = vector_part(net.bottleneck).train()
    assert len(vectors.codebooks) == 2
    for _ in range(2):
        vectors.undisturbed(torch.randn(1, 5000, 8))
    latents = torch.randn(2, 4000, 8)
    levels = torch.tensor([[16, 16], [64, 64]])
    seen = vectors(latents, levels)
    words = vectors.from_indices(vectors.indices(latents, levels), levels)
    quantised = torch.isclose(seen, words, atol=1e-5).all(dim=-1)
    assert 0.46 < quantised.float().mean() < 0.54
    others = seen[~quantised] - latents[~quantised]
    assert (others != 0).any()
    # All groups of a vector alike: no vector has one group at its word and the other moved.
    each = torch.isclose(seen, words, atol=1e-5).unflatten(-1, (2, 4)).all(dim=-1)
    assert (each[..., 0] == each[..., 1]).float().mean() > 0.999


def test_the_last_stage_takes_the_codebooks_that_it_names_and_leaves_the_others(finished):
    before = load_model(finished)[0].state_dict()
    net = with_codebooks(finished, vp_config(level_settings=(64,)), codebooks=(64,))
    assert torch.equal(net.state_dict()["bottleneck.learnt.codebook_64"], before["bottleneck.learnt.codebook_64"])
    assert not any("codebook_16" in name for name in net.state_dict())


def test_a_codebook_that_a_group_has_not_is_missed(finished, tmp_path):
    net, files = load_model(finished)
    net.bottleneck.learnt.codebook_16[1] = 0  # as where the level scale gave the second group no such size
    save_model(tmp_path / "half", net, files.config)
    with pytest.raises(ModelError, match="needs codebooks of 16 words, in every group"):
        with_codebooks(tmp_path / "half")


def test_level_counts_of_the_last_stage_have_codebooks():
    model = vp_config(bottleneck=VpConfig(groups=2, codebooks=(16, 64), quantise_probability=0.5)).model_dump()
    recipe = {"name": "x", "model": model, "data": {"train": "x"}, "schedule": {"steps": 1}}
    assert parse(Recipe, {**recipe, "levels": {"counts": [64]}}, "recipe").level_counts == (64,)
    with pytest.raises(ConfigError, match=r"levels\.counts ask for a codebook of 32 words"):
        parse(Recipe, {**recipe, "levels": {"counts": [32, 64]}}, "recipe")


def test_a_checkpoint_from_before_a_setting_was_there_is_gone_on_with(tmp_path):
    model = vp_config().model_dump(mode="json")
    now = {"model": model, "optimiser": {"kind": "adamw"}}
    before = copy.deepcopy(now)
    del before["model"]["bottleneck"]["quantise_probability"]
    refuse_other_shape(tmp_path, before, now)
    before["model"]["bottleneck"]["groups"] = 1
    with pytest.raises(ConfigError, match=r"another model\.bottleneck"):
        refuse_other_shape(tmp_path, before, now)


def test_a_model_without_level_settings_is_told_so():
    with pytest.raises(ValueError, match="at least one base level count"):
        vp_config(level_settings=())


def test_all_vectors_quantised_needs_no_queue_to_be_full(finished):
    net = with_codebooks(finished, quantise_probability=1.0)
    vectors = vector_part(net.bottleneck).train()
    latents = torch.randn(1, 50, 8, requires_grad=True)
    levels = torch.tensor([[64, 64]])
    seen = vectors(latents, levels)
    assert torch.allclose(seen, vectors.from_indices(vectors.indices(latents, levels), levels), atol=1e-5)
    seen.sum().backward()
    assert torch.equal(latents.grad, torch.ones(1, 50, 8))


def test_the_last_stage_says_what_it_needs(finished, tmp_path):
    with pytest.raises(ValueError, match="name their sizes"):
        VpConfig(quantise_probability=0.5)
    with pytest.raises(ValueError, match="codebook of 64 words"):
        vp_config(bottleneck=VpConfig(groups=2, codebooks=(16,), quantise_probability=0.5))
    unfinished = CodecNet(vp_config())
    save_model(tmp_path / "unfinished", unfinished, unfinished.config)
    with pytest.raises(ModelError, match="needs codebooks of 16, 64 words"):
        with_codebooks(tmp_path / "unfinished")


def test_a_finished_model_of_the_last_stage_is_like_any_other(finished):
    net = with_codebooks(finished)
    config = config_for(net.config, [32])
    assert isinstance(config.bottleneck, VpConfig)
    assert config.bottleneck.quantise_probability == 0
    assert config.bottleneck.codebooks == (32,)
    made = vector_part(net.bottleneck).finished({32: torch.randn(2, 32, 4)})
    assert made.config.quantise_probability == 0
