"""Settings, typed and strict: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiocodec.errors import ConfigError


class Strict(BaseModel):
    """Base of all settings: unknown keys are refused, values are immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Strict)


def parse(kind: type[S], data: Any, where: str) -> S:
    """Validate ``data`` as settings of type ``kind``.

    Raises:
        ConfigError: names each bad key as ``a.b.c``, and for an unknown one the nearest known key.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected a mapping of settings, found {type(data).__name__}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_describe(kind, e["loc"], e["type"], e["msg"]) for e in error.errors()]
        raise ConfigError(f"{where}: " + "; ".join(problems)) from None


def load_yaml(path: Path) -> Any:
    """Read a YAML file safely.

    Raises:
        ConfigError: if it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _describe(kind: type[Strict], loc: tuple[int | str, ...], error_type: str, message: str) -> str:
    dotted = ".".join(str(part) for part in loc)
    if error_type != "extra_forbidden":
        return f"{dotted}: {message}"
    known = _fields_at(kind, loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.0)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown key '{dotted}'{hint}"


def _fields_at(kind: type[Strict], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = kind.model_fields.get(str(part))
        candidate = field.annotation if field else None
        if not (isinstance(candidate, type) and issubclass(candidate, Strict)):
            return []
        kind = candidate
    return list(kind.model_fields)
