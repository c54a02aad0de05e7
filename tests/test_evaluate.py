"""An evaluation measures what was written, says what it skipped, goes on where it stopped, and reads back."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_metrics import noisy, speech_like

from audiocodec.errors import AudioError, DataError, OutputError, UsageError
from audiocodec.evaluate import run
from audiocodec.evaluate.ours import token_statistics
from audiocodec.evaluate.recipe import EvaluationRecipe
from audiocodec.evaluate.recordings import list_audio, read_mono
from audiocodec.evaluate.results import Results, SystemInfo, read_results, slug, write_results
from audiocodec.evaluate.store import Store
from audiocodec.evaluate.summary import summarise, token_use
from audiocodec.evaluate.systems import Coded
from audiocodec.evaluate.wanted import Wanted

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Noise:
    """A system that adds noise: 1000 bytes a file, whatever the file."""

    snr_db: float
    delay_samples: int = 0
    codec: str = "noise"
    version: str = "1"

    @property
    def setting(self) -> str:
        return f"{self.snr_db:g} dB"

    def identity(self) -> dict[str, str]:
        return {"version": self.version}

    def run(self, source: Path, folder: Path) -> Coded:
        samples, rate = read_mono(source)
        late = np.concatenate([np.zeros(self.delay_samples), noisy(samples, self.snr_db)])
        counts = [np.array([3, 1]), np.array([4])]
        return Coded(late, rate, 1000, 800, 0.5, 0.25, 1250, 4, counts, [(1.0, 400), (1.0, 400)], max_delay_s=0.1)


@dataclass(frozen=True)
class Refusing(Noise):
    """A system that cannot code short recordings."""

    codec: str = "refusing"

    def run(self, source: Path, folder: Path) -> Coded:
        raise AudioError(f"{source.name} is too short")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "speech"
    (place / "deeper").mkdir(parents=True)
    speech = speech_like(2.0)
    soundfile.write(place / "b.wav", speech, 16_000)
    soundfile.write(place / "deeper" / "a.flac", speech_like(2.0, 24_000), 24_000)
    return place


@pytest.fixture
def noise(monkeypatch):
    """Let evaluations run these systems instead of those of the recipe; the systems asked to run are recorded."""

    def use(*systems):
        monkeypatch.setattr(run, "gather", lambda recipe: Wanted(list(systems), ["peer"] * len(systems)))

    return use


def recipe_for(folder: Path, **changes) -> EvaluationRecipe:
    settings = {"name": "test", "files": {"folder": str(folder)}, "metrics": ["stoi", "mel"], **changes}
    return EvaluationRecipe.model_validate(settings)


def one(path: Path, systems, metrics, place: Path) -> run.Outcome:
    job = run.Job(Store(place), list(systems), list(metrics), "speech")
    return run.evaluate_recording(job, run.Task(path, path.name))


def test_rates_speeds_and_delay_of_a_file(folder: Path, tmp_path: Path) -> None:
    (row,) = one(folder / "b.wav", [Noise(20.0, 160)], ["stoi", "mel"], tmp_path / "out").rows
    assert row["kbps"] == pytest.approx(1000 * 8 / 2.0 / 1000)
    assert row["payload_kbps"] == pytest.approx(800 * 8 / 2.0 / 1000)
    assert row["delay_ms"] == pytest.approx(10.0)
    assert 0.8 < row["stoi"] < 1.0
    assert row["mel"] > 0.0
    assert "pesq_wb" not in row
    assert row["packets"] == [[1.0, 400], [1.0, 400]]


def test_a_late_decoder_is_aligned_before_it_is_measured(folder: Path, tmp_path: Path) -> None:
    scores = [
        one(folder / "b.wav", [Noise(20.0, delay)], ["stoi", "si_sdr"], tmp_path / f"{delay}").rows[0]
        for delay in (0, 400)
    ]
    assert scores[0]["stoi"] == pytest.approx(scores[1]["stoi"], abs=1e-3)
    assert scores[0]["si_sdr"] == pytest.approx(scores[1]["si_sdr"], abs=0.1)


def test_a_delay_that_the_format_states_is_not_searched(folder: Path, tmp_path: Path) -> None:
    class Late(Noise):
        def run(self, source: Path, folder: Path) -> Coded:
            return replace(super().run(source, folder), delay_s=0.0)

    (row,) = one(folder / "b.wav", [Late(20.0, 160)], ["si_sdr"], tmp_path / "out").rows
    assert row["delay_ms"] == 0.0
    assert row["si_sdr"] < 5.0


def test_stereo_is_mixed_down_for_every_system(tmp_path: Path) -> None:
    left, right = speech_like(1.0), speech_like(1.0, seed=2) * 0.5
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    (row,) = one(tmp_path / "stereo.wav", [Noise(200.0)], ["si_sdr"], tmp_path / "out").rows
    assert row["si_sdr"] > 60.0  # what is left is the rounding to 24 bits


def test_summary_pools_bytes_seconds_and_levels(folder: Path, noise) -> None:
    noise(Noise(30.0), Noise(10.0))
    good, bad = run.evaluate(recipe_for(folder)).summary
    assert good["files"] == 2
    assert good["stoi"] > bad["stoi"]
    assert good["saving_percent"] == pytest.approx(20.0)
    assert (good["encode_speed"], good["decode_speed"]) == (pytest.approx(4.0), pytest.approx(8.0))
    entropy = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert good["entropy_bits_per_frame"] == pytest.approx(entropy)
    assert good["cvu"] == pytest.approx(2.0**entropy / 2)


def test_token_use_of_even_and_of_collapsed_levels() -> None:
    assert token_use([np.full(8, 5)] * 3) == (pytest.approx(9.0), pytest.approx(1.0))
    assert token_use([np.array([7, 0, 0, 0])]) == (pytest.approx(0.0), pytest.approx(0.25))
    assert token_use([np.array([7])]) == (0.0, None)


def test_an_interrupted_evaluation_goes_on_without_computing_again(folder: Path, tmp_path: Path, noise, monkeypatch):
    ran = []
    original = Noise.run

    def counted(self: Noise, source: Path, place: Path) -> Coded:
        ran.append((source.name, self.snr_db))
        return original(self, source, place)

    monkeypatch.setattr(Noise, "run", counted)
    noise(Noise(30.0), Noise(10.0))
    whole = run.evaluate(recipe_for(folder), tmp_path / "whole")
    assert len(ran) == 4
    ran.clear()

    def stop(done: int, _total: int, _name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.evaluate(recipe_for(folder), tmp_path / "out", progress=stop)
    assert len(ran) == 2
    with pytest.raises(OutputError, match="--resume"):
        run.evaluate(recipe_for(folder), tmp_path / "out")
    resumed = run.evaluate(recipe_for(folder), tmp_path / "out", resume=True)
    assert len(ran) == len(set(ran)) == 4
    assert resumed.rows == whole.rows
    assert resumed.summary == whole.summary
    # A measure that is asked for later is computed from the audio that was kept
    more = run.evaluate(recipe_for(folder, metrics=["stoi", "si_sdr"]), tmp_path / "out", resume=True)
    assert len(ran) == 4
    assert all(row["si_sdr"] > 5.0 for row in more.rows)


def test_what_changed_is_computed_again_and_force_computes_everything(folder: Path, tmp_path: Path, noise) -> None:
    noise(Noise(30.0))
    before = run.evaluate(recipe_for(folder), tmp_path / "out")
    soundfile.write(folder / "b.wav", speech_like(2.0, seed=9), 16_000)
    noise(Noise(30.0, version="2"))
    after = run.evaluate(recipe_for(folder), tmp_path / "out", resume=True)
    assert [a["stoi"] == b["stoi"] for a, b in zip(before.rows, after.rows, strict=True)] == [False, True]
    (tmp_path / "out" / "units" / slug("b.wav") / f"{slug('noise 30 dB')}.json").write_text("{}")
    again = run.evaluate(recipe_for(folder), tmp_path / "out", force=True)
    assert again.rows == after.rows


def test_a_damaged_unit_or_audio_is_computed_again(folder: Path, tmp_path: Path, noise) -> None:
    noise(Noise(30.0))
    before = run.evaluate(recipe_for(folder), tmp_path / "out")
    for path in (tmp_path / "out" / "units").rglob("*.json"):
        path.write_text(path.read_text()[:40])
    for path in (tmp_path / "out" / "audio").rglob("*.flac"):
        path.write_bytes(b"fLaC")
    assert run.evaluate(recipe_for(folder), tmp_path / "out", resume=True).rows == before.rows


def test_a_system_that_fails_on_a_file_is_named_and_the_others_go_on(folder: Path, tmp_path: Path, noise) -> None:
    noise(Noise(30.0), Refusing(1.0))
    results = run.evaluate(recipe_for(folder), tmp_path / "out")
    assert [row["files"] for row in results.summary] == [2, 0]
    assert results.skipped["b.wav by refusing 1 dB"] == "b.wav is too short"


def test_unreadable_and_empty_files_are_skipped_by_name(folder: Path, noise) -> None:
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    (folder / "lies.wav").write_bytes(b"this is not audio at all")
    noise(Noise(30.0))
    seen = []
    results = run.evaluate(recipe_for(folder), progress=lambda *step: seen.append(step[:2]))
    assert set(results.skipped) == {"empty.wav", "lies.wav"}
    assert results.files == ["b.wav", "deeper/a.flac"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name in ("b.wav", "deeper/a.flac"):
        (folder / name).unlink()
    with pytest.raises(DataError, match="none of the 2 recordings"):
        run.evaluate(recipe_for(folder))
    with pytest.raises(AudioError, match=r"lies\.wav"):
        read_mono(folder / "lies.wav")


def test_results_read_back(folder: Path, tmp_path: Path, noise) -> None:
    noise(Noise(30.0), Noise(10.0))
    results = run.evaluate(recipe_for(folder), tmp_path / "out")
    again = read_results(tmp_path / "out")
    assert again == results
    with (tmp_path / "out" / "files.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["file"], float(row["stoi"])) for row in rows] == [(row["file"], row["stoi"]) for row in results.rows]
    heard, rate = soundfile.read(results.audio("b.wav", results.systems[0]))
    assert (len(heard), rate) == (32_000, 16_000)
    assert results.audio("b.wav") is not None
    # Every figure of the summary can be had again from the rows
    for info, row in zip(again.systems, again.summary, strict=True):
        assert summarise(info, again.rows_of(info), again.metrics) == row


def test_infinite_and_undefined_scores_stay_valid_json(tmp_path: Path) -> None:
    rows = [{"file": "a", "codec": "c", "setting": "", "si_sdr": math.inf, "stoi": math.nan}]
    write_results(Results("n", "speech", [], [SystemInfo("c", "", "peer")], ["a"], [], rows), tmp_path, force=False)
    read = json.loads((tmp_path / "files.json").read_text())
    assert (read[0]["si_sdr"], read[0]["stoi"]) == (None, None)
    for name in ("summary.json", "files.json"):
        (tmp_path / name).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_results(tmp_path)


def test_names_of_files_stay_apart_and_harmless() -> None:
    names = ["a/b.wav", "a-b.wav", "a b.wav", "../../etc/passwd", "x" * 300, "x" * 299, "ß.wav", "opus 6"]
    made = [slug(name) for name in names]
    assert len(set(made)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 120 for name in made)


def test_our_codec_through_real_files(folder: Path, tiny_codec, tiny_model: Path) -> None:
    models = [{"model": str(tiny_model), "levels": [17, 3]}]
    results = run.evaluate(recipe_for(folder, models=models, metrics=["stoi", "mel", "si_sdr"]))
    low, high = results.summary
    assert [low["setting"], high["setting"]] == ["3 levels", "17 levels"]
    assert 0 < low["kbps"] < high["kbps"]
    for row, base in ((low, 3), (high, 17)):
        levels = tiny_codec.choose_rate(None, base).levels
        assert row["payload_kbps"] < row["kbps"] <= row["raw_kbps"] * 1.01
        assert row["saving_percent"] == pytest.approx(100 * (1 - row["kbps"] / row["raw_kbps"]), abs=1.0)
        assert 0 < row["entropy_bits_per_frame"] <= sum(math.log2(count) for count in levels)
        assert 0 < row["cvu"] <= 1
    assert all(row["delay_ms"] == 0.0 for row in results.rows)
    for row in results.rows:
        assert sum(seconds for seconds, _ in row["packets"]) == pytest.approx(row["seconds"], abs=0.06)
        assert row["payload_bytes"] < sum(size for _, size in row["packets"]) < row["file_bytes"]
    assert results.environment["models"] == [{"name": "tiny", "fingerprint": tiny_codec.fingerprint.hex()}]


def frames_seconds(codec, frames: int) -> float:
    return frames * codec.hop_samples / codec.sample_rate


def test_token_statistics_are_those_of_the_encoder(tiny_codec) -> None:
    import torch

    speech = speech_like(2.0).astype(np.float32)
    rate = tiny_codec.choose_rate(None, 9)
    data = tiny_codec.compress(speech, levels=9)
    use = token_statistics(data, tiny_codec.entropy)
    tokens = tiny_codec.encode(torch.from_numpy(speech)[None], rate).indices[0].numpy()
    assert 0 < use.payload_bytes < len(data)
    assert use.frames == len(tokens)
    # The bits of the pieces are those of the packets, framing included, and follow the sound
    sizes = [size for _, size in use.packets]
    assert use.payload_bytes < sum(sizes) < len(data)
    assert max(sizes) > 1.2 * min(sizes)
    assert sum(seconds for seconds, _ in use.packets) == pytest.approx(frames_seconds(tiny_codec, use.frames))
    for dim, count in enumerate(rate.levels):
        np.testing.assert_array_equal(use.histograms[dim], np.bincount(tokens[:, dim], minlength=count))


def test_a_silent_recording_costs_next_to_nothing_and_has_no_speech_scores(tiny_model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(48_000), 16_000)
    models = [{"model": str(tiny_model), "levels": [9]}]
    (row,) = run.evaluate(recipe_for(tmp_path, models=models, metrics=["pesq_wb", "mel"])).summary
    assert row["kbps"] < 1.0
    assert row["pesq_wb"] is None
    assert row["mel"] == 0.0
    assert row["cvu"] is None


def test_words_are_counted_where_there_is_a_transcript(tmp_path: Path, noise) -> None:
    for package in ("pocketsphinx", "jiwer"):
        pytest.importorskip(package)
    samples, rate = read_mono(ROOT / "samples" / "speech.flac")
    for name in ("said", "unsaid"):
        soundfile.write(tmp_path / f"{name}.flac", samples[: 4 * rate], rate)
    (tmp_path / "words.txt").write_text("said Printing, in the only sense with which we are at present concerned,\n")
    noise(Noise(60.0), Noise(-5.0))
    files = {"folder": str(tmp_path), "transcripts": "*.txt"}
    results = run.evaluate(recipe_for(tmp_path, files=files, metrics=["wer"]))
    clean, drowned = (row["wer"] for row in results.rows if row["file"] == "said.flac")
    assert clean < 0.4 < drowned
    assert [row["wer"] for row in results.rows if row["file"] == "unsaid.flac"] == [None, None]
    assert [row["wer"] for row in results.summary] == [clean, drowned]
    with pytest.raises(ValueError, match="needs transcripts"):
        recipe_for(tmp_path, metrics=["wer"])


def test_worker_processes_find_the_same(folder: Path, tiny_model: Path) -> None:
    models = [{"model": str(tiny_model), "levels": [5]}]
    one_, two = (
        run.evaluate(recipe_for(folder, models=models, metrics=["mel", "si_sdr"], workers=workers))
        for workers in (1, 2)
    )
    for row in (*one_.rows, *two.rows):
        del row["encode_seconds"], row["decode_seconds"]
    assert one_.rows == two.rows


def test_finds_audio_recursively_sorted_and_nothing_else(folder: Path) -> None:
    (folder / "notes.txt").write_text("no audio")
    (folder / ".hidden").mkdir()
    soundfile.write(folder / ".hidden" / "c.wav", np.zeros(10), 8_000)
    assert [path.name for path in list_audio(folder)] == ["b.wav", "a.flac"]
    assert [path.name for path in list_audio(folder, "*.wav")] == ["b.wav"]


def test_unknown_measures_peers_and_rates_are_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(ValueError, match="unknown metric 'pesk'"):
        recipe_for(folder, metrics=["pesk"])
    with pytest.raises(ValueError, match="says nothing about music"):
        recipe_for(folder, metrics=["pesq_wb"], domain="music")
    for peer in ("speex", "opus:fast", "opus:1"):
        with pytest.raises(UsageError, match="opus:6,12"):
            run.evaluate(recipe_for(folder, peers=[peer]))
    with pytest.raises(UsageError, match="nothing to evaluate"):
        run.evaluate(recipe_for(folder))
