"""``audiocodec doctor``: what is absent, broken or sound is told apart, and broken things come with their remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from audiocodec import doctor
from audiocodec.cli import main
from audiocodec.doctor import Check, Diagnosis


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of made-up packages that this process and its children can import."""
    for name, code in {
        "dc_sound": "print('a package that talks')",
        "dc_missing_part": "import dc_nowhere",
        "dc_chained": "try:\n  1/0\nexcept ZeroDivisionError as e: raise ImportError('outer') from e",
        "dc_crashes": "import os; os._exit(11)",
        "dc_exits": "raise SystemExit(3)",
    }.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_imports_are_tried_in_another_process_and_none_takes_the_rest_along(packages: Path) -> None:
    names = ["dc_sound", "dc_missing_part", "dc_crashes", "dc_chained", "dc_exits", "dc_sound"]
    found = dict(doctor._import_each(names))
    assert found["dc_sound"] is None
    assert "dc_nowhere" in str(found["dc_missing_part"])
    assert "status 11" in str(found["dc_crashes"])
    assert str(found["dc_chained"]).startswith("ZeroDivisionError")  # the root, not the wrapping
    assert "SystemExit" in str(found["dc_exits"])
    assert "dc_sound" not in sys.modules


def test_requirements_come_from_the_packages_own_metadata() -> None:
    wanted = doctor.requirements()
    assert wanted["torch"] == ("~=2.13.0", ("torch",))
    assert wanted["onnxruntime"][1] == ("core",)
    assert wanted["pesq"][1] == ("train", "eval")
    assert "audiocodec" not in wanted


def test_what_is_absent_or_broken_has_a_remedy() -> None:
    assert doctor._judge("soxr", ("core",), ">=0.5", None, None).remedy == "pip install 'audiocodec'"
    assert doctor._judge("pesq", ("eval",), "", None, None).remedy == "pip install 'audiocodec[eval]'"
    broken = doctor._judge("soxr", ("core",), ">=0.5", "0.5", "ImportError: no\nlib")
    assert (broken.state, broken.detail) == ("broken", "ImportError: no lib")
    assert "--force-reinstall" in broken.remedy
    assert doctor._judge("soxr", ("core",), ">=0.5", "0.5", None).state == "ok"


def test_torchaudio_beside_another_torch_gets_its_own_remedy(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = packages / "torchaudio" / "lib" / "_torchaudio.abi3.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    info = packages / "torchaudio-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: torchaudio\nVersion: 9.9\n")
    (info / "RECORD").write_text("torchaudio/lib/_torchaudio.abi3.so,,\ntorchaudio/__init__.py,,\n")
    check = doctor._judge("torchaudio", ("train",), "", "9.9", "OSError: libc10_cuda.so: cannot open")
    assert check.remedy.startswith(f"rm {library}")
    library.unlink()  # the remedy was taken, and something else is wrong
    assert "force-reinstall" in doctor._judge("torchaudio", ("train",), "", "9.9", "OSError: other").remedy


def diagnosis(state: doctor.State) -> Diagnosis:
    checks = (
        Check("torch", ("core",), "~=2.13.0", state, "2.13.0", "why", "pip install torch"),
        Check("pesq", ("eval",), ">=0.0.4", "absent", None, "not installed", "pip install 'audiocodec[eval]'"),
    )
    return Diagnosis("3.11", "Linux", checks, {"WAV": True, "MP3": False}, "CPU", "C", (), "no model")


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("absent", 9), ("broken", 9)])
def test_the_exit_code_is_about_the_core_alone(
    state: doctor.State, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: diagnosis(state))
    assert main(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["sound"] is (code == 0)
    assert told["packages"][1]["remedy"] == "pip install 'audiocodec[eval]'"
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert "remedy: pip install 'audiocodec[eval]'" in text
    assert "MP3 (missing)" in text
    assert "entropy coder: C" in text


@pytest.mark.slow
def test_the_real_thing_finds_the_core_sound_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] is True
    assert found["formats"]["FLAC"] is True
    assert {p["name"]: p["state"] for p in found["packages"]}["torch"] == "ok"
