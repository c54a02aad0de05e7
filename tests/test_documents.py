"""No figure in a document is typed by hand: its tables are those of the stored runs, and these add up."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from audiocodec import models
from audiocodec.config import parse
from audiocodec.evaluate.metrics import METRICS
from audiocodec.evaluate.recipe import EvaluationRecipe
from audiocodec.evaluate.results import read_results
from audiocodec.evaluate.summary import summarise

ROOT = Path(__file__).resolve().parent.parent
STORED = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/summary.json"))


def test_tables_in_the_documents_are_those_of_the_stored_runs() -> None:
    done = subprocess.run([sys.executable, "docs/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", STORED, ids=lambda path: path.name)
def test_every_figure_of_a_stored_run_can_be_had_again_from_its_rows(folder: Path) -> None:
    results = read_results(folder)
    for info, row in zip(results.systems, results.summary, strict=True):
        assert summarise(info, results.rows_of(info), results.metrics) == row
    with (folder / "files.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["file"], row["codec"], row["setting"]) for row in rows] == [
        (row["file"], row["codec"], row["setting"]) for row in results.rows
    ]
    for name in results.metrics:
        assert [row[name] for row in rows] == ["" if r[name] is None else repr(r[name]) for r in results.rows]


@pytest.mark.parametrize("folder", STORED, ids=lambda path: path.name)
def test_a_stored_run_is_of_the_shipped_weights(folder: Path) -> None:
    shipped = {model.name: model.fingerprint for model in models.list_models()}
    for model in read_results(folder).environment["models"]:
        assert shipped[model["name"]] == model["fingerprint"]


def test_the_recipe_in_the_documents_is_one_and_every_measure_is_explained() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    recipes = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert recipes
    for recipe in recipes:
        parse(EvaluationRecipe, yaml.safe_load(recipe), "docs/evaluation.md")
    for name in METRICS:
        assert f"`{name}`" in text
