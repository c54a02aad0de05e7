"""What a validation tells about tokens: entropy, codebook use, and the walk's acceptance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import speech_like, tiny_config

from audiocodec.config import VpConfig
from audiocodec.nn.model import CodecNet
from audiocodec.train.tokenuse import entropies_of, token_use


def test_entropies():
    indices = np.stack([np.arange(64) % 16, np.zeros(64, int), np.arange(64) // 32], axis=1)
    assert entropies_of(indices, (16, 5, 4)) == pytest.approx([4.0, 0.0, 1.0])


def test_scalar_tokens(tiny_net):
    clips = [speech_like(1.0, seed=seed) for seed in range(2)]
    values = token_use(tiny_net, clips, [3, 9])
    assert set(values) == {f"{name}@{count}" for name in ("bits", "cvu") for count in (3, 9)}
    assert values["bits@3"] < values["bits@9"] <= np.log2(tiny_net.config.levels(9)).sum()
    assert all(0 < values[name] <= 1 for name in ("cvu@3", "cvu@9"))


def test_groups_of_vector_perturbation():
    vp = VpConfig(groups=2, codebook_size=16, push_fraction=1.0)
    settings = {"pitch": False, "shape_dims": 4, "level_scale": (1.0, 0.1), "level_settings": (4, 16)}
    torch.manual_seed(0)
    net = CodecNet(tiny_config(**settings, bottleneck=vp))
    clips = [speech_like(1.0)]
    net(torch.from_numpy(np.stack(clips)), torch.tensor([16]), quantise=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.eval()
    values = token_use(net, clips, [4, 16])
    assert set(values) == {f"{name}@{count}" for name in ("bits", "cvu", "acceptance") for count in (4, 16)}
    assert 0 < values["bits@4"] <= 2  # the second group is absent there
    assert all(0 < values[f"acceptance@{count}"] <= 1 for count in (4, 16))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
