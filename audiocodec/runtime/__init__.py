"""What runs a network: ONNX Runtime, or torch."""

from audiocodec.runtime.base import Runtime
from audiocodec.runtime.choose import RUNTIMES, RuntimeName, open_runtime

__all__ = ["RUNTIMES", "Runtime", "RuntimeName", "open_runtime"]
