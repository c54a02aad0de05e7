"""What changes over a run: the learning rate, and how long the averaged weights remember.

Everything is a function of the step and of the time in training, both of which a checkpoint keeps.
"""

from __future__ import annotations

import math

from audiocodec.train.recipe import ScheduleConfig


def progress(config: ScheduleConfig, step: int, elapsed_s: float) -> float:
    """Fraction of the run that is over, 0 to 1: by steps or by time, whichever is nearer its end."""
    by_steps = step / config.steps if config.steps else 0.0 if config.steps is None else 1.0
    by_time = elapsed_s / (60.0 * config.minutes) if config.minutes is not None else 0.0
    return min(1.0, max(by_steps, by_time))


def learning_rate_factor(config: ScheduleConfig, step: int, elapsed_s: float) -> float:
    """Factor on the learning rate at ``step`` (counted from 0), ``elapsed_s`` seconds into the run.

    A linear rise over ``warmup_steps``, times a fall from 1 to ``final`` over the part of the run after ``flat``.
    """
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    done = max(0.0, (progress(config, step, elapsed_s) - config.flat) / (1.0 - config.flat))
    if config.shape == "constant":
        fall = 1.0
    elif config.shape == "linear":
        fall = 1.0 - done
    else:
        fall = 0.5 * (1.0 + math.cos(math.pi * done))
    return rise * (config.final + (1.0 - config.final) * fall)


def ema_decay(target: float, step: int) -> float:
    """Decay of the averaged weights at ``step``: young averages forget quickly, so that initial weights fade."""
    return min(target, (1.0 + step) / (10.0 + step))
