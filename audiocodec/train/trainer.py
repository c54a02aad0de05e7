"""The training loop proper: steps, averages, logging, validation and checkpoints of one network.

Nothing here waits for the device between two log lines: sums stay on the device, and a step with a non-finite loss
or gradient is refused there (:class:`audiocodec.train.optimiser.Optimisers`).

Several processes (:mod:`audiocodec.train.distributed`) run this loop in step, each on its part of a batch.

An adversarial objective (:mod:`audiocodec.train.adversarial`) stands in :meth:`Trainer.objective` beside the
reconstruction loss, and its own optimiser is stepped in :meth:`Trainer.train_step`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.bottleneck.across import process_count
from audiocodec.errors import AudiocodecError
from audiocodec.train.adversarial import Adversary
from audiocodec.train.average import Average
from audiocodec.train.distributed import agreed, averaged_scalars, from_leader, leads, led, meet, process_rank
from audiocodec.train.feed import Batch, Purpose, prefetched, seed_for
from audiocodec.train.interrupt import StopRequest
from audiocodec.train.journal import Journal, Progress
from audiocodec.train.optimiser import Optimisers
from audiocodec.train.recipe import Recipe, as_json
from audiocodec.train.schedule import ema_decay, learning_rate_factor, progress
from audiocodec.train.state import checkpoint_path, load_state, refuse_other_shape, save_state
from audiocodec.train.validate import Clip, usable_metrics, validate

# Steps over which refused ones are counted before the run is given up.
REFUSAL_WINDOW = 20


@dataclass(frozen=True)
class Parts:
    """What a trainer is given.

    ``forward(waves, levels, quantise)`` is the training pass of ``net``, compiled or not, and gives ``.audio`` and
    ``.penalty``; ``reconstruct(waves, levels)`` is what an encoded and decoded file would hold;
    ``token_use(clips, counts)`` tells a validation's line about tokens.
    """

    net: nn.Module
    forward: Callable[[Tensor, Tensor, bool], Any]
    reconstruct: Callable[[Tensor, Tensor], Tensor]
    criterion: nn.Module
    make_batch: Callable[[int], Batch]
    clips: Sequence[Clip]
    save_model: Callable[[Path], None]
    token_use: Callable[[Sequence[Clip], Sequence[int]], dict[str, float]] = lambda _clips, _counts: {}


class Trainer:
    """One run. Its files: OUT/training.safetensors, OUT/model, OUT/best, OUT/log.jsonl, OUT/tensorboard."""

    def __init__(self, recipe: Recipe, parts: Parts, journal: Journal, out: Path, device: torch.device) -> None:
        self.recipe, self.parts, self.journal, self.out, self.device = recipe, parts, journal, out, device
        self.net = parts.net
        self.optimisers = Optimisers(self.net, recipe.optimiser)
        self.average = Average(self.net)
        self.adversary = _adversary(recipe, device)
        self.step = 0
        self.best_score: float | None = None
        self.refused_steps = 0
        self._elapsed_before_s = 0.0
        self._started: float | None = None
        self._agreed_s: float | None = None
        self._stopping = False
        self._logged_at = (0, 0.0)
        self._rate_factor = 0.0
        self._validated_at = (0, 0.0)
        self._sums: dict[str, Tensor] = {}
        self._summed = self._recent_steps = 0
        self._recent_refused = 0.0
        self._metrics, missing = usable_metrics(recipe.validation.metrics if leads() else ())
        if missing:
            self.note(missing)

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return checkpoint_path(self.out)

    def elapsed_s(self) -> float:
        """Seconds in training, those before a resumption included; with several processes, as they last agreed."""
        return self._agreed_s if self._agreed_s is not None else self._clock()

    def _clock(self) -> float:
        return self._elapsed_before_s + (time.monotonic() - self._started if self._started is not None else 0.0)

    def run(self, stop: StopRequest) -> None:
        """Train until the schedule ends or ``stop`` is set; then validate (if it ended) and save everything."""
        self.net.train()
        self._started = time.monotonic()
        self._meet(stop)
        saved = self.elapsed_s()
        self._logged_at = (self.step, self._clock())
        with prefetched(self.parts.make_batch, self.recipe.data.prefetch) as take:
            while not self._stopping and progress(self.recipe.schedule, self.step, self.elapsed_s()) < 1.0:
                self.train_step(take(self.step))
                if self.step % self.recipe.log_steps == 0:
                    self._log()
                if self._validation_is_due():
                    self.validate()
                if self.elapsed_s() - saved > self.recipe.checkpoint_seconds:
                    self.save()
                    saved = self.elapsed_s()
                self._meet(stop)
        if self._summed:
            self._log()
        if not self._stopping and self._validated_at[0] != self.step:
            self.validate()
        self.save()

    def train_step(self, batch: Batch) -> None:
        """One step of gradient descent, of the averages, and of the sums for the log."""
        recipe = self.recipe
        torch.manual_seed(seed_for(recipe.seed, self.step, Purpose.NETWORK, process_rank()))
        rate_factor = learning_rate_factor(recipe.schedule, self.step, self.elapsed_s())
        loss, terms = self.objective(batch)
        loss.backward()
        norm, refused = self.optimisers.step(loss, rate_factor)
        if self.adversary is not None:
            terms |= self.adversary.learn(self.step, rate_factor)
        self.average.update(ema_decay(recipe.ema_decay, self.step))
        self._add_up({**terms, "loss": loss, "gradient": norm}, refused)
        self.step += 1
        self._rate_factor = rate_factor

    def objective(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch, and its terms for the log."""
        waves = batch.waves.to(self.device, non_blocking=True)
        levels = batch.levels.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            out = self.parts.forward(waves, levels, self.step >= self.recipe.clean_steps)
        audio = out.audio.float()
        if self.adversary is None:
            loss, terms = self.parts.criterion(audio, waves)
        else:
            fraction = progress(self.recipe.schedule, self.step, self.elapsed_s())
            loss, terms = self.adversary.objective(self.parts.criterion, audio, waves, self.step, fraction)
        penalty = out.penalty.float()
        return loss + self.recipe.loss.penalty * penalty, {**terms, "penalty": penalty}

    def validate(self) -> None:
        """Measure the averaged weights, log, and keep them in OUT/best if no earlier ones were better."""
        led(self._measure)
        self._set_clock(meet(None, self._clock())[1])
        self._validated_at = (self.step, self.elapsed_s())

    def _measure(self) -> None:
        config = self.recipe.validation
        counts = config.counts or self.recipe.level_counts
        torch.manual_seed(0)  # what is random in the decoder is the same each time; training seeds every step itself
        self.parts.criterion.eval()  # its means are those of a clip: the other processes are not there
        # Clips have another length than crops, and are few: compiling the loss anew would take longer than they do.
        with self.average.applied(), torch.compiler.set_stance("force_eager"):
            result = validate(
                self.parts.reconstruct,
                self.parts.criterion,
                self.parts.clips,
                counts,
                self._metrics,
                self.recipe.model.sample_rate,
                self.device,
            )
            use = self.parts.token_use(self.parts.clips, counts)
            self.report("validation", result.values | use)
            for name, samples in result.audio.items():
                self.journal.audio(name, samples, self.step)
            score = result.score(config.best_by if config.best_by in self._metrics else "loss")
            if self.best_score is None or score > self.best_score:
                self.best_score = score
                self.parts.save_model(self.out / "best")
        self.parts.criterion.train()

    def save(self) -> None:
        """Write OUT/model (averaged weights) and the checkpoint."""
        self._sums = averaged_scalars(self._sums)
        led(self._write)

    def _write(self) -> None:
        with self.average.applied():
            self.parts.save_model(self.out / "model")
        save_state(self.checkpoint, self._state())

    def resume(self) -> None:
        """Continue from the checkpoint in the output folder."""
        state = from_leader(self._read)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimisers.load_state_dict(state["optimisers"])
        if self.adversary is not None and state.get("adversary") is not None:
            self.adversary.load_state_dict(state["adversary"])
        self.step, self.best_score, self.refused_steps = state["step"], state["best_score"], state["refused_steps"]
        self._elapsed_before_s = state["elapsed_s"]
        self._validated_at = state["validated_at"]
        self._sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self._summed = state["summed"]

    def _read(self) -> dict[str, Any]:
        state = load_state(self.checkpoint)
        refuse_other_shape(self.checkpoint, state["recipe"], as_json(self.recipe))
        return state

    def report(self, kind: str, values: dict[str, float] | None = None, message: str = "") -> None:
        """Log and show where the run stands."""
        elapsed = self._clock()
        fraction = progress(self.recipe.schedule, self.step, elapsed)
        self.journal.report(Progress(kind, self.step, elapsed, fraction, values or {}, message))

    def note(self, message: str) -> None:
        """Log and show a sentence."""
        self.report("note", message=message)

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": as_json(self.recipe),
            "step": self.step,
            "elapsed_s": self._clock(),
            "best_score": self.best_score,
            "refused_steps": self.refused_steps,
            "validated_at": self._validated_at,
            "sums": self._sums,
            "summed": self._summed,
            "net": dict(self.net.state_dict()),
            "average": self.average.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "adversary": self.adversary.state_dict() if self.adversary is not None else None,
        }

    def _validation_is_due(self) -> bool:
        config, (step, elapsed) = self.recipe.validation, self._validated_at
        by_steps = config.every_steps is not None and self.step - step >= config.every_steps
        by_time = config.every_minutes is not None and self.elapsed_s() - elapsed >= 60.0 * config.every_minutes
        return by_steps or by_time

    def _meet(self, stop: StopRequest) -> None:
        """Between two steps all processes agree on the time, and on whether any of them was told to stop."""
        number, seconds = meet(stop.signal_number, self._clock())
        if number is not None:  # one that arrives at this moment is not to be overwritten
            stop.signal_number = number
        self._stopping = number is not None
        self._set_clock(seconds)

    def _set_clock(self, seconds: float) -> None:
        if process_count() > 1:
            self._agreed_s = seconds

    def _add_up(self, terms: dict[str, Tensor], refused: Tensor) -> None:
        for name, value in terms.items():
            kept = torch.where(refused.bool(), torch.zeros_like(refused), value.detach().float())
            self._sums[name] = self._sums[name] + kept if name in self._sums else kept
        self._sums["refused"] = self._sums["refused"] + refused if "refused" in self._sums else refused
        self._summed += 1

    def _log(self) -> None:
        means = averaged_scalars(self._sums)
        names = sorted(means, key=lambda name: (name != "loss", name))
        sums = dict(zip(names, torch.stack([means[name] for name in names]).tolist(), strict=True))
        refused = sums.pop("refused")
        accepted = self._summed - refused
        values = {name: total / accepted for name, total in sums.items()} if accepted else {}
        values["rate_factor"] = self._rate_factor
        elapsed = self._clock()
        values["steps_per_s"] = (self.step - self._logged_at[0]) / max(elapsed - self._logged_at[1], 1e-9)
        self._logged_at = (self.step, elapsed)
        self.refused_steps += int(refused)
        values["refused_steps"] = float(self.refused_steps)
        self._recent_refused += refused
        self._recent_steps += self._summed
        self._sums, self._summed = {}, 0
        self.report("train", values)
        agreed(self._give_up_if_diverged)

    def _give_up_if_diverged(self) -> None:
        if self._recent_steps < REFUSAL_WINDOW:
            return
        if self._recent_refused > self._recent_steps / 2:
            raise AudiocodecError(
                f"training diverged: {int(self._recent_refused)} of the last {self._recent_steps} steps had a loss or "
                f"gradient that is not finite; lower optimiser.learning_rate and begin again, from the best weights "
                f"so far with --init {self.out / 'best'} if they are good"
            )
        self._recent_steps, self._recent_refused = 0, 0.0


def _adversary(recipe: Recipe, device: torch.device) -> Adversary | None:
    if not recipe.adversarial.weight:
        return None
    seed = seed_for(recipe.seed, 0, Purpose.ADVERSARY)
    return Adversary(recipe.adversarial, seed, device, recipe.precision == "bfloat16")
