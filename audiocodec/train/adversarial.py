"""The adversarial objective: discriminators that learn beside the codec, and what the codec learns from them.

Losses are those of EnCodec (arXiv 2210.13438, section 3.4: hinge, and relative L1 between features, equation 2) or
least squares (arXiv 1611.04076). They reach the codec through its audio alone: :meth:`Adversary.objective` weighs the
gradients of the losses with respect to the decoded samples, as EnCodec's balancer does (equation 4), so that
``adversarial.weight`` means the same whatever the losses' own scales are, and hands the sum on as one scalar.

One pass over decoded audio and one over recordings serve both sides: the codec's gradient is taken from the first, and
every ``adversarial.every``-th step the discriminators' from both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.bottleneck.across import overall, process_count
from audiocodec.errors import ModelError
from audiocodec.train.discriminators import Discriminators, Verdict
from audiocodec.train.distributed import agreed, from_leader, share_of
from audiocodec.train.optimiser import Optimisers
from audiocodec.train.recipe import AdversarialConfig, OptimiserConfig
from audiocodec.train.schedule import ema_decay
from audiocodec.train.state import load_state

LOUDNESS = 0.1  # root mean square that examples are scaled to before they are judged, as in losses.py
Kind = Literal["hinge", "least_squares"]
Criterion = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


def generator_loss(decoded: Verdict, kind: Kind) -> Tensor:
    """How far decoded audio is from passing as recorded: mean over the views, scalar of at least 0."""
    losses = [F.relu(1 - x.float()) if kind == "hinge" else (1 - x.float()).square() for x in decoded.logits]
    return torch.stack([loss.mean() for loss in losses]).mean()


def discriminator_loss(decoded: Verdict, recorded: Verdict, kind: Kind) -> Tensor:
    """How badly the two are told apart: mean over the views, scalar of at least 0; 2 (hinge) if all logits are 0."""
    losses = []
    for fake, real in zip(decoded.logits, recorded.logits, strict=True):
        if kind == "hinge":
            losses.append(F.relu(1 + fake.float()).mean() + F.relu(1 - real.float()).mean())
        else:
            losses.append(fake.float().square().mean() + (1 - real.float()).square().mean())
    return torch.stack(losses).mean()


def feature_distance(decoded: Verdict, recorded: Verdict) -> Tensor:
    """L1 between feature maps over the mean of the recording's, mean over layers and views (EnCodec, equation 2)."""
    distances = []
    for fake, real in zip(decoded.features, recorded.features, strict=True):
        wanted = real.detach().float()
        distances.append((fake.float() - wanted).abs().mean() / overall(wanted.abs().mean()).clamp_min(1e-8))
    return torch.stack(distances).mean()


def accuracy(decoded: Verdict, recorded: Verdict, kind: Kind) -> Tensor:
    """Share of the logits on the right side, scalar: 1/2 is guessing."""
    middle = 0.0 if kind == "hinge" else 0.5
    pairs = zip(decoded.logits, recorded.logits, strict=True)
    shares = [((fake < middle).float().mean() + (real > middle).float().mean()) / 2 for fake, real in pairs]
    return torch.stack(shares).mean()


class Balancer:
    """Averages of the norms of two gradients, and the factor that makes the second's a multiple of the first's.

    Norms are those of an example, averaged over the batch and then over steps (EnCodec, equation 4, with the
    reconstruction's own scale kept, so that the learning rate means what it did without a discriminator). Where several
    processes share a batch they agree on the norms, as of the whole batch.
    """

    def __init__(self, decay: float, device: torch.device) -> None:
        self.decay, self.updates = decay, 0
        self.norms = torch.zeros(2, device=device)

    @torch.no_grad()
    def factor(self, first: Tensor, second: Tensor) -> Tensor:
        """Take in two gradients, ``[batch, samples]`` each; returns the ratio of the averaged norms, a scalar."""
        # The mean over a part of the batch pulls each example of it so many times as strongly as that over the whole.
        now = overall(torch.stack([gradient.norm(dim=1).mean() for gradient in (first, second)])) / process_count()
        decay = ema_decay(self.decay, self.updates) if self.updates else 0.0
        # A step that is refused leaves no trace here either.
        self.norms = torch.where(torch.isfinite(now).all(), now.lerp(self.norms, decay), self.norms)
        self.updates += 1
        return self.norms[0] / self.norms[1].clamp_min(1e-12)


class Adversary:
    """Discriminators with their optimiser and balancer; ``started_at`` is the step that they first judged, or None."""

    def __init__(self, config: AdversarialConfig, seed: int, device: torch.device, bfloat16: bool) -> None:
        self.config, self.device, self.bfloat16 = config, device, bfloat16
        with torch.random.fork_rng(devices=[]):  # the codec's own draws stay what they are without an adversary
            torch.manual_seed(seed)
            self.net = Discriminators(config.windows, config.channels).to(device)
        settings = OptimiserConfig(learning_rate=config.learning_rate, betas=config.betas, clip=config.clip)
        self.optimisers = Optimisers(self.net, settings)
        self.balancer = Balancer(config.balance_decay, device)
        self.started_at: int | None = None
        self.judged = config.examples and share_of(config.examples, "adversarial.examples")
        self._told_apart = torch.zeros((), device=device)

    def objective(
        self, criterion: Criterion, audio: Tensor, waves: Tensor, step: int, fraction: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``criterion`` of ``audio`` against ``waves`` (``[batch, samples]`` each), and what the discriminators add.

        Returns a scalar with the criterion's value and the balanced gradient, and the terms for the log. Before
        ``fraction``, the part of the run that is over, reaches ``adversarial.start`` it is the criterion alone. Every
        n-th step the discriminators' own gradients are left in them, for :meth:`learn`.
        """
        if self.started_at is None and fraction >= self.config.start:
            self.started_at = step
        if self.started_at is None:
            return criterion(audio, waves)
        heard = audio.detach().requires_grad_()
        total, terms = criterion(heard, waves)
        (gradient,) = torch.autograd.grad(total, heard)
        pull, told = self._judge(heard, waves, learns=self._learns(step))
        count = self.judged
        rise = min(1.0, (step - self.started_at + 1) / max(1, self.config.ramp_steps))
        scale = self.config.weight * rise * self.balancer.factor(gradient[:count], pull[:count])
        surrogate = (audio * (gradient + scale * pull)).sum()
        return total.detach() + (surrogate - surrogate.detach()), {**terms, **told}

    def learn(self, step: int, rate_factor: float) -> dict[str, Tensor]:
        """Step the discriminators where :meth:`objective` left them gradients; refused where one is not finite."""
        if self.started_at is None or not self._learns(step):
            return {}
        _, refused = self.optimisers.step(self._told_apart, rate_factor)
        return {"discriminator_refused": refused}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "net": dict(self.net.state_dict()),
            "optimisers": self.optimisers.state_dict(),
            "norms": self.balancer.norms,
            "updates": self.balancer.updates,
            "started_at": self.started_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        self.net.load_state_dict(state["net"])
        self.optimisers.load_state_dict(state["optimisers"])
        self.balancer.norms = state["norms"].to(self.device)
        self.balancer.updates, self.started_at = state["updates"], state["started_at"]

    def _judge(self, heard: Tensor, waves: Tensor, learns: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradient of the codec's losses in the samples of ``heard``, and the terms; the discriminators' if wanted."""
        kind, count = self.config.loss, self.judged
        waves = waves[:count]
        gain = LOUDNESS / (waves.square().mean(dim=1, keepdim=True).sqrt() + 1e-4)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            decoded = self.net(heard[:count] * gain)
            with torch.set_grad_enabled(learns):
                recorded = self.net(waves * gain)
        adversarial, feature = generator_loss(decoded, kind), feature_distance(decoded, recorded)
        # Only the samples' gradient is taken: nothing reaches the discriminators' weights from the codec's losses.
        (pull,) = torch.autograd.grad(adversarial + self.config.feature_weight * feature, heard, retain_graph=learns)
        with torch.set_grad_enabled(learns):
            self._told_apart = discriminator_loss(decoded, recorded, kind)
            if learns:
                torch.autograd.backward(self._told_apart, inputs=self.optimisers.parameters)
        told = {"adversarial": adversarial, "feature": feature, "discriminator": self._told_apart}
        told["accuracy"] = accuracy(decoded, recorded, kind)
        return pull, {name: value.detach() for name, value in told.items()}

    def begin_from(self, checkpoint: Path) -> None:
        """Take the discriminators' weights, and nothing else, from a checkpoint of another run.

        Raises:
            ModelError: it is missing or damaged, holds no discriminators, or others than these.
        """
        state = from_leader(lambda: _adversary_in(checkpoint))
        agreed(lambda: self._take(state["net"], checkpoint))

    def _take(self, weights: dict[str, Tensor], checkpoint: Path) -> None:
        try:
            self.net.load_state_dict(weights)
        except RuntimeError:
            raise ModelError(
                f"the discriminators in {checkpoint} are others than adversarial.windows and channels ask for"
            ) from None

    def _learns(self, step: int) -> bool:
        return step % self.config.every == 0


def _adversary_in(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] | None = load_state(checkpoint).get("adversary")
    if state is None:
        raise ModelError(f"{checkpoint} is of a run without discriminators; leave adversarial.init_from out")
    return state
