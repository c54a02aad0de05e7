"""VP: vector perturbation (VP-VAE, arXiv 2602.17133).

While the network trains there is no codebook. Each latent is moved at random within the cell that a codebook of K
words would have around it, by a step that leaves the distribution of the latents as it is, and so the decoder
learns to live with the error of such a codebook. The codebook is made afterwards, by k-means over latents of any
data; one network serves any size up to the one that it was trained for. See ``memory.py`` for the queue of latents,
``perturb.py`` for the step, ``kmeans.py`` for the codebook, ``calibrate.py`` for eta.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from audiocodec.bottleneck.across import moments
from audiocodec.bottleneck.base import Bottleneck
from audiocodec.bottleneck.kmeans import kmeans, nearest
from audiocodec.bottleneck.memory import LatentQueue
from audiocodec.bottleneck.perturb import Moves, perturb
from audiocodec.config import VpConfig
from audiocodec.errors import ModelError

# A provisional codebook is made at each validation: it has to take seconds, and a few iterations do most of the work.
_PROVISIONAL_ITERATIONS = 8


class VP(Bottleneck):
    """Vector perturbation of latents ``[batch, frames, dims]`` in ``groups`` equal parts, each with its own codebook.

    ``levels [batch, groups]`` are codebook sizes. Where an example's size K is not ``codebook_size``, its ball has the
    volume that K words would leave: the radius is multiplied by ``(codebook_size / K) ** (1 / d)``.

    With ``quantise_probability`` above 0 (0 in the paper) so many vectors are quantised by the stored codebooks
    instead, as FSP does: a last stage of training, whose decoder meets the words that it will decode.

    Until the queue holds ``neighbours`` latents, all pass as they are. While it fills with n of ``codebook_size * M``,
    the radius is of n / codebook_size neighbours instead of M, at least k, scaled to the same share of the latents:
    cells have their size from the start. Batches may be of any size: what enters the queue is ``push_fraction`` of
    them on average. The queue takes latents in training mode only.
    """

    def __init__(self, config: VpConfig, dims: int) -> None:
        """``dims`` of all groups together. Raises ValueError if they cannot be split so."""
        super().__init__()
        if dims % config.groups:
            raise ValueError(f"{dims} dimensions cannot be split into {config.groups} equal groups")
        self.config = config
        self.deviation = 1.0
        self.dims = dims // config.groups
        self.cell_points = max(config.neighbours, round(config.points_per_dim * self.dims))
        """M: latents of a full queue for each code word."""
        capacity, exact = config.codebook_size * self.cell_points, config.search == "exact"
        count = config.groups if config.queue else 0
        self.queues = nn.ModuleList(LatentQueue(capacity, self.dims, exact) for _ in range(count))
        for size in config.codebooks:
            self.register_buffer(f"codebook_{size}", torch.zeros(config.groups, size, self.dims))
        self._provisional: dict[int, tuple[int, Tensor]] = {}

    @property
    def codebooks(self) -> dict[int, Tensor]:
        """Stored codebooks by size K: ``[groups, K, dims]``."""
        return {size: self.get_buffer(f"codebook_{size}") for size in self.config.codebooks}

    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """``[batch, frames, dims]`` and ``levels [batch, groups]`` to the decoder's input.

        The gradient passes as if nothing had been done; float32 inside, whatever autocast says.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            quantised = self._drawn(latents)
            parts = [self._disturbed(g, part, levels[:, g], quantised) for g, part in enumerate(self._split(latents))]
            if self.training and self.queues:
                self._remember(latents.detach())
            return torch.cat(parts, dim=-1)

    def undisturbed(self, latents: Tensor) -> Tensor:
        """The latents as they are; the queue takes its share of them, so that it is not empty afterwards."""
        if self.training and self.queues:
            self._remember(latents.detach().float())
        return latents

    @torch.compiler.disable  # a search and a queue: nothing for a compiler
    def moves(self, group: int, latents: Tensor, sizes: Tensor) -> Moves:
        """One step of the walk from ``latents [n, dims]`` of a group, ``sizes [n]`` their codebooks' sizes."""
        queue, k = self._queue(group), self.config.neighbours
        there, words = len(queue), self.config.codebook_size
        if there < k:
            still = torch.zeros(len(latents), device=latents.device)
            return Moves(latents, still.bool(), still)
        m = max(k, round(there / words))
        share = there / (words * m)
        scale = self.config.eta * (share * words / sizes.float()) ** (1.0 / self.dims)

        def neighbourhood(points: Tensor) -> tuple[Tensor, Tensor]:
            near, far = queue.distances(points, (k, m)).unbind(dim=1)
            return near, scale * far

        return perturb(latents, neighbourhood, self.config.accept == "always")

    def acceptance(self, latents: Tensor, levels: Tensor) -> list[float]:
        """Share of moves accepted, one for each group that is present; none where no queue holds enough to move by.

        ``latents [1, frames, dims]``, ``levels [1, groups]``. Draws from torch's generator, as training does.
        """
        if not self.queues or len(self._queue(0)) < self.config.neighbours:
            return []
        flat = self._split(latents[0].float())
        sizes = levels.expand(len(latents[0]), -1)
        groups = [g for g in range(self.config.groups) if int(levels[0, g]) > 1]
        return [float(self.moves(g, flat[g], sizes[:, g]).accepted.float().mean()) for g in groups]

    def indices(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Nearest code word of each group: ``[batch, frames, groups] int64``.

        Raises:
            ModelError: there is no such codebook, and no latents to make a provisional one of.
        """
        out = torch.zeros(*latents.shape[:2], self.config.groups, dtype=torch.int64, device=latents.device)
        with torch.autocast(latents.device.type, enabled=False):
            for g, part in enumerate(self._split(latents.float())):
                for size, rows in _present(levels[:, g]):
                    labels, _ = nearest(part[rows].flatten(0, 1), self.codebook(size)[g])
                    out[rows, :, g] = labels.view(-1, latents.shape[1])
        return out

    def from_indices(self, indices: Tensor, levels: Tensor) -> Tensor:
        """Code words ``[batch, frames, dims]``; absent groups are zero. Raises ModelError as :meth:`indices`."""
        parts = []
        for g in range(self.config.groups):
            part = torch.zeros(*indices.shape[:2], self.dims, device=indices.device)
            for size, rows in _present(levels[:, g]):
                part[rows] = self.codebook(size)[g][indices[rows, :, g]]
            parts.append(part)
        return torch.cat(parts, dim=-1)

    def penalty(self, latents: Tensor) -> Tensor:
        """Latent normalisation loss (step 6): mean 0 and variance 1 in each dimension."""
        mean, variance = moments(latents.float().flatten(0, -2), self.training)
        weights = self.config.mean_weight, self.config.variance_weight
        return weights[0] * mean.square().mean() + weights[1] * (variance - 1).square().mean()

    def alphabet(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """The codebook sizes themselves. Raises ValueError for one that is not stored."""
        odd = [level for level in levels if level != 1 and level not in self.config.codebooks]
        if odd:
            raise ValueError(f"there is no codebook of {odd[0]} words, only of {self.config.codebooks or 'none'}")
        return levels

    def codebook(self, size: int) -> Tensor:
        """``[groups, size, dims]``: the stored codebook, or in training one made of the queue as it is now.

        Raises:
            ModelError: it is not stored, and the queue is empty or absent.
        """
        if size in self.config.codebooks:
            return self.get_buffer(f"codebook_{size}")
        if not self.queues or not len(self._queue(0)):
            raise ModelError(f"the model has no codebook of {size} words; compile one")
        age = sum(self._queue(g).merges for g in range(self.config.groups))
        if size not in self._provisional or self._provisional[size][0] != age:
            latents = torch.stack([self._queue(g).latents for g in range(self.config.groups)])
            self._provisional[size] = (age, make_codebook(latents, size, _PROVISIONAL_ITERATIONS))
        return self._provisional[size][1]

    def finished(self, codebooks: dict[int, Tensor]) -> VP:
        """A bottleneck for inference with these codebooks, ``[groups, K, dims]`` by K, and no queue."""
        sizes = tuple(sorted(codebooks))
        changes = {"codebooks": sizes, "queue": False, "quantise_probability": 0.0}
        made = VP(self.config.model_copy(update=changes), self.dims * self.config.groups)
        for size in sizes:
            made.get_buffer(f"codebook_{size}").copy_(codebooks[size])
        return made.train(self.training)

    def _split(self, latents: Tensor) -> tuple[Tensor, ...]:
        return latents.split(self.dims, dim=-1)

    def _queue(self, group: int) -> LatentQueue:
        if not self.queues:
            raise ModelError("the model is finished: it has no queue of latents to train with")
        queue = self.queues[group]
        assert isinstance(queue, LatentQueue)
        return queue

    def _drawn(self, latents: Tensor) -> Tensor | None:
        """Which vectors ``[batch, frames]`` the stored codebooks quantise, in all groups alike; None for none."""
        share = self.config.quantise_probability
        return torch.rand(latents.shape[:2], device=latents.device) < share if share else None

    def _disturbed(self, group: int, latents: Tensor, levels: Tensor, quantised: Tensor | None) -> Tensor:
        present = (levels > 1).nonzero().flatten()
        moved = torch.zeros_like(latents)
        if len(present):
            rows = latents.detach()[present]
            sizes = levels[present].repeat_interleave(latents.shape[1])
            if quantised is None:
                moved[present] = self.moves(group, rows.flatten(0, 1), sizes).moved.view_as(rows)
            else:
                mask = quantised[present].flatten()
                moved[present] = self._mixed(group, rows.flatten(0, 1), sizes, mask).view_as(rows)
        return (latents + (moved - latents.detach())) * (levels > 1)[:, None, None]

    @torch.compiler.disable
    def _mixed(self, group: int, latents: Tensor, sizes: Tensor, quantised: Tensor) -> Tensor:
        """``latents [n, dims]`` with those that ``quantised [n]`` marks at their code words, and the others moved."""
        out = latents.clone()
        out[~quantised] = self.moves(group, latents[~quantised], sizes[~quantised]).moved
        for size in sizes.unique().tolist():
            marked = quantised & (sizes == size)
            words = self.get_buffer(f"codebook_{size}")[group]
            out[marked] = words[nearest(latents[marked], words)[0]]
        return out

    @torch.compiler.disable
    def _remember(self, latents: Tensor) -> None:
        rows = latents.flatten(0, 1)
        # On average the exact share, whatever the batch's size; on the CPU, whose generator every device shares.
        count = int(len(rows) * self.config.push_fraction + float(torch.rand(())))
        chosen = rows[torch.randperm(len(rows))[:count].to(rows.device)]
        for group, part in enumerate(chosen.split(self.dims, dim=-1)):
            self._queue(group).push(part)


def make_codebook(latents: Tensor, size: int, iterations: int = 50, seed: int = 0) -> Tensor:
    """k-means over ``latents [groups, n, dims]``: ``[groups, size, dims]`` (step 7).

    With fewer latents than words, the words left over lie beyond all latents and are never chosen.
    """
    words = latents.new_full((len(latents), size, latents.shape[2]), 1e4)
    for group, points in enumerate(latents):
        count = min(size, len(points))
        words[group, :count] = kmeans(points, count, iterations, seed).centres
    return words


def _present(levels: Tensor) -> Iterable[tuple[int, Tensor]]:
    """Each codebook size in ``levels [batch]`` with the examples that use it; absent ones (1) are left out."""
    return [(int(size), (levels == size).nonzero().flatten()) for size in levels.unique() if size > 1]
