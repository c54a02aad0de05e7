"""Model folders: ``config.json``, ``weights.safetensors``, and what belongs to a shipped model beside them.

    config.json           ModelConfig
    weights.safetensors   the network, float32 or float16; nothing pickled is ever loaded
    entropy.safetensors   tables of the range coder (optional: without them only ``raw`` payloads can be made)
    rates.json            measured bits per second of each rate setting (optional)
    CARD.md               data, licences, training, results

A model is identified by its fingerprint: eight bytes of a SHA-256 over config, weights and tables. A name can come to
mean something else; a fingerprint cannot.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from audiocodec.config import ModelConfig, parse
from audiocodec.errors import ConfigError, ModelError
from audiocodec.nn.model import CodecNet

CONFIG, WEIGHTS, TABLES, RATES = "config.json", "weights.safetensors", "entropy.safetensors", "rates.json"
FINGERPRINT_BYTES = 8


@dataclass(frozen=True)
class ModelFiles:
    """What a model folder holds beside the network."""

    folder: Path
    config: ModelConfig
    fingerprint: bytes
    rates: dict[str, Any]


def save_model(folder: Path, net: CodecNet, config: ModelConfig, *, half: bool = False) -> None:
    """Write config and weights, each atomically; ``half`` stores weights as float16.

    Tables and rates of earlier weights are removed: they describe another network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    for stale in (TABLES, RATES):
        (folder / stale).unlink(missing_ok=True)
    write_atomically(folder / WEIGHTS, serialise(tensors))
    write_atomically(folder / CONFIG, (config.model_dump_json(indent=2) + "\n").encode())


def load_model(folder: Path, device: str | torch.device = "cpu") -> tuple[CodecNet, ModelFiles]:
    """The network in evaluation mode, float32, and the folder's other contents.

    Raises:
        ModelError: a file is missing or damaged, or the weights do not fit the config.
    """
    config = read_config(folder)
    net = CodecNet(config)
    weights = _read_weights(folder / WEIGHTS)
    wanted = net.state_dict()
    if (missing := wanted.keys() - weights.keys()) or (unknown := weights.keys() - wanted.keys()):
        odd = sorted(missing)[:1] or sorted(unknown)[:1]
        raise ModelError(f"{folder / WEIGHTS} does not fit its config (tensor {odd[0]!r}); reinstall the model")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            found, expected = tuple(value.shape), tuple(wanted[name].shape)
            raise ModelError(f"{folder / WEIGHTS}: {name} has shape {found}, not {expected}; reinstall the model")
    net.load_state_dict(weights)
    files = ModelFiles(folder, config, fingerprint(folder), read_rates(folder))
    return net.eval().requires_grad_(False).to(device), files


def read_config(folder: Path) -> ModelConfig:
    """The config of a model folder. Raises ModelError if there is none or it does not hold together."""
    path = folder / CONFIG
    try:
        return parse(ModelConfig, json.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise ModelError(f"{folder} is not a model folder: {path.name}: {error.strerror}") from None
    except (ValueError, ConfigError) as error:
        raise ModelError(f"{path} is damaged ({error}); reinstall the model") from None


def read_rates(folder: Path) -> dict[str, Any]:
    """Measured rates, or an empty mapping where none were measured."""
    try:
        rates = json.loads((folder / RATES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / RATES} is damaged ({error}); reinstall the model") from None
    if not isinstance(rates, dict) or not all(
        isinstance(row, dict) and isinstance(row.get("file_bps"), int | float) for row in rates.values()
    ):
        raise ModelError(f"{folder / RATES} is damaged (not a file_bps for each level count); reinstall the model")
    return rates


def fingerprint(folder: Path) -> bytes:
    """Eight bytes that identify config, weights and tables, whatever their file's formatting.

    Raises:
        ModelError: config or weights are missing or damaged.
    """
    read_config(folder)
    # The settings as stored, not as read: a default that a later version adds must not change what a file names.
    stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode())
    weights = _read_weights(folder / WEIGHTS, as_stored=True)
    for name in sorted(weights):
        value = weights[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    if (folder / TABLES).exists():
        digest.update((folder / TABLES).read_bytes())
    return digest.digest()[:FINGERPRINT_BYTES]


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside ``path``, flush to disk, rename: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_weights(path: Path, as_stored: bool = False) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}; it is not a complete model folder") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged ({error}); reinstall the model") from None
    if as_stored:
        return tensors
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
