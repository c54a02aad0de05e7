"""Blind listening tests: nothing tells which sound is which, all sounds are in step, and ratings are scored right."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from blind_helpers import RATE, make_results, store

from audiocodec.cli import main
from audiocodec.errors import DataError, OutputError, UsageError
from audiocodec.evaluate.blind import MAX_SYSTEMS, write_blind_test
from audiocodec.evaluate.blind.anchor import anchor_filter, low_anchor
from audiocodec.evaluate.blind.choose import choose_files, choose_systems
from audiocodec.evaluate.lag import find_lag
from audiocodec.evaluate.results import Results, SystemInfo, write_results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def folder(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blind") / "test"
    write_blind_test(results, folder, seed=7, force=False)
    return folder


def key_of(folder: Path) -> list[dict]:
    return json.loads((folder / "key.json").read_text())["trials"]


def sounds(folder: Path, entry: dict) -> dict[str, tuple[np.ndarray, int]]:
    where = folder / "trials" / entry["trial"]
    return {s["label"]: soundfile.read(str(where / f"{name}.flac")) for name, s in entry["stimuli"].items()}


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_the_anchor_is_that_of_bs_1534(rate: int) -> None:
    taps = anchor_filter(rate)
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 1 << 16)) + 1e-12)
    hz = np.fft.rfftfreq(1 << 16, 1 / rate)
    assert np.abs(response[hz <= 3500]).max() <= 0.1
    assert response[hz >= 4000].max() <= -25
    assert response[hz >= 4500].max() <= -50
    impulse = np.zeros(4001)
    impulse[2000] = 1.0
    assert np.argmax(low_anchor(impulse, rate)) == 2000  # in step with the reference


def test_a_trial_holds_reference_anchor_and_systems(folder: Path, results: Results) -> None:
    key = key_of(folder)
    assert [entry["file"] for entry in key] == results.files
    for entry in key:
        labels = [s["label"] for s in entry["stimuli"].values()]
        assert sorted(labels) == ["3.5 kHz anchor", "hidden reference", "nova 5 levels", "opus 6 VBR"]
        files = sorted(path.stem for path in (folder / "trials" / entry["trial"]).iterdir())
        assert files == sorted([*entry["stimuli"], "reference"])


def test_the_hidden_reference_is_the_open_one(folder: Path, results: Results) -> None:
    for entry in key_of(folder):
        where = folder / "trials" / entry["trial"]
        hidden = next(n for n, s in entry["stimuli"].items() if s["role"] == "reference")
        assert (where / f"{hidden}.flac").read_bytes() == (where / "reference.flac").read_bytes()
        path = results.audio(entry["file"])
        assert path is not None
        original, _ = soundfile.read(str(path))
        assert np.abs(soundfile.read(str(where / "reference.flac"))[0] - original).max() <= 2**-16


def test_all_sounds_are_as_long_at_one_rate_and_in_step(folder: Path) -> None:
    for entry in key_of(folder):
        found = sounds(folder, entry)
        reference, _ = found["hidden reference"]
        assert {(len(x), rate) for x, rate in found.values()} == {(len(reference), RATE)}
        for x, _ in found.values():
            assert find_lag(reference, x, RATE, 0.05).seconds == 0.0


def test_the_page_plays_the_same_bytes(folder: Path) -> None:
    for entry in key_of(folder):
        text = (folder / "trials" / f"{entry['trial']}.js").read_text()
        number, coded = json.loads(f"[{re.fullmatch(r'takeTrial[(](.*)[)];', text.strip()).group(1)}]")  # type: ignore[union-attr]
        assert number == entry["trial"]
        for name, data in coded.items():
            assert base64.b64decode(data) == (folder / "trials" / number / f"{name}.flac").read_bytes()


def test_nothing_but_the_key_tells(folder: Path, results: Results) -> None:
    words = [s.label for s in results.systems] + ["nova", "opus", "6 VBR", "made up", *results.files]
    for path in [p for p in folder.rglob("*") if p.is_file() and p.name != "key.json"]:
        if path.suffix == ".js":
            continue  # the FLAC files again, as base64
        for word in words:
            assert word not in path.name
            assert word.encode() not in path.read_bytes(), f"{path.name} holds '{word}'"
        if path.suffix == ".flac":
            with soundfile.SoundFile(str(path)) as file:
                assert not file.copy_metadata()
                assert file.subtype == "PCM_16"
    page = (folder / "index.html").read_text()
    assert "key.json" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing is loaded but trials
    names = [name for entry in json.loads(re.search(r'json">(.*?)</script', page).group(1))["trials"]  # type: ignore[union-attr]
             for name in entry["stimuli"]]  # fmt: skip
    assert len(set(names)) == len(names) == 8


def test_names_do_not_tell_by_their_order_and_depend_on_the_seed(results: Results, tmp_path: Path) -> None:
    seen: set[str] = set()
    ranks: dict[str, list[int]] = {}
    for seed in range(12):
        write_blind_test(results, tmp_path / str(seed), seed=seed, force=False)
        for entry in key_of(tmp_path / str(seed)):
            names = sorted(entry["stimuli"])
            assert not seen & set(names)
            seen |= set(names)
            for rank, name in enumerate(names):
                ranks.setdefault(entry["stimuli"][name]["label"], []).append(rank)
    # 24 ranks out of 0 to 3, uniform: a mean beyond 0.7 of 1.5 has a chance of 2 in 1000
    assert all(abs(np.mean(found) - 1.5) < 0.7 for found in ranks.values())
    again = tmp_path / "again"
    write_blind_test(results, again, seed=3, force=False)
    assert key_of(again) == key_of(tmp_path / "3")


def test_where_one_would_clip_all_are_turned_down(tmp_path: Path) -> None:
    made = make_results(tmp_path / "results", files=1, gain=2.0)
    square = np.sign(np.sin(2 * np.pi * 1000 * np.arange(8000) / RATE))
    store(tmp_path / "results", made.files[0], "original", square, RATE)  # its low-pass overshoots
    test = write_blind_test(made, tmp_path / "test", seed=0, force=False)
    assert test.turned_down == made.files
    (entry,) = key_of(tmp_path / "test")
    found = sounds(tmp_path / "test", entry)
    assert 0.5 < entry["gain"] < 0.9
    assert np.abs(found["hidden reference"][0]).max() == pytest.approx(entry["gain"], abs=1e-4)
    assert np.abs(found["3.5 kHz anchor"][0]).max() == pytest.approx(1.0, abs=1e-4)


def test_a_long_recording_is_cut_to_its_loudest_12_seconds(tmp_path: Path) -> None:
    made = make_results(tmp_path / "results", files=1, seconds=14.0)
    path = made.audio(made.files[0])
    assert path is not None
    original, _ = soundfile.read(str(path))
    original[: 3 * RATE] = 0.0
    store(tmp_path / "results", made.files[0], "original", original, RATE)
    write_blind_test(made, tmp_path / "test", seed=0, force=False)
    (entry,) = key_of(tmp_path / "test")
    assert entry["seconds"] == 12.0
    assert {len(x) for x, _ in sounds(tmp_path / "test", entry).values()} == {12 * RATE}


def test_the_systems_that_are_heard_by_default(tmp_path: Path) -> None:
    systems = [("nova", f"{n} levels", float(n)) for n in range(1, 8)]
    systems += [("opus", f"{n} VBR", n + 0.4) for n in (4, 6, 8, 12, 24)] + [("lyra", "3.2", 3.2)]
    made = make_results(tmp_path, systems=systems, files=1, seconds=0.1)
    chosen = [s.label for s in choose_systems(made, None)]
    assert chosen[:3] == ["nova 1 levels", "nova 4 levels", "nova 7 levels"]
    assert set(chosen[3:]) == {"opus 4 VBR", "opus 6 VBR", "lyra 3.2"}
    with pytest.raises(UsageError, match="11 systems"):
        choose_systems(made, made.systems[: MAX_SYSTEMS + 1])
    with pytest.raises(UsageError, match="hold: nova 1 levels"):
        choose_systems(made, [SystemInfo("opus", "7", "peer")])
    assert len(choose_systems(made, made.systems[:MAX_SYSTEMS])) == MAX_SYSTEMS


def test_the_recordings_that_are_heard(tmp_path: Path) -> None:
    made = make_results(tmp_path, files=11, seconds=0.05)
    audio = made.audio(made.files[0], made.systems[1])
    assert audio is not None
    audio.unlink()
    drawn = choose_files(made, made.systems, None, 1)
    assert len(drawn) == 8
    assert made.files[0] not in drawn
    assert choose_files(made, made.systems, made.files[1:11], 1) == made.files[1:11]
    with pytest.raises(DataError, match="opus 6 VBR was not kept"):
        choose_files(made, made.systems, [made.files[0]], 1)
    with pytest.raises(UsageError, match="not in the results"):
        choose_files(made, made.systems, ["x.wav"], 1)


def test_a_test_is_not_overwritten_unless_forced(results: Results, tmp_path: Path) -> None:
    write_blind_test(results, tmp_path / "t", seed=1, force=False)
    before = {path.name for path in (tmp_path / "t").rglob("*.flac")}
    with pytest.raises(OutputError, match="--force"):
        write_blind_test(results, tmp_path / "t", seed=2, force=False)
    write_blind_test(results, tmp_path / "t", seed=2, force=True)
    after = {path.name for path in (tmp_path / "t").rglob("*.flac")}
    assert before & after == {"reference.flac"}


def test_the_command(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.folder is not None
    write_results(results, results.folder, force=True)
    arguments = ["blind", str(results.folder), "-o", str(tmp_path / "t"), "--system", "nova 5 levels"]
    assert main([*arguments, "--file", results.files[1]]) == 0
    told = capsys.readouterr().out
    assert "1 trial of 3 sounds: reference, anchor, nova 5 levels" in told
    assert "key.json" in told
    assert [entry["file"] for entry in key_of(tmp_path / "t")] == [results.files[1]]
    assert main(arguments) == 6
    assert main([*arguments, "--system", "mp3", "--force"]) == 2
    assert main(["blind", str(tmp_path), "-o", str(tmp_path / "u")]) == 8
