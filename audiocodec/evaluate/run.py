"""An evaluation: code every recording by every system, decode it, measure what came back, summarise."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from audiocodec.errors import AudioError, DataError, MissingExtraError
from audiocodec.evaluate.environment import environment
from audiocodec.evaluate.manifest import choose, read_transcripts, sha256
from audiocodec.evaluate.measure import measure
from audiocodec.evaluate.metrics import METRICS, SPEECH_RATE, Domain, Samples, resample, word_error_rate
from audiocodec.evaluate.recipe import EvaluationRecipe, metrics_of
from audiocodec.evaluate.recordings import mono_file, read_mono
from audiocodec.evaluate.results import ORIGINAL, Results, Row, SystemInfo, plain, write_results
from audiocodec.evaluate.store import Store, facts, unit_key
from audiocodec.evaluate.summary import summarise
from audiocodec.evaluate.systems import System
from audiocodec.evaluate.wanted import Wanted, gather

OnProgress = Callable[[int, int, str], None]
Audio = tuple[Samples, int]  # [samples] and their rate in Hz


@dataclass(frozen=True)
class Task:
    """All there is to do for one recording; travels to worker processes."""

    path: Path
    file: str
    """Its path below the folder of recordings."""
    transcript: str | None = None


@dataclass(frozen=True)
class Job:
    """What is the same for every recording."""

    store: Store
    systems: list[System]
    metrics: list[str]
    domain: Domain


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
            store.prepare(resume, force)
        job = Job(store, wanted.systems, metrics, recipe.domain)
        outcomes = []
        for outcome in _outcomes(job, tasks, recipe.workers):
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
        names = metrics_of(recipe.domain, bool(recipe.files.transcripts))
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
            with mono_file(task.path, Path(name)) as source:
                samples, _ = read_mono(source)
                if not samples.size:
                    raise AudioError(f"{task.path} holds no samples")
                checksum = sha256(task.path)
                for system in job.systems:
                    try:
                        rows.append(_unit(job, task, checksum, source, system, Path(name)))
                    except AudioError as error:
                        skipped[f"{task.file} by {system.codec} {system.setting}"] = str(error)
        except AudioError as error:
            return Outcome(task, [], {task.file: str(error)})
    return Outcome(task, rows, skipped)


def _unit(job: Job, task: Task, checksum: str, source: Path, system: System, scratch: Path) -> Row:
    """The row of one recording and system: from the store where it is there, computed where not."""
    label = f"{system.codec} {system.setting}".strip()
    key = unit_key(checksum, system, task.transcript)
    unit = job.store.read(key, task.file, label)
    heard = job.store.read_audio(task.file, label) if unit else None
    original, rate = read_mono(source)
    if unit is None or heard is None:
        coded = system.run(source, scratch)
        unit = {"facts": facts(coded, original.size / rate, rate), "scores": {}}
        job.store.write_audio(task.file, label, coded.samples, coded.sample_rate)
        if label != ORIGINAL:
            job.store.write_audio(task.file, ORIGINAL, original, rate)
        heard = job.store.read_audio(task.file, label)
        assert heard is not None
    missing = [name for name in job.metrics if name not in unit["scores"]]
    if missing or "delay_ms" not in unit:
        _measure(job, task, unit, missing, (original, rate), heard)
        job.store.write(key, task.file, label, unit)
    row = {"file": task.file, "codec": system.codec, "setting": system.setting}
    row |= {name: value for name, value in unit["facts"].items() if name not in ("delay_s", "max_delay_s")}
    row |= {"delay_ms": unit["delay_ms"]} | {name: unit["scores"][name] for name in job.metrics}
    # As it will be read back: a run that goes on gives the very rows of one that was never stopped
    return {key: plain(value) for key, value in row.items()}


def _measure(job: Job, task: Task, unit: Row, names: list[str], original: Audio, heard: Audio) -> None:
    """Put the scores of measures, and the delay, into a unit."""
    about = unit["facts"]
    scores, unit["delay_ms"] = measure(
        *original,
        *heard,
        [name for name in names if not METRICS[name].needs_transcript],
        job.domain,
        delay_s=about["delay_s"],
        max_delay_s=about["max_delay_s"],
    )
    if "wer" in names:
        # The recogniser wants 16 kHz; a narrow-band codec's 8 kHz has to be brought there first
        spoken = resample(*heard, SPEECH_RATE)
        scores["wer"] = word_error_rate(spoken, SPEECH_RATE, task.transcript) if task.transcript else math.nan
    unit["scores"].update(scores)


def _tasks(recipe: EvaluationRecipe) -> list[Task]:
    folder = Path(recipe.files.folder)
    pattern = recipe.files.transcripts
    words = read_transcripts(folder, pattern) if pattern else {}
    paths = choose(recipe.files)
    return [Task(path, path.relative_to(folder).as_posix(), words.get(path.stem)) for path in paths]


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


def _outcomes(job: Job, tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Outcomes in the order in which they are done."""
    if workers <= 1 or len(tasks) == 1:
        yield from (evaluate_recording(job, task) for task in tasks)
        return
    # spawn: a forked child inherits torch's thread pool in a state that it cannot use
    with ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=get_context("spawn"), initializer=_start_worker, initargs=(job,)
    ) as pool:
        futures = [pool.submit(_work, task) for task in tasks]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


_job: Job | None = None  # of a worker process: networks are sent to it once, not with every recording


def _start_worker(job: Job) -> None:
    """Each worker process computes on one thread: several would fight for the same cores."""
    global _job
    import torch

    torch.set_num_threads(1)
    _job = job


def _work(task: Task) -> Outcome:
    assert _job is not None
    return evaluate_recording(_job, task)
