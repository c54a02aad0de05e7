"""Which recordings a recipe means, and what is said in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.config import load_settings
from audiocodec.errors import ConfigError, DataError
from audiocodec.evaluate.manifest import choose, read_transcripts
from audiocodec.evaluate.recipe import EvaluationRecipe, FilesConfig

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "corpus"
    for number in range(5):
        path = place / "speaker" / f"clip{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(100, number / 10), 16_000)
    return place


def listed(folder: Path, names) -> str:
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_a_pattern_and_a_limit_spread_over_the_list(folder: Path) -> None:
    assert names(choose(FilesConfig(folder=str(folder)))) == [f"clip{n}.wav" for n in range(5)]
    assert names(choose(FilesConfig(folder=str(folder), limit=2))) == ["clip0.wav", "clip2.wav"]
    assert names(choose(FilesConfig(folder=str(folder), pattern="**/*3.wav"))) == ["clip3.wav"]
    with pytest.raises(DataError, match=r"that match \*\.mp3"):
        choose(FilesConfig(folder=str(folder), pattern="*.mp3"))


def test_a_manifest_names_the_files_and_verifies_them(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.sha256"
    manifest.write_text(f"# two of them\n{listed(folder, ['speaker/clip4.wav', 'speaker/clip1.wav'])}")
    files = FilesConfig(folder=str(folder), manifest=str(manifest))
    assert names(choose(files)) == ["clip1.wav", "clip4.wav"]
    soundfile.write(folder / "speaker" / "clip1.wav", np.zeros(10), 16_000)
    with pytest.raises(DataError, match=r"clip1\.wav is not the file"):
        choose(files)
    (folder / "speaker" / "clip1.wav").unlink()
    with pytest.raises(DataError, match="not there"):
        choose(files)


def test_a_recording_that_is_listed_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "list.sha256"
    manifest.write_text(listed(folder, ["speaker/clip1.wav", "speaker/clip4.wav", "speaker/clip1.wav"]))
    assert names(choose(FilesConfig(folder=str(folder), manifest=str(manifest)))) == ["clip1.wav", "clip4.wav"]
    table = tmp_path / "list.tsv"
    table.write_text("\ufeffpath\tsentence\n" + "speaker/clip2.wav\tOne\u2028two\r\n" * 2, newline="")
    assert names(choose(FilesConfig(folder=str(folder), manifest=str(table)))) == ["clip2.wav"]
    (folder / "words.tsv").write_bytes(table.read_bytes())
    assert read_transcripts(folder, "*.tsv") == {"clip2": "One\u2028two"}


def test_a_path_outside_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "other.wav"
    soundfile.write(outside, np.zeros(100), 16_000)
    (tmp_path / "list.sha256").write_text(listed(folder, [outside]))
    (tmp_path / "list.tsv").write_text(f"path\n{outside}\n")
    for manifest in ("list.sha256", "list.tsv"):
        with pytest.raises(DataError, match="is not below"):
            choose(FilesConfig(folder=str(folder), manifest=str(tmp_path / manifest)))


@pytest.mark.parametrize(
    ("text", "message"), [("clip1.wav\n", "line 1"), ("", "lists no files"), ("z" * 64 + "  a", "SHA")]
)
def test_a_manifest_that_is_none_is_refused(folder: Path, tmp_path: Path, text: str, message: str) -> None:
    manifest = tmp_path / "list"
    manifest.write_text(text)
    with pytest.raises(DataError, match=message):
        choose(FilesConfig(folder=str(folder), manifest=str(manifest)))
    with pytest.raises(DataError, match="cannot read"):
        choose(FilesConfig(folder=str(folder), manifest=str(tmp_path / "nowhere")))


def test_common_voice_names_its_files_and_words_in_a_table(folder: Path, tmp_path: Path) -> None:
    table = folder / "test.tsv"
    table.write_text('client_id\tpath\tsentence\nx\tspeaker/clip2.wav\tHe said "no.\ny\tspeaker/clip0.wav\tGood\n')
    assert names(choose(FilesConfig(folder=str(folder), manifest=str(table)))) == ["clip0.wav", "clip2.wav"]
    assert read_transcripts(folder, "*.tsv") == {"clip2": 'He said "no.', "clip0": "Good"}
    table.write_text("client_id\tsentence\nx\tGood\n")
    with pytest.raises(DataError, match="column named path"):
        choose(FilesConfig(folder=str(folder), manifest=str(table)))


def test_transcripts_of_librispeech_and_of_lj_speech(folder: Path) -> None:
    (folder / "speaker" / "1-2.trans.txt").write_text("1-2-0001 HE SAID NO\n\n1-2-0002 GOOD\n")
    (folder / "metadata.csv").write_text("LJ001-0001|In 1455,|In fourteen fifty-five,\n")
    assert read_transcripts(folder, "**/*.trans.txt") == {"1-2-0001": "HE SAID NO", "1-2-0002": "GOOD"}
    assert read_transcripts(folder, "*.csv") == {"LJ001-0001": "In fourteen fifty-five,"}
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    assert read_transcripts(elsewhere, str(next(folder.glob("*.csv")))) == {"LJ001-0001": "In fourteen fifty-five,"}
    with pytest.raises(DataError, match="no transcripts match"):
        read_transcripts(folder, "*.srt")


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/evaluate_*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_read_and_their_peers_known(path: Path) -> None:
    from audiocodec.evaluate.peers import peer_systems

    recipe = load_settings(EvaluationRecipe, path)
    assert path.read_text().startswith("# ")
    peer_systems(recipe.peers)
    assert recipe.models


def test_a_wrong_key_in_a_recipe_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nfiles: {folder: a}\nmodels: [{model: m, bitrate: [3]}]\n")
    with pytest.raises(ConfigError, match=r"models\.0\.bitrate'; did you mean 'bitrates'"):
        load_settings(EvaluationRecipe, path)
    path.write_text("name: x\nfiles: {foldr: a}\n")
    with pytest.raises(ConfigError, match="did you mean 'folder'"):
        load_settings(EvaluationRecipe, path)
