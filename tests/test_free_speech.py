"""The recipe for the free corpus takes what may be trained on, and nothing that is reserved."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from audiocodec.train.shards import Corpus

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    import prepare_free_speech

    return prepare_free_speech


@pytest.fixture
def debian_corpus(recipe: ModuleType) -> ModuleType:
    import debian_corpus

    return debian_corpus


@pytest.mark.parametrize(
    ("package", "path", "use"),
    [
        ("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps/animals/cat_desc_ru.ogg", "train"),
        ("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps/animals/cat_desc.ogg", "train"),
        ("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps/animals/cat_desc_es.ogg", "reserved"),
        ("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps/animals/cat_desc_fr.ogg", "reserved"),
        ("tuxpaint-stamps-default", "/usr/share/tuxpaint/stamps/animals/cat.ogg", "ignored"),
        ("klettres-data", "/usr/share/klettres/cs/alpha/a.ogg", "train"),
        ("klettres-data", "/usr/share/klettres/en/alpha/a.ogg", "reserved"),
        ("klettres-data", "/usr/share/klettres/it/syllab/ba.ogg", "reserved"),
        ("klettres-data", "/usr/share/klettres/en_GB/alpha/a.ogg", "ignored"),
        ("ktuberling-data", "/usr/share/ktuberling/sounds/de/bow.ogg", "train"),
        ("ktuberling-data", "/usr/share/ktuberling/sounds/ru/bow.wav", "reserved"),
        ("ktuberling-data", "/usr/share/ktuberling/sounds/sl/bow.wav", "reserved"),
        ("ktuberling-data", "/usr/share/ktuberling/sounds/wa/bow.wav", "reserved"),
        ("asterisk-core-sounds-fr-g722", "/usr/share/asterisk/sounds/fr_CA_f_June/agent.g722", "train"),
        ("asterisk-core-sounds-fr-g722", "/usr/share/asterisk/sounds/fr_CA_f_June/silence/1.g722", "ignored"),
        ("hedgewars-data", "/usr/share/games/hedgewars/Data/Sounds/voices/British/Boring.ogg", "train"),
        ("hedgewars-data", "/usr/share/games/hedgewars/Data/Music/City.ogg", "ignored"),
    ],
)
def test_rules_of_selection(recipe: ModuleType, package: str, path: str, use: str) -> None:
    rule = next(entry for entry in recipe.PACKAGES if entry.name == package)
    assert rule.use(path) == use


def test_reserved_packages_are_not_in_the_list(recipe: ModuleType) -> None:
    names = {package.name for package in recipe.PACKAGES}
    assert not names & {"festvox-czech-ph", "unknown-horizons", "fretsonfire-songs-sectoid", "hyperrogue-music"}
    assert len(names) == len(recipe.PACKAGES) == 14


def _speech(seed: int, rate: int = 16000, seconds: float = 3.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    envelope = np.repeat(generator.random(int(seconds * 10)) ** 2, rate // 10)
    return (0.2 * generator.standard_normal(len(envelope)) * envelope).astype(np.float32)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian's dpkg")
def test_a_package_becomes_shards(recipe: ModuleType, debian_corpus: ModuleType, tmp_path: Path) -> None:
    sounds = tmp_path / "tree" / "usr" / "share" / "klettres"
    for language, name, seed, rate in [
        ("cs", "one", 0, 44100),
        ("da", "two", 1, 16000),
        ("da", "two again", 1, 16000),
        ("da", "narrow", 2, 8000),
        ("de", "like english", 3, 16000),
        ("en", "reserved", 3, 16000),
        ("hu", "held", 4, 16000),
    ]:
        (sounds / language).mkdir(parents=True, exist_ok=True)
        soundfile.write(sounds / language / f"{name}.flac", _speech(seed, rate), rate)
    (sounds / "cs" / "broken.ogg").write_bytes(b"OggS")
    doc = tmp_path / "tree/usr/share/doc/klettres-data/copyright"
    doc.parent.mkdir(parents=True)
    doc.write_text("free\n")
    control = tmp_path / "tree" / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(
        "Package: klettres-data\nVersion: 4:1.2-3\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a\n"
    )
    archives = tmp_path / "work" / "archives"
    archives.mkdir(parents=True)
    deb = archives / "klettres-data_4%3a1.2-3_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", str(tmp_path / "tree"), str(deb)], check=True, capture_output=True)
    held = tmp_path / "held"
    held.mkdir()
    soundfile.write(held / "excerpt.flac", _speech(4)[8000:40000], 16000)
    packages = [package for package in recipe.PACKAGES if package.name == "klettres-data"]
    for _ in range(2):  # the second run finds everything done
        debian_corpus.prepare(tmp_path / "out", tmp_path / "work", [held], 1, packages, recipe.KIND)
    corpus = Corpus.open(tmp_path / "out", rate=16000)
    inside = "klettres-data/usr/share/klettres"
    assert corpus.names == [f"{inside}/cs/one.flac", f"{inside}/da/two again.flac"]
    skipped = {entry["source"].rsplit("/", 1)[1]: entry["reason"] for entry in _manifest(tmp_path)["skipped"]}
    assert set(skipped) == {"broken.ogg", "two.flac", "narrow.flac", "like english.flac", "held.flac"}
    assert "8000 Hz" in skipped["narrow.flac"]
    assert "the reserved klettres-data" in skipped["like english.flac"]
    assert "the reserved excerpt.flac" in skipped["held.flac"]
    [source] = json.loads((tmp_path / "out" / "sources.json").read_text())
    assert (source["version"], source["recordings"], source["licence"]) == ("4:1.2-3", 2, "GPL-2+")
    assert (tmp_path / "out" / source["copyright"]).read_text() == "free\n"


def _manifest(tmp_path: Path) -> dict[str, list[dict[str, str]]]:
    return json.loads((tmp_path / "out" / "manifest.json").read_text())
