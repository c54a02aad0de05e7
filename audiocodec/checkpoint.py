"""Networks to and from model folders (see :mod:`audiocodec.modelfiles`)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise

from audiocodec.config import ModelConfig
from audiocodec.errors import ModelError
from audiocodec.facts import GRAPHS, RUNTIME
from audiocodec.modelfiles import CONFIG, RATES, TABLES, WEIGHTS, ModelFiles, read_config, read_files, write_atomically
from audiocodec.nn.model import CodecNet
from audiocodec.prediction import PREDICTOR


def save_model(folder: Path, net: CodecNet, config: ModelConfig, *, half: bool = False) -> None:
    """Write config and weights, each atomically; ``half`` stores weights as float16.

    Tables, rates, graphs and the predictor of earlier weights are removed: they describe another network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    for stale in (TABLES, RATES, PREDICTOR, RUNTIME, *GRAPHS):
        (folder / stale).unlink(missing_ok=True)
    write_atomically(folder / WEIGHTS, serialise(tensors))
    write_atomically(folder / CONFIG, (config.model_dump_json(indent=2) + "\n").encode())


def load_model(folder: Path, device: str | torch.device = "cpu") -> tuple[CodecNet, ModelFiles]:
    """The network in evaluation mode, float32, and the folder's other contents.

    Raises:
        ModelError: a file is missing or damaged, or the weights do not fit the config.
    """
    net, files = CodecNet(read_config(folder)), read_files(folder)  # which says what is wrong with the weights
    stored = deserialise((folder / WEIGHTS).read_bytes())
    weights = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    wanted = net.state_dict()
    if (missing := wanted.keys() - weights.keys()) or (unknown := weights.keys() - wanted.keys()):
        odd = sorted(missing)[:1] or sorted(unknown)[:1]
        raise ModelError(f"{folder / WEIGHTS} does not fit its config (tensor {odd[0]!r}); reinstall the model")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            found, expected = tuple(value.shape), tuple(wanted[name].shape)
            raise ModelError(f"{folder / WEIGHTS}: {name} has shape {found}, not {expected}; reinstall the model")
    net.load_state_dict(weights)
    return net.eval().requires_grad_(False).to(device), files


def check_complete(net: CodecNet, folder: Path) -> None:
    """Raises ModelError if the network cannot encode at each of its rates: codebooks are made after training."""
    try:
        for base in net.config.level_settings:
            net.bottleneck.alphabet(net.config.levels(base))
    except ValueError as error:
        made = f"audiocodec codebook {folder} --size N --data DIR -o NEW"
        raise ModelError(f"{folder} cannot encode yet: {error}; make codebooks: {made}") from None
