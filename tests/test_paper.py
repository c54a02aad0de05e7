"""The remade table of VP-VAE: the paper's levels, one budget, a stated rule, and a command that goes on."""

from __future__ import annotations

import json
import math
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
import yaml
from conftest import speech_like

pytest.importorskip("vector_quantize_pytorch")

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "docs" / "results" / "paper"
LEVELS = {256: (8, 6, 5), 1024: (8, 5, 5, 5), 4096: (7, 5, 5, 5, 5), 16384: (8, 8, 8, 6, 5)}
PLACE = {"train": "speech.npy", "cache": None}
TINY = {
    "name": "tiny",
    "codes": [256],
    "ablation_codes": [],
    "seeds": 1,
    "clips": 2,
    "clip_seconds": 1,
    "fit_minutes": 0.5,
    "fit_steps": 2,
    "queue_full_at": None,
    "recipe": {
        "model": {"stem_width": 8, "frame_width": 8, "encoder_units": [1, 1], "decoder_units": [1, 1]},
        "batch": {"size": 2, "seconds": 0.3},
        "schedule": {"steps": 3, "warmup_steps": 1},
        "data": {"prefetch": 0},
        "validation": {"clips": 1, "seconds": 1.0},
    },
}


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of recipes/paper."""
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    from paper import jobs, measure, orderings, plot, results, run, tables

    return SimpleNamespace(
        jobs=jobs, measure=measure, orderings=orderings, plot=plot, results=results, run=run, tables=tables
    )


def jobs_of(paper: SimpleNamespace, name: str, **changes):
    scale = paper.jobs.load_scale(ROOT / "recipes" / "paper" / name)
    scale = scale.model_copy(update=changes)
    return paper.jobs.all_jobs(scale, paper.jobs.load_methods(), PLACE)


def test_levels_are_the_papers_and_all_else_is_one(paper):
    jobs = jobs_of(paper, "full.yaml")
    assert {job.codes for job in jobs} == {*LEVELS}
    first = jobs[0].recipe
    for job in jobs:
        model = job.recipe.model
        assert len(model.level_settings) == 1
        levels = model.levels(model.level_settings[0])
        scalar = job.method.startswith(("fsp", "fsq", "tokenbridge"))
        assert levels == (LEVELS[job.codes] if scalar else (job.codes,))
        assert model.dims == (len(LEVELS[job.codes]) if scalar else paper.jobs.load_methods().vector_dims)
        assert model.frame_rate == pytest.approx(166.67, abs=0.01)
        assert job.recipe.adversarial.weight == 0.0
        same = {"stem_width", "frame_width", "encoder_units", "decoder_units", "stem_hop", "linear_path"}
        assert model.model_dump(include=same) == first.model.model_dump(include=same)
        for section in ("data", "batch", "schedule", "optimiser", "loss", "clean_steps"):
            assert getattr(job.recipe, section) == getattr(first, section)


def test_the_most_useful_runs_come_first(paper):
    jobs = jobs_of(paper, "reduced.yaml")
    seeds = [job.seed for job in jobs]
    assert seeds == sorted(seeds)
    for seed in {*seeds}:
        ablations = [job.ablation for job in jobs if job.seed == seed]
        assert ablations == sorted(ablations)
    assert len({job.name for job in jobs}) == len(jobs) == 2 * (7 * 2 + 5)


@pytest.mark.parametrize("name", ["reduced.yaml", "full.yaml"])
def test_the_queue_is_full_well_before_half_of_a_run(paper, name):
    for job in jobs_of(paper, name):
        if job.recipe.model.bottleneck.kind == "vp":
            vp, dims, recipe = job.recipe.model.bottleneck, job.recipe.model.dims, job.recipe
            frames = recipe.batch.size * recipe.crop_samples // recipe.model.hop_samples
            pushed = frames * vp.push_fraction * recipe.schedule.steps
            assert pushed * 0.4 > vp.codebook_size * round(vp.points_per_dim * dims)


def test_a_queue_that_would_not_fill_is_refused(paper):
    from audiocodec.errors import ConfigError

    with pytest.raises(ConfigError, match="queue"):
        jobs_of(paper, "reduced.yaml", queue_full_at=1e-6)


def test_the_hash_is_of_what_decides_a_result(paper):
    jobs = jobs_of(paper, "reduced.yaml")
    assert len({job.settings for job in jobs}) == len(jobs)
    elsewhere = paper.jobs.all_jobs(
        paper.jobs.load_scale(ROOT / "recipes" / "paper" / "reduced.yaml"),
        paper.jobs.load_methods(),
        {"train": "elsewhere", "cache": "there"},
    )
    assert [job.settings for job in elsewhere] == [job.settings for job in jobs]
    assert jobs_of(paper, "reduced.yaml", fit_steps=7)[0].settings != jobs[0].settings


def test_a_setting_that_came_later_is_part_of_the_hash_only_where_it_does_something(paper):
    job = next(job for job in jobs_of(paper, "reduced.yaml") if job.method == "vp")
    scale = paper.jobs.load_scale(ROOT / "recipes" / "paper" / "reduced.yaml")
    settings = job.recipe.model_dump()
    settings["model"]["bottleneck"] |= {"codebooks": (256,), "quantise_probability": 0.0}
    hashes = []
    for share in (0.0, 0.5):
        settings["model"]["bottleneck"]["quantise_probability"] = share
        recipe = type(job.recipe).model_validate(settings)
        hashes.append(paper.jobs._hash(recipe, scale))
    assert hashes[0] != hashes[1]


def test_stored_runs_are_of_the_present_settings(paper):
    """Or the command would run them again."""
    if not (STORED / "runs").exists():
        pytest.skip("no runs are stored")
    wanted = {job.name: job.settings for job in jobs_of(paper, "reduced.yaml")}
    assert paper.results.finished(paper.results.read_all(STORED)).items() <= wanted.items()


def test_only_finished_runs_of_the_same_settings_are_skipped(paper):
    jobs = jobs_of(paper, "reduced.yaml")
    done = [paper.results.Result(made(jobs[0].method, 256, 0, settings=jobs[0].settings))]
    done.append(paper.results.Result(made(jobs[1].method, 256, 0, settings="other")))
    failed = {"method": jobs[2].method, "codes": 256, "seed": 0, "settings": jobs[2].settings, "failure": "diverged"}
    done.append(paper.results.Result(failed))
    assert paper.jobs.pending(jobs, paper.results.finished(done)) == jobs[1:]


def made(method: str, codes: int, seed: int, pesq: float = 1.5, words: float = 100.0, **changes) -> dict:
    """A result as the runner stores them; ``pesq`` is the mean over files that differ."""
    rng = np.random.default_rng(seed)
    rows = [
        {"name": f"f{i}", "seconds": 4.0, "bytes": 900, "pesq": pesq + x, "stoi": 0.5 + pesq / 10 + x}
        for i, x in enumerate(rng.normal(0, 0.05, 8))
    ]
    domain = {
        "pesq": pesq,
        "stoi": 0.5 + pesq / 10,
        "kbps": 1.4 + words / 1000,
        "raw_kbps": 1.667,
        "perplexity": words,
        "cvu": words / codes,
        "frames": 1000,
        "files": rows,
    }
    return {
        "method": method,
        "codes": codes,
        "seed": seed,
        "scale": "made",
        "settings": "x",
        "steps": 10,
        "parameters": 1000,
        "train_seconds": 3.0,
        "finish_seconds": 2.0,
        "domains": {"in": domain, "out": domain},
        **changes,
    }


QUALITY = {"fsp": 1.5, "vp": 1.5, "fsq": 1.4, "vq-vae": 1.1, "simvq": 1.45, "vp-always": 1.495, "fsp-normal": 1.6}
WORDS = {"vq-vae": 1.0, "vp-always": 90.0}


def synthetic(paper, seeds=(0, 1)) -> list:
    runs = [
        made(name, codes, seed, value, WORDS.get(name, 100.0))
        for name, value in QUALITY.items()
        for codes in (256, 1024)
        for seed in seeds
    ]
    return [paper.results.Result(run) for run in runs]


def verdicts(paper, results) -> dict[str, str]:
    return {claim.statement: claim.verdict for claim in paper.orderings.all_claims(results)}


def test_orderings_are_judged_by_the_rule(paper):
    found = verdicts(paper, synthetic(paper))
    assert found["FSP is above FSQ at every K"] == "held"
    assert found["VP is at or above FSP out of domain"] == "held"
    assert found["VQ-VAE collapses on audio"] == "held"
    assert found["SimVQ collapses on audio"] == "did not hold"
    assert found["FSP: tanh is above the normal activation"] == "did not hold"
    assert found["FSP: tanh is above the Laplace activation"] == "not resolved"  # there are no runs
    assert found["VP: Metropolis-Hastings is above accepting always"] == "held"


def test_one_seed_resolves_nothing(paper):
    assert {*verdicts(paper, synthetic(paper, seeds=[0])).values()} == {"not resolved"}


@pytest.mark.parametrize(
    ("gaps", "interval", "tolerance", "verdict"),
    [
        ((0.1, 0.2), (0.05, 0.3), 0.0, "held"),
        ((0.1, -0.01), (0.05, 0.3), 0.0, "not resolved"),
        ((0.1, 0.2), (-0.01, 0.3), 0.0, "not resolved"),
        ((-0.1, -0.2), (-0.3, -0.05), 0.0, "did not hold"),
        ((0.1,), (0.05, 0.3), 0.0, "not resolved"),
        ((0.002, -0.004), (-0.008, 0.01), 0.01, "held"),
        ((-0.002, -0.004), (-0.008, -0.001), 0.01, "did not hold"),
        ((0.1, 0.2), None, 0.0, "held"),
    ],
)
def test_rule(paper, gaps, interval, tolerance, verdict):
    assert paper.orderings.verdict_of(gaps, interval, tolerance) == verdict


def test_table_and_plot_are_made_of_stored_results_alone(paper, tmp_path):
    from audiocodec.errors import DataError

    with pytest.raises(DataError, match="no runs"):
        paper.run.publish(tmp_path)
    for result in synthetic(paper):
        result.data["parameters"] -= 10 * (result.method == "vp")
        paper.results.store(tmp_path, f"{result.method}-{result.codes}-{result.seed}", result.data, None)
    failed = {"method": "vq-ema", "codes": 256, "seed": 0, "scale": "made", "settings": "y", "failure": "diverged"}
    paper.results.store(tmp_path, "vq-ema-256-0", failed, None)
    paper.run.publish(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| 1024 | FSP | 2 | 1.667 | 1.500 ± 0.000 |" in text
    assert "vq-ema, K = 256, seed 0: diverged" in text
    assert "networks of 990 to 1000 parameters" in text
    drawing = ElementTree.parse(tmp_path / "rate_quality.svg")
    told = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(str(text).startswith("VP, K = 1024") for text in told) == 4  # two measures, two domains
    (tmp_path / "runs" / "fsp-256-0.json").write_text("{")
    with pytest.raises(DataError, match=r"fsp-256-0.*delete it"):
        paper.run.publish(tmp_path)


def test_results_of_two_scales_do_not_mix(paper, tmp_path):
    from audiocodec.errors import OutputError

    paper.results.store(tmp_path, "fsp-256-0", made("fsp", 256, 0), None)
    scale = paper.jobs.load_scale(ROOT / "recipes" / "paper" / "reduced.yaml")
    with pytest.raises(OutputError, match="another --results"):
        paper.run.refuse_another_scale(tmp_path, scale)


def test_logs_are_thinned(paper):
    lines = [json.dumps({"kind": "train", "step": i, "loss": 1 / 3}) for i in range(1000)]
    lines.append(json.dumps({"kind": "validation", "step": 1000}))
    kept = [json.loads(line) for line in paper.results.thin_log(lines)]
    assert 20 < len(kept) <= 41
    assert [entry["step"] for entry in kept[-2:]] == [999, 1000]
    assert kept[0]["loss"] == 0.33333


def test_frame_codes_are_of_all_dimensions_together(paper):
    """CVU is that of the joint code: two dimensions that always agree use L of L^2 codes."""
    import torch

    class Twins:
        rates = (SimpleNamespace(levels=(4, 4)),)

        def encode(self, clip, rate):
            cells = (torch.arange(len(clip)) % 4)[None, :, None]
            return SimpleNamespace(indices=cells.expand(-1, -1, 2))

        def frames_for(self, samples):
            return samples

    codes = paper.measure.frame_codes(Twins(), [np.zeros(400, np.float32)])
    assert sorted({*codes.tolist()}) == [0, 5, 10, 15]


@pytest.fixture
def audio(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wave = np.tile(speech_like(10.0), 4)
    np.save("speech.npy", (wave * 32767).astype(np.int16))
    np.save("speech_index.npy", np.array([[i * 160_000, 160_000] for i in range(4)]))
    Path("held").mkdir()
    soundfile.write("held/one.flac", speech_like(2.0, 22050, seed=9), 22050)
    Path("tiny.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path


def test_two_methods_from_end_to_end(paper, audio, monkeypatch, capsys):
    methods = paper.jobs.load_methods()
    few = {name: methods.methods[name] for name in ("fsp", "vp")}
    monkeypatch.setattr(paper.run, "load_methods", lambda: methods.model_copy(update={"methods": few}))

    def command() -> int:
        arguments = ["run.py", "tiny.yaml", "--data", "speech.npy", "--eval", "held", "--results", "results"]
        monkeypatch.setattr(sys, "argv", [*arguments, "--out", "runs", "--device", "cpu"])
        with pytest.raises(SystemExit) as stopped:
            paper.run.main()
        return int(stopped.value.code or 0)

    assert command() == 0
    for name, levels in (("fsp", [8, 6, 5]), ("vp", [256])):
        result = json.loads(Path(f"results/runs/{name}-256-0.json").read_text())
        assert result["levels"] == levels
        assert result["steps"] == 3
        for domain in result["domains"].values():
            files = domain["files"]
            assert domain["kbps"] == pytest.approx(
                8e-3 * sum(f["bytes"] for f in files) / sum(f["seconds"] for f in files), abs=1e-4
            )
            assert domain["raw_kbps"] == pytest.approx(math.log2(math.prod(levels)) / 6, abs=1e-4)
            assert 0 < domain["cvu"] <= 1
        assert '"kind": "train"' in Path(f"results/runs/{name}-256-0.log.jsonl").read_text()
    before = Path("results/table.md").read_text()
    capsys.readouterr()
    assert command() == 0
    assert "0 of them without a result" in capsys.readouterr().out
    assert Path("results/table.md").read_text() == before

    # A run that a signal stopped before there was any result.
    def stopped(*_):
        raise paper.measure.StoppedError(130)

    with monkeypatch.context() as patch:
        patch.setattr(paper.run, "run_job", stopped)
        patch.setattr(paper.run, "read_all", lambda _: [])
        assert command() == 130
    assert "the same command goes on" in capsys.readouterr().out

    # A method that breaks stops nobody, and is told at the end.
    for path in Path("results/runs").glob("*.json"):
        path.unlink()
    work = paper.run.run_job

    def broken(job, *rest):
        if job.method == "fsp":
            raise RuntimeError("no such luck")
        return work(job, *rest)

    monkeypatch.setattr(paper.run, "run_job", broken)
    assert command() == 1
    assert "fsp-256-0: no such luck" in capsys.readouterr().err
    assert json.loads(Path("results/runs/fsp-256-0.json").read_text())["failure"] == "no such luck"
    assert "domains" in json.loads(Path("results/runs/vp-256-0.json").read_text())


def test_the_command_says_what_is_wrong(paper, audio, monkeypatch, capsys):
    def command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            paper.run.main()
        return int(stopped.value.code or 0)

    assert command("tiny.yaml", "--table-only") == 8
    assert capsys.readouterr().err.startswith("error: there are no runs")
    assert command("tiny.yaml", "--data", "speech.npy", "--eval", "nowhere") == 8
    assert "--eval" in capsys.readouterr().err
    assert command("--help") == 0
    assert "Examples:" in capsys.readouterr().out


def test_the_file_can_be_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", "none.yaml"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "recipes" / "paper" / "run.py"), run_name="__main__")
    assert stopped.value.code == 7
    assert capsys.readouterr().err.startswith("error: cannot read none.yaml")


def test_the_table_in_the_repository_is_that_of_its_runs(paper, tmp_path):
    if not (STORED / "runs").exists():
        pytest.skip("no runs are stored")
    shutil.copytree(STORED / "runs", tmp_path / "runs")
    paper.run.publish(tmp_path)
    for name in ("table.md", "rate_quality.svg"):
        assert (tmp_path / name).read_bytes() == (STORED / name).read_bytes()
    logs = {path.name.removesuffix(".log.jsonl") for path in (STORED / "runs").glob("*.log.jsonl")}
    assert logs >= {*paper.results.finished(paper.results.read_all(STORED))}
