"""The network as a run needs it: built, initialised or loaded, saved, and its inference path over a whole waveform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import ModelConfig
from audiocodec.errors import ModelError
from audiocodec.nn.initialise import initialise_linear_path
from audiocodec.nn.model import CodecNet

# Ten minutes: enough for the covariance of 360 numbers a frame.
INITIAL_CROPS, INITIAL_SECONDS = 300, 2


def reconstruct(net: CodecNet, wave: Tensor, base_levels: Tensor) -> Tensor:
    """What decoding the encoded ``wave [batch, samples]`` gives, aligned with it; quantised, never perturbed.

    ``base_levels``: [batch] int64. Agrees with the block-wise inference path to about 1e-4.
    """
    samples, delay, hop = wave.shape[1], net.delay_samples, net.config.hop_samples
    padded = F.pad(wave, (0, delay + (-(samples + delay)) % hop))
    detail, levels = torch.log2(base_levels.float()), net.levels_of(base_levels)
    indices = net.bottleneck.indices(net.encoder(padded, detail), levels)
    return net.decoder(net.bottleneck.from_indices(indices, levels), detail)[:, delay : delay + samples]


def new_network(config: ModelConfig, crops: Callable[[int, int], Tensor] | None) -> CodecNet:
    """A fresh network; ``crops(count, samples)`` of real audio give the linear path its values (None: left at zero)."""
    net = CodecNet(config)
    if config.linear_path and crops is not None:
        samples = INITIAL_SECONDS * config.sample_rate
        initialise_linear_path(net, crops(INITIAL_CROPS, samples))
    return net


def load_network(folder: Path, config: ModelConfig) -> CodecNet:
    """A network of ``config`` with the weights of a saved model. Raises ModelError if they do not fit."""
    net = CodecNet(config)
    weights = load_model(folder)[0].state_dict()
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    if {name: tuple(value.shape) for name, value in weights.items()} != wanted:
        raise ModelError(f"the weights in {folder} are of another shape than the recipe's model; make the two agree")
    net.load_state_dict(weights)
    return net


def save_network(net: CodecNet, folder: Path) -> None:
    """Save the present weights of ``net`` as a model folder."""
    save_model(folder, net, net.config)
