"""Runtimes: the graphs say what the network says, and coding needs no torch."""

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
import soxr
import torch
from conftest import ROOT, speech_like, tiny_config
from test_streaming import decode_cut, encode_cut

import audiocodec
from audiocodec.checkpoint import save_model
from audiocodec.config import FspConfig, VpConfig
from audiocodec.errors import AudioError, MissingExtraError, ModelError, OutputError, UsageError
from audiocodec.export import add_graphs
from audiocodec.export.folder import export_model
from audiocodec.facts import GRAPHS, RUNTIME
from audiocodec.nn.initialise import initialise_linear_path
from audiocodec.nn.model import CodecNet
from audiocodec.streaming import FILE_BLOCK_FRAMES

SHIPPED = ("speech-16k", "speech-16k-vp", "speech-24k", "music-48k")
WITHOUT_PITCH = {"pitch": False, "level_scale": (1.5, 1.0, 0.7, 0.5, 0.4, 0.35, 0.3)}
VARIANTS = {
    "plain": {},
    "no pitch": WITHOUT_PITCH,
    "learnt stem": {"stem": "learnt"},
    "no linear path": {"linear_path": False},
    "three stem frames": {"stem_hop": 128, "stem_frames": 3},
    "learnt noise": {"learnt_noise": True},
    "long frames": {"stem_frames": 5},
    "24 kHz": {"sample_rate": 24000, "stem_hop": 240},
    "many units": {"encoder_units": (2, 4), "decoder_units": (4, 2), "kernel": 3, "expansion": 3},
    "sigmoid": {"bottleneck": FspConfig(activation="sigmoid")},
    "laplace": {"bottleneck": FspConfig(activation="laplace")},
}


def built(folder: Path, seed: int = 0, **changes) -> Path:
    """A model folder with graphs, its network somewhat trained: all paths, gates and norms do something."""
    torch.manual_seed(seed)
    net = CodecNet(tiny_config(**changes))
    waves = np.stack([speech_like(1.0, net.config.sample_rate, seed=s) for s in range(8)])
    if net.config.linear_path:
        initialise_linear_path(net, torch.from_numpy(waves))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    for name, buffer in net.bottleneck.named_buffers():
        if "codebook" in name:
            buffer.normal_()
    save_model(folder, net, net.config)
    export_model(folder)
    return folder


def both(folder: Path) -> tuple[audiocodec.Codec, audiocodec.Codec]:
    codecs = audiocodec.load(folder, runtime="onnx"), audiocodec.load(folder, runtime="torch")
    assert [codec.runtime.name for codec in codecs] == ["onnx", "torch"]
    return codecs


def tokens_agree(ours: np.ndarray, theirs: np.ndarray, least: float = 0.999) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.int64
    assert (ours == theirs).mean() >= least


def compare(folder: Path, wave: np.ndarray, blocks=(1, 3, 16)) -> None:
    """Encode and decode blocks of several lengths after each other by both, the state passing from one to the next."""
    onnx, torch_ = both(folder)
    hop, rates = onnx.hop_samples, [onnx.rates[-1], onnx.rates[0]]
    rows = np.stack([wave, wave[::-1] * 0.5])
    states, sounds = (
        [c.runtime.encoder_state(2) for c in (onnx, torch_)],
        [c.runtime.decoder_state(2, True) for c in (onnx, torch_)],
    )
    at, agreed = 0, []
    while at + max(blocks) * hop <= rows.shape[1]:
        for frames in blocks:
            chunk = rows[:, at : at + frames * hop]
            at += frames * hop
            if chunk.shape[1] < frames * hop:
                break
            ours, states[0] = onnx.encode_block(chunk, rates, states[0])
            theirs, states[1] = torch_.encode_block(chunk, rates, states[1])
            agreed.append(ours == theirs)
            heard, sounds[0] = onnx.decode_block(theirs, rates, sounds[0])
            wanted, sounds[1] = torch_.decode_block(theirs, rates, sounds[1])
            assert heard.dtype == wanted.dtype == np.float32
            np.testing.assert_allclose(heard, wanted, atol=1e-4, rtol=0)
    np.testing.assert_allclose(onnx.runtime.tail(sounds[0]), torch_.runtime.tail(sounds[1]), atol=1e-4)
    assert np.concatenate(agreed, axis=1).mean() > 0.999


@pytest.mark.parametrize("name", VARIANTS)
def test_graphs_of_every_kind_of_network_do_what_torch_does(name, tmp_path):
    folder = built(tmp_path / "m", **VARIANTS[name])
    compare(folder, speech_like(3.0, audiocodec.load(folder).sample_rate))


def vector_settings(pitch: bool) -> dict:
    """Two groups, the second with fewer words, absent at the lowest rate; and the pitch by scalars."""
    scale, offset = ((1.0, 0.5), (0.0, -2.0))
    return {
        "pitch": pitch,
        "envelope_dims": 4,
        "shape_dims": 4,
        "level_scale": (*scale, 0.0) if pitch else scale,
        "level_offset": (*offset, 41.0) if pitch else offset,
        "level_settings": (4, 8, 32),
        "bottleneck": VpConfig(groups=2, codebooks=(2, 4, 8, 14, 32), queue=False),
    }


@pytest.mark.parametrize("pitch", [False, True])
def test_graphs_of_vector_codebooks_do_what_torch_does(pitch, tmp_path):
    folder = built(tmp_path / "m", **vector_settings(pitch))
    assert audiocodec.load(folder).rates[0].levels[1] == 1
    compare(folder, speech_like(3.0))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_graphs_agree_with_torch(name):
    """Files: tokens and sound of a real recording. Sound differs by less than 1e-4, tokens hardly ever."""
    folder = ROOT / "pretrained" / name
    speech, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    onnx, torch_ = both(folder)
    wave = soxr.resample(speech, rate, onnx.sample_rate)[None]
    setting = onnx.choose_rate()
    ours, theirs = onnx.encode(wave, setting), torch_.encode(wave, setting)
    tokens_agree(ours.indices, theirs.indices, 0.9995)
    assert np.abs(onnx.decode(theirs) - torch_.decode(theirs)).max() < 1e-4
    data = torch_.compress(wave[0], levels=setting.base_levels)
    sounds = [codec.decompress(data)[0] for codec in (onnx, torch_)]
    assert np.abs(sounds[0] - sounds[1]).max() < 1e-4
    assert np.abs(sounds[0]).max() > 0.05


def test_shipped_graphs_are_those_of_the_shipped_weights():
    for name in SHIPPED:
        assert audiocodec.load(ROOT / "pretrained" / name, runtime="onnx").runtime.name == "onnx"
        assert audiocodec.load(name).runtime.name == "onnx"


def test_an_hour_of_phase_is_the_same_in_both(tmp_path):
    """The pulse train counts cycles; a last bit of difference a frame would be another phase after an hour."""
    onnx, torch_ = both(built(tmp_path / "m"))
    rate = onnx.rates[-1]
    rng = np.random.default_rng(0)
    indices = rng.integers(0, rate.levels, (1, 4 * 3600, len(rate.levels)))
    sounds = [codec.runtime.decoder_state(1) for codec in (onnx, torch_)]
    for start in range(0, indices.shape[1], 200):
        block = indices[:, start : start + 200]
        heard, sounds[0] = onnx.decode_block(block, rate, sounds[0])
        wanted, sounds[1] = torch_.decode_block(block, rate, sounds[1])
    np.testing.assert_allclose(heard, wanted, atol=1e-4, rtol=0)


def test_any_cutting_gives_the_same_bytes_and_samples_by_graphs(tmp_path):
    codec = audiocodec.load(built(tmp_path / "m"), runtime="onnx")
    wave = np.stack([speech_like(3.0), speech_like(3.0, seed=4)])
    options = {"block_frames": FILE_BLOCK_FRAMES, "rate": codec.rates[1]}
    whole = encode_cut(codec, wave, **options)
    sound = decode_cut(codec, whole)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert encode_cut(codec, wave, rng, **options) == whole
        np.testing.assert_array_equal(decode_cut(codec, whole, rng), sound)


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


def test_exported_elsewhere_graphs_stand_alone(tmp_path):
    """With weights of their own, in any runtime of ONNX: here one session each, fed by hand."""
    import onnxruntime

    folder, out = built(tmp_path / "m"), tmp_path / "graphs"
    export_model(folder, out)
    (folder / "weights.safetensors").unlink()
    encoder = onnxruntime.InferenceSession(str(out / "encoder.onnx"))
    feeds = {
        value.name: np.zeros([1 if isinstance(size, str) else size for size in value.shape], np.float32)
        for value in encoder.get_inputs()
    }
    feeds["audio"] = speech_like(0.1)[None, :1600]
    latents = encoder.run(["latents"], feeds)[0]
    assert latents.shape == (1, 5, 8)


def test_export_does_not_overwrite(tmp_path):
    folder, out = built(tmp_path / "m"), tmp_path / "graphs"
    export_model(folder, out)
    with pytest.raises(OutputError, match="--force"):
        export_model(folder, out)
    export_model(folder, out, force=True)


def test_a_bottleneck_without_onnx_form_stays_with_torch(tmp_path):
    torch.manual_seed(0)
    net = CodecNet(tiny_config(bottleneck=FspConfig(activation="normal")))
    save_model(tmp_path / "m", net, net.config)
    with pytest.raises(UsageError, match="ONNX has no such inverse"):
        export_model(tmp_path / "m")
    assert not add_graphs(tmp_path / "m")
    assert audiocodec.load(tmp_path / "m").runtime.name == "torch"


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
    codec.decompress(codec.compress(speech_like(0.3)))


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


def test_weights_of_other_types_stay_with_torch(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = built(tmp_path / "m")
    weights = {name: value.double() for name, value in load_file(folder / "weights.safetensors").items()}
    save_file(weights, folder / "weights.safetensors")
    assert audiocodec.load(folder).runtime.name == "torch"
    with pytest.raises(UsageError, match="of type F64 are not exported"):
        export_model(folder)
