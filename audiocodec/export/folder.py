"""The graphs of a model folder, and what a runtime must know beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from audiocodec.checkpoint import check_complete, load_model
from audiocodec.cost import count_parameters, macs_per_second
from audiocodec.errors import OutputError, UsageError
from audiocodec.export.bottleneck import build_dequantiser, build_quantiser
from audiocodec.export.decoder import STATE as DECODER_STATE
from audiocodec.export.decoder import build_decoder
from audiocodec.export.encoder import STATE as ENCODER_STATE
from audiocodec.export.encoder import build_encoder
from audiocodec.export.graph import Graph, Weights
from audiocodec.export.state import names
from audiocodec.facts import (
    DECODER,
    DEQUANTISER,
    ENCODER,
    GRAPHS,
    QUANTISER,
    RUNTIME,
    ExportedFacts,
    GraphFile,
    ModelFacts,
)
from audiocodec.modelfiles import WEIGHTS, write_atomically
from audiocodec.nn.model import CodecNet


def export_model(folder: Path, out: Path | None = None, force: bool = False) -> list[Path]:
    """Write a model's graphs and ``runtime.json``; returns the files.

    Without ``out`` into the model's folder, over the weights that lie there, where this package then uses them; with
    it, into that folder with weights of their own in float32, for other programs.

    Raises:
        ModelError: the model is damaged, or has no codebooks yet.
        UsageError: its bottleneck has no ONNX form.
        OutputError: a file is there already, and ``force`` is not given; or the folder cannot be written.
    """
    net, files = load_model(folder)
    check_complete(net, folder)
    target = folder if out is None else out
    paths = [target / name for name in (*GRAPHS, RUNTIME)]
    if taken := [path for path in paths if path.exists() and out is not None and not force]:
        raise OutputError(f"{taken[0]} exists; pass --force to overwrite it")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {target}: {error.strerror or error}") from None
    made = {name: _graph(name, Weights(folder / WEIGHTS), out is not None, b) for name, b in _builders(net).items()}
    exported = ExportedFacts(
        network=files.network,
        facts=ModelFacts.of(net),
        graphs={name: GraphFile(hashlib.sha256(data).hexdigest(), used) for name, (data, used) in made.items()},
        fill=_fill(net),
        parameters=count_parameters(net),
        macs_per_second=macs_per_second(net),
    )
    try:
        (target / RUNTIME).unlink(missing_ok=True)  # without it the graphs count for nothing: first away, last written
        for name, (data, _) in made.items():
            write_atomically(target / name, data)
        write_atomically(target / RUNTIME, exported.to_json().encode())
    except OSError as error:
        raise OutputError(f"cannot write into {target}: {error.strerror or error}") from None
    return paths


def _builders(net: CodecNet) -> dict[str, Callable[[Graph], None]]:
    dims, tokens = net.config.dims, net.config.tokens
    if net.config.stem not in ("mdct", "learnt"):
        raise UsageError(f"a stem of kind {net.config.stem!r} has no ONNX form")
    return {
        ENCODER: lambda g: build_encoder(g, net.encoder),
        DECODER: lambda g: build_decoder(g, net.decoder),
        QUANTISER: lambda g: build_quantiser(g, net.bottleneck, dims, tokens),
        DEQUANTISER: lambda g: build_dequantiser(g, net.bottleneck, dims, tokens),
    }


def _graph(name: str, weights: Weights, embed: bool, build: Callable[[Graph], None]) -> tuple[bytes, tuple[str, ...]]:
    """A graph as bytes, and the tensors that it takes from the weights."""
    g = Graph(Path(name).stem, weights, embed)
    build(g)
    return g.model().SerializeToString(), tuple(g.external)


def _fill(net: CodecNet) -> dict[str, float]:
    """Values other than 0 that states begin with."""
    parts = {ENCODER_STATE: net.encoder.initial_state(1), DECODER_STATE: net.decoder.initial_state(1)}
    found: dict[str, float] = {}
    for part_names, initial in parts.items():
        for name, tensor in zip(names(part_names, initial), (t for part in initial for t in part), strict=True):
            values = np.unique(tensor.numpy())
            assert tensor.numel() == 0 or len(values) == 1, f"{name} does not begin with one value"
            if len(values) and values[0] != 0:
                found[name] = float(torch.tensor(values[0]))
    return found
