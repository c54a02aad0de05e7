"""Which runtime runs a model: the one named, else ONNX Runtime where it can, else torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

from audiocodec.errors import AudiocodecError, MissingExtraError, ModelError, UsageError
from audiocodec.facts import EXPORTER, GRAPHS, ExportedFacts
from audiocodec.modelfiles import ModelFiles
from audiocodec.runtime.base import Runtime

RuntimeName = Literal["auto", "onnx", "torch"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)


def open_runtime(files: ModelFiles, wanted: RuntimeName = "auto", device: str = "cpu") -> Runtime:
    """The runtime of a model folder.

    Raises:
        MissingExtraError: what was named is not installed, or nothing is.
        ModelError: the folder is damaged, has no codebooks yet, or lacks the graphs that were asked for.
        UsageError: no such runtime, or one that does not run on the device.
    """
    if wanted not in RUNTIMES:
        raise UsageError(f"there is no runtime {wanted!r}; choose {', '.join(RUNTIMES)}")
    if wanted == "onnx" and device != "cpu":
        raise UsageError(f"the onnx runtime runs on the CPU; for {device} pass --runtime torch")
    if wanted != "torch" and device == "cpu":
        found = _onnx(files)
        if not isinstance(found, AudiocodecError):
            return found
        if wanted == "onnx" or not installed("torch"):
            raise found
    return _torch(files, device)


def installed(package: str) -> bool:
    """Whether a package is there; it is not imported, which may take seconds."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # a folder left behind has none


def _onnx(files: ModelFiles) -> Runtime | AudiocodecError:
    """The runtime, or what is in its way."""
    remedy = f"run `audiocodec export {files.folder}`, which needs audiocodec[export]"
    exported = ExportedFacts.read(files.folder, files.stored)
    there = all((files.folder / name).is_file() for name in GRAPHS)
    if exported is None or not there or set(exported.graphs) != set(GRAPHS):
        return ModelError(f"{files.folder} has no graphs for the onnx runtime; {remedy}")
    if exported.network != files.network or exported.exporter != EXPORTER:
        return ModelError(f"the graphs in {files.folder} are those of other weights or another version; {remedy}")
    if not installed("onnxruntime"):
        return MissingExtraError("onnxruntime is not installed; pip install 'audiocodec[runtime]'")
    try:
        from audiocodec.runtime.onnx_runtime import OnnxRuntime
    except Exception as error:
        reason = " ".join(str(error).split())
        return MissingExtraError(f"onnxruntime is broken ({reason}); pip install --force-reinstall onnxruntime")
    return OnnxRuntime(files, exported)


def _torch(files: ModelFiles, device: str) -> Runtime:
    if not installed("torch"):
        other = ", or leave --runtime and --device to their defaults" if device == "cpu" else ""
        raise MissingExtraError(f"torch is not installed; pip install 'audiocodec[torch]'{other}")
    try:
        import torch  # noqa: F401
    except Exception as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(f"torch is broken ({reason}); reinstall it") from None
    from audiocodec.checkpoint import check_complete, load_model
    from audiocodec.runtime.torch_runtime import TorchRuntime

    net, _ = load_model(files.folder, device)
    check_complete(net, files.folder)
    return TorchRuntime(net)
