"""Several processes that train one network together, as ``torchrun`` starts them: how they meet and what they agree on.

Each process has the whole network and an equal share of every batch. Gradients are averaged before each step, so all
processes make the same step and hold the same weights, averages and optimisers; the first one, the leader, is the only
one that logs, measures and writes.

Gradients are averaged here by one all-reduce after the backward pass, and not by ``DistributedDataParallel``: that
wraps one forward pass and the one backward pass that follows it, while here the codec's gradient comes through a
surrogate (``adversarial.py``), and the discriminators' is taken by a backward pass of its own, beside the codec's, at
some of the steps. Overlap of exchange and computation would save little: a codec of a few million parameters has some
10 MB of gradients.

What is decided on the host (time, signals, errors, files) goes through Gloo, also where gradients go through NCCL: it
needs no synchronisation with the GPU, and may wait hours for a leader that measures. With one process nothing here does
anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from audiocodec.bottleneck.across import process_count
from audiocodec.errors import AudiocodecError, ConfigError, UsageError

T = TypeVar("T")
# The others wait for as long as the leader decodes a corpus or measures; one that died is noticed at once.
PATIENCE = timedelta(hours=4)
# The launcher ends all processes once one has ended: long enough for the one that failed to say why.
LAST_WORDS_S = 1.0


def process_rank() -> int:
    """Number of this process, 0 to ``process_count() - 1``."""
    return distributed.get_rank() if process_count() > 1 else 0


def leads() -> bool:
    """Whether this process is the one that logs, measures and writes."""
    return process_rank() == 0


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of the machine's GPUs the one whose number torchrun gave it.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine, or ``device`` is one of them already.
    """
    if _launched() == 1 or device.type != "cuda":
        return device
    if device.index is not None:
        raise UsageError(f"'{device}' is one GPU, and there are {_launched()} processes; pass --device cuda")
    number, count = _local_rank(), torch.cuda.device_count()
    if number >= count:
        raise UsageError(
            f"process {number} of this machine has no GPU, there are {count}; pass --nproc-per-node {count}"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def launched() -> bool:
    """Whether a launcher started this process, and signals it."""
    return "RANK" in os.environ


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Within, this process belongs to those that torchrun started with it, if it did; all leave together.

    Raises:
        AudiocodecError: they cannot be reached.
    """
    if _launched() == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AudiocodecError(
            f"cannot meet the other processes: {reason}; start all of them with torchrun, or one without WORLD_SIZE set"
        ) from None
    try:
        yield
        agreed(lambda: None)  # nobody leaves before the leader has written everything
    finally:
        distributed.destroy_process_group()


def agreed(work: Callable[[], T]) -> T:
    """``work()`` in every process; if it fails in any, it has failed in all, and one of them says why.

    Raises:
        AudiocodecError: what ``work`` raised, in the first process where it did; SystemExit in the others.
    """
    if process_count() == 1:
        return work()
    error: AudiocodecError | None = None
    try:
        result = work()
    except AudiocodecError as caught:
        error = caught
    codes = [torch.zeros(1, dtype=torch.int64) for _ in range(process_count())]
    with _in_touch():
        distributed.all_gather(codes, torch.tensor([error.exit_code if error is not None else 0]))
    failed = [rank for rank, code in enumerate(codes) if code]
    if not failed:
        return result
    if error is not None and failed[0] == process_rank():
        raise error
    time.sleep(LAST_WORDS_S)
    raise SystemExit(int(codes[failed[0]]))


def led(work: Callable[[], None]) -> None:
    """``work()`` in the leader, for which the others wait. Raises as :func:`agreed`."""
    agreed(work if leads() else lambda: None)


def from_leader(make: Callable[[], T]) -> T:
    """What ``make()`` gives in the leader, which alone calls it, in every process. Raises as :func:`agreed`.

    For what is picklable; tensors are on the CPU.
    """
    if process_count() == 1:
        return make()
    box = [agreed(make if leads() else lambda: None)]
    with _in_touch():
        distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    (made,) = box
    return made  # type: ignore[return-value]  # None only where make() gave it


def in_turns(work: Callable[[], T]) -> T:
    """``work()`` in every process: the leader first, then one process of each other machine, then the rest.

    For what the first writes into a folder and the others then find there, whether machines share it or not. Raises as
    :func:`agreed`.
    """
    turn = 0 if leads() else 1 if _local_rank() == 0 else 2
    done: list[T] = []
    for now in range(3 if process_count() > 1 else 1):
        agreed(lambda: done.append(work()) if now == turn else None)  # noqa: B023 - called at once
    return done[0]


def meet(signal_number: int | None, seconds: float) -> tuple[int | None, float]:
    """What all go by until they meet again: a signal that any of them had, or None, and the leader's ``seconds``.

    Every process's own clock would give each another learning rate and another end.
    """
    if process_count() == 1:
        return signal_number, seconds
    told = torch.tensor([float(signal_number or 0), seconds if leads() else 0.0], dtype=torch.float64)
    with _in_touch():
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
    return int(told[0]) or None, float(told[1])


def averaged(values: Tensor) -> Tensor:
    """The mean of ``values``, any shape, over the processes; not finite in any of them is not finite in all."""
    if process_count() == 1:
        return values
    total = values.detach().clone()
    with _in_touch():
        distributed.all_reduce(total)
    return total / process_count()


def averaged_scalars(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each scalar over the processes, which must have the same names, in one exchange."""
    if process_count() == 1 or not values:
        return values
    names = sorted(values)
    return dict(zip(names, averaged(torch.stack([values[name] for name in names])), strict=True))


def average_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace each gradient by its mean over the processes; returns that of ``loss``, a scalar.

    Both in one exchange: a step that one process must refuse, for a loss or gradient that is not finite, all refuse.
    """
    if process_count() == 1:
        return loss
    # Which parameters have a gradient depends on the step alone, so these are the same ones in every process.
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = averaged(torch.cat([*(gradient.flatten() for gradient in gradients), loss.detach().reshape(1)]))
    parts = flat[:-1].split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return flat[-1]


def share_of(count: int, what: str) -> int:
    """How many of ``count`` examples of a batch are each process's.

    Raises:
        ConfigError: they cannot be shared equally; ``what`` is the setting.
    """
    world = process_count()
    if count % world:
        raise ConfigError(
            f"{what} is {count}, which {world} processes cannot share equally; make it a multiple of {world} "
            f"(--set {what}={-(-count // world) * world})"
        )
    return count // world


def _launched() -> int:
    """Number of processes that were started together, by what torchrun tells each."""
    return int(os.environ.get("WORLD_SIZE", "1")) if launched() else 1


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise AudiocodecError(
            f"process {process_rank()} lost touch with another one, whose own message says why; go on with --resume"
        ) from error
