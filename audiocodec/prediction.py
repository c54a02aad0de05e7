"""Lost frames estimated from those around them, by a small network over latents; NumPy alone, whatever runs the codec.

Its weights are ``predictor.safetensors`` in a model's folder (``train/predictor.py`` makes them). What is played in
place of a loss is no part of the format, so they are no part of the model's fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import ModelError
from audiocodec.modelfiles import read_weights
from audiocodec.rates import DETAIL_CENTRE, DETAIL_SCALE

Latents = NDArray[np.float32]

PREDICTOR = "predictor.safetensors"
GAP_FRAMES = 5
"""Lost in a row, at most, that differ to the network: later ones, and what follows them, it takes no account of."""
BLOCKS = 2
NORM_FLOOR = 1e-5
_STORED = {"F16": np.float16, "F32": np.float32}
_MOST_CONTEXT = 64


def input_width(context: int, dims: int) -> int:
    """What the network reads: see `features`."""
    return context * (dims + 1) + dims + 1 + 2 * GAP_FRAMES + 1


def features(
    past: Latents, estimated: Latents, following: Latents | None, place: int, rest: int, detail: Latents
) -> Latents:
    """The network's input ``[rows, input_width]``.

    Args:
        past: ``[rows, context, dims]``, what was heard or estimated before the loss.
        estimated: ``[rows, context]``, 1 where it was estimated or is not there, 0 where it was heard.
        following: ``[rows, dims]``, the first frame after the loss; None where it is not known.
        place: which frame of the loss is wanted, from 1 on.
        rest: frames from it to the one that follows, from 1 on; without meaning where that is not known.
        detail: ``[rows]``, log2 of the base level count.
    """
    rows, _, dims = past.shape
    places = np.zeros((rows, 2 * GAP_FRAMES), np.float32)
    places[:, place - 1] = 1
    if following is not None:
        places[:, GAP_FRAMES + rest - 1] = 1
    known = np.full((rows, 1), following is not None, np.float32)
    after = np.zeros((rows, dims), np.float32) if following is None else following
    scaled = (detail[:, None] - DETAIL_CENTRE) * DETAIL_SCALE
    return np.concatenate([past.reshape(rows, -1), estimated, after, known, places, scaled], axis=1, dtype=np.float32)


def straight_line(past: Latents, following: Latents | None, place: int, rest: int) -> Latents:
    """What the network corrects: the last frame, or what lies between it and the one that follows."""
    last = past[:, -1]
    return last if following is None else last + (following - last) * np.float32(place / (place + rest))


class Predictor:
    """The network: one hidden layer, residual blocks, a correction of `straight_line`.

    Raises:
        ModelError: ``weights`` are not those of such a network for latents of ``dims`` dimensions.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]], dims: int) -> None:
        self._weights = weights
        try:
            width, inputs = weights["into.weight"].shape
            self.context_frames = (inputs - input_width(0, dims)) // (dims + 1)
            fitting = inputs == input_width(self.context_frames, dims) and 1 <= self.context_frames <= _MOST_CONTEXT
            if not fitting or any(weights[name].shape != shape for name, shape in _shapes(inputs, width, dims)):
                raise ValueError("weights of other shapes")
            if not all(np.isfinite(one).all() for one in weights.values()):  # they would stay in the decoder's state
                raise ValueError("weights that are not finite")
        except (KeyError, ValueError) as error:
            raise ModelError(f"not a predictor of frames of {dims} latents ({error})") from None

    @classmethod
    def load(cls, path: Path, dims: int) -> Predictor:
        """Raises ModelError where the file is damaged or of another model."""
        stored = read_weights(path)
        try:
            weights = {
                name: np.frombuffer(tensor.data, _STORED[tensor.dtype]).reshape(tensor.shape).astype(np.float32)
                for name, tensor in stored.items()
            }
            return cls(weights, dims)
        except (KeyError, ModelError) as error:
            raise ModelError(f"{path} is damaged ({error}); reinstall the model") from None

    def estimate(
        self, past: Latents, estimated: Latents, following: Latents | None, place: int, rest: int, detail: Latents
    ) -> Latents:
        """One frame ``[rows, dims]`` of those that are lost; arguments as those of `features`."""
        x = self._layer("into", features(past, estimated, following, place, rest, detail))
        for block in range(BLOCKS):
            hidden = self._layer(f"blocks.{block}.first", _normalised(x))
            silu = hidden * (0.5 + 0.5 * np.tanh(0.5 * hidden))  # by the tangent, which cannot overflow
            x = x + self._layer(f"blocks.{block}.second", silu)
        return straight_line(past, following, place, rest) + self._layer("out", x)

    def _layer(self, name: str, x: Latents) -> Latents:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]


def _normalised(x: Latents) -> Latents:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(NORM_FLOOR))


def _shapes(inputs: int, width: int, dims: int) -> Iterable[tuple[str, tuple[int, ...]]]:
    layers = {"into": (width, inputs), "out": (dims, width)}
    for block in range(BLOCKS):
        layers |= {f"blocks.{block}.{part}": (width, width) for part in ("first", "second")}
    for name, shape in layers.items():
        yield from ((f"{name}.weight", shape), (f"{name}.bias", shape[:1]))
