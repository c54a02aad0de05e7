"""``evaluate`` as a command: by options, by recipe, from results; what it writes, how it goes on, how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import yaml
from test_metrics import speech_like

from audiocodec.cli.main import main

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "recordings").mkdir()
    for seed in (1, 2):
        soundfile.write(f"recordings/{seed}.wav", speech_like(1.0, seed=seed), 16_000)
    recipe = {
        "name": "mine",
        "files": {"folder": "recordings"},
        "models": [{"model": str(tiny_model), "levels": [3, 9]}],
        "metrics": ["estoi", "mel"],
        "anchors": ["original"],
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    return told.err


def test_a_folder_by_options(folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "recordings", "-m", str(tiny_model), "-l", "3", "--metric", "mel", "--out", "results"]
    assert main([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [row["files"] for row in summary] == [2]
    for name in ("summary.json", "files.json", "files.csv", "table.md", "report.html"):
        assert (folder / "results" / name).stat().st_size > 0
    assert main(arguments) == 6
    assert "--resume" in one_line(capsys)
    assert main([*arguments, "--force", "--markdown", "table.md"]) == 0
    assert "3 levels" in capsys.readouterr().out
    assert "| tiny | 3 levels |" in Path("table.md").read_text()


def test_nothing_is_kept_that_was_not_asked_for(folder: Path, tiny_model: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert main(["evaluate", "recordings", "-m", str(tiny_model), "-l", "3", "--metric", "mel", "-q"]) == 0
    assert sorted(folder.rglob("*")) == before


def test_a_recipe_goes_on_and_its_results_are_looked_at_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "recipe.yaml"]) == 0
    assert "runs/evaluate-mine" in capsys.readouterr().out
    place = folder / "runs" / "evaluate-mine"
    first = (place / "files.csv").read_text()
    assert main(["evaluate", "recipe.yaml", "--resume", "-q"]) == 0
    assert (place / "files.csv").read_text() == first
    assert main(["evaluate", "recipe.yaml", "--resume", "--set", 'metrics=["mel"]', "--json"]) == 0
    assert "estoi" not in json.loads(capsys.readouterr().out)[0]
    assert main(["evaluate", str(place), "--json"]) == 0
    assert [row["setting"] for row in json.loads(capsys.readouterr().out)] == ["3 levels", "9 levels", "16 bit PCM"]


def test_a_blind_test_is_made_of_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "recipe.yaml", "--blind", "test", "-q"]) == 0
    assert (folder / "test" / "index.html").is_file()
    assert main(["evaluate", "runs/evaluate-mine", "--blind", "test"]) == 6
    assert "--force" in one_line(capsys)
    assert main(["evaluate", "runs/evaluate-mine", "--blind", "again", "-q"]) == 0
    assert main(["evaluate", "recordings", "--no-model", "--peer", "opus:6", "--metric", "mel", "--blind", "b"]) == 2
    assert "--out" in one_line(capsys)


def test_refusals_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in (
        (["empty", "--no-model", "--peer", "opus"], 8),
        (["recordings", "--no-model"], 2),
        (["recordings", "--no-model", "--peer", "opus", "--metric", "beauty"], 2),
        (["recordings", "--no-model", "--peer", "opus", "--metric", "pesq_wb", "--domain", "music"], 2),
        (["recordings", "--no-model", "--peer", "opus", "--set", "seed=1"], 2),
        (["recordings", "--model", "nowhere"], 5),
        (["recipe.yaml", "--levels", "3"], 2),
        (["recipe.yaml", "--set", "metrik=[mel]"], 7),
        (["recipe.yaml", "--set", "files.folder=empty"], 8),
        (["nowhere.yaml"], 8),
        (["recipe.yaml", "--markdown", "recipe.yaml"], 6),
    ):
        assert main(["evaluate", *arguments]) == code, arguments
        one_line(capsys)
    assert not (folder / "runs").exists()


QUICK = ["--set", "models=[]", "--set", 'peers=["opus:6"]', "--set", "anchors=[]", "--set", "workers=1"]


def test_the_recipe_of_librispeech_reads_its_layout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("av", "pocketsphinx", "jiwer"):
        pytest.importorskip(package)
    chapter = folder / "data" / "LibriSpeech" / "test-clean" / "61" / "70968"
    chapter.mkdir(parents=True)
    for number in range(3):
        soundfile.write(chapter / f"61-70968-000{number}.flac", speech_like(1.0, seed=number), 16_000)
    (chapter / "61-70968.trans.txt").write_text("".join(f"61-70968-000{n} HE BEGAN A CONFUSED\n" for n in range(3)))
    recipe = str(RECIPES / "evaluate_test_clean.yaml")
    assert main(["evaluate", recipe, *QUICK, "--set", "metrics=[wer, mel]", "--set", "files.limit=2", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["files"] == 2
    assert row["wer"] > 0.0  # there are no words in these sounds


def test_the_recipe_of_common_voice_reads_its_layout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    clips = folder / "data" / "cv-corpus" / "en" / "clips"
    clips.mkdir(parents=True)
    for number in range(3):
        soundfile.write(clips / f"common_voice_en_{number}.mp3", speech_like(1.0, 32_000, seed=number), 32_000)
    table = "client_id\tpath\tsentence\n" + "".join(f"a\tcommon_voice_en_{n}.mp3\tYes.\n" for n in (0, 2))
    (clips.parent / "test.tsv").write_text(table)
    recipe = str(RECIPES / "evaluate_common_voice.yaml")
    assert main(["evaluate", recipe, *QUICK, "--set", "metrics=[mel]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["files"] == 2


def test_help_names_every_peer_and_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    from audiocodec.evaluate.metrics import METRICS
    from audiocodec.evaluate.peers import KNOWN_PEERS

    assert main(["evaluate", "--help"]) == 0
    told = set(capsys.readouterr().out.replace(",", " ").replace(";", " ").replace(".", " ").split())
    whole = {name for name, metric in METRICS.items() if not metric.per_channel}  # of left and right: of stereo runs
    assert {*whole, *KNOWN_PEERS} <= told


def test_results_are_not_changed_by_options_and_json_warns(
    folder: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recordings/bad.wav").write_text("no audio")
    arguments = ["evaluate", "recordings", "-m", str(tiny_model), "-l", "3", "--metric", "mel", "--out", "results"]
    assert main([*arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 1
    assert told.err.startswith("warning: 1 skipped; bad.wav: ")
    for options in (["--peer", "opus:6"], ["--out", "elsewhere"], ["--resume"]):
        assert main(["evaluate", "results", *options]) == 2
        assert options[0] in one_line(capsys)
