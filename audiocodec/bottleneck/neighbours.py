"""Distance to the k-th nearest of a set of points: an exact blocked search, and an index that is much faster.

VP (arXiv 2602.17133) needs two such distances for each latent, twice a step, among 16 d points a code word: 131,072
points at 1024 words in 8 dimensions. Its authors take all distances and ``topk``. Here:

- :func:`kth_distances` is exact: all distances and a partial selection, a block at a time in constant memory. It is
  the reference, and what runs on a GPU.
- :class:`NeighbourIndex` (on the CPU) sorts the points into the leaves of a k-d tree, compares a query with the points
  of the nearest leaves only, and selects by minima of eights first. It looks at some ``8 * leaves**(1/3)`` leaves, or
  at eight for each dimension where that is less, which finds nearly all neighbours: the distance comes out too large
  by about 0.2 % on average, where the order statistic's own deviation is ``1 / (d * sqrt(m))``: 1.1 % at m = 128,
  d = 8. ``benchmarks/neighbours.py`` measures speed and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bounds of temporary memory: elements of one block of distances.
_BLOCK_ELEMENTS = 4_000_000
_FOLD = 8
_QUERIES = 512
_FAR = 1e30


def kth_distances(
    queries: Tensor, points: Tensor, ks: Sequence[int], block_elements: int = 4 * _BLOCK_ELEMENTS
) -> Tensor:
    """Euclidean distance from each of ``queries [n, d]`` to its k-th nearest of ``points [p, d]``, for each k.

    Exact; float32; memory is a block of ``block_elements`` distances, whatever the sizes. Distances are of differences:
    a matrix product would be a little faster, and lose its digits where points lie far out and close together.

    Returns:
        ``[n, len(ks)]``.

    Raises:
        ValueError: a k lies outside 1 to p.
    """
    _check(ks, len(points))
    points, queries = points.float(), queries.float()
    columns = torch.tensor([k - 1 for k in ks], device=queries.device)
    out = queries.new_empty(len(queries), len(ks))
    rows = max(1, block_elements // len(points))
    for start in range(0, len(queries), rows):
        distances = torch.cdist(queries[start : start + rows], points, compute_mode="donot_use_mm_for_euclid_dist")
        out[start : start + rows] = distances.topk(max(ks), largest=False).values[:, columns]
    return out


class NeighbourIndex:
    """Points sorted into the leaves of a k-d tree, to be searched approximately (see the module's text).

    ``neighbours``: the largest k that it will be asked for. ``probes``: leaves that each query is compared with;
    all of them make the search exact, None chooses. Building takes about 1.5 microseconds a point on one core.
    Results depend on the points and their order alone, not on when the index was built.
    """

    def __init__(self, points: Tensor, neighbours: int, probes: int | None = None) -> None:
        """``points [p, d]``. Raises ValueError if there are fewer than ``neighbours``."""
        _check([neighbours], len(points))
        self.neighbours = neighbours
        leaf = max(64, 1 << (2 * neighbours - 1).bit_length())
        self.leaves = 1 << max(0, (len(points) // leaf).bit_length() - 1)
        members, real = _split(points.detach().float().cpu(), self.leaves)
        self.centres = members.mean(dim=1)
        members = members - self.centres[:, None]
        norms = members.square().sum(dim=-1, keepdim=True).masked_fill(~real[..., None], _FAR)
        # [x, |x|^2, 1] for queries [-2 q, 1, |q|^2], both seen from the leaf's centre: distances without cancellation.
        self._members = torch.cat([members, norms, torch.ones_like(norms)], dim=-1).transpose(1, 2).contiguous()
        self._leaves = list(self._members)
        fewest = real.sum(dim=1).sort().values.cumsum(dim=0)  # in the emptiest leaves
        needed = int((fewest < neighbours).sum()) + 1
        self.probes = min(self.leaves, max(probes or round(8 * min(points.shape[1], self.leaves ** (1 / 3))), needed))

    def kth_distances(self, queries: Tensor, ks: Sequence[int]) -> Tensor:
        """Distances from ``queries [n, d]`` to the k-th nearest point found, for each k: ``[n, len(ks)]``.

        Raises:
            ValueError: a k lies outside 1 to ``neighbours``.
        """
        _check(ks, self.neighbours)
        rows = queries.detach().float().cpu()
        size = self._members.shape[2]
        block = max(1, min(_QUERIES, len(rows), _BLOCK_ELEMENTS // (self.probes * size) or 1))
        distances = torch.empty(block * self.probes, size)
        out = np.empty((len(rows), len(ks)), np.float32)
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            where = self._fill(part, distances)
            out[start : start + block] = _select(distances, where, ks)
        return torch.from_numpy(out).clamp_(min=0.0).sqrt_().to(queries.device)

    def _fill(self, queries: Tensor, distances: Tensor) -> NDArray[np.int64]:
        """Squared distances to the points of the probed leaves, a row for each query and leaf, sorted by leaf.

        Returns the row of each query's leaves, ``[n, probes]``.
        """
        n, p = len(queries), self.probes
        if p < self.leaves:
            to_centres = torch.addmm(self.centres.square().sum(dim=1), queries, self.centres.T, alpha=-2.0)
            chosen = np.argpartition(to_centres.numpy(), p - 1, axis=1)[:, :p].reshape(-1)
        else:
            chosen = np.tile(np.arange(p), n)
        order = chosen.argsort(kind="stable")
        counts = np.bincount(chosen, minlength=self.leaves).tolist()
        seen = queries[torch.from_numpy(order // p)] - self.centres[torch.from_numpy(chosen[order])]
        seen = torch.cat([-2.0 * seen, torch.ones(len(seen), 1), seen.square().sum(dim=1, keepdim=True)], dim=1)
        filled = distances[: n * p]
        for leaf, rows, out in zip(self._leaves, seen.split(counts), filled.split(counts), strict=True):
            if len(rows):
                torch.mm(rows, leaf, out=out)
        where = np.empty_like(order)
        where[order] = np.arange(len(order))
        return where.reshape(n, p)


def _select(distances: Tensor, where: NDArray[np.int64], ks: Sequence[int]) -> NDArray[np.float32]:
    """The k-th smallest of each query's rows, ``[n, len(ks)]``.

    The m smallest values lie in the m groups of eight whose minima are smallest, so that a sixth of the values is
    looked at again. NumPy's partition is several times as fast as torch's ``topk`` or ``kthvalue``.
    """
    (n, p), size, m = where.shape, distances.shape[1], max(ks)
    width = size // _FOLD
    minima = distances[: n * p].view(n * p, _FOLD, width).amin(dim=1).numpy()
    minima = minima[where.reshape(-1)].reshape(n, p * width)
    groups = np.argpartition(minima, min(m, minima.shape[1]) - 1, axis=1)[:, :m]
    leaf, column = np.divmod(groups, width)
    first = np.take_along_axis(where, leaf, axis=1) * size + column
    places = first[:, :, None] + np.arange(_FOLD) * width
    values = distances.numpy().reshape(-1).take(places.reshape(n, -1))
    values.partition(m - 1, axis=1)
    return np.sort(values[:, :m], axis=1)[:, [k - 1 for k in ks]]


def _split(points: Tensor, leaves: int) -> tuple[Tensor, Tensor]:
    """``points [p, d]`` cut along their widest direction again and again: ``[leaves, size, d]``, and which are real.

    Where p is no multiple, some points are repeated as stand-ins that are not real.
    """
    size = -(-len(points) // (leaves * _FOLD)) * _FOLD
    missing = leaves * size - len(points)
    repeated = torch.arange(missing) * len(points) // max(1, missing)
    cells = torch.cat([points, points[repeated]])[None]
    real = (torch.arange(leaves * size) < len(points))[None]
    while len(cells) < leaves:
        axis = cells.var(dim=1).argmax(dim=1)
        order = cells.gather(2, axis[:, None, None].expand(-1, cells.shape[1], 1))[..., 0].argsort(dim=1, stable=True)
        cells = cells.gather(1, order[..., None].expand(-1, -1, cells.shape[2]))
        cells = cells.reshape(2 * len(cells), -1, cells.shape[2])
        real = real.gather(1, order).reshape(len(cells), -1)
    return cells, real


def _check(ks: Sequence[int], count: int) -> None:
    if not ks or min(ks) < 1 or max(ks) > count:
        raise ValueError(f"the neighbours wanted are {list(ks)}, but there are {count} points to choose from")
