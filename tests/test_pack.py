"""A corpus means the same however it is stored, whatever lies among its files, and its crops can be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.errors import DataError, OutputError, UsageError
from audiocodec.train.decode import bandwidth_hz
from audiocodec.train.pack import pack_folder, read_index
from audiocodec.train.shards import Corpus

RATE = 16000


def _voice(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * f * time) for f in generator.uniform(200, 3000, 4))
    return (0.1 * tone + 0.01 * generator.standard_normal(len(time))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six good recordings of various kinds, three unusable ones, and something that is no audio."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(3):
        soundfile.write(root / f"plain{number}.wav", _voice(number, 1.0 + number), RATE, subtype="PCM_16")
    soundfile.write(root / "deep" / "er" / "high.flac", _voice(5, 1.5, 44100), 44100)
    soundfile.write(root / "deep" / "stereo.ogg", np.stack([_voice(6, 1.0), _voice(7, 1.0)], axis=1), RATE)
    soundfile.write(root / "deep" / "float.wav", _voice(8, 1.0), RATE, subtype="FLOAT")
    (root / "broken.wav").write_bytes(b"RIFF nothing of the kind")
    soundfile.write(root / "silent.wav", np.zeros(8000, np.int16), RATE)
    soundfile.write(root / "nan.wav", np.full(8000, np.nan, np.float32), RATE, subtype="FLOAT")
    (root / "notes.md").write_text("not audio")
    return root


def test_shards_hold_the_same_samples_as_the_folder(folder: Path, tmp_path: Path) -> None:
    report = pack_folder(folder, tmp_path / "shards", rate=RATE)
    assert report.recordings == 6
    assert len(report.skipped) == 3
    plain, packed = Corpus.open(folder, rate=RATE), Corpus.open(tmp_path / "shards", rate=RATE)
    assert packed.names == plain.names
    assert plain.skipped == 3
    assert np.array_equal(packed.samples, plain.samples)
    assert report.hours == pytest.approx(plain.hours)
    original = (_voice(1, 2.0) * 32768.0).round()
    found = plain.clip(plain.names.index("plain1.wav")) * 32768.0
    assert len(found) == pytest.approx(len(original), abs=20)
    assert np.abs(found[:1000] - original[:1000]).max() <= 2.0 or np.abs(found[:1000] - original[1:1001]).max() <= 2.0


def test_opus_shards_are_close_and_as_long(folder: Path, tmp_path: Path) -> None:
    pack_folder(folder, tmp_path / "shards", rate=RATE, codec="opus")
    plain, packed = Corpus.open(folder, rate=RATE), Corpus.open(tmp_path / "shards", rate=RATE)
    assert packed.names == plain.names
    number = plain.names.index("plain2.wav")
    one, other = plain.clip(number), packed.clip(number)
    assert len(one) == pytest.approx(len(other), abs=20)
    shared = min(len(one), len(other)) - 100
    error = one[100:shared] - other[100:shared]
    assert 10 * np.log10((one**2).mean() / (error**2).mean()) > 8.0


def test_shards_are_bounded_and_described(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    report = pack_folder(folder, out, rate=RATE, shard_mb=0.12)
    shards = sorted(out.glob("shard-*.tar"))
    assert len(shards) == report.shards > 2
    assert all(shard.stat().st_size < 150_000 for shard in shards)
    assert json.loads((out / "manifest.json").read_text())["shards"] == [shard.name for shard in shards]
    members = [entry for shard in shards for entry in read_index(shard)["members"]]
    high = next(entry for entry in members if entry["source"] == "deep/er/high.flac")
    assert high["source_rate"] == 44100
    assert high["samples"] == pytest.approx(1.5 * RATE, abs=20)


def test_interrupted_packing_goes_on(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_folder(folder, out, rate=RATE, shard_mb=0.05, progress=stop, workers=1)
    first = sorted(out.glob("shard-*.tar"))
    assert first
    assert not list(out.glob("*.partial"))
    before = {shard.name: shard.stat().st_mtime_ns for shard in first}
    assert pack_folder(folder, out, rate=RATE, shard_mb=0.05).recordings == 6
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert np.array_equal(Corpus.open(out, rate=RATE).samples, Corpus.open(folder, rate=RATE).samples)


def test_packing_refuses_what_cannot_work(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    with pytest.raises(UsageError, match="44100"):
        pack_folder(folder, out, rate=44100, codec="opus")
    with pytest.raises(DataError, match="no such folder"):
        pack_folder(tmp_path / "absent", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio files"):
        pack_folder(tmp_path / "empty", out)
    pack_folder(folder, out, rate=RATE)
    with pytest.raises(OutputError, match="16000 Hz"):
        pack_folder(folder, out, rate=8000)


def test_corpus_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Corpus.open(tmp_path / "absent", rate=RATE)
    (tmp_path / "broken.wav").write_bytes(b"no")
    with pytest.raises(DataError, match="1 files skipped"):
        Corpus.open(tmp_path, rate=RATE)


def test_damaged_shard_costs_only_its_damage(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    pack_folder(folder, out, rate=RATE, shard_mb=0.05)
    shards = sorted(out.glob("shard-*.tar"))
    shards[0].write_bytes(shards[0].read_bytes()[:700])
    corpus = Corpus.open(out, rate=RATE)
    assert 0 < len(corpus) < 6
    assert corpus.skipped >= 1
    with pytest.raises(DataError, match="delete it and pack again"):
        pack_folder(folder, out, rate=RATE)


def test_list_file_and_several_sources(folder: Path, tmp_path: Path) -> None:
    listing = folder / "some.txt"
    listing.write_text("plain0.wav\n# a comment\n\ndeep/float.wav  # another\nabsent.wav\n")
    corpus = Corpus.open([listing, folder / "plain2.wav"], rate=RATE)
    assert corpus.names == ["plain0.wav", "deep/float.wav", "plain2.wav"]
    assert corpus.skipped == 1


def test_cache_gives_the_same_and_notices_changes(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    plain = Corpus.open(folder, rate=RATE)
    for _ in range(2):
        mapped = Corpus.open(folder, rate=RATE, cache=cache)
        assert isinstance(mapped.samples, np.memmap)
        assert np.array_equal(mapped.samples, plain.samples)
        assert (mapped.names, mapped.problems) == (plain.names, plain.problems)
    soundfile.write(folder / "plain0.wav", _voice(20, 3.0), RATE)
    assert Corpus.open(folder, rate=RATE, cache=cache).hours > plain.hours


def test_memory_bound_is_kept(folder: Path) -> None:
    with pytest.raises(DataError, match="cache"):
        Corpus.open(folder, rate=RATE, memory_gb=1e-4)


def test_array_corpus_and_its_crops(tmp_path: Path) -> None:
    samples = np.arange(1, 20001, dtype=np.int16)
    np.save(tmp_path / "a.npy", samples)
    np.save(tmp_path / "a_index.npy", np.array([[0, 8000], [12000, 8000]], np.int64))
    corpus = Corpus.open(tmp_path / "a.npy", rate=RATE)
    crops = corpus.crops(np.random.default_rng(0), 200, 400).numpy() * 32768.0
    inside = np.all(np.diff(crops[:, 100:300]) == 1, axis=1)
    assert inside.mean() > 0.9  # the others run from one recording into the next
    values = crops[np.all(np.diff(crops) == 1, axis=1)]
    assert not ((values > 8000) & (values <= 12000)).any()
    assert values.min() < 500
    assert values.max() > 19500
    np.save(tmp_path / "a_index.npy", np.array([[0, 30000]], np.int64))
    with pytest.raises(DataError, match="shorter"):
        Corpus.open(tmp_path / "a.npy", rate=RATE)


def test_crops_repeat_from_a_saved_generator(folder: Path) -> None:
    corpus = Corpus.open(folder, rate=RATE)
    generator = np.random.default_rng(3)
    corpus.crops(generator, 4, 4000)
    state = generator.bit_generator.state
    one = corpus.crops(generator, 5, 4000)
    generator.bit_generator.state = state
    assert (corpus.crops(generator, 5, 4000) == one).all()
    assert one.shape == (5, 4000)
    assert not (corpus.crops(generator, 5, 4000) == one).all()


def test_crops_skip_silence_and_fill_from_short_recordings(tmp_path: Path) -> None:
    sound = np.concatenate([_voice(0, 1.0), np.full(RATE, 1e-3, np.float32), np.full(2 * RATE, 1e-4), _voice(1, 0.1)])
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    corpus = Corpus.open(tmp_path, rate=RATE)
    energies = corpus.crops(np.random.default_rng(0), 100, 1600).square().mean(dim=1)
    assert (energies > 1e-5).float().mean() > 0.7  # 0.28 of the instants, and three more draws
    whole = corpus.crops(np.random.default_rng(0), 2, 3 * len(sound))
    assert (whole.square().mean(dim=1) > 1e-4).all()


def test_split_depends_on_names_alone(folder: Path, tmp_path: Path) -> None:
    corpus = Corpus.open(folder, rate=RATE)
    kept, held = corpus.split(0.4)
    assert held is not None
    assert sorted(kept.names + held.names) == sorted(corpus.names)
    moved = tmp_path / "moved"
    folder.rename(moved)
    (moved / "plain0.wav").unlink()
    again = Corpus.open(moved, rate=RATE).split(0.4)[1]
    assert again is not None
    assert set(held.names) - {"plain0.wav"} == set(again.names)
    assert len(corpus.split(1e-9)[1] or []) == 1
    single = Corpus(corpus.samples, corpus.spans[:1], corpus.names[:1], RATE)
    first, last = single.split(0.1)
    assert last is not None
    assert len(first.clip(0)) + len(last.clip(0)) == len(single.clip(0))
    assert corpus.split(0.0) == (corpus, None)


def test_bandwidth_is_found() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE * 4).astype(np.float32)
    spectrum = np.fft.rfft(noise)
    spectrum[np.fft.rfftfreq(len(noise), 1 / RATE) > 3000] *= 1e-5
    assert bandwidth_hz(np.fft.irfft(spectrum).astype(np.float32), RATE) == pytest.approx(
        3000, abs=200
    )  # the window's side lobes fall slowly
    assert bandwidth_hz(noise, RATE) == pytest.approx(8000, abs=100)
