"""VP's walk: proposals uniform in the ball, the acceptance rule's balance, distributions left as they are."""

import math

import pytest
import torch
from test_vp import filled

from audiocodec.bottleneck.perturb import log_acceptance, perturb, uniform_in_balls
from audiocodec.config import VpConfig

stats = pytest.importorskip("scipy.stats")


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
