"""A recipe is strict: what it does not know it refuses, and it says what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audiocodec.config import ModelConfig
from audiocodec.errors import ConfigError
from audiocodec.train.recipe import as_json, load_recipe, with_end

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.startswith("evaluate_"))
MODEL = {"level_scale": [1.0] * ModelConfig.model_construct().dims}
MINIMAL = {
    "name": "small",
    "model": MODEL,
    "data": {"train": "audio"},
    "schedule": {"steps": 10},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_are_valid_and_open_with_their_command(path):
    recipe = load_recipe(path)
    assert recipe.crop_samples % recipe.model.hop_samples == 0
    opening = path.read_text().split("\n\n")[0]
    assert f"audiocodec train recipes/{path.name}" in path.read_text()
    assert opening.startswith("#")


def test_there_are_recipes():
    assert {path.name for path in RECIPES} >= {"free_speech.yaml", "librispeech.yaml", "smoke.yaml"}


@pytest.mark.parametrize(
    ("changes", "unknown", "nearest"),
    [
        ({"optimizer": {}}, "optimizer", "optimiser"),
        ({"optimiser": {"learning_rat": 1}}, "optimiser.learning_rat", "learning_rate"),
        ({"loss": {"logmel": 1}}, "loss.logmel", "log_mel"),
        ({"model": {**MODEL, "band": 4}}, "model.band", "bands"),
    ],
)
def test_unknown_key_names_the_nearest(tmp_path, changes, unknown, nearest):
    with pytest.raises(ConfigError, match=rf"unknown key '{unknown}'; did you mean '{nearest}'\?"):
        load_recipe(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": {}}, "set steps or minutes"),
        ({"levels": {"counts": [3, 5], "weights": [1.0]}}, "one number of at least 0 for each"),
        ({"levels": {"counts": [1, 5]}}, "at least 2"),
        ({"validation": {"metrics": ["stoi"], "best_by": "pesq"}}, "not among the metrics"),
        ({"batch": {"size": 0}}, "batch.size"),
    ],
)
def test_values_that_do_not_hold_together_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(write(tmp_path, **changes))


def test_overrides_are_yaml_and_reach_new_sections(tmp_path):
    recipe = load_recipe(
        write(tmp_path),
        ["batch.size=3", "levels.counts=[5, 9]", "schedule.shape=linear", "loss.waveform=0.5", "data.validation=null"],
    )
    assert (recipe.batch.size, recipe.level_counts, recipe.schedule.shape) == (3, (5, 9), "linear")
    assert (recipe.loss.waveform, recipe.data.validation) == (0.5, None)


@pytest.mark.parametrize(
    "override", ["batch.size", "=3", "batch..size=3", "name.size=3", "batch.size=[", "batch.siz=3"]
)
def test_a_bad_override_is_a_config_error(tmp_path, override):
    with pytest.raises(ConfigError):
        load_recipe(write(tmp_path), [override])


def test_an_end_given_outside_replaces_the_recipes_own(tmp_path):
    recipe = load_recipe(write(tmp_path, schedule={"minutes": 90}))
    assert with_end(recipe, None, None) == recipe
    by_steps = with_end(recipe, None, 20).schedule
    assert (by_steps.steps, by_steps.minutes) == (20, None)
    both = with_end(recipe, 5.0, 20).schedule
    assert (both.steps, both.minutes) == (20, 5.0)


def test_the_written_recipe_is_the_same_recipe(tmp_path):
    recipe = load_recipe(write(tmp_path))
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(as_json(recipe), sort_keys=False))
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_unreadable_recipes(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_recipe(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_recipe(tmp_path / "list.yaml")
