"""Codebooks for a network that was trained by vector perturbation (VP, arXiv 2602.17133, step 7).

The network learnt to live with the error of a codebook, not with one codebook, so any number of words and any audio
will do: sizes for several bitrates, or a codebook for the recordings that it will meet. Encoder and decoder stay as
they are, bit for bit. The new model has its own fingerprint, entropy tables and measured rates.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiocodec.bottleneck import Pitched, vector_part
from audiocodec.bottleneck.kmeans import kmeans
from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import ModelConfig, parse
from audiocodec.errors import DataError, ModelError, OutputError
from audiocodec.export import add_graphs
from audiocodec.modelfiles import CONFIG, fingerprint
from audiocodec.nn.model import CodecNet
from audiocodec.train.entropyfit import FitSettings
from audiocodec.train.measure import EXCERPTS, Recording, Tell, draw_recordings, measure_excerpts, split_excerpts
from audiocodec.train.shards import Corpus

# More latents for each code word move the words less than another seed does, and take longer.
POINTS_PER_WORD = 128
# Fewer excerpts than this would be of too few speakers, whatever the number of latents in them.
_LEAST_EXCERPTS = 60
_BATCH_ROWS = 16


@dataclass(frozen=True)
class Compiled:
    """A model that :func:`compile_codebooks` made.

    ``rates`` are those of ``rates.json``: by size, bits a second of files.
    """

    folder: Path
    fingerprint: bytes
    rates: dict[str, Any]


def compile_codebooks(
    model: Path,
    target: Path,
    sizes: Sequence[int],
    data: Sequence[Path],
    *,
    minutes: float = 60.0,
    seed: int = 0,
    force: bool = False,
    cache: Path | None = None,
    fit: FitSettings | None = None,
    half: bool = False,
    tell: Tell = lambda _: None,
) -> Compiled:
    """A new model folder ``target``: the network of ``model`` with codebooks of ``sizes`` words made from ``data``.

    ``sizes`` become the model's level settings, which ``--levels`` and ``--bitrate`` choose among; where
    ``level_scale`` gives groups unequal parts, they are the sizes of groups of scale 1. ``minutes`` of audio are drawn
    from ``data`` by ``seed``; a tenth of it tells rates and makes no codebook. ``cache`` keeps decoded samples.
    ``half`` stores network and words in half precision. ``target`` appears whole or not at all.

    Raises:
        ModelError: ``model`` is missing, damaged, or has no vector perturbation.
        ConfigError: sizes that cannot be had; DataError: no audio, or too little for so many words.
        OutputError: ``target`` exists (without ``force``), is the model itself, or cannot be written.
    """
    check_target(model, target, force)
    net, files = load_model(model)
    vectors = vector_part(net.bottleneck)
    if vectors is None:
        raise ModelError(f"{model} was not trained by vector perturbation; only such a network takes new codebooks")
    config = config_for(files.config, sizes)
    corpus = Corpus.open(list(data), rate=config.sample_rate, cache=cache)
    held, excerpts = split_excerpts(draw_recordings(corpus, 60.0 * minutes, seed), config.sample_rate)
    words = {size: torch.zeros(vectors.config.groups, size, vectors.dims) for size in config.codebook_sizes}
    for base in config.level_settings:
        make_words(net, config, base, excerpts, words, seed, tell)
    finished = vectors.finished(words)
    net.bottleneck = Pitched(finished) if config.pitch else finished

    def finish(made: Path) -> dict[str, Any]:
        save_model(made, net, config, half=half)
        rates = measure_excerpts(made, held[: EXCERPTS // 10], excerpts, fit, tell, most=EXCERPTS)
        add_graphs(made)
        return rates

    rates = _put(target, finish)
    return Compiled(target, fingerprint(target), rates)


def _put(target: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Let ``make`` fill a folder beside ``target``, which then takes its place: whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as place:
            rates = make(Path(place) / "new")
            if target.exists():
                os.replace(target, Path(place) / "old")
            os.replace(Path(place) / "new", target)
            return rates
    except OSError as error:
        raise OutputError(f"cannot write the model {target}: {error.strerror or error}") from None


def check_target(model: Path, target: Path, force: bool) -> None:
    """Refuse a target before any work is done: what is not a model folder is never replaced. Raises OutputError."""
    if target.exists() and model.exists() and os.path.samefile(model, target):
        raise OutputError(f"{target} is the model itself; name another folder")
    if target.exists() and not (force and (target / CONFIG).is_file()):
        hint = "pass --force to replace it" if (target / CONFIG).is_file() else "it is no model folder; name another"
        raise OutputError(f"{target} exists; {hint}")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"the folder {target.absolute().parent} does not exist; create it first (mkdir -p)")


def config_for(config: ModelConfig, sizes: Sequence[int]) -> ModelConfig:
    """The settings of a finished model with these level settings. Raises ConfigError if they cannot be had."""
    settings = tuple(sorted({*sizes}))
    data = config.model_dump()
    data.update(level_settings=settings, max_levels=max(config.max_levels, *settings))
    # To ask which alphabets there will be.
    data["bottleneck"].update(codebooks=(), queue=True, quantise_probability=0.0)
    data["bottleneck"].update(codebooks=parse(ModelConfig, data, "--size").codebook_sizes, queue=False)
    return parse(ModelConfig, data, "--size")


def make_words(
    net: CodecNet,
    config: ModelConfig,
    base: int,
    excerpts: Sequence[Recording],
    words: dict[int, Tensor],
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> None:
    """Fill ``words`` (by size: ``[groups, size, dims]``) with the code words of level setting ``base``.

    The encoder is told the setting, so that each has latents of its own. Raises DataError: fewer latents than words.
    """
    levels = config.levels(base)[: len(next(iter(words.values())))]
    most = max(levels)
    frames = len(excerpts[0]) // config.hop_samples
    wanted = max(_LEAST_EXCERPTS, math.ceil(POINTS_PER_WORD * most / frames))
    chosen = [excerpts[i] for i in np.unique(np.linspace(0, len(excerpts) - 1, wanted).astype(int))]
    latents = latents_of(net, chosen, base)
    if len(latents) < most:
        seconds = len(latents) / config.frame_rate
        raise DataError(
            f"{seconds:.0f} s of audio give {len(latents)} latents, fewer than {most} code words; give more audio"
        )
    for group, (size, points) in enumerate(zip(levels, latents.chunk(len(levels), dim=1), strict=True)):
        if size > 1:
            tell(f"size {base}: {size} code words of {len(points)} latents, group {group + 1} of {len(levels)}")
            words[size][group] = in_order(kmeans(points.contiguous(), size, seed=seed).centres, points)


@torch.inference_mode()
def latents_of(net: CodecNet, excerpts: Sequence[Recording], base: int) -> Tensor:
    """Latents of excerpts of equal length at a level setting, without the pitch: ``[excerpts * frames, dims]``."""
    samples = len(excerpts[0]) // net.config.hop_samples * net.config.hop_samples
    parts = []
    for start in range(0, len(excerpts), _BATCH_ROWS):
        waves = torch.from_numpy(np.stack(excerpts[start : start + _BATCH_ROWS])[:, :samples])
        detail = torch.full((len(waves),), float(base)).log2()
        parts.append(net.encoder(waves, detail)[..., : net.config.dims - net.config.pitch].flatten(0, 1))
    return torch.cat(parts)


def in_order(words: Tensor, points: Tensor) -> Tensor:
    """Code words ``[K, dims]`` sorted along the principal direction of ``points [n, dims]``.

    k-means numbers them at random, and the entropy model takes neighbouring indices to be alike. Bits of a frame of
    eight groups of six dimensions, speech at 50 frames/s, tables fitted to 16 minutes: with 256 words 58.2 so, 59.6
    sorted by use, 61.7 unsorted, 62.8 without any context, 64 raw; with 1024 words 74.2, 75.8, -, 78.7 and 80.
    """
    centred = (points - points.mean(dim=0)).double()
    direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    direction = direction * direction[direction.abs().argmax()].sign()  # either sign would do: always the same one
    return words[torch.argsort(words.double() @ direction, stable=True)]
