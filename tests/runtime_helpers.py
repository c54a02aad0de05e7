"""Model folders with graphs, of small networks that are somewhat trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from conftest import speech_like, tiny_config

import audiocodec
from audiocodec.checkpoint import save_model
from audiocodec.export.folder import export_model
from audiocodec.nn.initialise import initialise_linear_path
from audiocodec.nn.model import CodecNet


def built(folder: Path, seed: int = 0, **changes) -> Path:
    """A model folder with graphs, its network somewhat trained: all paths, gates and norms do something."""
    torch.manual_seed(seed)
    net = CodecNet(tiny_config(**changes))
    waves = np.stack([speech_like(1.0, net.config.sample_rate, seed=s) for s in range(8)])
    if net.config.linear_path:
        initialise_linear_path(net, torch.from_numpy(waves))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    for name, buffer in net.bottleneck.named_buffers():
        if "codebook" in name:
            buffer.normal_()
    save_model(folder, net, net.config)
    export_model(folder)
    return folder


def both(folder: Path) -> tuple[audiocodec.Codec, audiocodec.Codec]:
    codecs = audiocodec.load(folder, runtime="onnx"), audiocodec.load(folder, runtime="torch")
    assert [codec.runtime.name for codec in codecs] == ["onnx", "torch"]
    return codecs
