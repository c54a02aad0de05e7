"""Fixtures: small untrained codecs, real and synthetic audio, and the folders that a checkout may lack."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
DEVELOPMENT_SPEECH = ROOT.parent / "shared" / "eval" / "speech"


@pytest.fixture(scope="session", autouse=True)
def single_thread():
    """Small blocks on two threads take many times longer on a busy machine than on one."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def signals_end_programs():
    """Whoever runs the tests behind nohup, or in the background of a script, ignores signals that tests are about."""
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of the benchmarks; its settings of thread pools end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def module(name: str):
        return import_module(name)

    return module


@pytest.fixture(scope="module")
def browser(client):
    """Chromium on the page that a module's ``client`` speaks with."""
    from demo_page import opened

    with opened(client) as one:
        yield one


@pytest.fixture
def page(browser, client, scratch: Path):
    """The same, a new visit for each test."""
    from demo_page import watched

    with watched(browser, client, scratch) as one:
        yield one


def tiny_config(**changes):
    from audiocodec.config import ModelConfig

    settings = {
        "name": "tiny",
        "envelope_dims": 4,
        "shape_dims": 3,
        "level_scale": (1.5, 1.0, 0.7, 0.5, 0.4, 0.35, 0.3, 3.0),
        "level_settings": (3, 5, 9, 17),
        "stem_width": 16,
        "frame_width": 24,
        "encoder_units": (1, 1),
        "decoder_units": (1, 1),
    }
    return ModelConfig(**{**settings, **changes})


def speech_like(seconds: float, sample_rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable-like envelope, and some noise: ``[samples] float32``."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / sample_rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 3 * t), 0, None)
    return (0.1 * envelope * voice + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.fixture(scope="session")
def tiny_net():
    import torch

    from audiocodec.nn.initialise import initialise_linear_path
    from audiocodec.nn.model import CodecNet

    torch.manual_seed(1)
    net = CodecNet(tiny_config())
    waves = np.stack([speech_like(1.0, seed=seed) for seed in range(8)])
    initialise_linear_path(net, torch.from_numpy(waves))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_model(tiny_net, tmp_path_factory) -> Path:
    """An untrained model folder with entropy tables fitted to synthetic speech."""
    from audiocodec.checkpoint import save_model
    from audiocodec.train.entropyfit import FitSettings
    from audiocodec.train.measure import measure_rates

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, tiny_net, tiny_net.config)
    quick = FitSettings(hidden=8, deep=8, cells=8, steps=200)
    measure_rates(folder, [speech_like(8.0, seed=seed) for seed in range(4)], quick)
    return folder


@pytest.fixture(scope="session")
def tiny_codec(tiny_model):
    """A loaded untrained codec: quick, and complete in every respect but its sound."""
    import audiocodec

    return audiocodec.load(tiny_model)


@pytest.fixture(scope="session")
def development_speech() -> list[Path]:
    """The development recordings; skips where the folder is absent."""
    files = sorted(DEVELOPMENT_SPEECH.glob("*.flac"))
    if not files:
        pytest.skip(f"the development set is not at {DEVELOPMENT_SPEECH}")
    return files


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go, for all of a module."""
    folder, before = tmp_path_factory.mktemp("scratch"), tempfile.tempdir
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before
