"""Which runtime runs a model: the one named, else ONNX Runtime where it can, else torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, get_args

from audiocodec.errors import MissingExtraError, ModelError, UsageError
from audiocodec.facts import GRAPHS, RUNTIME, ExportedFacts
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
        exported, problem = _exported(files)
        if exported is not None:
            from audiocodec.runtime.onnx_runtime import OnnxRuntime

            return OnnxRuntime(files.folder, exported)
        if wanted == "onnx" or not installed("torch"):
            raise problem
    if not installed("torch"):
        raise MissingExtraError("torch is not installed; pip install 'audiocodec[torch]', or leave the runtime to auto")
    from audiocodec.checkpoint import check_complete, load_model
    from audiocodec.runtime.torch_runtime import TorchRuntime

    net, _ = load_model(files.folder, device)
    check_complete(net, files.folder)
    return TorchRuntime(net)


def installed(package: str) -> bool:
    """Whether a package is there; it is not imported, which may take seconds."""
    return find_spec(package) is not None


def _exported(files: ModelFiles) -> tuple[ExportedFacts | None, Exception]:
    """The facts of usable graphs, or what is in their way."""
    remedy = f"run `audiocodec export {files.folder}`, which needs audiocodec[torch,export]"
    if not installed("onnxruntime"):
        return None, MissingExtraError("onnxruntime is not installed; pip install 'audiocodec[runtime]'")
    exported = ExportedFacts.read(files.folder)
    if exported is None or not all((files.folder / name).is_file() for name in GRAPHS):
        return None, ModelError(f"{files.folder} has no graphs for the onnx runtime; {remedy}")
    if exported.network != files.network:
        return None, ModelError(f"the graphs in {files.folder} ({RUNTIME}) are those of other weights; {remedy}")
    return exported, ModelError("")
