"""VP as a bottleneck: radii, gradients, groups, codebooks, calibration, settings, and a run that is resumed."""

import copy
import math

import pytest
import torch
from conftest import tiny_config
from test_train_run import folder  # noqa: F401 (a fixture)

from audiocodec.bottleneck.calibrate import calibrate
from audiocodec.bottleneck.vp import VP, make_codebook
from audiocodec.checkpoint import load_model
from audiocodec.config import ModelConfig, VpConfig
from audiocodec.errors import ModelError

stats = pytest.importorskip("scipy.stats")


def filled(config, dims, draw):
    """A VP whose queue is full of ``draw(n)``."""
    vp = VP(config, dims)
    rows = draw(config.codebook_size * vp.cell_points)
    for g, part in enumerate(rows.split(vp.dims, dim=1)):
        vp.queues[g].push(part)
    return vp


# The bottleneck's pass


def test_radius_is_eta_times_the_distance_that_a_cell_of_the_codebook_has():
    """The share of the latents within R of z is 1 / K on average when eta is 1, at any size K."""
    torch.manual_seed(0)
    vp = filled(VpConfig(codebook_size=512, eta=1.0), 3, lambda n: torch.randn(n, 3))
    z = 0.3 * torch.randn(2000, 3)
    for size in (512, 128):
        radius = vp.moves(0, z, torch.full((2000,), size)).radius
        mass = stats.ncx2.cdf(radius.square(), 3, z.square().sum(dim=1))
        assert mass.mean() == pytest.approx(1 / size, rel=0.05)  # at 128 the ball is no longer so small: 4 %


def test_gradient_is_that_of_the_identity_and_absent_groups_are_zero():
    torch.manual_seed(0)
    vp = filled(VpConfig(groups=2, codebook_size=64), 6, lambda n: torch.randn(n, 6))
    z = torch.randn(3, 50, 6, requires_grad=True)
    levels = torch.tensor([[64, 64], [64, 1], [1, 32]])
    weight = torch.randn(3, 50, 6)
    seen = vp(z, levels)
    (seen * weight).sum().backward()
    present = (levels > 1).repeat_interleave(3, dim=1)[:, None, :].float()
    assert torch.equal(z.grad, weight * present)
    assert torch.equal(seen * (1 - present), torch.zeros_like(seen))
    moved = ((seen - z) != 0) & (present > 0)
    assert 0.3 < moved[0].float().mean() < 0.95


def test_before_there_are_neighbours_latents_pass_and_cells_have_their_size_while_the_queue_fills():
    torch.manual_seed(0)
    vp = VP(VpConfig(codebook_size=64, push_fraction=1.0, eta=1.0), 2)
    levels = torch.tensor([[64]])
    z = torch.randn(1, 5, 2)  # fewer than k = 8, and an empty queue
    assert torch.equal(vp(z, levels), z)
    assert len(vp.queues[0]) == 5
    assert torch.equal(vp(torch.zeros(1, 2, 2), levels), torch.zeros(1, 2, 2))  # 5 latents are no neighbourhood yet
    for _ in range(12):
        vp(torch.randn(1, 10, 2), levels)
    assert not torch.equal(vp(z, levels), z)
    queries = 0.3 * torch.randn(500, 2)
    early = vp.moves(0, queries, torch.full((500,), 64)).radius.mean()
    full = filled(vp.config, 2, lambda n: torch.randn(n, 2)).moves(0, queries, torch.full((500,), 64)).radius.mean()
    assert early.item() == pytest.approx(full.item(), rel=0.15)
    assert vp(torch.zeros(1, 0, 2), levels).shape == (1, 0, 2)


def test_latents_enter_the_queue_in_training_only_and_in_their_share():
    torch.manual_seed(0)
    vp = VP(VpConfig(codebook_size=64, push_fraction=0.01), 2)
    levels = torch.tensor([[64]] * 2)
    for _ in range(400):
        vp(torch.randn(2, 30, 2), levels)  # 0.6 latents a batch
    entered = len(vp.queues[0]) + int(vp.queues[0].waiting)
    assert 180 < entered < 300
    vp.eval()(torch.randn(2, 5000, 2), levels)
    assert entered == len(vp.queues[0]) + int(vp.queues[0].waiting)


def test_bfloat16_autocast_changes_nothing():
    torch.manual_seed(0)
    vp = filled(VpConfig(codebook_size=64), 3, lambda n: torch.randn(n, 3)).eval()
    z, levels = torch.randn(2, 40, 3), torch.tensor([[64]] * 2)
    torch.manual_seed(1)
    plain = vp(z, levels)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = vp(z, levels)
        assert vp.penalty(z).dtype == torch.float32
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)


def test_the_same_seed_gives_the_same_pass_and_a_reloaded_state_goes_on_alike():
    vp = VP(VpConfig(codebook_size=32, push_fraction=0.2, groups=2), 4)
    levels = torch.tensor([[32, 32]])

    def go_on(module, steps, start):
        for step in range(start, start + steps):
            torch.manual_seed(step)
            seen = module(torch.randn(1, 300, 4), levels)
        return seen

    go_on(vp, 25, 0)
    other = VP(vp.config, 4)
    other.load_state_dict(copy.deepcopy(vp.state_dict()))
    assert len(other.queues[0]) > 500
    assert torch.equal(go_on(vp, 10, 25), go_on(other, 10, 25))
    for name, value in vp.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_penalty_is_least_for_mean_zero_and_variance_one():
    torch.manual_seed(0)
    vp = VP(VpConfig(), 2)
    z = torch.randn(1, 100_000, 2)
    assert vp.penalty(z) < 1e-4
    assert vp.penalty(z + 1).item() == pytest.approx(0.1, rel=0.05)
    assert vp.penalty(z * math.sqrt(2)).item() == pytest.approx(0.07, rel=0.05)


# Codebooks


def test_code_words_survive_decoding_and_encoding_at_every_size_and_in_every_group():
    torch.manual_seed(0)
    vp = VP(VpConfig(groups=2, codebook_size=64), 6).finished(
        {16: torch.randn(2, 16, 3), 64: torch.randn(2, 64, 3)},
    )
    levels = torch.tensor([[64, 16], [16, 1]])
    indices = torch.stack([torch.arange(64), torch.arange(64) % 16], dim=1)[None].repeat(2, 1, 1)
    indices[1] = torch.stack([torch.arange(64) % 16, torch.zeros(64, dtype=torch.int64)], dim=1)
    seen = vp.from_indices(indices, levels)
    assert torch.equal(vp.indices(seen, levels), indices)
    assert (seen[1, :, 3:] == 0).all()
    assert torch.equal(seen[0, :, :3], vp.codebooks[64][0][torch.arange(64)])
    assert vp.alphabet((64, 16)) == (64, 16)
    assert vp.alphabet((1, 16)) == (1, 16)
    with pytest.raises(ValueError, match="no codebook of 32 words"):
        vp.alphabet((32, 16))
    with pytest.raises(ModelError, match="no codebook of 32 words"):
        vp.indices(torch.zeros(1, 1, 6), torch.tensor([[32, 16]]))


def test_finished_bottleneck_stores_its_codebooks_and_nothing_of_the_queue():
    vp = filled(VpConfig(codebook_size=32), 2, lambda n: torch.randn(n, 2))
    made = vp.finished({8: make_codebook(vp.queues[0].latents[None], 8)})
    assert list(made.state_dict()) == ["codebook_8"]
    again = VP(made.config, 2)
    again.load_state_dict(made.state_dict())
    z = torch.randn(1, 20, 2)
    assert torch.equal(again.indices(z, torch.tensor([[8]])), made.indices(z, torch.tensor([[8]])))
    with pytest.raises(ModelError, match="finished"):
        made(z, torch.tensor([[32]]))


def test_before_a_codebook_is_compiled_the_queue_lends_one():
    torch.manual_seed(0)
    vp = VP(VpConfig(codebook_size=64, push_fraction=1.0), 2).eval()
    z, levels = torch.randn(1, 500, 2), torch.tensor([[64]])
    with pytest.raises(ModelError, match="no codebook"):
        vp.indices(z, levels)
    vp.queues[0].push(z[0, :20])  # fewer than words: each latent is one
    indices = vp.indices(z, levels)
    assert indices.max() < 20
    vp.queues[0].push(torch.randn(900, 2))
    state = torch.get_rng_state()
    error = (vp.from_indices(vp.indices(z, levels), levels) - z).norm(dim=-1).mean()
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn from training's generator
    assert error < 0.25
    assert vp.codebook(64) is vp.codebook(64)


def test_eta_is_calibrated_to_the_quantisation_error():
    torch.manual_seed(0)
    config = VpConfig(codebook_size=64, groups=2)
    found = calibrate(config, torch.randn(9000, 6))
    assert found.ratio == pytest.approx(1.0, abs=0.03)
    assert 0.9 < found.eta < 1.5
    assert 0.3 < found.acceptance < 0.9
    with pytest.raises(ValueError, match="too few"):
        calibrate(config, torch.randn(50, 6))


# Settings, and a whole network


VP_MODEL = {"pitch": False, "level_scale": (1.0, 1.0), "level_settings": (16, 32), "max_levels": 32, "shape_dims": 4}


def test_network_trains_with_vp_and_its_latents_reach_the_queue():
    from audiocodec.nn.model import CodecNet

    config = tiny_config(**VP_MODEL, bottleneck=VpConfig(groups=2, codebook_size=32, push_fraction=0.5))
    assert (config.dims, config.tokens, config.levels(16)) == (8, 2, (16, 16))
    torch.manual_seed(0)
    net = CodecNet(config)
    net(0.1 * torch.randn(2, 9600), torch.tensor([16, 32]), quantise=False)
    assert all(len(queue) > 10 for queue in net.bottleneck.queues)
    for _ in range(3):
        out = net(0.1 * torch.randn(2, 9600), torch.tensor([16, 32]))
        (out.audio.square().mean() + out.penalty).backward()
    assert all(len(queue) > 20 for queue in net.bottleneck.queues)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.encoder.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pitch": True}, "has 3 groups"),
        ({"shape_dims": 3}, "cannot be split into 2 equal groups"),
        ({"level_scale": (1.0,)}, "has 2 groups"),
        ({"max_levels": 16}, "max_levels is 16"),
        ({"bottleneck": {"kind": "vp", "groups": 2, "queue": False, "codebooks": (16,)}}, "codebook of 32 words"),
        ({"bottleneck": {"kind": "vp", "groups": 2, "codebooks": (16, 16)}}, "different sizes"),
    ],
)
def test_settings_that_do_not_hold_together_are_refused(changes, message):
    settings = {**VP_MODEL, "bottleneck": VpConfig(groups=2, codebook_size=32), **changes}
    with pytest.raises(ValueError, match=message):
        tiny_config(**settings)


def test_kinds_of_bottleneck_are_told_apart_and_unknown_keys_named():
    from audiocodec.config import FspConfig, parse
    from audiocodec.errors import ConfigError

    data = tiny_config(**VP_MODEL, bottleneck=VpConfig(groups=2)).model_dump()
    assert isinstance(parse(ModelConfig, data, "x").bottleneck, VpConfig)
    old = tiny_config().model_dump()
    del old["bottleneck"]["kind"]
    assert isinstance(parse(ModelConfig, old, "x").bottleneck, FspConfig)
    data["bottleneck"]["etta"] = 1.0
    with pytest.raises(ConfigError, match=r"unknown key 'bottleneck\.etta'; did you mean 'eta'\?"):
        parse(ModelConfig, data, "x")
    data["bottleneck"]["kind"] = "vq"
    with pytest.raises(ConfigError, match="choose fsp or vp"):
        parse(ModelConfig, data, "x")


def test_a_training_run_that_is_killed_and_resumed_ends_with_the_same_weights_and_queue(folder):  # noqa: F811
    import yaml
    from test_train_run import RECIPE, STEPS, assert_same_state, killed_and_resumed, log, run

    model = {**RECIPE["model"], "pitch": False, "level_scale": [1.0, 1.0], "level_settings": [8, 16]}
    model["bottleneck"] = {"kind": "vp", "groups": 2, "codebook_size": 16, "push_fraction": 0.5}
    validation = {"clips": 1, "seconds": 1.0, "metrics": [], "best_by": "loss", "every_steps": 6}
    recipe = {**RECIPE, "model": model, "clean_steps": 0, "validation": validation}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run("whole").exit_code == 0
    assert killed_and_resumed().step == STEPS
    assert_same_state("whole", "killed")
    assert load_model(folder / "killed" / "model")[0].bottleneck.queues[0].filled > 100
    for name in ("model", "best"):
        one, other = (folder / out / name / "weights.safetensors" for out in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()
    told = log("whole", "validation")
    assert [{k: v for k, v in e.items() if k != "elapsed_s"} for e in told] == [
        {k: v for k, v in e.items() if k != "elapsed_s"} for e in log("killed", "validation")
    ]
    assert all(0.2 < entry["acceptance@16"] <= 1 for entry in told)
    assert all(2 < entry["bits@8"] < 6 and 0.3 < entry["cvu@8"] <= 1 for entry in told)
