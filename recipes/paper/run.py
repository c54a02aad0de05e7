"""Remake the table of VP-VAE (arXiv 2602.17133): the one command.

    python recipes/paper/run.py recipes/paper/reduced.yaml --data data/free_speech --cache data/cache \\
        --eval shared/eval/speech --out runs/paper --results docs/results/paper

It trains every run that has no result yet, goes on with one that was cut off, and rewrites table and plot after each.
Exit code: 0 if all runs have results, 1 if some failed, 3 if time ran out, 130 or 143 after a signal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the folder is a package of its own, not installed

from audiocodec.errors import AudiocodecError, DataError, OutputError
from audiocodec.modelfiles import write_atomically
from paper.jobs import Job, Scale, all_jobs, load_methods, load_scale, pending
from paper.measure import Bench, StoppedError, open_bench, run_job
from paper.plot import plot
from paper.results import finished, read_all, store
from paper.tables import table

OUT_OF_TIME = 3
EPILOG = """Examples:

  python recipes/paper/run.py recipes/paper/reduced.yaml --data data/free_speech --cache data/cache --threads 1

  python recipes/paper/run.py recipes/paper/full.yaml --data data/librispeech --device cuda --results runs/full-results

  python recipes/paper/run.py recipes/paper/reduced.yaml --table-only
"""


def run(
    scale: Annotated[Path, typer.Argument(metavar="SCALE", help="full.yaml or reduced.yaml.")],
    data: Annotated[list[str] | None, typer.Option(help="Training audio: folder, shards or list; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps decoded samples.")] = None,
    evaluation: Annotated[
        Path, typer.Option("--eval", metavar="FOLDER", help="Recordings for out-of-domain measurements.")
    ] = Path("shared/eval/speech"),
    out: Annotated[Path, typer.Option(help="Where the training runs go.")] = Path("runs/paper"),
    results: Annotated[Path, typer.Option(help="Where results, table and plot go.")] = Path("docs/results/paper"),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: a GPU if there is one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Begin no run that would not end within this time.")] = None,
    table_only: Annotated[bool, typer.Option("--table-only", help="Only remake table and plot.")] = False,
) -> None:
    """Train and measure every method, and write table and plot. Stop it and run it again at any time."""
    chosen = load_scale(scale)
    if table_only:
        publish(results)
        return
    place = {"train": data or "data/free_speech", "cache": str(cache) if cache is not None else None}
    jobs = all_jobs(chosen, load_methods(), place)
    refuse_another_scale(results, chosen)
    waiting = pending(jobs, finished(read_all(results)))
    tell(f"{len(jobs)} runs, {len(waiting)} of them without a result")
    failed: list[str] = []
    code = 0
    if waiting:
        bench = open_bench(jobs[0], chosen, evaluation)
        code = work(waiting, chosen, bench, out, results, threads, device, minutes, failed)
    if code == 0 or read_all(results):  # a first run that was stopped has left nothing to publish
        publish(results)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    raise typer.Exit(code or (1 if failed else 0))


def work(
    waiting: Sequence[Job],
    scale: Scale,
    bench: Bench,
    out: Path,
    results: Path,
    threads: int,
    device: str | None,
    minutes: float | None,
    failed: list[str],
) -> int:
    """Do the jobs in their order, each one's result stored before the next; the exit code, 0 if all had their turn."""
    started, longest = time.monotonic(), 0.0
    for number, job in enumerate(waiting):
        before = time.monotonic()
        if minutes is not None and before - started + longest > 60 * minutes:
            tell(f"out of time: {len(waiting) - number} runs are left")
            return OUT_OF_TIME
        tell(f"run {number + 1} of {len(waiting)}: {job.name}")
        # The hash in the name: a run of other settings is never gone on with.
        folder = out / f"{job.name}.{job.settings}"
        try:
            found = run_job(job, scale, bench, folder, threads, device, tell)
        except StoppedError as stop:
            tell(f"stopped in {job.name}; the same command goes on")
            return stop.exit_code
        except OutputError:  # a full disk or a wrong place is every run's trouble
            raise
        except (AudiocodecError, RuntimeError, ValueError, ArithmeticError) as error:
            message = " ".join(str(error).split()) or type(error).__name__
            failed.append(f"{job.name}: {message}")
            tell(failed[-1])
            found = {
                "method": job.method,
                "codes": job.codes,
                "seed": job.seed,
                "scale": scale.name,
                "settings": job.settings,
                "failure": message,
            }
        store(results, job.name, found, folder / "log.jsonl")
        publish(results)
        longest = max(longest, time.monotonic() - before)
        tell(f"{job.name}: {time.monotonic() - before:.0f} s, {summary(found)}")
    return 0


def summary(found: dict[str, object]) -> str:
    """A result in one line."""
    domains = found.get("domains")
    if not isinstance(domains, dict):
        return "failed"
    return "; ".join(
        f"{name}: PESQ {row['pesq']} STOI {row['stoi']} CVU {row['cvu']} kbps {row['kbps']}"
        for name, row in domains.items()
    )


def publish(results: Path) -> None:
    """Write ``table.md`` and ``rate_quality.svg`` from the stored runs."""
    found, methods = read_all(results), load_methods()
    if not found:
        raise DataError(f"there are no runs in {results / 'runs'} to make a table of")
    write_atomically(results / "table.md", table(found, methods).encode())
    write_atomically(results / "rate_quality.svg", plot(found, methods).encode())


def refuse_another_scale(results: Path, scale: Scale) -> None:
    """Raises OutputError if ``results`` holds runs of another scale, whose numbers do not compare."""
    for result in read_all(results):
        if result.data.get("scale") != scale.name:
            raise OutputError(
                f"{results} holds runs of the scale '{result.data.get('scale')}'; give '{scale.name}' another --results"
            )


def tell(line: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> None:
    """The command line."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(epilog=EPILOG)(run)
    try:
        app()
    except AudiocodecError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
