"""An evaluation: code every recording by every system, decode it, measure what came back, summarise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiocodec.errors import AudioError, DataError, MissingExtraError
from audiocodec.evaluate.environment import environment
from audiocodec.evaluate.manifest import choose, read_transcripts, sha256
from audiocodec.evaluate.metrics import METRICS, Samples
from audiocodec.evaluate.recipe import EvaluationRecipe, metrics_of
from audiocodec.evaluate.recordings import coded_file, printable, read_audio
from audiocodec.evaluate.results import Results, Row, SystemInfo, write_results
from audiocodec.evaluate.store import Store
from audiocodec.evaluate.summary import summarise
from audiocodec.evaluate.unit import Job, Task, unit_row
from audiocodec.evaluate.wanted import Wanted, gather
from audiocodec.evaluate.workers import spread

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one recording: a row for each system that could code it, reasons for those that could not."""

    task: Task
    rows: list[Row]
    skipped: dict[str, str]


def evaluate(
    recipe: EvaluationRecipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    progress: OnProgress | None = None,
) -> Results:
    """Run an evaluation.

    Args:
        recipe: files, models, peers, measures.
        out: the folder of results (see :mod:`audiocodec.evaluate.results`); None keeps nothing.
        resume: go on with what ``out`` holds: units whose recording and system are unchanged are not computed again.
        force: replace what ``out`` holds.
        progress: called with (recordings done, recordings in all, name of the one just done).

    Raises:
        DataError: no recordings, a wrong checksum, or none that could be read.
        UsageError: an unknown peer, a rate that a model does not have, nothing to evaluate.
        ModelError: no such model.
        MissingExtraError: a measure was asked for by name and its package is not installed.
        OutputError: ``out`` holds an evaluation and neither ``resume`` nor ``force`` is set, or cannot be written.
    """
    metrics, unmeasured = usable_metrics(recipe)
    wanted = gather(recipe)
    tasks = _tasks(recipe)
    with tempfile.TemporaryDirectory(prefix="audiocodec-evaluate-") if out is None else nullcontext(str(out)) as name:
        store = Store(Path(name))
        if out is not None:
            store.prepare(resume, force, Path(recipe.files.folder))
        job = Job(store, wanted.systems, metrics, recipe.domain, recipe.channels)
        outcomes: list[Outcome] = []
        with closing(spread(evaluate_recording, job, tasks, recipe.workers)) as done:
            for outcome in done:
                outcomes.append(outcome)
                if progress is not None:
                    progress(len(outcomes), len(tasks), outcome.task.file)
        outcomes.sort(key=lambda outcome: outcome.task.path)
        results = _collect(recipe, wanted, metrics, unmeasured, outcomes)
        if out is not None:
            results.folder = Path(out)
            write_results(results, Path(out), force=True)
    return results


def usable_metrics(recipe: EvaluationRecipe) -> tuple[list[str], dict[str, str]]:
    """The measures to run, and those of the domain that cannot run here with the reason.

    Raises:
        MissingExtraError: one that was asked for by name is among the latter.
    """
    names = recipe.metrics
    if names == "all":
        names = metrics_of(recipe.domain, bool(recipe.files.transcripts), recipe.channels)
    absent = {name: reason for name in names if (reason := METRICS[name].absent_reason())}
    if absent and recipe.metrics != "all":
        raise MissingExtraError(next(iter(absent.values())))
    return [name for name in names if name not in absent], absent


def evaluate_recording(job: Job, task: Task) -> Outcome:
    """Run every system over one recording, as far as that was not done before."""
    skipped: dict[str, str] = {}
    rows = []
    with tempfile.TemporaryDirectory(prefix="audiocodec-evaluate-") as name:
        try:
            with coded_file(task.path, Path(name), job.channels) as source:
                original = read_audio(source)
                _check(task.path, original[0])
                checksum = sha256(task.path)
                for system in job.systems:
                    which = f"{task.file} by {system.codec} {system.setting}".strip()
                    try:
                        row, failed = unit_row(job, task, checksum, source, original, system, Path(name))
                    except AudioError as error:
                        skipped[which] = printable(str(error))
                        continue
                    rows.append(row)
                    skipped |= {f"{which}, {METRICS[name].heading}": printable(why) for name, why in failed.items()}
        except AudioError as error:
            return Outcome(task, [], {task.file: printable(str(error))})
    return Outcome(task, rows, skipped)


def _check(path: Path, samples: Samples) -> None:
    """Refuse what no codec could be given. Raises AudioError."""
    if not samples.size:
        raise AudioError(f"{path} holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds NaN or infinity")


def _tasks(recipe: EvaluationRecipe) -> list[Task]:
    folder = Path(recipe.files.folder)
    pattern = recipe.files.transcripts
    words = read_transcripts(folder, pattern) if pattern else {}
    paths = choose(recipe.files)
    return [Task(path, printable(path.relative_to(folder).as_posix()), words.get(path.stem)) for path in paths]


def _collect(
    recipe: EvaluationRecipe, wanted: Wanted, metrics: list[str], unmeasured: dict[str, str], outcomes: list[Outcome]
) -> Results:
    rows = [row for outcome in outcomes for row in outcome.rows]
    skipped = {name: reason for outcome in outcomes for name, reason in outcome.skipped.items()}
    if not rows:
        name, reason = next(iter(skipped.items()))
        raise DataError(f"none of the {len(outcomes)} recordings could be evaluated; {name}: {reason}")
    infos = [
        SystemInfo(system.codec, system.setting, role, system.identity())
        for system, role in zip(wanted.systems, wanted.roles, strict=True)
    ]
    results = Results(
        name=recipe.name,
        domain=recipe.domain,
        metrics=metrics,
        systems=infos,
        files=[outcome.task.file for outcome in outcomes if outcome.rows],
        summary=[],
        rows=rows,
        absent=wanted.absent,
        skipped=skipped,
        unmeasured=unmeasured,
        environment=environment(wanted.models, recipe.seed, recipe.workers),
    )
    results.summary = [summarise(info, results.rows_of(info), metrics) for info in infos]
    return results
