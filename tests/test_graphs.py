"""Graphs say what the network says, of every kind of network, and stand alone where they are to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import ROOT, speech_like, tiny_config
from runtime_helpers import both, built
from test_streaming import decode_cut, encode_cut

import audiocodec
from audiocodec.checkpoint import save_model
from audiocodec.config import FspConfig, VpConfig
from audiocodec.errors import OutputError, UsageError
from audiocodec.export import add_graphs
from audiocodec.export.folder import export_model
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


def tokens_agree(ours: np.ndarray, theirs: np.ndarray, least: float = 0.999) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.int64
    assert (ours == theirs).mean() >= least


def compare(folder: Path, wave: np.ndarray, blocks=(1, 3, 16)) -> float:
    """Encode and decode blocks of several lengths after each other by both, the state passing from one to the next.

    Sound may differ by 1e-4; returns the share of equal tokens.
    """
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
    return float(np.concatenate(agreed, axis=1).mean())


@pytest.mark.parametrize("name", VARIANTS)
def test_graphs_of_every_kind_of_network_do_what_torch_does(name, tmp_path):
    folder = built(tmp_path / "m", **VARIANTS[name])
    assert compare(folder, speech_like(3.0, audiocodec.load(folder).sample_rate)) > 0.999


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
    assert compare(folder, speech_like(3.0)) > 0.999


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


def test_weights_of_other_types_stay_with_torch(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = built(tmp_path / "m")
    weights = {name: value.double() for name, value in load_file(folder / "weights.safetensors").items()}
    save_file(weights, folder / "weights.safetensors")
    assert audiocodec.load(folder).runtime.name == "torch"
    with pytest.raises(UsageError, match="of type F64 are not exported"):
        export_model(folder)
