"""Each baseline against the formulas of its paper, on values made by hand."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from baseline_helpers import levels_of, made, quiet, started  # noqa: F401

from audiocodec.bottleneck import build_bottleneck
from audiocodec.bottleneck.baselines.scalar import CODE_SCALE
from audiocodec.config_baselines import BASELINES, PAPER_LEVELS

# Code words


def set_words(part: Any, words: torch.Tensor) -> None:
    part._codebook.embed.data.copy_(words[None])
    part._codebook.embed_avg.data.copy_(words[None])
    part._codebook.cluster_size.data.fill_(1.0)


WORDS = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
LATENTS = torch.tensor([[[1.5, 1.0], [0.25, -0.5]]])
NEAREST = torch.tensor([[[2.0, 2.0], [0.0, 0.0]]])
ERROR = ((LATENTS - NEAREST) ** 2).sum() / 4  # the mean over both latents' two dimensions


@pytest.mark.parametrize(("kind", "first"), [("vq-vae", 1.0), ("vq-ema", 0.0)])
def test_loss_of_vq_is_the_papers_and_the_gradient_passes_straight(kind, first):
    bottleneck = made(kind, 2, codebook_size=2, groups=1, commitment=0.5)
    set_words(bottleneck.parts[0], WORDS)
    latents, levels = LATENTS.clone().requires_grad_(), torch.tensor([[2]])
    loss = bottleneck.penalty(latents)
    assert loss.item() == pytest.approx((first + 0.5) * ERROR.item())
    loss.backward()
    torch.testing.assert_close(latents.grad, 0.5 * 2 * (LATENTS - NEAREST) / 4)
    words = bottleneck.parts[0]._codebook.embed
    if kind == "vq-vae":  # word 1 is nearest to the first latent, word 0 to the second
        torch.testing.assert_close(words.grad[0], 2 * (NEAREST - LATENTS)[0].flip(0) / 4)
        words.grad = None
    latents.grad = None
    seen = bottleneck(latents, levels)
    torch.testing.assert_close(seen.detach(), NEAREST)
    weight = torch.randn(1, 2, 2)
    (seen * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)
    assert words.grad is None or not words.grad.any()


def test_words_of_vq_ema_move_as_computed_by_hand():
    bottleneck = made("vq-ema", 2, codebook_size=2, groups=1, decay=0.75)
    set_words(bottleneck.parts[0], WORDS)
    latents = torch.tensor([[[1.5, 1.0], [2.5, 2.0], [0.25, -0.5]]])
    bottleneck(latents, torch.tensor([[2]]))
    count = torch.tensor([0.75 * 1 + 0.25 * 1, 0.75 * 1 + 0.25 * 2])  # N = decay N + (1 - decay) n
    total = torch.stack([0.25 * latents[0, 2], 0.75 * WORDS[1] + 0.25 * latents[0, :2].sum(dim=0)])
    smoothed = (count + 1e-5) / (count.sum() + 2e-5) * count.sum()
    book = bottleneck.parts[0]._codebook
    torch.testing.assert_close(book.cluster_size[0], count)
    torch.testing.assert_close(book.embed_avg[0], total)
    torch.testing.assert_close(bottleneck.words(0), total / smoothed[:, None])
    kept = copy.deepcopy(bottleneck.state_dict())
    bottleneck.eval()(latents, torch.tensor([[2]]))
    assert all(torch.equal(value, kept[name]) for name, value in bottleneck.state_dict().items())


def test_words_and_indices_survive_the_round_trip_in_each_group():
    bottleneck = started("vq-ema", groups=2).eval()
    codes = torch.arange(16)[None, :, None].expand(1, 16, 2)
    levels = torch.tensor([[16, 16]])
    seen = bottleneck.from_indices(codes, levels)
    assert torch.equal(bottleneck.indices(seen, levels), codes)
    assert torch.equal(seen[0], torch.cat([bottleneck.words(0), bottleneck.words(1)], dim=1))


def test_simvq_learns_its_map_and_never_its_table():
    torch.manual_seed(0)
    bottleneck = made("simvq", 2, codebook_size=2, groups=1, commitment=0.25)
    part, levels = bottleneck.parts[0], torch.tensor([[2]])
    assert [name for name, _ in bottleneck.named_parameters()] == ["parts.0.code_transform.weight"]
    part.frozen_codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    part.code_transform.weight.data.copy_(2.0 * torch.eye(2))
    latents = LATENTS.clone().requires_grad_()
    loss = bottleneck.penalty(latents)
    assert loss.item() == pytest.approx(1.25 * ERROR.item())
    loss.backward()
    torch.testing.assert_close(latents.grad, 0.25 * 2 * (LATENTS - NEAREST) / 4)
    # Words are W times rows of the table: that of the first latent alone is not zero.
    slope = 2 * (NEAREST - LATENTS)[0, 0] / 4
    torch.testing.assert_close(part.code_transform.weight.grad, slope[:, None].expand(2, 2))
    with torch.no_grad():
        part.code_transform.weight -= 0.1 * part.code_transform.weight.grad
    assert bottleneck.penalty(latents).item() < loss.item()
    latents.grad = None
    part.code_transform.weight.grad = None
    bottleneck(latents, levels).sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))
    assert part.code_transform.weight.grad is None or not part.code_transform.weight.grad.any()


# Levels of each dimension


@pytest.mark.parametrize("kind", ["fsq", "tokenbridge"])
@pytest.mark.parametrize("size", list(PAPER_LEVELS))
def test_all_codes_of_the_papers_level_sets_survive_the_round_trip(kind, size):
    levels = PAPER_LEVELS[size]
    bottleneck = build_bottleneck(BASELINES[kind](levels=size), len(levels)).eval()
    assert bottleneck.sizes == levels
    codes = torch.tensor(list(itertools.product(*map(range, levels))))[None]
    sizes = torch.tensor([levels])
    seen = bottleneck.from_indices(codes, sizes)
    latents = torch.atanh((seen / CODE_SCALE).clamp(-1.0, 1.0)) if kind == "fsq" else seen
    assert torch.equal(bottleneck.indices(latents, sizes), codes)


def test_fsq_rounds_symmetrically_to_equal_steps():
    torch.manual_seed(0)
    bottleneck = made("fsq", noise=0.0)
    levels, latents = levels_of(bottleneck, 1), 2 * torch.randn(1, 4000, 4)
    seen = bottleneck(latents, levels) / CODE_SCALE
    assert torch.allclose(seen, -bottleneck(-latents, levels) / CODE_SCALE, atol=1e-6)
    for i, size in enumerate(bottleneck.sizes):
        torch.testing.assert_close(seen[..., i].unique(), torch.linspace(-1, 1, size), check_dtype=False)
        error = (seen - torch.tanh(latents))[..., i]
        assert error.abs().max() <= 1 / (size - 1) + 1e-6


def test_fsq_adds_uniform_noise_as_wide_as_a_step_to_the_share_that_it_does_not_round():
    torch.manual_seed(0)
    noisy, half = made("fsq", noise=1.0), made("fsq", noise=0.5)
    levels, latents = levels_of(noisy, 1), torch.randn(1, 50_000, 4)
    u = torch.tanh(latents)
    error = noisy(latents, levels) / CODE_SCALE - u
    for i, size in enumerate(noisy.sizes):
        step = 1 / (size - 1)
        assert error[..., i].abs().max() <= step + 1e-6
        inside = error[..., i][u[..., i].abs() < 1 - step]
        assert inside.std().item() == pytest.approx(step / math.sqrt(3), rel=0.02)
        assert inside.mean().item() == pytest.approx(0.0, abs=0.02 * step)
    assert noisy(10 * latents, levels).abs().max() <= CODE_SCALE + 1e-6
    rounded = half.eval()(latents, levels)
    inner = rounded.abs() < CODE_SCALE - 1e-3  # where the clamp cannot make the two equal
    share = ((half.train()(latents, levels) - rounded).abs() < 1e-5)[inner].float().mean().item()
    assert share == pytest.approx(0.5, abs=0.01)


def test_fsq_has_no_loss_and_the_gradient_of_its_bound():
    bottleneck = made("fsq")
    latents = torch.randn(1, 20, 4, requires_grad=True)
    assert bottleneck.penalty(latents).item() == 0.0
    bottleneck(latents, levels_of(bottleneck, 1)).sum().backward()
    torch.testing.assert_close(latents.grad, CODE_SCALE * (1 - torch.tanh(latents.detach()) ** 2))


def test_bins_of_tokenbridge_are_equally_probable_under_a_standard_normal_and_decode_to_their_means():
    torch.manual_seed(0)
    bottleneck = made("tokenbridge").eval()
    count, levels = 200_000, levels_of(bottleneck, 1)
    draws = torch.randn(1, count, 4)
    indices = bottleneck.indices(draws, levels)
    seen = bottleneck.from_indices(indices, levels)
    for i, size in enumerate(bottleneck.sizes):
        used = torch.bincount(indices[0, :, i], minlength=size) / count
        assert (used - 1 / size).abs().max() < 5 * math.sqrt(1 / size / count)
        for level in range(size):
            inside = indices[0, :, i] == level
            assert draws[0, inside, i].mean().item() == pytest.approx(seen[0, inside, i][0].item(), abs=0.015)
    extremes = bottleneck.indices(torch.tensor([[[-50.0] * 4, [50.0] * 4]]), levels)[0]
    assert extremes.tolist() == [[0] * 4, [size - 1 for size in bottleneck.sizes]]


def test_tokenbridge_draws_of_its_normal_and_the_loss_is_the_divergence():
    torch.manual_seed(0)
    bottleneck = made("tokenbridge", kl_weight=0.1)
    bottleneck.log_variance.data.copy_(torch.tensor([0.1, -1.0, -2.0, 0.5]))
    latents = torch.randn(1, 40_000, 4, requires_grad=True)
    noise = bottleneck(latents, levels_of(bottleneck, 1)) - latents
    torch.testing.assert_close(noise[0].std(dim=0), torch.exp(0.5 * bottleneck.log_variance), rtol=0.02, atol=0)
    normal = torch.distributions.Normal(latents, torch.exp(0.5 * bottleneck.log_variance))
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean()
    loss = bottleneck.penalty(latents)
    assert loss.item() == pytest.approx(0.1 * expected.item(), rel=1e-5)
    loss.backward()
    assert latents.grad.abs().sum() > 0
    assert bottleneck.log_variance.grad.abs().min() > 0


# Residual stages


@pytest.mark.parametrize("kind", ["residual-vq", "residual-fsq"])
def test_each_residual_stage_reduces_the_error_and_absent_ones_count_for_nothing(kind):
    bottleneck = started(kind, stages=4).eval()
    latents = 0.8 * torch.randn(1, 500, 4)
    full = torch.tensor([bottleneck.sizes])
    wanted = bottleneck._bounded(latents) * CODE_SCALE if kind == "residual-fsq" else latents
    errors = []
    for used in range(1, 5):
        levels = torch.where(torch.arange(4) < used, full, 1)
        indices = bottleneck.indices(latents, levels)
        assert not indices[..., used:].any()
        assert torch.equal(indices[..., :used], bottleneck.indices(latents, full)[..., :used])
        seen = bottleneck(latents, levels)
        errors.append((seen - wanted).square().mean().item())
    assert all(after < 0.85 * before for before, after in itertools.pairwise(errors))
    with pytest.raises(ValueError, match="first of the stages"):
        bottleneck.alphabet((1, *bottleneck.sizes[1:]))


@pytest.mark.parametrize("kind", ["residual-vq", "residual-fsq"])
def test_each_example_has_its_own_stages_in_training_and_one_gradient_for_all(kind):
    bottleneck = started(kind)
    latents = (0.5 * torch.randn(2, 30, 4)).requires_grad_()
    size = bottleneck.sizes[0]
    levels = torch.tensor([[size, 1, 1], [size, size, size]])
    before = copy.deepcopy(bottleneck).eval()
    seen = bottleneck(latents, levels)
    torch.testing.assert_close(seen, before(latents, levels))
    seen.sum().backward()
    if kind == "residual-vq":
        expected = torch.ones_like(latents)
    else:
        bound = bottleneck.rounding.soft_clamp_input_value
        expected = CODE_SCALE * (1 - torch.tanh(latents.detach() / bound) ** 2)
    torch.testing.assert_close(latents.grad, expected)


def test_loss_of_residual_vq_is_the_mean_over_stages_of_what_each_leaves():
    bottleneck = started("residual-vq", commitment=0.5)
    latents = torch.randn(1, 40, 4, requires_grad=True)
    full = levels_of(bottleneck, 1)
    errors = []
    for used in range(1, 4):
        levels = torch.where(torch.arange(3) < used, full, 1)
        errors.append((bottleneck.from_indices(bottleneck.indices(latents, levels), levels) - latents).square().mean())
    loss = bottleneck.penalty(latents)
    assert loss.item() == pytest.approx(0.5 * sum(error.item() for error in errors) / 3, rel=1e-5)
    loss.backward()
    assert latents.grad.abs().sum() > 0
    assert made("residual-vq").penalty(latents).item() == 0.0  # before k-means there are no words to be near to
