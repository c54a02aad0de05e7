"""VP: proposals, acceptance, the walk, the queue, groups, codebooks and calibration, held to closed forms."""

import copy
import math
import os
import signal
import socket

import pytest
import torch
from conftest import tiny_config
from test_train_run import folder  # noqa: F401 (a fixture)
from torch import multiprocessing

from audiocodec.bottleneck.calibrate import calibrate
from audiocodec.bottleneck.memory import LatentQueue
from audiocodec.bottleneck.perturb import log_acceptance, perturb, uniform_in_balls
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


# Proposals


@pytest.mark.parametrize("dims", [1, 2, 5, 8])
def test_proposals_are_uniform_in_the_ball(dims):
    torch.manual_seed(dims)
    radius = torch.linspace(0.1, 3, 20_000)
    u = uniform_in_balls(radius, dims).double()
    share = u.norm(dim=1) / radius
    assert stats.kstest(share**dims, "uniform").pvalue > 0.01
    cosine = u / u.norm(dim=1, keepdim=True)
    for axis in range(dims):  # in one dimension a direction is a sign; in others (1 + cosine) / 2 is a Beta
        if dims == 1:
            assert (cosine > 0).double().mean().item() == pytest.approx(0.5, abs=0.015)
        else:
            beta = stats.beta((dims - 1) / 2, (dims - 1) / 2)
            assert stats.kstest((cosine[:, axis] + 1) / 2, beta.cdf).pvalue > 0.01
    assert abs(torch.corrcoef(torch.stack([share, cosine[:, 0]]))[0, 1]) < 0.03


# Acceptance: a known density, pi, in place of the neighbours' estimate; D is pi**(-1/d), R is in proportion.


def known(density, dims, scale=0.5):
    def neighbourhood(z):
        distance = density(z) ** (-1.0 / dims)
        return distance, scale * distance

    return neighbourhood


def normal_density(z):
    return torch.exp(-0.5 * z.square().sum(dim=1)) / (2 * math.pi) ** (z.shape[1] / 2)


def test_acceptance_keeps_detailed_balance_point_by_point():
    """pi(x) q(x, y) a(x, y) = pi(y) q(y, x) a(y, x), with q = 1 / R(x)**d within R(x) of x."""
    torch.manual_seed(0)
    dims, near = 3, known(normal_density, 3)
    x = torch.randn(5000, dims).double()
    before = near(x)
    y = x + uniform_in_balls(before[1].float(), dims)
    after, length = near(y), (y - x).norm(dim=1)
    there = normal_density(x) * before[1] ** -dims * log_acceptance(before, after, length, dims).exp()
    back = normal_density(y) * after[1] ** -dims * log_acceptance(after, before, length, dims).exp()
    back = back * (length <= after[1])  # the reverse proposal must be possible at all
    torch.testing.assert_close(there, back, rtol=1e-9, atol=0)
    assert (there == 0).double().mean() > 0.05  # the check of the reverse move is part of what was tested
    assert (there > 0).double().mean() > 0.3


def test_flows_between_regions_balance():
    torch.manual_seed(0)
    x = torch.randn(400_000, 2)
    y = perturb(x, known(normal_density, 2)).moved
    inside, outside = x.norm(dim=1) < 1, y.norm(dim=1) < 1
    out, into = (inside & ~outside).sum().item(), (~inside & outside).sum().item()
    assert out > 10_000
    assert abs(out - into) < 4 * math.sqrt(out + into)


def test_accepting_always_does_not_balance():
    torch.manual_seed(0)
    x = torch.randn(400_000, 2)
    moves = perturb(x, known(normal_density, 2), always=True)
    assert moves.accepted.all()
    inside, outside = x.norm(dim=1) < 1, moves.moved.norm(dim=1) < 1
    out, into = (inside & ~outside).sum().item(), (~inside & outside).sum().item()
    assert abs(out - into) > 10 * math.sqrt(out + into)


# The walk


def mixture(count):
    """Two clusters, one a third as wide and twice as often visited."""
    narrow = torch.rand(count) < 2 / 3
    wide = torch.randn(count, 2)
    return torch.where(narrow[:, None], wide / 3 + torch.tensor([2.0, 0.0]), wide - torch.tensor([2.0, 0.0]))


@pytest.mark.parametrize(("draw", "dims"), [(lambda n: torch.randn(n, 3), 3), (mixture, 2)], ids=["gaussian", "two"])
def test_the_walk_leaves_the_distribution_as_it_is(draw, dims):
    """Ten steps from independent draws; the queue's latents are others. KS at 5,000, moments within 4 %."""
    torch.manual_seed(3)
    vp = filled(VpConfig(codebook_size=256, eta=1.0), dims, draw)
    start = z = draw(5000)
    sizes = torch.full((len(z),), 256)
    for _ in range(10):
        z = vp.moves(0, z, sizes).moved
    assert (z != start).any(dim=1).float().mean() > 0.95
    fresh = draw(200_000)
    for axis in range(dims):
        assert stats.ks_2samp(z[:, axis], fresh[:, axis]).pvalue > 0.01
    assert stats.ks_2samp(z.norm(dim=1), fresh.norm(dim=1)).pvalue > 0.01
    assert (z.mean(dim=0) - fresh.mean(dim=0)).abs().max() < 0.06
    assert (z.std(dim=0) / fresh.std(dim=0) - 1).abs().max() < 0.04


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


# The queue


def test_queue_forgets_the_oldest_and_merges_in_parts():
    queue = LatentQueue(640, 1)
    for i in range(1000):
        queue.push(torch.tensor([[float(i)]]))
        held = sorted(queue.latents.flatten().tolist())
        last = int(held[-1])
        assert i - last <= 10  # a 64th of the capacity waits at most
        assert held == [float(x) for x in range(max(0, last - 639), last + 1)]
    assert len(queue) == 640
    queue.push(torch.arange(5000.0)[:, None])
    assert queue.latents.min() >= 4350


def test_queue_search_follows_what_is_pushed_and_the_device():
    torch.manual_seed(0)
    queue, exact = LatentQueue(4096, 3), LatentQueue(4096, 3, exact=True)
    for _ in range(6):
        rows = torch.randn(1500, 3)
        queue.push(rows)
        exact.push(rows)
        q = torch.randn(50, 3)
        torch.testing.assert_close(queue.distances(q, (8, 48)), exact.distances(q, (8, 48)), rtol=0.05, atol=0)
    before = queue.distances(q, (8,))
    assert torch.equal(queue.to("cpu").distances(q, (8,)), before)
    assert queue.half().distances(q, (8,)).dtype == torch.float32


def _worker(rank, port, out):
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    vp = VP(VpConfig(codebook_size=32, push_fraction=0.3), 2)
    for step in range(8):
        frames = 40 + 30 * rank + step  # ranks hold batches of different sizes
        vp(torch.randn(1, frames, 2) + 10 * rank, torch.tensor([[32]]))
    torch.save({"state": vp.state_dict(), "codebook": vp.codebook(16)}, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_latents_of_every_process_reach_every_queue(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert torch.equal(first["codebook"], second["codebook"])
    held = first["state"]["queues.0.queue"][: int(first["state"]["queues.0.filled"])]
    assert (held[:, 0] < 5).sum() > 50
    assert (held[:, 0] > 5).sum() > 50


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
        ({"pitch": True}, "pitch: false"),
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


def test_a_training_run_that_is_stopped_and_resumed_ends_with_the_same_weights_and_queue(folder):  # noqa: F811
    import yaml
    from test_train_run import RECIPE, assert_same_state, run

    model = {**RECIPE["model"], "pitch": False, "level_scale": [1.0, 1.0], "level_settings": [8, 16]}
    model["bottleneck"] = {"kind": "vp", "groups": 2, "codebook_size": 16, "push_fraction": 0.5}
    recipe = {**RECIPE, "model": model, "clean_steps": 0}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    def stop(progress):
        if progress.kind == "train" and progress.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run("whole").exit_code == 0
    assert run("stopped", on_progress=stop).step == 7
    assert run("stopped", resume=True).exit_code == 0
    assert_same_state("whole", "stopped")
    assert load_model(folder / "stopped" / "model")[0].bottleneck.queues[0].filled > 100
