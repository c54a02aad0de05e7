"""A tiny model on disk, sounds to encode, and a coded file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import tiny_config

from audiocodec.checkpoint import save_model
from audiocodec.codec import Codec, load
from audiocodec.export import add_graphs
from audiocodec.nn.model import CodecNet
from audiocodec.transcode import encode_file


def make_model(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = tiny_config()
    save_model(folder, CodecNet(config), config)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small, untrained model without tables, made in no time."""
    folder = make_model(tmp_path_factory.mktemp("models") / "tiny", 0)
    add_graphs(folder)  # commands then need no torch, which takes more than a second to import
    return str(folder)


@pytest.fixture(scope="module")
def codec(model: str) -> Codec:
    return load(model)


def tone(samples: int, channels: int = 1, rate: int = 16000) -> np.ndarray:
    time_s = np.arange(samples) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 200 * c) * time_s) for c in range(channels)], axis=1)


def wav(path: Path, audio: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


@pytest.fixture
def coded(codec: Codec, tmp_path: Path) -> bytes:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16000 * 4, 1))
    encode_file(codec, wav(tmp_path / "a.wav", noise), tmp_path / "a.vpc", codec.rates[0], packet_frames=16)
    data = (tmp_path / "a.vpc").read_bytes()
    (tmp_path / "a.vpc").unlink()
    (tmp_path / "a.wav").unlink()
    return data


def header_bytes(data: bytes) -> int:
    from audiocodec.bitstream import StreamHeader

    return StreamHeader.unpack(data)[1]
