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


def test_links_between_documents_lead_somewhere() -> None:
    written = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/*.md")]
    for document in [*written, *ROOT.glob("pretrained/*/CARD.md"), *ROOT.glob("audiocodec/**/*.md")]:
        prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
            path, _, place = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), f"{document}: {link}"
            if place:
                headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                places = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert place in places, f"{document}: {link}"


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
    for name, metric in METRICS.items():
        assert metric.per_channel or f"`{name}`" in text
    assert "`NAME_lr`" in text


def test_peers_measure_as_they_were_measured_before() -> None:
    """PESQ of the stored run within 0.1 of an earlier measurement of the same files by other code."""
    known = ROOT.parent / "shared" / "docs" / "peers.md"
    if not known.exists():
        pytest.skip(f"no earlier measurement at {known}")
    named = {"Opus": "opus", "Lyra v2": "lyra-v2", "Codec2": "codec2", "AMR-WB": "amr-wb"}
    summary = read_results(ROOT / "docs" / "results" / "speech").summary
    found = {f"{row['codec']} {row['setting'].split()[0]}".replace('"', ""): row["pesq_wb"] for row in summary}
    section = known.read_text(encoding="utf-8").split("## Speech")[1].split("## Music")[0]
    lines = [
        line.strip("| ").split(" | ")
        for line in section.splitlines()
        if line.startswith(tuple(f"| {n}" for n in named))
    ]
    assert len(lines) == 13
    for name, _, pesq, *_ in lines:
        codec = next(ours for theirs, ours in named.items() if name.startswith(theirs))
        rate = re.findall(r"[\d.]+", name)[-1]
        assert found[f"{codec} {rate}"] == pytest.approx(float(pesq), abs=0.1), name
