"""An evaluation measures what was written, says what it skipped, and leaves tables that can be read back."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_metrics import noisy, speech_like

from audiocodec.errors import AudioError, DataError, OutputError, UsageError
from audiocodec.evaluate import run
from audiocodec.evaluate.report import Report
from audiocodec.evaluate.systems import Coded, list_audio, read_mono, token_statistics


@dataclass(frozen=True)
class Noise:
    """A system that adds noise: 1000 bytes a file, whatever the file."""

    snr_db: float
    delay_samples: int = 0
    codec: str = "noise"

    @property
    def setting(self) -> str:
        return f"{self.snr_db:g} dB"

    def run(self, source: Path, folder: Path) -> Coded:
        samples, rate = read_mono(source)
        late = np.concatenate([np.zeros(self.delay_samples), noisy(samples, self.snr_db)])
        counts = [np.array([3, 1]), np.array([4])]
        return Coded(late, rate, 1000, 800, 0.5, 0.25, 1250, 4, counts, max_delay_s=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "speech"
    (place / "deeper").mkdir(parents=True)
    speech = speech_like(2.0)
    soundfile.write(place / "b.wav", speech, 16_000)
    soundfile.write(place / "deeper" / "a.flac", speech_like(2.0, 24_000), 24_000)
    return place


def test_finds_audio_recursively_sorted_and_nothing_else(folder: Path) -> None:
    (folder / "notes.txt").write_text("no audio")
    (folder / ".hidden").mkdir()
    soundfile.write(folder / ".hidden" / "c.wav", np.zeros(10), 8_000)
    assert [path.name for path in list_audio(folder)] == ["b.wav", "a.flac"]


def test_an_empty_or_missing_folder_is_a_data_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="folder"):
            run.evaluate_folder(place, peers=["opus"])


def test_rates_speeds_and_delay_of_a_file(folder: Path) -> None:
    result = run.evaluate_file(folder / "b.wav", [Noise(20.0, 160)], ["stoi", "mel"])
    row = result.rows[0]
    assert row["kbps"] == pytest.approx(1000 * 8 / 2.0 / 1000)
    assert row["payload_kbps"] == pytest.approx(800 * 8 / 2.0 / 1000)
    assert row["delay_ms"] == pytest.approx(10.0)
    assert 0.8 < row["stoi"] < 1.0
    assert row["mel"] > 0.0
    assert "pesq_wb" not in row


def test_a_late_decoder_is_aligned_before_it_is_measured(folder: Path) -> None:
    scores = [
        run.evaluate_file(folder / "b.wav", [Noise(20.0, delay)], ["stoi", "si_sdr"]).rows[0] for delay in (0, 400)
    ]
    assert scores[0]["stoi"] == pytest.approx(scores[1]["stoi"], abs=1e-3)
    assert scores[0]["si_sdr"] == pytest.approx(scores[1]["si_sdr"], abs=0.1)


def test_stereo_is_mixed_down_for_every_system(tmp_path: Path) -> None:
    left, right = speech_like(1.0), speech_like(1.0, seed=2) * 0.5
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    row = run.evaluate_file(tmp_path / "stereo.wav", [Noise(200.0)], ["si_sdr"]).rows[0]
    assert row["si_sdr"] > 100.0


def test_summary_pools_bytes_seconds_and_levels(folder: Path) -> None:
    systems = [Noise(30.0), Noise(10.0)]
    results = [run.evaluate_file(path, systems, ["stoi"]) for path in list_audio(folder)]
    good, bad = (run._summarise(i, system, results, ["stoi"]) for i, system in enumerate(systems))
    assert good["files"] == 2
    assert good["stoi"] > bad["stoi"]
    assert good["saving_percent"] == pytest.approx(20.0)
    assert (good["encode_speed"], good["decode_speed"]) == (pytest.approx(4.0), pytest.approx(8.0))
    entropy = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert good["entropy_bits_per_frame"] == pytest.approx(entropy)
    assert good["cvu"] == pytest.approx(2.0**entropy / 2)


def test_token_use_of_even_and_of_collapsed_levels() -> None:
    assert run.token_use([np.full(8, 5)] * 3) == (pytest.approx(9.0), pytest.approx(1.0))
    assert run.token_use([np.array([7, 0, 0, 0])]) == (pytest.approx(0.0), pytest.approx(0.25))
    assert run.token_use([np.array([7])]) == (0.0, None)


def test_unknown_metrics_and_peers_are_refused_before_any_work(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown metric 'pesk'"):
        run.evaluate_folder(folder, peers=["opus"], metrics=["pesk"])
    for peer in ("speex", "opus:fast", "opus:1"):
        with pytest.raises(UsageError, match=r"opus:6,12"):
            run.evaluate_folder(folder, peers=[peer])
    with pytest.raises(UsageError, match="nothing to evaluate"):
        run.evaluate_folder(folder)


def test_opus_over_a_folder_writes_tables_that_read_back(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    (folder / "lies.wav").write_bytes(b"this is not audio at all")
    out, table, seen = tmp_path / "out", tmp_path / "out" / "table.md", []
    report = run.evaluate_folder(
        folder,
        peers=["opus:6,16"],
        metrics=["stoi", "mel"],
        out_dir=out,
        markdown=table,
        progress=lambda *step: seen.append(step),
    )
    low, high = report.summary
    assert low["kbps"] < high["kbps"] < 24
    assert low["stoi"] < high["stoi"]
    assert low["payload_kbps"] < low["kbps"]
    assert [(done, total) for done, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(report.skipped) == {"empty.wav", "lies.wav"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["summary"] == report.summary
    assert summary["environment"]["packages"]["soundfile"]
    with (out / "files.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["file"], float(row["stoi"])) for row in rows] == [(row["file"], row["stoi"]) for row in report.files]
    assert json.loads((out / "files.json").read_text()) == report.files
    assert table.read_text().count("\n| opus |") == 2
    with pytest.raises(OutputError, match="--force"):
        run.evaluate_folder(folder, peers=["opus:6"], out_dir=out)


def test_only_unreadable_files_is_a_data_error(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "lies.wav").write_bytes(b"this is not audio at all")
    with pytest.raises(DataError, match="none of the 1 files"):
        run.evaluate_folder(tmp_path, peers=["opus:6"], metrics=["mel"])
    with pytest.raises(AudioError, match=r"lies\.wav"):
        read_mono(tmp_path / "lies.wav")


def test_an_absent_peer_is_shown_as_absent(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(run, "absent_reason", lambda name: f"{name} is not here")
    with pytest.raises(UsageError, match="opus is not here"):
        run.evaluate_folder(folder, peers=["opus"])
    report = Report("f", ["stoi"], [{"codec": "ours", "setting": "a", "files": 1, "stoi": 0.5}], [], {"opus": "gone"})
    assert "| opus | absent |" in report.markdown()
    assert "opus absent: gone" in report.markdown()


def test_infinite_and_undefined_scores_stay_valid_json(tmp_path: Path) -> None:
    from audiocodec.evaluate.report import write_report

    rows = [{"file": "a", "si_sdr": math.inf, "stoi": math.nan}]
    write_report(Report("f", [], [], rows), tmp_path, None, force=False)
    assert json.loads((tmp_path / "files.json").read_text()) == [{"file": "a", "si_sdr": None, "stoi": None}]


def test_our_codec_through_real_files(folder: Path, tiny_codec, tmp_path: Path) -> None:
    metrics = ["stoi", "mel", "si_sdr"]
    report = run.evaluate_folder(folder, model=tiny_codec, levels=[17, 3], metrics=metrics, out_dir=tmp_path / "out")
    low, high = report.summary
    assert [low["setting"], high["setting"]] == ["3 levels", "17 levels"]
    assert 0 < low["kbps"] < high["kbps"]
    for row, base in ((low, 3), (high, 17)):
        levels = tiny_codec.choose_rate(None, base).levels
        assert row["payload_kbps"] < row["kbps"] <= row["raw_kbps"] * 1.01
        assert row["saving_percent"] == pytest.approx(100 * (1 - row["kbps"] / row["raw_kbps"]), abs=1.0)
        assert 0 < row["entropy_bits_per_frame"] <= sum(math.log2(count) for count in levels)
        assert 0 < row["cvu"] <= 1
    assert all(abs(row["delay_ms"]) <= 2.0 for row in report.files)
    assert report.environment["model"]["fingerprint"] == tiny_codec.fingerprint.hex()


def test_token_statistics_are_those_of_the_encoder(tiny_codec, tmp_path: Path) -> None:
    import torch

    speech = speech_like(2.0).astype(np.float32)
    rate = tiny_codec.choose_rate(None, 9)
    data = tiny_codec.compress(speech, levels=9)
    payload, frames, histograms = token_statistics(data, tiny_codec.entropy)
    tokens = tiny_codec.encode(torch.from_numpy(speech)[None], rate).indices[0].numpy()
    assert 0 < payload < len(data)
    assert frames == len(tokens)
    for dim, count in enumerate(rate.levels):
        np.testing.assert_array_equal(histograms[dim], np.bincount(tokens[:, dim], minlength=count))


def test_a_silent_recording_costs_next_to_nothing_and_has_no_speech_scores(tiny_codec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(48_000), 16_000)
    report = run.evaluate_folder(tmp_path, model=tiny_codec, levels=[9])
    (row,) = report.summary
    assert row["kbps"] < 1.0
    assert row["pesq_wb"] is None
    assert row["mel"] == 0.0
    assert row["cvu"] is None


def test_worker_processes_find_the_same(folder: Path, tiny_model: Path) -> None:
    one, two = (
        run.evaluate_folder(folder, model=tiny_model, levels=[5], metrics=["mel", "si_sdr"], workers=workers)
        for workers in (1, 2)
    )
    for row in (*one.files, *two.files):
        del row["encode_seconds"], row["decode_seconds"]
    assert one.files == two.files
