"""Which runtime runs a model, what stands in its way, what goes in; and commands without torch."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT, speech_like
from runtime_helpers import built

import audiocodec
from audiocodec.checkpoint import save_model
from audiocodec.errors import AudioError, MissingExtraError, ModelError, UsageError
from audiocodec.export.folder import export_model
from audiocodec.facts import GRAPHS, RUNTIME


def test_arrays_give_arrays_and_tensors_tensors(tmp_path):
    codec = audiocodec.load(built(tmp_path / "m"))
    wave = np.stack([speech_like(0.5), speech_like(0.5, seed=3)])
    plain, tensors = codec.encode(wave), codec.encode(torch.from_numpy(wave))
    assert isinstance(plain.indices, np.ndarray)
    assert isinstance(tensors.indices, torch.Tensor)
    np.testing.assert_array_equal(plain.indices, tensors.indices.numpy())
    np.testing.assert_array_equal(codec.decode(plain), codec.decode(tensors).numpy())
    assert codec.encode(wave[:, :0]).indices.shape == (2, 0, codec.facts.tokens)
    assert wave.max() > 0  # encode leaves its input as it was


def test_graphs_of_other_weights_are_not_run(tmp_path):
    folder = built(tmp_path / "m")
    other = built(tmp_path / "n", seed=1)
    shutil.copy(other / "weights.safetensors", folder)
    with pytest.raises(ModelError, match="of other weights"):
        audiocodec.load(folder, runtime="onnx")
    assert audiocodec.load(folder).runtime.name == "torch"
    export_model(folder)
    assert audiocodec.load(folder).runtime.name == "onnx"


def test_a_model_without_graphs_says_so(tmp_path):
    folder = built(tmp_path / "m")
    (folder / GRAPHS[0]).unlink()
    with pytest.raises(ModelError, match="no graphs for the onnx runtime; run `audiocodec export"):
        audiocodec.load(folder, runtime="onnx")
    assert audiocodec.load(folder).runtime.name == "torch"


def test_new_weights_take_the_graphs_away(tmp_path):
    folder = built(tmp_path / "m")
    net = audiocodec.load(folder).net
    save_model(folder, net, net.config)
    assert not [name for name in (*GRAPHS, RUNTIME) if (folder / name).exists()]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"facts": {}}', b'{"facts": {"settings": {"x": 1}}}'])
def test_damaged_facts_are_a_clear_error(tmp_path, damage):
    folder = built(tmp_path / "m")
    (folder / RUNTIME).write_bytes(damage)
    with pytest.raises(ModelError, match="is damaged"):
        audiocodec.load(folder)


def test_a_damaged_graph_is_a_clear_error(tmp_path):
    folder = built(tmp_path / "m")
    (folder / GRAPHS[0]).write_bytes(b"no graph")
    codec = audiocodec.load(folder)
    with pytest.raises(ModelError, match=r"encoder.onnx is not the graph .*--runtime torch"):
        codec.compress(speech_like(0.1))


def test_runtimes_that_are_not_there(tmp_path, monkeypatch):
    folder = built(tmp_path / "m")
    with pytest.raises(UsageError, match="no runtime 'jax'"):
        audiocodec.load(folder, runtime="jax")
    with pytest.raises(UsageError, match="runs on the CPU"):
        audiocodec.load(folder, device="cuda", runtime="onnx")
    from audiocodec.runtime import choose

    monkeypatch.setattr(choose, "installed", lambda package: package != "onnxruntime")
    assert audiocodec.load(folder).runtime.name == "torch"
    with pytest.raises(MissingExtraError, match="onnxruntime is not installed"):
        audiocodec.load(folder, runtime="onnx")
    monkeypatch.setattr(choose, "installed", lambda package: package != "torch")
    assert audiocodec.load(folder).runtime.name == "onnx"
    with pytest.raises(MissingExtraError, match="torch is not installed"):
        audiocodec.load(folder, runtime="torch")
    (folder / RUNTIME).unlink()
    with pytest.raises(ModelError, match="no graphs"):
        audiocodec.load(folder)


NO_TORCH = """
import sys
sys.modules.update(torch=None, einops=None, onnx=None)  # as if they were not installed
from audiocodec.cli import main
sys.exit(main(sys.argv[1:]))
"""


def without_torch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NO_TORCH, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "COLUMNS": "200"})


def test_commands_need_no_torch(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([speech_like(1.5), speech_like(1.5, seed=2)], axis=1), 16000)
    for arguments in (
        ("encode", "a.wav"),
        ("encode", "a.wav", "b.vpc", "--model", "speech-16k-vp"),
        ("decode", "a.vpc", "c.wav"),
        ("info", "a.vpc"),
        ("info", "speech-16k"),
        ("models",),
    ):
        done = without_torch(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "torch" not in done.stderr
    assert soundfile.info(tmp_path / "c.wav").frames == 24000
    done = without_torch("encode", "a.wav", "--force", "--runtime", "torch", cwd=tmp_path)
    assert done.returncode == MissingExtraError.exit_code
    done = without_torch("export", "speech-16k", "--out", "x", cwd=tmp_path)
    assert done.returncode == MissingExtraError.exit_code
    assert "audiocodec[export]" in done.stderr


def test_a_model_reached_by_links_from_anywhere_runs(tmp_path, monkeypatch):
    """Caches of model hubs keep each file elsewhere and a link to it; and a codec outlives a change of folder."""
    folder = built(tmp_path / "m")
    linked = tmp_path / "odd ü #%20"
    linked.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        (tmp_path / str(number)).mkdir()
        (linked / file.name).symlink_to(file.rename(tmp_path / str(number) / "blob"))
    monkeypatch.chdir(tmp_path)
    codec = audiocodec.load(Path(linked.name), runtime="onnx")
    monkeypatch.chdir("/")
    sound, rate = codec.decompress(codec.compress(speech_like(0.3)))
    assert (sound.shape, rate) == ((1, 4800), 16000)
    assert np.abs(sound).max() > 0.001


def test_a_graph_of_other_weights_or_version_is_not_run(tmp_path, monkeypatch):
    folder, other = built(tmp_path / "m"), built(tmp_path / "n", seed=1)
    shutil.copy(other / "encoder.onnx", folder)
    audiocodec.load(folder).compress(speech_like(0.1))  # the graphs are equal where the networks' shapes are
    export_model(folder, tmp_path / "own weights")
    shutil.copy(tmp_path / "own weights" / "encoder.onnx", folder)
    with pytest.raises(ModelError, match=r"is not the graph that runtime.json tells of"):
        audiocodec.load(folder).compress(speech_like(0.1))
    from audiocodec.runtime import choose

    monkeypatch.setattr(choose, "EXPORTER", 999)
    with pytest.raises(ModelError, match="another version"):
        audiocodec.load(other, runtime="onnx")
    assert audiocodec.load(other).runtime.name == "torch"


@pytest.mark.parametrize(
    "change",
    [
        {"hop_samples": 0},
        {"hop_samples": "320"},
        {"hop_samples": 640},
        {"delay_samples": 320},
        {"sample_rate": 8000},
        {"tokens": 3},
        {"settings": {}},
        {"settings": {"-4": [2] * 8}},
        {"settings": {"5": [0] * 8}},
        {"noise_frames": True},
    ],
)
def test_facts_that_no_model_has_are_a_clear_error(tmp_path, change):
    folder = built(tmp_path / "m")
    stored = json.loads((folder / RUNTIME).read_text())
    stored["facts"] |= change
    (folder / RUNTIME).write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"runtime.json is damaged .*export"):
        audiocodec.load(folder)


def test_a_broken_onnxruntime_leaves_torch(tmp_path, monkeypatch):
    folder = built(tmp_path / "m")
    monkeypatch.delitem(sys.modules, "audiocodec.runtime.onnx_runtime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    from audiocodec.runtime import choose

    monkeypatch.setattr(choose, "installed", lambda _: True)
    assert audiocodec.load(folder).runtime.name == "torch"
    with pytest.raises(MissingExtraError, match="onnxruntime is broken"):
        audiocodec.load(folder, runtime="onnx")


def test_what_goes_in_may_be_of_many_kinds(tmp_path):
    codec = audiocodec.load(built(tmp_path / "m"), runtime="onnx")
    wave = speech_like(0.3)
    expected = codec.encode(wave).indices
    for given in (
        wave.astype(np.float64),
        np.asfortranarray(np.stack([wave, wave]))[:1],
        torch.from_numpy(wave).requires_grad_(),
        torch.from_numpy(wave).double(),
    ):
        assert np.array_equal(np.asarray(codec.encode(given).indices), expected)
    assert codec.encode(torch.from_numpy(wave).bfloat16()).indices.shape == expected.shape
    assert codec.encode(np.zeros((0, 1600), np.float32)).indices.shape == (0, 6, 8)
    with pytest.raises(UsageError, match="one for each row"):
        codec.encode(wave[None], lengths=[1, 2])
    with pytest.raises(AudioError, match="divide integers"):
        codec.encode(wave * 1e6)


def test_a_codec_that_was_used_goes_to_other_processes(tmp_path):
    codec = audiocodec.load(built(tmp_path / "m"), runtime="onnx")
    data = codec.compress(speech_like(0.3))
    assert pickle.loads(pickle.dumps(codec)).compress(speech_like(0.3)) == data


def test_many_threads_share_a_codec(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    codec = audiocodec.load(built(tmp_path / "m"), runtime="onnx")
    wave = speech_like(1.0)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: codec.compress(wave), range(8)))) == 1


def test_training_without_torch_names_the_extra(tmp_path):
    done = without_torch("train", str(ROOT / "recipes" / "smoke.yaml"), "--out", "x", cwd=tmp_path)
    assert done.returncode == MissingExtraError.exit_code
    assert "pip install 'audiocodec[train]'" in done.stderr


def test_the_beginning_of_streams_is_never_changed(tmp_path):
    """It is shared by all of a runtime, whatever they go on to do, and also where two rows are apart."""
    codec = audiocodec.load(built(tmp_path / "m"), runtime="onnx")
    runtime = codec.runtime
    for rows in (1, 2, 3):
        rates = [codec.choose_rate()] * rows
        wave = np.stack([speech_like(0.1, seed=row)[: codec.hop_samples] for row in range(rows)])
        states = [begin(rows) for begin in (runtime.encoder_state, runtime.decoder_state)]
        before = [{name: values.copy() for name, values in state.items()} for state in states]
        indices, _ = runtime.encode(wave, rates, states[0])
        runtime.decode(indices, rates, states[1])
        apart = runtime.decoder_state(rows, apart=True)["state.noise.0"]
        assert apart.tolist() == [row % 2 * (codec.facts.noise_frames // 2) for row in range(rows)]
        for begin, wanted in zip((runtime.encoder_state, runtime.decoder_state), before, strict=True):
            for name, values in begin(rows).items():
                assert len(values) == rows
                np.testing.assert_array_equal(values, wanted[name])
