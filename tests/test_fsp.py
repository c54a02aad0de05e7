"""FSP: squashing, cells, perturbation and the way back, held to closed forms."""

import itertools
import math

import pytest
import torch

from audiocodec.bottleneck.fsp import FSP, TARGET_VARIANCE
from audiocodec.config import FspConfig

MATCHING = {
    "normal": torch.distributions.Normal(0.0, 1.0),
    "laplace": torch.distributions.Laplace(0.0, 1.0),
    # tanh and sigmoid are CDFs of logistic distributions of scale 1/2 and 1.
    "sigmoid": torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(1e-6, 1 - 1e-6), [torch.distributions.SigmoidTransform().inv]
    ),
}


@pytest.mark.parametrize("activation", ["tanh", "normal", "sigmoid", "laplace"])
def test_matching_distribution_becomes_uniform_and_has_the_target_variance(activation):
    torch.manual_seed(0)
    fsp = FSP(FspConfig(activation=activation))
    draw = MATCHING["sigmoid" if activation == "tanh" else activation].sample((200_000,))
    draw = draw / 2 if activation == "tanh" else draw
    p = fsp.squash(draw).sort().values
    assert (p - torch.linspace(0, 1, len(p))).abs().max() < 0.006  # Kolmogorov-Smirnov at 200,000 draws
    assert draw.var().item() == pytest.approx(TARGET_VARIANCE[activation], rel=0.02)


@pytest.mark.parametrize("activation", ["tanh", "normal", "sigmoid", "laplace"])
def test_unsquash_inverts_squash(activation):
    fsp = FSP(FspConfig(activation=activation))
    a = torch.linspace(-1.5, 1.5, 61)[None, None]
    back = fsp.unsquash(fsp.squash(a), torch.full((1, 1, 61), 1000.0)) * fsp.deviation
    torch.testing.assert_close(back, a, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("levels", [(8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5), (1, 2, 64)])
def test_all_codes_survive_decoding_and_encoding(levels):
    fsp = FSP(FspConfig())
    codes = torch.tensor(list(itertools.islice(itertools.product(*map(range, levels)), 20_000)))[None]
    sizes = torch.tensor(levels)[None]
    seen = fsp.from_indices(codes, sizes)
    assert torch.equal(fsp.indices(seen * fsp.deviation, sizes), codes)
    assert (seen[..., [level == 1 for level in levels]] == 0).all()


@pytest.mark.parametrize("levels", [(8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5)])
def test_all_codes_of_the_papers_level_sets_survive_the_round_trip(levels):
    fsp, sizes, count = FSP(FspConfig()), torch.tensor(levels)[None], math.prod(levels)
    codes = torch.arange(count)[None]
    indices = fsp.separated(codes, sizes)
    assert indices[0, 1].tolist() == [1] + [0] * (len(levels) - 1)  # the first dimension runs fastest
    assert indices[0, levels[0]].tolist() == [0, 1] + [0] * (len(levels) - 2)
    assert torch.equal(fsp.joined(indices, sizes), codes)
    seen = fsp.from_indices(indices, sizes)
    assert torch.equal(fsp.joined(fsp.indices(seen * fsp.deviation, sizes), sizes), codes)
    assert len(seen[0].unique(dim=0)) == count


def test_joined_codes_differ_with_the_levels_of_each_example_and_are_refused_beyond_64_bits():
    sizes = torch.tensor([[3, 1, 4], [2, 2, 2]])
    indices = torch.tensor([[[2, 0, 3]], [[1, 0, 1]]])
    codes = FSP.joined(indices, sizes)
    assert codes.tolist() == [[11], [5]]
    assert torch.equal(FSP.separated(codes, sizes), indices)
    with pytest.raises(ValueError, match="64 bits"):
        FSP.joined(torch.zeros(1, 1, 37, dtype=torch.int64), torch.full((1, 37), 33))


@pytest.mark.parametrize("activation", ["tanh", "normal", "sigmoid", "laplace"])
def test_centroids_are_the_lloyd_max_quantiser_of_the_matching_distribution(activation):
    """Each code word is the mean of its cell, each boundary lies halfway, and the error is 1 / (12 L^2)."""
    torch.manual_seed(0)
    fsp, size = FSP(FspConfig(activation=activation)), 7
    draw = MATCHING["sigmoid" if activation == "tanh" else activation].sample((1, 400_000, 1))
    latents = draw / 2 if activation == "tanh" else draw
    levels = torch.tensor([[size]])
    p, cells = fsp.squash(latents).flatten(), fsp.indices(latents, levels).flatten()
    words = fsp.squash(fsp.from_indices(torch.arange(size)[None, :, None], levels) * fsp.deviation).flatten()
    means = torch.stack([p[cells == i].mean() for i in range(size)])
    torch.testing.assert_close(words, means, atol=1e-3, rtol=0)
    assert torch.equal(cells, (p[:, None] - words).abs().argmin(dim=1))
    assert (p - words[cells]).square().mean().item() == pytest.approx(1 / (12 * size**2), rel=0.01)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_perturbing_half_adds_a_uniform_step_and_keeps_what_would_leave_the_interval(eta):
    torch.manual_seed(0)
    fsp, size = FSP(FspConfig(quantise_probability=0.0, eta=eta)), 9
    p = torch.rand(1, 100_000, 1) * 0.94 + 0.03  # away from the clamped quarter cell
    latents = torch.atanh(2 * p - 1)
    step = (fsp.squash(fsp(latents, torch.tensor([[size]])) * fsp.deviation) - p).flatten()
    half = eta / (2 * size)
    inside = (p.flatten() > half + 0.03) & (p.flatten() < 1 - half - 0.03)
    assert step.abs().max() <= half + 1e-4
    uniform = (step[inside] / (2 * half) + 0.5).sort().values
    assert (uniform - torch.linspace(0, 1, len(uniform))).abs().max() < 0.008
    low = p.flatten() < 0.035  # of those at 0.03 to 0.035, the steps below 0 were not taken
    kept = (step[low].abs() < 1e-5).float().mean().item()
    assert kept == pytest.approx(max(0.0, half - 0.0325) / (2 * half), abs=0.06)


def test_training_pass_perturbs_half_and_quantises_half():
    torch.manual_seed(0)
    fsp = FSP(FspConfig())
    latents = torch.randn(4, 5000, 3) * math.sqrt(0.8225)
    levels = torch.full((4, 3), 9)
    seen = fsp(latents, levels)
    p, q = fsp.squash(latents), fsp.squash(seen * fsp.deviation)
    centroid = (torch.floor(p * 9) + 0.5) / 9
    quantised = ((q - centroid).abs() < 1e-4).all(dim=-1)
    assert quantised.float().mean().item() == pytest.approx(0.5, abs=0.02)
    error = (q - p)[~quantised]
    assert error.abs().max() <= 0.5 / 9 + 1e-4
    inside = error[(p[~quantised] > 0.1) & (p[~quantised] < 0.9)]
    assert inside.std().item() == pytest.approx(1 / 9 / math.sqrt(12), rel=0.03)  # uniform of width 1/L


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_each_half_alone(share, expected):
    torch.manual_seed(0)
    fsp = FSP(FspConfig(quantise_probability=share))
    latents = torch.randn(1, 1000, 2)
    seen = fsp(latents, torch.full((1, 2), 5))
    centroids = fsp.from_indices(fsp.indices(latents, torch.full((1, 2), 5)), torch.full((1, 2), 5))
    assert torch.allclose(seen, centroids, atol=1e-5) is expected


def test_levels_differ_from_example_to_example_and_one_level_is_absent():
    fsp = FSP(FspConfig(quantise_probability=1.0))
    latents = torch.randn(2, 2000, 2)
    seen = fsp(latents, torch.tensor([[3, 1], [33, 5]]))
    assert [len(seen[0, :, 0].unique()), len(seen[1, :, 0].unique()), len(seen[1, :, 1].unique())] == [3, 33, 5]
    assert (seen[0, :, 1] == 0).all()


def test_gradient_passes_straight_through():
    fsp = FSP(FspConfig())
    latents = (torch.rand(1, 50, 2) - 0.5).requires_grad_()
    fsp(latents, torch.full((1, 2), 17)).sum().backward()
    # unsquash(squash(a)) has slope 1 / deviation where the value is not moved far.
    assert latents.grad.median().item() == pytest.approx(1 / fsp.deviation, rel=0.15)


def test_penalty_is_least_at_the_target_moments():
    torch.manual_seed(0)
    fsp = FSP(FspConfig())
    good = torch.randn(1, 50_000, 2) * fsp.deviation
    assert fsp.penalty(good) < 1e-4
    assert fsp.penalty(good + 0.5) > 0.01
    assert fsp.penalty(good * 2) > 0.1


def test_unit_variance_is_what_the_decoder_sees():
    torch.manual_seed(0)
    fsp = FSP(FspConfig())
    a = (torch.rand(1, 20_000, 1) * 0.98 + 0.01).logit() / 2  # uniform after tanh
    seen = fsp.from_indices(fsp.indices(a, torch.tensor([[33]])), torch.tensor([[33]]))
    assert seen.std().item() == pytest.approx(1.0, abs=0.1)


def test_alphabet_is_the_levels():
    assert FSP(FspConfig()).alphabet((1, 5, 9)) == (1, 5, 9)
    with pytest.raises(ValueError, match="at least 1"):
        FSP(FspConfig()).alphabet((0, 5))
