"""VP as a model: what a run starts from, tokens of groups through the codec and its files, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import speech_like, tiny_config
from test_streaming import decode_cut, encode_cut

import audiocodec
from audiocodec.checkpoint import save_model
from audiocodec.codec import Codec
from audiocodec.config import FspConfig, ModelConfig, VpConfig
from audiocodec.describe import describe_model
from audiocodec.errors import ModelError, UsageError
from audiocodec.nn.model import CodecNet
from audiocodec.train.network import load_network
from audiocodec.train.regroup import regrouped

SIZES = (16, 4096)
VP = VpConfig(groups=2, codebook_size=32, push_fraction=0.5)


def config(bottleneck: VpConfig | FspConfig = VP, **changes: object) -> ModelConfig:
    groups = bottleneck.groups if isinstance(bottleneck, VpConfig) else 8
    shape = {"pitch": False, "shape_dims": 4, "level_scale": (1.0,) * groups, "level_settings": (16, 32)}
    return tiny_config(**{**shape, "bottleneck": bottleneck, **changes})


def network(settings: ModelConfig, seed: int = 0) -> CodecNet:
    torch.manual_seed(seed)
    return CodecNet(settings)


@pytest.fixture(scope="module")
def finished() -> CodecNet:
    """An untrained network with codebooks of 16 and 4096 words in two groups of four dimensions."""
    settings = config(VP.model_copy(update={"queue": False, "codebooks": SIZES}), level_settings=SIZES, max_levels=4096)
    net = network(settings)
    draws = torch.Generator().manual_seed(0)
    net.bottleneck = net.bottleneck.finished({size: 0.5 * torch.randn(2, size, 4, generator=draws) for size in SIZES})
    return net.eval().requires_grad_(False)


def test_a_run_starts_from_any_model_whose_encoder_and_decoder_fit(tmp_path, finished):
    trained = network(config(), seed=1)
    trained(0.1 * torch.randn(2, 9600), torch.tensor([16, 32]))
    save_model(tmp_path / "queue", trained, trained.config)
    save_model(tmp_path / "finished", finished, finished.config)
    scalar = network(config(FspConfig()), seed=2)
    save_model(tmp_path / "fsp", scalar, scalar.config)
    dealt = regrouped(scalar.state_dict(), scalar.config, config())
    for folder, wanted in (
        ("finished", finished.state_dict()),
        ("fsp", dealt),
        ("queue", trained.state_dict()),
    ):
        net = load_network(tmp_path / folder, config())
        got = net.state_dict()
        assert all(torch.equal(wanted[name], got[name]) for name in got if not name.startswith("bottleneck."))
        assert bool(net.bottleneck.queues[0].waiting + len(net.bottleneck.queues[0])) == (folder == "queue")
        assert all(p.requires_grad for p in net.decoder.stem_units.parameters())
    other = load_network(tmp_path / "queue", config(VP.model_copy(update={"codebook_size": 16})))
    assert not len(other.bottleneck.queues[0])  # queues of another length are left out whole
    assert isinstance(load_network(tmp_path / "queue", config(FspConfig())).bottleneck, type(scalar.bottleneck))
    with pytest.raises(ModelError, match="another shape"):
        load_network(tmp_path / "queue", config(stem_width=24))
    with pytest.raises(ModelError, match="another shape"):
        load_network(tmp_path / "fsp", config(shape_dims=6))


def test_tokens_are_one_for_each_group_in_batches_streams_and_files(finished):
    codec = Codec.of(finished)
    waves = torch.from_numpy(np.stack([speech_like(1.0, seed=seed) for seed in range(2)]))
    for rate in codec.rates:
        tokens = codec.encode(waves, rate)
        assert tokens.indices.shape == (2, codec.frames_for(16000), 2)
        assert rate.levels == (rate.base_levels,) * 2
        assert rate.raw_bps == pytest.approx(2 * np.log2(rate.base_levels) * codec.frame_rate)
        sound = codec.decode(tokens)
        assert sound.shape == waves.shape
        heard, _ = codec.decompress(codec.compress(waves[0].numpy(), levels=rate.base_levels))
        np.testing.assert_allclose(heard[0], sound[0].numpy(), atol=2e-5)
        options = {"block_frames": 8, "packet_frames": 16, "rate": rate}
        whole = encode_cut(codec, waves[:1].numpy(), **options)
        for seed in range(3):
            assert encode_cut(codec, waves[:1].numpy(), np.random.default_rng(seed), **options) == whole
        np.testing.assert_allclose(decode_cut(codec, whole)[0, :16000], sound[0].numpy(), atol=2e-5)
    assert codec.encode(torch.zeros(1, 0)).indices.shape == (1, 0, 2)
    with pytest.raises(UsageError, match=r"\[batch, 51, 2\]"):
        codec.decode(replace(tokens, indices=tokens.indices[..., :1]))


def test_a_model_without_codebooks_says_how_to_make_them(tmp_path, finished):
    save_model(tmp_path / "raw", network(config()), config())
    with pytest.raises(ModelError, match=r"no codebook of 16 words.*audiocodec codebook .*raw"):
        audiocodec.load(tmp_path / "raw")
    save_model(tmp_path / "made", finished, finished.config)
    facts = describe_model(str(tmp_path / "made"))
    assert (facts["dimensions"], facts["tokens_per_frame"]) == (8, 2)
