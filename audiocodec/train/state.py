"""Training checkpoints: one safetensors file that holds everything a run needs to continue exactly.

A nested state (dicts, lists, tuples, tensors, plain values) is stored as named tensors plus a JSON skeleton in the
file's metadata, so that nothing pickled is ever loaded. The file is written beside its place, flushed to the disk
and renamed: after a power cut there is the old checkpoint or the new one, never half of one.

Random states are absent on purpose: every draw of step n comes from a generator seeded with (seed, n).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audiocodec.config import ModelConfig, parse
from audiocodec.errors import ConfigError, ModelError, OutputError

FORMAT = "audiocodec-training-1"


def checkpoint_path(out: Path) -> Path:
    """Where a run with output folder ``out`` keeps its state."""
    return out / "training.safetensors"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path``, atomically.

    Raises:
        OutputError: the disk is full, or the folder cannot be written to.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = json.dumps(_flatten(state, "", tensors))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata={"format": FORMAT, "state": skeleton})
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write the checkpoint {path}: {reason}; free the disk or use another --out") from None
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; tensors come back on the CPU.

    Raises:
        ModelError: missing, damaged, or not a training checkpoint.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as archive:
            metadata = archive.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ModelError(f"{path} is not a training checkpoint of this version; start without --resume")
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        return _unflatten(json.loads(metadata["state"]), tensors)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error}; start without --resume") from None


def refuse_other_shape(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Raise ConfigError if a checkpoint's recipe is of other networks or another optimiser than the present one."""
    old, new = (
        {**{f"model.{k}": v for k, v in _with_defaults(r["model"]).items()}, "optimiser.kind": r["optimiser"]["kind"]}
        for r in (saved, current)
    )
    # Discriminators may come or go, but those that go on keep their shape.
    judges = [r.get("adversarial", {"weight": 0.0}) for r in (saved, current)]
    if all(each["weight"] for each in judges):
        for side, each in zip((old, new), judges, strict=True):
            side.update({f"adversarial.{k}": each[k] for k in ("windows", "channels")})
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if keys:
        raise ConfigError(f"{path} was made with another {', '.join(keys)}; restore what it was, or use another --out")


def _with_defaults(model: dict[str, Any]) -> dict[str, Any]:
    """A model's settings with those that were not there yet when they were saved."""
    try:
        return parse(ModelConfig, model, "model").model_dump(mode="json")
    except ConfigError:
        return model


def _flatten(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        # Pairs, because an optimiser's keys are integers and JSON's are not.
        return {"dict": [[key, _flatten(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_flatten(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: cannot store a {type(value).__name__} in a checkpoint")


def _unflatten(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unflatten(item, tensors) for key, item in content}
    items = [_unflatten(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable. Windows cannot open a folder, and needs no such thing.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
