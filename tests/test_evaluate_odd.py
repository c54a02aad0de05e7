"""What one odd recording, codec or measure costs an evaluation: its own figures, said by name, and nobody else's."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speech_like
from test_evaluate import Noise, recipe_for

from audiocodec.errors import DataError, OutputError, UsageError
from audiocodec.evaluate import run
from audiocodec.evaluate.metrics import METRICS
from audiocodec.evaluate.peers.command import CommandPeer, CommandSystem
from audiocodec.evaluate.recordings import list_audio
from audiocodec.evaluate.report.table import markdown, rich_table, unequal
from audiocodec.evaluate.systems import Coded
from audiocodec.evaluate.wanted import Wanted


class Crashing(Noise):
    """A system whose package raises what it likes, on one recording."""

    def run(self, source: Path, folder: Path) -> Coded:
        if source.name == "a.wav":
            raise ZeroDivisionError("odd length")
        return super().run(source, folder)


class Truncating(Noise):
    """A decoder that loses the second half of a recording, which would score best where it is not."""

    def run(self, source: Path, folder: Path) -> Coded:
        coded = super().run(source, folder)
        return replace(coded, samples=coded.samples[: len(coded.samples) // 2 - 1])


class Overflowing(Noise):
    """A decoder of networks that overflow."""

    def run(self, source: Path, folder: Path) -> Coded:
        coded = super().run(source, folder)
        coded.samples[7] = np.nan
        return coded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    place.mkdir()
    for number, name in enumerate("ab"):
        soundfile.write(place / f"{name}.wav", speech_like(1.0, seed=number), 16_000)
    return place


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Let evaluations run these systems instead of those of the recipe."""
    return lambda *systems: monkeypatch.setattr(
        run, "gather", lambda recipe: Wanted(list(systems), ["peer"] * len(systems))
    )


def test_a_codec_that_crashes_on_one_recording_is_named_and_the_run_goes_on(folder: Path, use) -> None:
    use(Crashing(30.0), Noise(10.0))
    results = run.evaluate(recipe_for(folder, metrics=["mel"]))
    assert [row["files"] for row in results.summary] == [1, 2]
    assert results.skipped == {"a.wav by noise 30 dB": "it failed (ZeroDivisionError: odd length)"}


@pytest.mark.parametrize(("kind", "why"), [(Truncating, "decoded 0.50 s of 1.00 s"), (Overflowing, "decoded NaN")])
def test_what_was_not_decoded_is_not_scored(folder: Path, use, kind, why: str) -> None:
    use(kind(30.0), Noise(10.0))
    results = run.evaluate(recipe_for(folder, metrics=["mel"]))
    assert [row["files"] for row in results.summary] == [0, 2]
    assert all(why in reason for reason in results.skipped.values())


def test_means_over_fewer_recordings_are_said_below_the_table(folder: Path, use) -> None:
    class Mute(Noise):
        """Silent where the others speak: its PESQ is undefined there, and its mean is of the easy recordings."""

        def run(self, source: Path, folder: Path) -> Coded:
            coded = super().run(source, folder)
            return replace(coded, samples=coded.samples * (source.name != "a.wav"))

    use(Crashing(30.0), Noise(10.0), Mute(20.0, codec="mute"))
    pytest.importorskip("pesq")
    results = run.evaluate(recipe_for(folder, metrics=["pesq_wb", "mel"]))
    assert unequal(results) == [
        "noise 30 dB: means over 1 of 2 recordings",
        "mute 20 dB: PESQ-WB over 1 of 2 recordings",
    ]
    assert unequal(results)[0] in markdown(results)
    use(Noise(30.0), Noise(10.0))
    assert unequal(run.evaluate(recipe_for(folder))) == []


def test_tables_of_any_names_and_of_measures_of_another_version(folder: Path, use, capsys) -> None:
    from rich.console import Console

    use(Noise(30.0, codec="a|b [/c] [red]"))
    results = run.evaluate(recipe_for(folder, metrics=["mel"]))
    results.metrics.append("of_tomorrow")
    assert "| a\\|b [/c] [red] | 30 dB |" in markdown(results)
    Console(width=220).print(rich_table(results))
    assert "a|b [/c] [red]" in capsys.readouterr().out


def test_two_models_of_one_name_are_two(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    from audiocodec.checkpoint import load_model, save_model

    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    net = load_model(other)[0]
    next(net.parameters()).data.mul_(1.01)
    save_model(other, net, net.config)
    models = [{"model": str(place), "levels": [5]} for place in (tiny_model, other, tiny_model)]
    results = run.evaluate(recipe_for(folder, models=models, metrics=["mel"]))
    first, second = results.environment["models"]
    assert (first["name"], second["name"]) == ("tiny", f"tiny {second['fingerprint'][:6]}")
    assert [row["codec"] for row in results.summary] == [first["name"], second["name"]]
    assert results.summary[0]["mel"] != results.summary[1]["mel"]


def test_two_commands_of_one_name_are_refused(folder: Path) -> None:
    copy = {"name": "copy", "encode": "cp {input} {output}", "decode": "cp {input} {output}"}
    with pytest.raises(UsageError, match="two different systems are called 'copy'"):
        run.evaluate(recipe_for(folder, commands=[copy, {**copy, "sample_rate": 8000}]))
    with pytest.raises(UsageError, match="the recordings themselves"):
        run.evaluate(recipe_for(folder, commands=[{**copy, "name": "original"}]))


def test_a_command_is_another_one_with_another_script_or_suffix(tmp_path: Path) -> None:
    script = tmp_path / "codec.sh"
    script.write_text("cp $1 $2")
    peer = CommandPeer(name="x", encode=f"sh {script} {{input}} {{output}}", decode="cp {input} {output}")
    identities = [CommandSystem(peer).identity(), CommandSystem(peer.model_copy(update={"suffix": ".ogg"})).identity()]
    script.write_text("cp $1 $2 && true")
    identities.append(CommandSystem(peer).identity())
    assert len({json.dumps(identity) for identity in identities}) == 3


def failing(monkeypatch: pytest.MonkeyPatch, name: str = "stoi") -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("no convergence")

    monkeypatch.setitem(METRICS, name, replace(METRICS[name], function=fail))


def test_a_measure_that_fails_costs_its_figure_alone_and_is_tried_again(
    folder: Path, tmp_path: Path, use, monkeypatch
) -> None:
    use(Noise(30.0))
    with monkeypatch.context() as patch:
        failing(patch)
        results = run.evaluate(recipe_for(folder), tmp_path / "out")
    assert [row["stoi"] for row in results.rows] == [None, None]
    assert all(row["mel"] > 0.0 for row in results.rows)
    assert results.skipped["a.wav by noise 30 dB, STOI"] == "RuntimeError: no convergence"
    again = run.evaluate(recipe_for(folder), tmp_path / "out", resume=True)
    assert all(row["stoi"] > 0.5 for row in again.rows)
    assert again.skipped == {}


def test_a_score_by_another_version_of_its_package_is_measured_again(
    folder: Path, tmp_path: Path, use, monkeypatch
) -> None:
    use(Noise(30.0))
    before = run.evaluate(recipe_for(folder), tmp_path / "out")
    for name in ("stoi", "mel"):
        monkeypatch.setitem(METRICS, name, replace(METRICS[name], function=lambda *_: 0.25))
    assert run.evaluate(recipe_for(folder), tmp_path / "out", resume=True).rows == before.rows
    monkeypatch.setattr(type(METRICS["stoi"]), "version", lambda self: f"{self.name} 99")
    after = run.evaluate(recipe_for(folder), tmp_path / "out", resume=True)
    assert {row[name] for row in after.rows for name in ("stoi", "mel")} == {0.25}
    # Units that do not tell, as they once did not, are taken at their word
    for path in (tmp_path / "out" / "units").rglob("*.json"):
        unit = json.loads(path.read_text())
        del unit["by"]
        path.write_text(json.dumps(unit))
    monkeypatch.setattr(type(METRICS["stoi"]), "version", lambda self: f"{self.name} 100")
    assert run.evaluate(recipe_for(folder), tmp_path / "out", resume=True).rows == after.rows


def test_recordings_with_nan_and_of_unstated_length(folder: Path, use) -> None:
    broken = speech_like(1.0)
    broken[100] = np.nan
    soundfile.write(folder / "nan.wav", broken, 16_000, subtype="FLOAT")
    # What a program writes into a pipe: the header of a FLAC says 0 samples for "unknown"
    soundfile.write(folder / "pipe.flac", speech_like(1.0), 16_000)
    data = bytearray((folder / "pipe.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (folder / "pipe.flac").write_bytes(data)
    use(Noise(30.0))
    results = run.evaluate(recipe_for(folder, metrics=["mel"]))
    assert list(results.skipped) == ["nan.wav"]
    assert "holds NaN or infinity" in results.skipped["nan.wav"]
    assert [row["seconds"] for row in results.rows if row["file"] == "pipe.flac"] == [1.0]


def test_names_that_are_no_utf_8(folder: Path, tmp_path: Path, use) -> None:
    import os

    name = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav")
    try:
        Path(name).write_bytes((folder / "a.wav").read_bytes())
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.wav")).write_text("no audio")
    except OSError:
        pytest.skip("this file system refuses such names")
    use(Noise(30.0))
    results = run.evaluate(recipe_for(folder, metrics=["mel"]), tmp_path / "out")
    assert "caf\\udce9.wav" in results.files
    assert list(results.skipped) == ["\\udcff.wav"]


def test_decoded_files_among_the_recordings_are_none(folder: Path, use) -> None:
    use(Noise(30.0))
    before = run.evaluate(recipe_for(folder, metrics=["mel"]), folder / "results")
    assert run.evaluate(recipe_for(folder, metrics=["mel"]), folder / "results", resume=True).rows == before.rows
    assert [path.name for path in list_audio(folder)] == ["a.wav", "b.wav"]
    assert len(list_audio(folder / "results" / "audio")) == 4  # asked for as such, they are


def test_results_never_replace_recordings(folder: Path, tmp_path: Path, use, monkeypatch) -> None:
    use(Noise(30.0))
    folder.rename(tmp_path / "audio")
    for recordings, place in (("audio", "."), ("audio", "audio")):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(OutputError, match="another folder"):
            run.evaluate(recipe_for(Path(recordings)), place, force=True)
    (tmp_path / "audio").rename(tmp_path / "in")
    (tmp_path / "audio").mkdir()
    with pytest.raises(OutputError, match="not of an evaluation"):
        run.evaluate(recipe_for(folder), tmp_path, force=True)
    assert (tmp_path / "audio").is_dir()


@pytest.mark.parametrize("pattern", ["", "/**/*.wav"])
def test_a_pattern_that_is_none(folder: Path, pattern: str) -> None:
    with pytest.raises(DataError, match="no pattern"):
        list_audio(folder, pattern)


def test_a_full_disk_ends_the_run_in_one_line(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: what is beyond it is refused in the same way."""
    import sys

    command = [sys.executable, "-m", "audiocodec", "evaluate", str(folder), "--no-model", "--peer", "vorbis:0"]
    limited = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *command, "--metric", "mel", "--out", str(tmp_path / "out")]
    done = subprocess.run(limited, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("error: cannot write ")
    assert done.stderr.count("\n") == 1
