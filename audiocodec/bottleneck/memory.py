"""The memory of VP: a first-in-first-out queue of recent latents, and the search in it (arXiv 2602.17133, step 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from audiocodec.bottleneck.neighbours import NeighbourIndex, kth_distances

# New latents wait until there are this many parts of the queue of them, because each merge means another index.
_MERGES = 64
_EARLY_MERGES = 16


class LatentQueue(nn.Module):
    """The last ``capacity`` latents pushed, ``[dims]`` each; the oldest give way.

    Everything is in buffers (queue, write position, fill count, and the latents that wait to be merged), so that it
    survives ``state_dict``, a resumed run and a change of device; the index is made again from them, identically.
    New latents are merged once they are 1/64 of the capacity, or 1/16 of what is there while it fills: what is
    searched lags by at most so much, and building the index takes a few milliseconds a step at most.
    """

    queue: Tensor
    cursor: Tensor
    filled: Tensor
    pending: Tensor
    waiting: Tensor

    def __init__(self, capacity: int, dims: int, exact: bool = False) -> None:
        """``exact`` searches all latents by matrix products on the CPU too; other devices always do."""
        super().__init__()
        self.exact = exact
        self.register_buffer("queue", torch.zeros(capacity, dims))
        self.register_buffer("cursor", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("pending", torch.zeros(max(1, capacity // _MERGES), dims))
        self.register_buffer("waiting", torch.zeros(1, dtype=torch.int64))
        self.merges = 0
        self._index: NeighbourIndex | None = None
        self.register_load_state_dict_post_hook(LatentQueue._forget)

    def __len__(self) -> int:
        return int(self.filled)

    @property
    def latents(self) -> Tensor:
        """What is searched: ``[filled, dims]``, in no order that matters."""
        return self.queue[: len(self)].float()

    @torch.no_grad()
    def push(self, latents: Tensor) -> None:
        """Append ``latents [n, dims]``, of every process where training is distributed, in the order of ranks."""
        rows = gather_rows(latents.detach().to(self.queue))
        while len(rows):
            start = int(self.waiting)
            part, rows = rows[: len(self.pending) - start], rows[len(self.pending) - start :]
            self.pending[start : start + len(part)] = part
            self.waiting += len(part)
            if start + len(part) >= max(1, min(len(self.pending), len(self) // _EARLY_MERGES)):
                self._merge()

    def distances(self, queries: Tensor, ks: Sequence[int]) -> Tensor:
        """Distance from ``queries [n, dims]`` to its k-th nearest latent, for each k: ``[n, len(ks)] float32``.

        Raises:
            ValueError: fewer latents are there than a k.
        """
        if self.exact or self.queue.device.type != "cpu":
            return kth_distances(queries, self.latents, ks)
        if self._index is None or self._index.neighbours != max(ks):  # the index must not tell what was asked before
            self._index = NeighbourIndex(self.latents, max(ks))
        return self._index.kth_distances(queries, ks)

    def _merge(self) -> None:
        count, capacity = int(self.waiting), len(self.queue)
        places = (int(self.cursor) + torch.arange(count, device=self.queue.device)) % capacity
        self.queue[places] = self.pending[:count]
        self.cursor.copy_((self.cursor + count) % capacity)
        self.filled.copy_((self.filled + count).clamp(max=capacity))
        self.waiting.zero_()
        self._forget()

    def _forget(self, *_: Any) -> None:
        self.merges += 1
        self._index = None

    def _apply(self, *arguments: Any, **options: Any) -> LatentQueue:
        self._forget()
        return super()._apply(*arguments, **options)


def gather_rows(rows: Tensor) -> Tensor:
    """``rows [n, ...]`` of all processes, one rank's after another's; as they are where there is one process.

    The numbers of rows may differ. All processes must call it.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    sizes = [int(count) for count in counts]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
