"""Networks as ONNX graphs, for runtimes without torch."""

from __future__ import annotations

from pathlib import Path

from audiocodec.errors import UsageError
from audiocodec.runtime.choose import installed

__all__ = ["add_graphs"]


def add_graphs(folder: Path) -> bool:
    """Give a new model its graphs, where the package ``onnx`` is installed and its bottleneck has an ONNX form.

    Returns whether it has them; without, torch runs it.

    Raises:
        ModelError: the model is damaged.
        OutputError: its folder cannot be written.
    """
    if not installed("onnx"):
        return False
    from audiocodec.export.folder import export_model

    try:
        export_model(folder)
    except UsageError:
        return False
    return True
