"""Evaluation over a folder: code every recording, decode it, measure what came back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiocodec.errors import AudioError, DataError, UsageError
from audiocodec.evaluate import metrics as measures
from audiocodec.evaluate.metrics import MEL_RATE, SPEECH_RATE, Samples
from audiocodec.evaluate.peers import absent_reason, peer_systems
from audiocodec.evaluate.systems import Coded, Histograms, System, Vpc, list_audio, mono_file, read_mono

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.evaluate.report import Report

Row = dict[str, Any]  # one line of a table: plain numbers and strings, None where something does not apply

METRICS: dict[str, Callable[[Samples, Samples, int], float]] = {
    "pesq_wb": measures.pesq_wb,
    "stoi": measures.stoi,
    "estoi": measures.estoi,
    "mel": measures.mel_distance,
    "si_sdr": measures.si_sdr,
}


@dataclass
class FileResult:
    """What became of one recording: a row and the level use for each system, or the reason why it was skipped."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    histograms: list[Histograms | None] = field(default_factory=list)
    skipped: str | None = None


def evaluate_folder(
    folder: str | Path,
    *,
    model: str | Path | Codec | None = None,
    bitrates: Sequence[float] = (),
    levels: Sequence[int] = (),
    peers: Sequence[str] = (),
    metrics: Sequence[str] = tuple(METRICS),
    out_dir: str | Path | None = None,
    markdown: str | Path | None = None,
    force: bool = False,
    workers: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Evaluate a model, and peers, over the audio files below ``folder``.

    Args:
        folder: searched recursively; stereo files are mixed down to mono for every codec alike.
        model: name or path of a model, a loaded Codec, or None for peers alone.
        bitrates: rates of the model in kbps; with neither these nor ``levels``, all settings of the model.
        levels: rates of the model as base level counts.
        peers: ``opus``, or with rates in kbps ``opus:6,12``.
        metrics: names out of METRICS.
        out_dir: where to write summary.json, files.json and files.csv; created where missing.
        markdown: where to write the summary as a markdown table.
        force: overwrite results that exist.
        workers: processes; with more than one, speeds suffer from what the processes do to each other.
        progress: called with (files done, files in all, name of the file just done).

    Returns:
        The report, whose ``summary`` has one row per system and whose ``files`` has one per system and file.

    Raises:
        DataError: no folder, no audio in it, or none that could be read.
        UsageError: an unknown metric or peer, a rate that the model does not have, nothing to evaluate.
        MissingExtraError: a metric whose package is not installed.
        OutputError: results exist and ``force`` is not set, or cannot be written.
    """
    from audiocodec.evaluate.report import Report, check_outputs, environment, write_report

    check_outputs(out_dir, markdown, force)
    paths = list_audio(Path(folder))
    check_metrics(metrics)
    codec = _load(model)
    systems, absent = _systems(codec, bitrates, levels, peers)
    results = []
    for result in _results(paths, systems, tuple(metrics), workers):
        results.append(result)
        if progress is not None:
            progress(len(results), len(paths), result.path.name)
    results.sort(key=lambda result: result.path)
    if all(result.skipped for result in results):
        raise DataError(f"none of the {len(paths)} files in {folder} could be evaluated; first: {results[0].skipped}")
    report = Report(
        folder=str(folder),
        metrics=list(metrics),
        summary=[_summarise(i, system, results, metrics) for i, system in enumerate(systems)],
        files=[{"file": str(r.path.relative_to(folder)), **row} for r in results for row in r.rows],
        absent=absent,
        skipped={str(r.path.relative_to(folder)): r.skipped for r in results if r.skipped},
        environment=environment(codec, workers),
    )
    write_report(report, out_dir, markdown, force)
    return report


def check_metrics(names: Sequence[str]) -> None:
    """Refuse unknown metrics, and those whose package is missing, before hours of work.

    Raises:
        UsageError, MissingExtraError
    """
    probe = np.zeros(SPEECH_RATE)
    for name in names:
        if name not in METRICS:
            raise UsageError(f"unknown metric '{name}'; known: {', '.join(METRICS)}")
        METRICS[name](probe, probe, SPEECH_RATE)


def evaluate_file(path: Path, systems: Sequence[System], metrics: Sequence[str]) -> FileResult:
    """Run every system over one recording; a recording that cannot be read is reported as skipped."""
    result = FileResult(path)
    with tempfile.TemporaryDirectory(prefix="audiocodec-evaluate-") as name:
        try:
            with mono_file(path, Path(name)) as source:
                original, sample_rate = read_mono(source)
                if original.size == 0:
                    raise AudioError(f"{path} holds no samples")
                references = {rate: measures.resample(original, sample_rate, rate) for rate in (SPEECH_RATE, MEL_RATE)}
                for system in systems:
                    coded = system.run(source, Path(name))
                    scores = _scores(references, coded, metrics)
                    result.rows.append(_row(system, coded, original.size / sample_rate, sample_rate, scores))
                    result.histograms.append(coded.histograms)
        except AudioError as error:
            return FileResult(path, skipped=str(error))
    return result


def _scores(references: dict[int, Samples], coded: Coded, metrics: Sequence[str]) -> dict[str, float]:
    """All metrics of one decoded recording; ``references`` is the original at each rate that a metric works at."""
    pairs = {}
    scores: dict[str, float] = {}
    for rate, reference in references.items():
        decoded = measures.resample(coded.samples, coded.sample_rate, rate)
        aligned, decoded, delay = measures.align(reference, decoded, round(coded.max_delay_s * rate))
        pairs[rate] = aligned, decoded
        if rate == SPEECH_RATE:
            scores["delay_ms"] = 1000.0 * delay / rate
    for name in metrics:
        # mel at 24 kHz and from the full bands: what a codec cuts off above 8 kHz counts against it
        rate = MEL_RATE if name == "mel" else SPEECH_RATE
        reference, decoded = pairs[rate]
        scores[name] = METRICS[name](reference, decoded, rate)
    return scores


def _row(system: System, coded: Coded, seconds: float, sample_rate: int, scores: dict[str, float]) -> Row:
    to_kbps = 8e-3 / seconds
    return {
        "codec": system.codec,
        "setting": system.setting,
        "seconds": seconds,
        "sample_rate": sample_rate,
        "file_bytes": coded.file_bytes,
        "payload_bytes": coded.payload_bytes,
        "raw_bytes": coded.raw_bytes,
        "kbps": coded.file_bytes * to_kbps,
        "payload_kbps": coded.payload_bytes * to_kbps,
        "raw_kbps": None if coded.raw_bytes is None else coded.raw_bytes * to_kbps,
        "encode_seconds": coded.encode_seconds,
        "decode_seconds": coded.decode_seconds,
        **scores,
    }


def _summarise(index: int, system: System, results: Sequence[FileResult], metrics: Sequence[str]) -> Row:
    """Means over files; savings and speeds from totals; entropy and CVU from the pooled use of levels."""
    done = [r for r in results if not r.skipped]
    rows = [r.rows[index] for r in done]
    total = {
        key: sum(row[key] for row in rows) for key in ("seconds", "file_bytes", "encode_seconds", "decode_seconds")
    }
    summary: Row = {"codec": system.codec, "setting": system.setting, "files": len(rows)}
    for key in ("kbps", "payload_kbps", *metrics):
        summary[key] = _finite_mean([row[key] for row in rows])
    summary["encode_speed"] = total["seconds"] / max(total["encode_seconds"], 1e-9)
    summary["decode_speed"] = total["seconds"] / max(total["decode_seconds"], 1e-9)
    if all(row["raw_bytes"] is not None for row in rows):
        raw_bytes = sum(row["raw_bytes"] for row in rows)
        summary["raw_kbps"] = _finite_mean([row["raw_kbps"] for row in rows])
        summary["saving_percent"] = 100.0 * (1.0 - total["file_bytes"] / raw_bytes)
    histograms = [h for h in (r.histograms[index] for r in done) if h is not None]
    if histograms:
        pooled = [np.sum([h[dim] for h in histograms], axis=0) for dim in range(len(histograms[0]))]
        summary["entropy_bits_per_frame"], summary["cvu"] = token_use(pooled)
    return summary


def token_use(histograms: Histograms) -> tuple[float, float | None]:
    """Entropy of the tokens in bits per frame, and codebook use, from how often each level was used.

    The entropy is that of each dimension by itself, summed; CVU = exp(entropy in nats) / levels (arXiv 2602.17133),
    averaged over the dimensions that have more than one level. (0, None) without any.
    """
    bits, uses = 0.0, []
    for counts in histograms:
        total = counts.sum()
        if len(counts) < 2 or total == 0:
            continue
        share = counts[counts > 0] / total
        nats = float(-(share * np.log(share)).sum())
        bits += nats / np.log(2.0)
        uses.append(np.exp(nats) / len(counts))
    return float(bits), float(np.mean(uses)) if uses else None


def _finite_mean(values: Sequence[float]) -> float | None:
    finite: npt.NDArray[np.float64] = np.asarray([value for value in values if np.isfinite(value)])
    return float(finite.mean()) if finite.size else None


def _results(
    paths: Sequence[Path], systems: Sequence[System], metrics: tuple[str, ...], workers: int
) -> Iterator[FileResult]:
    """Results in the order in which they are done."""
    if workers <= 1 or len(paths) == 1:
        yield from (evaluate_file(path, systems, metrics) for path in paths)
        return
    # spawn: a forked child inherits torch's thread pool in a state that it cannot use
    with ProcessPoolExecutor(
        min(workers, len(paths)), mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        jobs = [pool.submit(evaluate_file, path, systems, metrics) for path in paths]
        try:
            yield from (job.result() for job in as_completed(jobs))
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """Each worker process computes on one thread: several would fight for the same cores."""
    import torch

    torch.set_num_threads(1)


def _load(model: str | Path | Codec | None) -> Codec | None:
    if isinstance(model, (str, Path)):
        from audiocodec.codec import load

        return load(str(model))
    return model


def _systems(
    codec: Codec | None, bitrates: Sequence[float], levels: Sequence[int], peers: Sequence[str]
) -> tuple[list[System], dict[str, str]]:
    """The systems to evaluate, and the peers that cannot run here with the reason."""
    systems: list[System] = []
    if codec is not None:
        chosen = [codec.choose_rate(kbps, None) for kbps in bitrates] + [codec.choose_rate(None, n) for n in levels]
        # Two bit rates can lead to the same setting: measured once.
        unique = {rate.base_levels: rate for rate in chosen or codec.rates}
        systems += [Vpc(codec, unique[base]) for base in sorted(unique)]
    absent = {}
    for name in peers:
        wanted = peer_systems([name])
        if reason := absent_reason(name):
            absent[name] = reason
        else:
            systems += wanted
    if not systems:
        reasons = "; ".join(absent.values()) or "pass a model, or --peers opus"
        raise UsageError(f"nothing to evaluate: {reasons}")
    return systems, absent
