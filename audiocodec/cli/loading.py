"""Models loaded for a command, each once: by which runtime, on which device, and for how many files at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audiocodec.errors import UsageError

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.runtime import RuntimeName

BATCH = 32  # files at once on a GPU


@dataclass(frozen=True)
class Placing:
    """Where networks run, and by what. ``batch``: files computed at once; with 1, each by itself."""

    runtime: RuntimeName = "auto"
    device: str = "cpu"
    batch: int = 1

    @classmethod
    def of(cls, runtime: RuntimeName, device: str, batch: int | None, files: int) -> Placing:
        """From the options, None for one that is not given.

        Raises:
            UsageError: they contradict each other.
        """
        if batch is None:
            batch = 1 if device == "cpu" else BATCH
        batch = min(batch, files)
        if batch > 1 and runtime == "onnx":
            raise UsageError("the onnx runtime computes each file by itself; for --batch pass --runtime torch")
        return cls("torch" if batch > 1 else runtime, device, batch)


class Loader:
    """Loads models as they are asked for, by threads too; ``loaded`` lists them."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._known: dict[str, Codec] = {}
        self._lock = threading.Lock()
        self.loaded: list[Codec] = []

    def __call__(self, model: str | Path) -> Codec:
        """The model of that name or folder.

        Raises:
            ModelError: it is missing or damaged.
            UsageError: its device is not there.
        """
        with self._lock:
            if str(model) not in self._known:
                self._known[str(model)] = self._load(model)
                self.loaded.append(self._known[str(model)])
            return self._known[str(model)]

    def _load(self, model: str | Path) -> Codec:
        from audiocodec.codec import load

        runtime, device, batch = self._placing.runtime, self._placing.device, self._placing.batch
        try:
            codec = load(model, device, runtime)
        except (RuntimeError, AssertionError) as error:  # torch's, for a device that is not there, or of no such name
            if device == "cpu":
                raise
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(f"no model can be put on {device} ({reason}); leave --device to the CPU") from None
        if batch == 1:
            return codec
        from audiocodec.batches import batched

        return batched(codec, batch)
