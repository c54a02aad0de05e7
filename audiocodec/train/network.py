"""The network as a run needs it: built, initialised or loaded, saved, and its inference path over a whole waveform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.bottleneck import vector_part
from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import ModelConfig
from audiocodec.errors import ModelError, OutputError
from audiocodec.nn.initialise import initialise_linear_path
from audiocodec.nn.model import CodecNet
from audiocodec.train.regroup import can_regroup, regrouped

# Long enough that the silence before a crop's first sample weighs little.
INITIAL_SECONDS = 2


def reconstruct(net: CodecNet, wave: Tensor, base_levels: Tensor) -> Tensor:
    """What decoding the encoded ``wave [batch, samples]`` gives, aligned with it; quantised, never perturbed.

    ``base_levels``: [batch] int64. Agrees with the block-wise inference path to about 1e-4.
    """
    samples, delay, hop = wave.shape[1], net.delay_samples, net.config.hop_samples
    padded = F.pad(wave, (0, delay + (-(samples + delay)) % hop))
    detail, levels = torch.log2(base_levels.float()), net.levels_of(base_levels)
    indices = net.bottleneck.indices(net.encoder(padded, detail), levels)
    return net.decoder(net.bottleneck.from_indices(indices, levels), detail)[:, delay : delay + samples]


def new_network(config: ModelConfig, crops: Callable[[int, int], Tensor], minutes: float) -> CodecNet:
    """A fresh network; ``minutes`` of real audio, ``crops(count, samples)``, give the linear path its values."""
    net = CodecNet(config)
    _check_codebooks(net, Path("a new network"))
    if config.linear_path:
        count = max(1, round(60.0 * minutes / INITIAL_SECONDS))
        initialise_linear_path(net, crops(count, INITIAL_SECONDS * config.sample_rate))
    return net


def load_network(folder: Path, config: ModelConfig) -> CodecNet:
    """A network of ``config`` that starts from the weights of a saved model.

    What the new bottleneck keeps comes along where all of it is there and fits, and is left out where any does not,
    the queues of latents by themselves and the rest (codebooks, tables) by itself: VP may start from a finished model,
    which has codebooks and no queue, or from a network that was trained with another bottleneck. Scalar latents are
    dealt to the groups of VP (``regroup.py``).

    Raises:
        ModelError: encoder or decoder are of another shape, or codebooks that training needs are not there.
    """
    net = CodecNet(config)
    trained, files = load_model(folder)
    weights, fresh = trained.state_dict(), net.state_dict()
    bottleneck = {name for name in {*weights, *fresh} if name.startswith("bottleneck.")}
    queues = {name for name in bottleneck if ".queues." in name}
    # All or nothing: the write position of one queue means nothing to another.
    for kept in (queues, bottleneck - queues):
        wanted = kept & fresh.keys()
        source = weights if _same_shapes(weights, fresh, wanted) else fresh
        weights = {name: value for name, value in weights.items() if name not in kept}
        weights |= {name: source[name] for name in wanted}
    if not _same_shapes(weights, fresh, {*weights, *fresh}):
        raise ModelError(f"the weights in {folder} are of another shape than the recipe's model; make the two agree")
    net.load_state_dict(regrouped(weights, files.config, config) if can_regroup(files.config, config) else weights)
    _check_codebooks(net, folder)
    return net


def _check_codebooks(net: CodecNet, folder: Path) -> None:
    vectors = vector_part(net.bottleneck)
    if vectors is None or not vectors.config.quantise_probability:
        return
    # Zeros where none was loaded, or where the model's level settings gave a group no codebook of that size.
    absent = {size for size, words in vectors.codebooks.items() if not words.any()}
    for base in net.config.level_settings:
        for words, size in zip(range(vectors.config.groups), net.config.levels(base), strict=False):
            if size > 1 and not vectors.codebooks[size][words].any():
                absent.add(size)
    if absent:
        sizes = ", ".join(str(size) for size in sorted(absent))
        raise ModelError(
            f"quantise_probability needs codebooks of {sizes} words, in every group that has so many, and {folder} "
            f"has not; make them with 'audiocodec codebook' in the model that training starts from"
        )


def _same_shapes(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: set[str]) -> bool:
    return all(name in one and name in other and one[name].shape == other[name].shape for name in names)


def save_network(net: CodecNet, folder: Path) -> None:
    """Save the present weights of ``net`` as a model folder. Raises OutputError if the disk is full, for example."""
    try:
        save_model(folder, net, net.config)
    except OSError as error:
        raise OutputError(f"cannot write the model {folder}: {error.strerror}; free the disk, then --resume") from None
