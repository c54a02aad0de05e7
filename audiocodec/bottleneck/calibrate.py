"""Calibration of VP's eta: the perturbation should be as large as the error of the codebook to come.

arXiv 2602.17133, step 8: eta makes the mean length of the accepted moves that of the quantisation error.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from audiocodec.bottleneck.kmeans import nearest
from audiocodec.bottleneck.vp import VP, make_codebook
from audiocodec.config import VpConfig

_QUERIES = 8192
_ROUNDS = 4


@dataclass(frozen=True)
class Calibration:
    """What :func:`calibrate` found."""

    eta: float
    """For :class:`audiocodec.config.VpConfig`."""
    ratio: float
    """E|q(z) - z| / E|z' - z| over accepted moves with that eta; 1 is the aim."""
    acceptance: float
    """Share of moves accepted with that eta."""


def calibrate(config: VpConfig, latents: Tensor, rounds: int = _ROUNDS, seed: int = 0) -> Calibration:
    """Measure eta on ``latents [n, dims]`` like those of training, ``dims`` of all groups together.

    Three quarters of the latents fill the queue and make a codebook of ``codebook_size`` words; the others (at most
    8192) are quantised and perturbed. The moves' length is nearly proportional to eta, so that a few rounds do.
    Torch's own generator is left as it was.

    Raises:
        ValueError: there are fewer latents than four thirds of the codebook's size.
    """
    size = config.codebook_size
    latents = latents.detach().float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latents = latents[torch.randperm(len(latents))]
        known, asked = latents[: 3 * len(latents) // 4], latents[3 * len(latents) // 4 :][:_QUERIES]
        if len(known) < size:
            raise ValueError(f"{len(latents)} latents are too few to calibrate a codebook of {size} words")
        dims = latents.shape[1] // config.groups
        words = make_codebook(torch.stack(known.split(dims, dim=1)), size, seed=seed)
        errors = [nearest(part, words[g])[1].sqrt() for g, part in enumerate(asked.split(dims, dim=1))]
        error = float(torch.stack(errors).mean())
        eta = config.eta
        length, acceptance = _moves(config, known, asked)
        for _ in range(rounds):
            eta *= error / length
            length, acceptance = _moves(config.model_copy(update={"eta": eta}), known, asked)
    return Calibration(eta, error / length, acceptance)


def _moves(config: VpConfig, known: Tensor, asked: Tensor) -> tuple[float, float]:
    """Mean length of accepted moves, and the share accepted."""
    vp = VP(config.model_copy(update={"queue": True, "codebooks": ()}), asked.shape[1])
    sizes = torch.full((len(asked),), config.codebook_size)
    lengths, accepted = [], []
    for group, (points, queries) in enumerate(zip(known.split(vp.dims, 1), asked.split(vp.dims, 1), strict=True)):
        vp._queue(group).push(points)
        moves = vp.moves(group, queries, sizes)
        lengths.append((moves.moved - queries)[moves.accepted].norm(dim=1))
        accepted.append(moves.accepted.float())
    return float(torch.cat(lengths).mean()), float(torch.cat(accepted).mean())
