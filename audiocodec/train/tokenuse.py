"""How much of its alphabets a network uses: what a validation line tells about tokens, so that a collapse is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from audiocodec.bottleneck import vector_part
from audiocodec.nn.model import CodecNet
from audiocodec.train.validate import Clip


@torch.no_grad()
def token_use(net: CodecNet, clips: Sequence[Clip], counts: Sequence[int]) -> dict[str, float]:
    """For each base level count, over all frames of ``clips``, float32 ``[samples]`` each:

    - ``bits@count``: entropy of a frame's tokens, each by itself (what remains without any context), in bits;
    - ``cvu@count``: codebook use, exp(entropy in nats) / K, the mean over a frame's tokens (arXiv 2602.17133);
    - ``acceptance@count`` with vector perturbation: share of the moves that the walk accepts.

    Few frames make both of the former too low: n frames cannot show more than log2(n) bits of a token.
    """
    values: dict[str, float] = {}
    device = next(net.parameters()).device
    vectors, learnt = vector_part(net.bottleneck), net.config.dims - net.config.pitch
    for count in counts:
        sizes = net.config.levels(count)
        levels = torch.tensor([sizes], device=device)
        detail = torch.full((1,), float(count), device=device).log2()
        seen, accepted = [], []
        for clip in clips:  # one at a time: the memory of a clip
            wave = torch.from_numpy(clip[: len(clip) // net.config.hop_samples * net.config.hop_samples]).to(device)
            latents = net.encoder(wave[None], detail).float()
            seen.append(net.bottleneck.indices(latents, levels)[0].cpu().numpy())
            if vectors is not None:
                accepted += vectors.acceptance(latents[..., :learnt], levels)
        entropies = entropies_of(np.concatenate(seen), sizes)
        present = [(bits, size) for bits, size in zip(entropies, sizes, strict=True) if size > 1]
        values[f"bits@{count}"] = float(sum(entropies))
        values[f"cvu@{count}"] = float(np.mean([2.0**bits / size for bits, size in present])) if present else 0.0
        if accepted:
            values[f"acceptance@{count}"] = float(np.mean(accepted))
    return values


def entropies_of(indices: NDArray[np.int64], sizes: Sequence[int]) -> list[float]:
    """Zero-order entropy in bits of each token, from ``indices [frames, tokens]``."""
    entropies = []
    for column, size in zip(indices.T, sizes, strict=True):
        share = np.bincount(column, minlength=size) / len(column)
        entropies.append(float(-(share * np.log2(np.maximum(share, 1e-30))).sum()))
    return entropies
