"""Where models are found: by name, by folder, or by the fingerprint that a file carries."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocodec.errors import ModelError

if TYPE_CHECKING:
    from audiocodec.bitstream import StreamHeader
    from audiocodec.codec import Codec
    from audiocodec.runtime import RuntimeName

SEARCH_VARIABLE = "AUDIOCODEC_MODELS"
DEFAULT = "speech-16k"


@dataclass(frozen=True)
class InstalledModel:
    """An entry of an index; ``fingerprint`` is hexadecimal.

    ``domain`` (speech or music) is empty and ``sample_rate`` 0 in an index that does not say them; ``automatic``: the
    model may be picked for a recording of its domain.
    """

    name: str
    folder: Path
    fingerprint: str
    description: str
    domain: str = ""
    sample_rate: int = 0
    automatic: bool = False


def search_folders() -> list[Path]:
    """Folders with an ``index.json``: those of $AUDIOCODEC_MODELS first, then the models that ship with the package."""
    named = [Path(p) for p in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if p]
    package = Path(__file__).resolve().parent
    # In a wheel the models lie inside the package; in a checkout, beside it.
    return [p for p in (*named, package / "pretrained", package.parent / "pretrained") if (p / "index.json").is_file()]


def list_models() -> list[InstalledModel]:
    """Every installed model, the first of a name winning.

    Raises:
        ModelError: an index is damaged.
    """
    found: dict[str, InstalledModel] = {}
    for folder in search_folders():
        try:
            entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))["models"]
            for entry in entries:
                model = _entry(folder, entry)
                found.setdefault(model.name, model)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise ModelError(f"{folder / 'index.json'} is damaged ({error}); reinstall audiocodec") from None
    return list(found.values())


def _entry(folder: Path, entry: dict[str, Any]) -> InstalledModel:
    """Raises KeyError, TypeError or ValueError if it is none."""
    name, domain, rate = str(entry["name"]), str(entry.get("domain", "")), int(entry.get("sample_rate", 0))
    return InstalledModel(
        name,
        folder / name,
        str(entry["fingerprint"]),
        str(entry.get("description", "")),
        domain,
        rate,
        bool(entry.get("automatic", False)) and bool(domain) and rate > 0,
    )


def named(name: str) -> InstalledModel:
    """The entry of that name. Raises ModelError if there is none."""
    for model in list_models():
        if model.name == name:
            return model
    names = ", ".join(model.name for model in list_models()) or "none"
    raise ModelError(f"no model named {name!r} is installed (installed: {names}); pass --model NAME or PATH")


def resolve(name_or_path: str | Path) -> Path:
    """The folder of a model given by name or by path.

    Raises:
        ModelError: there is no such model; the message lists those installed.
    """
    for model in list_models():
        if model.name == str(name_or_path):
            return model.folder
    path = Path(os.path.expanduser(name_or_path))  # not Path.expanduser: it raises for a user that is not there
    if os.path.isfile(path / "config.json"):
        return path
    names = ", ".join(model.name for model in list_models()) or "none"
    raise ModelError(f"no model named {str(name_or_path)!r} and no model folder there (installed: {names})")


def by_fingerprint(fingerprint: bytes) -> Path:
    """The folder of the installed model with this fingerprint.

    Raises:
        ModelError: none is installed.
    """
    for model in list_models():
        if model.fingerprint == fingerprint.hex():
            return model.folder
    raise ModelError(f"made by model {fingerprint.hex()}, which is not installed; pass --model PATH to its folder")


def finder(model: str | Path | None, runtime: RuntimeName = "auto") -> Callable[[StreamHeader], Codec]:
    """How a decoder finds the model of a stream: ``model`` where one is named, else by the stream's fingerprint.

    The function returned raises ModelError if the model is absent or is not the one that made the stream.
    """
    from audiocodec.codec import load

    loaded: dict[Path, Codec] = {}

    def find(header: StreamHeader) -> Codec:
        folder = resolve(model) if model is not None else by_fingerprint(header.fingerprint)
        if folder not in loaded:
            loaded[folder] = load(folder, runtime=runtime)
        loaded[folder].check_header(header)
        return loaded[folder]

    return find
