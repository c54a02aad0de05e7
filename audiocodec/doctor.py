"""What is installed, what is broken, and the remedy: the facts behind ``audiocodec doctor``.

Every package is imported in a process of its own kind, because a broken one can take its process with it.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["ok", "absent", "broken"]

# Distributions whose module has another name; None: a program, or types only, with nothing to import.
_MODULES = {"pyyaml": "yaml", "pytest-timeout": "pytest_timeout", "ruff": None, "types-pyyaml": None}
_PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps({"name": name}), flush=True)
    try:
        importlib.import_module(name)
        print(json.dumps({"error": None}), flush=True)
    except BaseException as error:
        while error.__cause__ is not None:
            error = error.__cause__
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
"""
_PROBE_SECONDS = 300


@dataclass(frozen=True)
class Check:
    """One package as it was found. ``groups`` are ``core`` or the extras that ask for it."""

    name: str
    groups: tuple[str, ...]
    wanted: str
    state: State
    version: str | None
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that ``audiocodec doctor`` reports."""

    python: str
    platform: str
    packages: tuple[Check, ...]
    formats: dict[str, bool]
    device: str
    entropy_coder: str
    models: tuple[str, ...]
    models_problem: str

    @property
    def sound(self) -> bool:
        """Whether every package of the core is there and imports."""
        return all(check.state == "ok" for check in self.packages if "core" in check.groups)

    def as_json(self) -> str:
        """The whole diagnosis as a JSON object."""
        return json.dumps({"sound": self.sound, **asdict(self)}, indent=2)


def requirements() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Distribution name -> (version wanted, groups), as this package's own metadata declares them.

    Raises:
        importlib.metadata.PackageNotFoundError: audiocodec runs from a folder and was never installed.
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for line in importlib.metadata.requires("audiocodec") or []:
        match = re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?\s*([^;]*)", line)
        assert match is not None, line
        name, version = match[1].lower(), match[3].strip()
        extra = re.search(r"extra == ['\"]([^'\"]+)", line)
        if name != "audiocodec":  # an extra made of other extras
            group = extra[1] if extra else "core"
            found[name] = (version, (*found.get(name, ("", ()))[1], group))
    return found


def examine() -> Diagnosis:
    """Look at every package, at libsndfile, at the accelerator and at the models. Takes a few seconds."""
    wanted = requirements()
    versions = {name: _version(name) for name in wanted}
    modules = {n: _MODULES.get(n, n) for n, version in versions.items() if version is not None}
    errors = dict(_import_each([module for module in modules.values() if module is not None]))
    checks = tuple(
        _judge(name, groups, spec, versions[name], errors.get(modules.get(name) or ""))
        for name, (spec, groups) in wanted.items()
    )
    usable = {check.name for check in checks if check.state == "ok"}
    models, problem = _models()
    return Diagnosis(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=checks,
        formats=_formats() if "soundfile" in usable else {},
        device=_device() if "torch" in usable else "CPU",
        entropy_coder=_entropy_coder() if "numpy" in usable else "unknown: numpy does not import",
        models=models,
        models_problem=problem,
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_each(modules: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield (module, error or None), each imported in a child process; a crash of the child is an error too."""
    left = list(modules)
    while left:
        try:
            child = subprocess.run(
                [sys.executable, "-c", _PROBE, *left], capture_output=True, text=True, timeout=_PROBE_SECONDS
            )
            output, ending = child.stdout, f"the process died with status {child.returncode} while importing it"
        except subprocess.TimeoutExpired as late:
            output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
            ending = f"importing it took more than {_PROBE_SECONDS} s"
        answers = _answers(output)
        for name in left[: len(answers)]:
            yield name, answers[name]
        if len(answers) < len(left):
            yield left[len(answers)], ending
        left = left[len(answers) + 1 :]


def _answers(output: str) -> dict[str, str | None]:
    answers: dict[str, str | None] = {}
    name = ""
    for line in output.splitlines():
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # a package that prints when imported
        name = message.get("name", name)
        if "error" in message:
            answers[name] = message["error"]
    return answers


def _judge(name: str, groups: tuple[str, ...], wanted: str, version: str | None, error: str | None) -> Check:
    if version is None:
        target = "audiocodec" if "core" in groups else f"audiocodec[{groups[0]}]"
        return Check(name, groups, wanted, "absent", None, "not installed", f"pip install '{target}'")
    if error is None:
        return Check(name, groups, wanted, "ok", version)
    remedy = f"pip install --force-reinstall --no-deps '{name}{wanted}'"
    if name in ("torchaudio", "encodec") and (torchaudio := _torchaudio_remedy()):
        error, remedy = torchaudio if name == "torchaudio" else (error, "repair torchaudio, which it imports")
    return Check(name, groups, wanted, "broken", version, " ".join(error.split()), remedy)


def _torchaudio_remedy() -> tuple[str, str] | None:
    """Detail and remedy where torchaudio's compiled extensions cannot be loaded.

    The wheel on PyPI links them against CUDA, which a CPU build of torch does not bring. Without the two files
    torchaudio takes them for not built, and its transforms, functionals and data sets, pure Python, work.
    """
    files = importlib.metadata.files("torchaudio") or []
    libraries = [Path(str(f.locate())) for f in files if f.match("torchaudio/lib/*torchaudio.abi3.so")]
    present = [str(path) for path in libraries if path.exists()]
    if not present:
        return None
    return (
        "its compiled extensions are linked for another build of torch (the wheel on PyPI wants CUDA)",
        f"rm {' '.join(present)}  # its pure-Python parts then work",
    )


def _formats() -> dict[str, bool]:
    import soundfile

    wanted = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "OPUS": "OPUS", "MP3": "MPEG_LAYER_III"}
    known = soundfile.available_formats()
    return {
        name: name.replace("OPUS", "OGG") in known and soundfile.check_format(name.replace("OPUS", "OGG"), subtype)
        for name, subtype in wanted.items()
    }


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA {torch.version.cuda}: {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads by default"


def _entropy_coder() -> str:
    from audiocodec.bitstream import native

    return "Python, ten times as slow: the one in C is " + native.absence if native.extension is None else "C"


def _models() -> tuple[tuple[str, ...], str]:
    """Names of the models found, and what is wrong with finding them."""
    from audiocodec.errors import AudiocodecError

    try:
        from audiocodec import models

        found = tuple(str(model.name) for model in models.list_models())
    except (AudiocodecError, ImportError) as error:
        return (), str(error)
    return found, "" if found else "no pretrained model is installed; pass --model PATH, or train one"
