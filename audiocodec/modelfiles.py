"""Model folders: what lies in them, and what identifies a model. Needs no torch.

    config.json           ModelConfig
    weights.safetensors   the network, float32 or float16; nothing pickled is ever loaded
    entropy.safetensors   tables of the range coder (optional: without them only ``raw`` payloads can be made)
    rates.json            measured bits per second of each rate setting (optional)
    predictor.safetensors estimates lost frames (optional: without it the last one is repeated)
    runtime.json, *.onnx  the network as graphs over the same weights (optional: without them torch runs it)
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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, deserialize

from audiocodec.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from audiocodec.config import ModelConfig

CONFIG, WEIGHTS, TABLES, RATES = "config.json", "weights.safetensors", "entropy.safetensors", "rates.json"
FINGERPRINT_BYTES = 8
# Fingerprints say types as torch does, whose names they were first made with.
_TYPES = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


class Tensor(NamedTuple):
    """A tensor as safetensors stores it; ``dtype`` by its names, such as ``F16``."""

    dtype: str
    shape: list[int]
    data: bytes


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """What a model folder holds."""

    folder: Path
    fingerprint: bytes
    network: str
    """Digest of config and weights without tables."""
    rates: dict[str, Any]
    stored: dict[str, Any]
    """The config's JSON."""
    weights: dict[str, Tensor]
    """As they are stored."""

    @cached_property
    def config(self) -> ModelConfig:
        """The settings. Raises ModelError as :func:`read_config`."""
        return read_config(self.folder)


def read_files(folder: Path) -> ModelFiles:
    """Raises ModelError if config or weights are missing or damaged."""
    folder = folder.absolute()  # what is read later is there whatever the working folder is then
    weights = read_weights(folder / WEIGHTS)
    stored = stored_config(folder)
    network = _digest(stored, weights, folder / WEIGHTS)
    rates = read_rates(folder)
    whole = network.copy()
    if (folder / TABLES).exists():
        whole.update((folder / TABLES).read_bytes())
    return ModelFiles(folder, whole.digest()[:FINGERPRINT_BYTES], network.hexdigest(), rates, stored, weights)


def fingerprint(folder: Path) -> bytes:
    """Eight bytes that identify config, weights and tables, whatever their file's formatting.

    Raises:
        ModelError: config or weights are missing or damaged.
    """
    return read_files(folder).fingerprint


def read_config(folder: Path) -> ModelConfig:
    """The config of a model folder. Raises ModelError if there is none or it does not hold together."""
    from audiocodec.config import ModelConfig, parse

    stored = stored_config(folder)
    try:
        return parse(ModelConfig, stored, str(folder / CONFIG))
    except ConfigError as error:
        raise ModelError(f"{folder / CONFIG} is damaged ({error}); reinstall the model") from None


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


def read_weights(path: Path) -> dict[str, Tensor]:
    """Each stored tensor by its name. Raises ModelError if they cannot be read."""
    try:
        return {name: Tensor(**stored) for name, stored in deserialize(path.read_bytes())}
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}; it is not a complete model folder") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged ({error}); reinstall the model") from None


def stored_config(folder: Path) -> dict[str, Any]:
    """The settings as they are stored. Raises ModelError if there are none, or they are no mapping in JSON."""
    path = folder / CONFIG
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError(f"expected a mapping of settings, found {type(stored).__name__}")
    except OSError as error:
        raise ModelError(f"{folder} is not a model folder: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise ModelError(f"{path} is damaged ({error}); reinstall the model") from None
    return stored


def _digest(stored: dict[str, Any], weights: dict[str, Tensor], path: Path) -> Any:
    # The settings as stored, not as read: a default that a later version adds must not change what a file names.
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        if (kind := _TYPES.get(tensor.dtype)) is None:
            raise ModelError(f"{path}: {name} is of type {tensor.dtype}, which no model here has")
        digest.update(f"{name} torch.{kind} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.data)
    return digest
