"""The adversarial objective: its losses, what reaches whom, and that nothing changes where it is off."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from audiocodec.errors import ConfigError
from audiocodec.train.adversarial import (
    Adversary,
    Balancer,
    accuracy,
    discriminator_loss,
    feature_distance,
    generator_loss,
)
from audiocodec.train.discriminators import Discriminators, Verdict
from audiocodec.train.losses import LossConfig, ReconstructionLoss
from audiocodec.train.recipe import AdversarialConfig

SMALL = {"windows": (256,), "channels": 4, "weight": 1.0, "ramp_steps": 0}
CPU = torch.device("cpu")


def verdict(*logits: list[float], features: tuple[list[float], ...] = ()) -> Verdict:
    return Verdict([torch.tensor(x) for x in logits], [torch.tensor(x) for x in features])


def noise(seed: int, batch: int = 4, samples: int = 4000) -> torch.Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def tones(seed: int, batch: int = 4, samples: int = 4000) -> torch.Tensor:
    draws = torch.rand(batch, 2, 1, generator=torch.Generator().manual_seed(seed))
    return 0.14 * torch.sin(torch.arange(samples) * (0.1 + draws[:, 0]) + 6.28 * draws[:, 1])


def adversary(bfloat16: bool = False, **changes) -> Adversary:
    return Adversary(AdversarialConfig(**{**SMALL, **changes}), 1, CPU, bfloat16)


def distance(audio: torch.Tensor, waves: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    value = (audio - waves).square().mean()
    return value, {"distance": value.detach()}


# Losses


def test_losses_are_those_of_the_papers():
    decoded, recorded = verdict([-2.0, 0.5], [1.5]), verdict([2.0, 0.0], [-1.0])
    # Hinge, view by view: of the codec (3 + 0.5) / 2 and 0; of the others (0 + 1.5) / 2 + (0 + 1) / 2 and 2.5 + 2.
    assert generator_loss(decoded, "hinge").item() == pytest.approx((1.75 + 0.0) / 2)
    assert discriminator_loss(decoded, recorded, "hinge").item() == pytest.approx((0.75 + 0.5 + 4.5) / 2)
    assert generator_loss(decoded, "least_squares").item() == pytest.approx(((9 + 0.25) / 2 + 0.25) / 2)
    squares = (4 + 0.25) / 2 + (1 + 1) / 2, 2.25 + 4
    assert discriminator_loss(decoded, recorded, "least_squares").item() == pytest.approx(sum(squares) / 2)
    assert accuracy(decoded, recorded, "hinge").item() == pytest.approx(((0.5 + 0.5) / 2 + 0.0) / 2)
    assert accuracy(decoded, recorded, "least_squares").item() == pytest.approx(((0.5 + 0.5) / 2 + 0.0) / 2)


def test_features_are_compared_in_proportion_to_the_recording():
    decoded = verdict(features=([1.0, 3.0], [0.0]))
    recorded = verdict(features=([2.0, 2.0], [10.0]))
    assert feature_distance(decoded, recorded).item() == pytest.approx((0.5 + 1.0) / 2)
    assert feature_distance(recorded, recorded).item() == 0.0


def test_identical_audio_has_no_feature_distance():
    net, waves = Discriminators((256, 512), 4), noise(0)
    heard = net(waves)
    assert len(heard.logits) == 2
    assert feature_distance(heard, net(waves)).item() == 0.0
    assert feature_distance(heard, net(tones(0))).item() > 0.1


def test_views_are_blind_to_nothing_loud_and_finite_in_silence():
    net = Discriminators((256, 1024), 4)
    silence = torch.zeros(1, 4000, requires_grad=True)
    torch.stack([x.sum() for x in net(silence).logits]).sum().backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


# What reaches whom


def test_balanced_gradients_keep_their_ratio():
    balancer = Balancer(0.9, CPU)
    first, second = noise(0), 1e-6 * noise(1)
    factor = balancer.factor(first, second)
    assert (factor * second).norm(dim=1).mean().item() == pytest.approx(first.norm(dim=1).mean().item(), rel=1e-5)
    for _ in range(200):  # norms follow a change of scale, slowly
        factor = balancer.factor(first, 10 * second)
    assert (factor * 10 * second).norm(dim=1).mean().item() == pytest.approx(first.norm(dim=1).mean().item(), rel=1e-2)
    kept = balancer.norms.clone()
    balancer.factor(first, second * math.nan)
    assert torch.equal(balancer.norms, kept)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_codec_gets_both_gradients_through_its_audio(weight):
    judge = adversary(weight=weight, every=100)
    waves = tones(0)
    codec = nn.Parameter(torch.tensor(0.8))
    audio = codec * waves + 0.3 * noise(0)
    audio.retain_grad()
    total, terms = judge.objective(distance, audio, waves, step=1, fraction=0.0)
    total.backward()
    assert audio.grad is not None
    assert codec.grad is not None
    copy = audio.detach().requires_grad_()
    (alone,) = torch.autograd.grad(distance(copy, waves)[0], copy)
    pull = audio.grad - alone
    assert total.item() == pytest.approx(distance(audio, waves)[0].item(), rel=1e-6)
    assert pull.norm(dim=1).mean().item() == pytest.approx(weight * alone.norm(dim=1).mean().item(), rel=1e-3)
    assert codec.grad.item() == pytest.approx((audio.grad * waves).sum().item(), rel=1e-4)
    assert set(terms) == {"distance", "adversarial", "feature", "discriminator", "accuracy"}
    assert all(p.grad is None for p in judge.net.parameters())  # step 1 is the codec's alone


def test_only_the_examples_that_are_judged_are_pulled():
    judge, waves = adversary(examples=1), tones(0, batch=3)
    audio = (waves + noise(0, batch=3)).requires_grad_()
    total, _ = judge.objective(distance, audio, waves, step=0, fraction=0.0)
    (pull,) = torch.autograd.grad(total, audio)
    (alone,) = torch.autograd.grad(distance(audio, waves)[0], audio)
    assert torch.allclose(pull[1:], alone[1:])
    assert not torch.allclose(pull[0], alone[0])


def test_discriminators_get_their_own_gradient_alone():
    judge, waves = adversary(every=1), tones(0)
    audio = noise(0).requires_grad_()
    total, _ = judge.objective(distance, audio, waves, step=0, fraction=0.0)
    given = [p.grad.clone() for p in judge.net.parameters() if p.grad is not None]
    gain = [0.1 / (waves.square().mean(dim=1, keepdim=True).sqrt() + 1e-4)] * 2
    loss = discriminator_loss(judge.net(audio.detach() * gain[0]), judge.net(waves * gain[1]), "hinge")
    expected = torch.autograd.grad(loss, list(judge.net.parameters()))
    for got, wanted in zip(given, expected, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-7)
    total.backward()  # the codec's step leaves them alone
    for parameter, before in zip(judge.net.parameters(), given, strict=True):
        assert torch.equal(parameter.grad, before)


def test_before_its_start_there_is_the_criterion_alone():
    judge = adversary(start=0.5)
    audio, waves = noise(0).requires_grad_(), tones(0)
    total, terms = judge.objective(distance, audio, waves, step=3, fraction=0.49)
    assert total.item() == distance(audio, waves)[0].item()
    assert set(terms) == {"distance"}
    assert judge.learn(3, 1.0) == {}
    judge.objective(distance, audio, waves, step=4, fraction=0.5)
    assert judge.started_at == 4


def test_the_pull_rises_from_nothing():
    norms = []
    for step in (0, 4, 9, 50):
        judge = adversary(ramp_steps=10, every=1000)
        judge.started_at = 0
        audio, waves = noise(0).requires_grad_(), tones(0)
        total, _ = judge.objective(distance, audio, waves, step, 0.0)
        (gradient,) = torch.autograd.grad(total, audio)
        norms.append((gradient - torch.autograd.grad(distance(audio, waves)[0], audio)[0]).norm().item())
    assert norms == pytest.approx([0.1 * norms[3], 0.5 * norms[3], norms[3], norms[3]], rel=1e-3)


# Learning


@pytest.mark.parametrize(("loss", "bfloat16"), [("hinge", True), ("least_squares", False)])
def test_discriminators_learn_to_tell_noise_from_tones(loss, bfloat16):
    judge = adversary(bfloat16, loss=loss, every=2, learning_rate=1e-2)
    for step in range(40):
        audio = noise(step).requires_grad_()
        _, terms = judge.objective(distance, audio, tones(step), step, 0.0)
        told = judge.learn(step, 1.0)
        assert ("discriminator_refused" in told) == (step % 2 == 0)
    assert terms["accuracy"].item() > 0.95
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in terms.values())


def test_a_step_that_is_not_finite_leaves_the_discriminators_as_they_are():
    judge, waves = adversary(every=1), tones(0)
    before = [p.detach().clone() for p in judge.net.parameters()]
    audio = noise(0)
    audio[0, 100] = math.nan
    total, _ = judge.objective(distance, audio.requires_grad_(), waves, 0, 0.0)
    assert not math.isfinite(total.item())  # so that the codec's step is refused too
    assert judge.learn(0, 1.0)["discriminator_refused"].item() == 1.0
    assert all(torch.equal(a, b) for a, b in zip(before, judge.net.parameters(), strict=True))
    judge.objective(distance, noise(0).requires_grad_(), waves, 1, 0.0)
    assert judge.learn(1, 1.0)["discriminator_refused"].item() == 0.0


def test_its_draws_are_its_own():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = adversary()
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), adversary().net.parameters(), strict=True))


def test_it_works_beside_the_reconstruction_loss():
    judge, waves = adversary(), tones(0)
    criterion = ReconstructionLoss(LossConfig(), 16_000)
    audio = (waves + noise(0)).requires_grad_()
    total, _ = judge.objective(criterion, audio, waves, 0, 0.0)
    (gradient,) = torch.autograd.grad(total, audio)
    assert torch.isfinite(gradient).all()
    assert total.item() == pytest.approx(criterion(audio, waves)[0].item(), rel=1e-6)


def test_windows_are_checked():
    from audiocodec.config import parse

    for windows in ([], [64], [130]):
        with pytest.raises(ConfigError, match="windows"):
            parse(AdversarialConfig, {"windows": windows}, "recipe.yaml")
