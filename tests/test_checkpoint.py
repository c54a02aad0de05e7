"""Model folders: what is saved is what is loaded, damage is named, and a fingerprint means one model only."""

import json
import pickle
import shutil

import pytest
import torch

from audiocodec import models
from audiocodec.checkpoint import load_model, save_model
from audiocodec.errors import ModelError
from audiocodec.modelfiles import fingerprint
from audiocodec.train.ship import enter


@pytest.fixture
def copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "models" / "copy")


def test_round_trip_is_exact_and_half_precision_is_close(tiny_net, tmp_path):
    for half in (False, True):
        save_model(tmp_path / "m", tiny_net, tiny_net.config, half=half)
        net, files = load_model(tmp_path / "m")
        assert files.config == tiny_net.config
        for name, value in tiny_net.state_dict().items():
            torch.testing.assert_close(
                net.state_dict()[name], value, atol=1e-7 if half else 0, rtol=1e-3 if half else 0
            )


def test_fingerprint_changes_with_weights_config_and_tables_and_with_nothing_else(copy, tiny_model):
    assert fingerprint(copy) == fingerprint(tiny_model)
    (copy / "CARD.md").write_text("words")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config, indent=7))
    assert fingerprint(copy) == fingerprint(tiny_model)
    (copy / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "max_levels"}))
    assert load_model(copy)[1].config == load_model(tiny_model)[1].config  # a default, as of an older version
    assert fingerprint(copy) != fingerprint(tiny_model)
    (copy / "config.json").write_text(json.dumps({**config, "name": "other"}))
    other_config = fingerprint(copy)
    (copy / "entropy.safetensors").unlink()
    assert len({fingerprint(tiny_model), other_config, fingerprint(copy)}) == 3


def test_damaged_models_are_named(copy):
    weights = copy / "weights.safetensors"
    data = weights.read_bytes()
    for bad in (b"", data[:100], data[: len(data) // 2], pickle.dumps({"a": 1})):
        weights.write_bytes(bad)
        with pytest.raises(ModelError, match=r"weights\.safetensors"):
            load_model(copy)
    weights.write_bytes(data)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(copy)
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match="not a model folder"):
        load_model(copy)


@pytest.mark.parametrize("damage", ["[]", "{", '{"9": 3000}', '{"9": {"file_bps": "many"}}', '{"9": {}}'])
def test_damaged_rates_are_named(copy, damage):
    (copy / "rates.json").write_text(damage)
    with pytest.raises(ModelError, match=r"rates\.json"):
        load_model(copy)


def test_weights_of_another_shape_are_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "frame_width": 32}))
    with pytest.raises(ModelError, match="shape"):
        load_model(copy)


def test_models_are_found_by_name_path_and_fingerprint(copy, monkeypatch):
    enter(copy, "a test")
    monkeypatch.setenv("AUDIOCODEC_MODELS", str(copy.parent))
    assert models.resolve("copy") == copy
    assert models.resolve(copy) == copy
    assert models.by_fingerprint(fingerprint(copy)) == copy
    assert "a test" in {model.description for model in models.list_models()}
    with pytest.raises(ModelError, match="copy"):
        models.resolve("nothing")
    for odd in ("~no-such-user/model", "x" * 5000):
        with pytest.raises(ModelError, match="no model"):
            models.resolve(odd)
    with pytest.raises(ModelError, match="not installed"):
        models.by_fingerprint(bytes(8))
    (copy.parent / "index.json").write_text("[]")
    with pytest.raises(ModelError, match=r"index\.json"):
        models.list_models()


def test_shipped_models_match_their_index_and_bounds():
    shipped = [m for m in models.list_models() if m.folder.parent.name == "pretrained"]
    assert shipped
    for model in shipped:
        net, files = load_model(model.folder)
        assert files.fingerprint.hex() == model.fingerprint
        assert (model.folder / "CARD.md").is_file()
        assert sum(f.stat().st_size for f in model.folder.iterdir()) < 20e6
        most = 6e6 if files.config.sample_rate <= 24000 else 8e6
        assert 1e6 <= sum(p.numel() for p in net.parameters()) <= most
        assert net.latency_samples / files.config.sample_rate <= 0.030
