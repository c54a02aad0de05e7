"""``benchmarks/codebooks.py``: what it promises, and what it refuses before the long work."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import ROOT, tiny_config

from audiocodec.checkpoint import save_model
from audiocodec.nn.model import CodecNet


@pytest.fixture
def codebooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module; its settings of thread pools end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import codebooks

    return codebooks


def rows(kbps: tuple[float, float], mel: tuple[float, float], own: tuple[float, float]) -> list[dict]:
    """Of two sizes: the development speech, and the speaker with the general codebook (mel of 1) and an own one."""
    made = []
    for i, size in enumerate((16, 64)):
        made.append({"audio": "development", "codebook": "general", "size": size, "kbps": kbps[i], "mel": mel[i]})
        made.append({"audio": "speaker", "codebook": "general", "size": size, "kbps": 1.0, "mel": 1.0})
        made.append({"audio": "speaker", "codebook": "speaker", "size": size, "kbps": 1.0, "mel": own[i]})
    return made


@pytest.mark.parametrize(
    ("kbps", "mel", "own", "kept"),
    [
        ((1.0, 2.0), (2.0, 1.0), (0.9, 0.8), [True, True, True]),
        ((2.0, 2.0), (2.0, 1.0), (0.9, 0.8), [False, True, True]),
        ((1.0, 2.0), (1.0, 1.5), (0.9, 0.8), [True, False, True]),
        ((1.0, 2.0), (2.0, 1.0), (0.9, 1.0), [True, True, False]),
    ],
)
def test_promises_are_judged(codebooks, kbps, mel, own, kept):
    assert list(codebooks.promises(rows(kbps, mel, own)).values()) == kept


@pytest.mark.parametrize(
    ("speaker", "told"), [("nobody", "has 'nobody' in its name"), ("talk", "too little of 'talk'")]
)
def test_a_speaker_with_too_little_is_refused_at_once(codebooks, tmp_path, monkeypatch, capsys, speaker, told):
    config = tiny_config()
    save_model(tmp_path / "model", CodecNet(config), config)
    (tmp_path / "speech").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / "speech" / f"talk{number}.wav", np.full(32000, 0.1), 16000)  # 2 s each
    arguments = ["model", "--data", "speech", "--speaker", speaker]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["codebooks.py", *arguments])
    assert codebooks.main() == 2
    assert told in capsys.readouterr().err
