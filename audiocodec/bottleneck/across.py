"""Statistics of a batch that several processes share, an equal part each, as one process would have them of the whole.

A loss that is no plain mean over examples needs them: its gradient, averaged over the processes, is otherwise not that
of the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """Processes that train together, 1 where there is no process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def overall(mean: Tensor) -> Tensor:
    """The mean over the whole batch, of any shape, from the ``mean`` over this process's part of it.

    Its gradient is that of ``mean``. The processes' parts count for 1 / W each in the whole, and averaging W gradients
    divides by W: so the average is the gradient of the whole, and nothing has to be exchanged on the way back. All
    processes must call it; as it is where there is one.
    """
    if process_count() == 1:
        return mean
    return mean + (_averaged(mean.detach()) - mean.detach())


def moments(rows: Tensor, together: bool) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column of ``rows [n, dims]``, ``[dims]`` both; ``together``: over all processes."""
    if not together or process_count() == 1:
        return rows.mean(dim=0), rows.var(dim=0, correction=0)
    mean = overall(rows.mean(dim=0))
    # Through the mean the variance has no gradient: deviations from it add up to nothing, over all processes.
    return mean, overall((rows - mean.detach()).square().mean(dim=0))


@torch.compiler.disable  # an exchange between processes: nothing for a compiler
def _averaged(mean: Tensor) -> Tensor:
    whole = mean.clone()
    distributed.all_reduce(whole)
    return whole / process_count()
