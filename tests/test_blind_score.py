"""Scoring a blind test: means and intervals, who is left out after BS.1534-3, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from blind_helpers import make_results

from audiocodec.cli import main
from audiocodec.errors import DataError
from audiocodec.evaluate.blind import score_blind_test, write_blind_test
from audiocodec.evaluate.blind.score import t_quantile

HEAD = "listener,trial,stimulus,score,seconds,played_count\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_results(tmp_path_factory.mktemp("results"), files=7, seconds=0.1)
    folder = tmp_path_factory.mktemp("blind") / "test"
    write_blind_test(made, folder, seed=1, force=False)
    return folder


def ratings(folder: Path, path: Path, listener: str, scores: dict[str, list[float]], trials: int = 7) -> Path:
    """A file as the page saves it; ``scores`` by the first word of a label, one a trial, the last one repeated."""
    lines = [HEAD]
    for number, entry in enumerate(json.loads((folder / "key.json").read_text())["trials"][:trials]):
        for name, stimulus in entry["stimuli"].items():
            given = scores[stimulus["label"].split()[0]]
            lines.append(f"{listener},{entry['trial']},{name},{given[min(number, len(given) - 1)]:g},3.5,2\n")
    path.write_text("".join(lines), encoding="utf-8-sig")
    return path


GOOD: dict[str, list[float]] = {"hidden": [100], "3.5": [20], "nova": [60, 70], "opus": [80]}


def test_means_intervals_and_order(folder: Path, tmp_path: Path) -> None:
    found = score_blind_test(folder, [ratings(folder, tmp_path / "a.csv", '"Anna, B."', GOOD)])
    assert [row.system for row in found.systems] == [
        "hidden reference",
        "opus 6 VBR",
        "nova 5 levels",
        "3.5 kHz anchor",
    ]
    assert [row.n for row in found.systems] == [7] * 4
    nova = found.systems[2]
    assert nova.mean == pytest.approx((60 + 6 * 70) / 7)
    deviation = math.sqrt((100 - 100 / 7) / 6)
    assert nova.ci95 == pytest.approx(2.447 * deviation / math.sqrt(7), rel=1e-3)
    assert nova.median == 70
    assert (found.listeners, found.excluded, found.unfinished) == (["Anna, B."], {}, 0)


def test_who_misses_the_hidden_reference_is_left_out(folder: Path, tmp_path: Path) -> None:
    one = {**GOOD, "hidden": [89.0, 100.0]}  # in 1 of 7 trials, 14 %
    two = {**GOOD, "hidden": [89.0, 89.0, 90.0], "opus": [0.0]}  # in 2 of 7, 29 %
    files = [ratings(folder, tmp_path / f"{n}.csv", n, s) for n, s in (("one", one), ("two", two), ("good", GOOD))]
    found = score_blind_test(folder, files)
    assert found.listeners == ["good", "one"]
    assert found.excluded == {"two": "two rated the hidden reference below 90 in 2 of 7 trials"}
    assert next(row for row in found.systems if row.system == "opus 6 VBR").mean == 80
    with pytest.raises(DataError, match="no ratings are left"):
        score_blind_test(folder, files[1:2])


def test_trials_that_were_not_finished_do_not_count(folder: Path, tmp_path: Path) -> None:
    path = ratings(folder, tmp_path / "a.csv", "a", GOOD, trials=3)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    found = score_blind_test(folder, [path])
    assert found.unfinished == 1
    assert [row.n for row in found.systems] == [2] * 4


def test_a_file_saved_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    early = ratings(folder, tmp_path / "early.csv", "a", GOOD, trials=3)
    late = ratings(folder, tmp_path / "late.csv", "a", GOOD)
    assert score_blind_test(folder, [early, late]).systems[0].n == 7
    other = ratings(folder, tmp_path / "other.csv", "a", {**GOOD, "opus": [81]})
    with pytest.raises(DataError, match="only the later file"):
        score_blind_test(folder, [late, other])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no ratings"),
        ("a,b\n1,2\n", "holds no ratings"),
        (HEAD, "holds no ratings"),
        (HEAD + "a,01,zzzzzzzz,5,1,1\n", "not of this test"),
        (HEAD + "a,01,{name},101,1,1\n", "not between 0 and 100"),
        (HEAD + "a,01,{name},,1,1\n", "not between 0 and 100"),
        (HEAD + "a,01,{name},nan,1,1\n", "not between 0 and 100"),
        (HEAD + "a,01\n", "not of this test"),
        ("\0\0", "ratings"),
    ],
)
def test_ratings_that_are_refused(folder: Path, tmp_path: Path, text: str, words: str) -> None:
    name = next(iter(json.loads((folder / "key.json").read_text())["trials"][0]["stimuli"]))
    path = tmp_path / "bad.csv"
    path.write_text(text.replace("{name}", name))
    with pytest.raises(DataError, match=words):
        score_blind_test(folder, [path])


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    careless = ratings(folder, tmp_path / "b.csv", "b", {**GOOD, "hidden": [50]})
    arguments = ["score", str(folder), str(ratings(folder, tmp_path / "a.csv", "a", GOOD)), str(careless)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    for words in (
        "hidden reference",
        "nova 5 levels",
        "95 % CI",
        "listeners: 1 counted, 1 excluded",
        "excluded: b rated",
    ):
        assert words in told
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["systems"][0]["mean"] == 100.0
    assert main(["score", str(tmp_path), arguments[2]]) == 8
    assert main(["score", str(folder), str(tmp_path / "nowhere.csv")]) == 8
    assert "nowhere.csv" in capsys.readouterr().err


def test_students_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 7, 30, 31, 60, 1000):
        assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=6e-4)
