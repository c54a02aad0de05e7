"""Neural codecs by their own packages: how each is called, with stand-ins of the documented interface."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch

from audiocodec.evaluate.peers import neural, peer_systems
from audiocodec.evaluate.peers.neural import ADAPTERS, Neural
from tests.conftest import speech_like

SECONDS = 2.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.wav"
    soundfile.write(path, speech_like(SECONDS, 24_000), 24_000)
    return path


@pytest.fixture(autouse=True)
def forget():
    """No model is left over from, or for, another test."""
    neural.load.cache_clear()
    yield
    neural.load.cache_clear()


class StandIn:
    """A codec whose first codebook is the waveform's mean over a frame, in the interface of each package by turns."""

    sample_rate = 24_000

    def __init__(self, hop: int, codebooks: int = 0) -> None:
        self.hop, self.codebooks, self.quantizer = hop, codebooks, self

    def eval(self) -> StandIn:
        return self

    def codes(self, wave: torch.Tensor, count: int) -> torch.Tensor:
        assert wave.shape[:2] == (1, 1)
        assert wave.dtype == torch.float32
        padded = torch.nn.functional.pad(wave, (0, -wave.shape[-1] % self.hop))
        means = padded.reshape(1, 1, -1, self.hop).mean(-1)
        return ((means + 1.0) * 512).round().long().expand(1, count, -1).contiguous()

    def wave(self, codes: torch.Tensor) -> torch.Tensor:
        return (codes[:, :1] / 512.0 - 1.0).repeat_interleave(self.hop, dim=-1)


class Dac(StandIn):
    def preprocess(self, wave, sample_rate):
        assert sample_rate == self.sample_rate
        return wave

    def encode(self, wave, n_quantizers=None):
        return None, self.codes(wave, n_quantizers), None, None, None

    def from_codes(self, codes):
        return codes.float(), None, codes

    def decode(self, z):
        return self.wave(z)


class Mimi(StandIn):
    def encode(self, input_values, padding_mask=None, num_quantizers=None):
        return SimpleNamespace(audio_codes=self.codes(input_values, num_quantizers))

    def decode(self, audio_codes):
        return SimpleNamespace(audio_values=self.wave(audio_codes))


class Snac(StandIn):
    def encode(self, wave):
        fine = self.codes(wave, 1)[:, 0]
        return [fine[:, ::4], fine[:, ::2], fine]

    def decode(self, codes):
        assert [code.ndim for code in codes] == [2, 2, 2]
        return self.wave(codes[2][:, None])


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    loaders = {
        "dac": SimpleNamespace(
            DAC=SimpleNamespace(load=lambda path: Dac(320) if path == "24khz.pth" else None),
            utils=SimpleNamespace(download=lambda model_type: f"{model_type}.pth"),
        ),
        "transformers": SimpleNamespace(MimiModel=SimpleNamespace(from_pretrained=lambda name: Mimi(1920))),
        "snac": SimpleNamespace(SNAC=SimpleNamespace(from_pretrained=lambda name: Snac(512))),
    }
    found = importlib.util.find_spec
    for name, module in loaders.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: name if name in loaders else found(name, *rest)
    )
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 1.0")


@pytest.mark.parametrize(
    ("name", "kbps"), [("dac:6", 6.0), ("dac:24", 24.0), ("mimi:1.1", 1.1), ("mimi:4.4", 4.4), ("snac", 0.98)]
)
def test_a_package_is_called_as_it_documents(
    name: str, kbps: float, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    (system,), absent = peer_systems([name])
    assert absent == {}
    coded = system.run(source, tmp_path)
    assert coded.sample_rate == 24_000
    assert len(coded.samples) / 24_000 == pytest.approx(SECONDS, abs=0.1)
    assert coded.payload_bytes == coded.file_bytes
    assert coded.payload_bytes * 8e-3 / SECONDS == pytest.approx(kbps, rel=0.04)
    assert any(text.endswith("1.0") for text in system.identity().values())


def test_a_package_that_fails_to_load_makes_a_codec_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)

    def refuse(name: str) -> None:
        raise RuntimeError("we couldn't connect\nto the server")

    monkeypatch.setattr(sys.modules["transformers"].MimiModel, "from_pretrained", refuse)
    systems, absent = peer_systems(["mimi:1.1"])
    assert systems == []
    assert "kyutai/mimi cannot be loaded: we couldn't connect to the server; check" in absent["mimi:1.1"]


@pytest.fixture
def encodec_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where EnCodec's weights are looked for; empty, and without a network."""
    if importlib.util.find_spec("encodec") is None:
        pytest.skip("the package encodec is not installed")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return tmp_path / "hub" / "checkpoints"


def test_encodec_without_weights_and_network_is_absent_at_once(encodec_hub: Path) -> None:
    start = time.monotonic()
    systems, absent = peer_systems(["encodec:6"])
    assert systems == []
    assert "encodec_24khz-d7cc33bc.th cannot be loaded: <urlopen error no network>" in absent["encodec:6"]
    assert time.monotonic() - start < 20
    assert not encodec_hub.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_encodec_runs_from_the_cache_and_unpickles_nothing(encodec_hub: Path, source: Path, tmp_path: Path) -> None:
    with neural._any_torchaudio():
        from encodec import EncodecModel
    encodec_hub.mkdir(parents=True)
    weights = encodec_hub / "encodec_24khz-d7cc33bc.th"
    torch.save(EncodecModel.encodec_model_24khz(pretrained=False).state_dict(), weights)
    systems, absent = peer_systems(["encodec:1.5,6"])
    assert absent == {}
    for system, kbps in zip(systems, (1.5, 6.0), strict=True):
        coded = system.run(source, tmp_path)
        assert len(coded.samples) == SECONDS * 24_000
        assert coded.payload_bytes * 8e-3 / SECONDS == pytest.approx(kbps)
    neural.load.cache_clear()
    torch.save({"weights": Neural("encodec", 6.0)}, weights)
    assert "cannot be loaded" in peer_systems(["encodec"])[1]["encodec"]


def test_a_download_that_is_not_what_its_name_says_is_not_kept(
    encodec_hub: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page"
    page.write_bytes(b"<html>please log in</html>")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: page.open("rb"))
    assert "is not what its name says" in peer_systems(["encodec"])[1]["encodec"]
    assert not encodec_hub.exists()
    assert set(ADAPTERS) == {"encodec", "dac", "mimi", "snac"}
