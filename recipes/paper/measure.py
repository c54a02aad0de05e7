"""One run: train, finish as the project finishes its models, and measure the files that the finished model writes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from audiocodec.audio import AudioReader
from audiocodec.bottleneck import FSP, VP
from audiocodec.checkpoint import load_model, save_model
from audiocodec.codec import Codec, load
from audiocodec.errors import DataError
from audiocodec.evaluate.metrics import pesq_wb, resample, stoi
from audiocodec.train.codebook import config_for, make_words
from audiocodec.train.entropyfit import FitSettings
from audiocodec.train.loop import TrainReport, train_from_recipe
from audiocodec.train.measure import Recording, Tell, draw_recordings, measure_excerpts, split_excerpts
from audiocodec.train.recipe import as_json
from audiocodec.train.sources import open_sources
from audiocodec.train.tokenuse import entropies_of
from paper.jobs import Job, Scale

AUDIO = {".flac", ".wav", ".ogg", ".opus", ".mp3"}
Clips = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Bench:
    """What all runs are finished with and measured on: samples at the model's rate, by name.

    ``held`` and ``fitted`` are excerpts of 8 s of the *training* part: VP's codebook and the entropy tables are made
    of it, and never of what is measured.
    """

    rate: int
    clips: dict[str, Clips]
    held: list[Recording]
    fitted: list[Recording]


class StoppedError(Exception):
    """A signal asked the training to stop; ``exit_code`` is what the command returns."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"stopped with {exit_code}")
        self.exit_code = exit_code


def open_bench(job: Job, scale: Scale, evaluation: Path) -> Bench:
    """Read everything once. Raises DataError: no data, too little of it, or no recordings in ``evaluation``."""
    settings = job.recipe.model_copy(
        update={
            "validation": job.recipe.validation.model_copy(update={"clips": scale.clips, "seconds": scale.clip_seconds})
        }
    )
    sources = open_sources(settings)
    rate = job.recipe.model.sample_rate
    held, fitted = split_excerpts(draw_recordings(sources.train, 60 * scale.fit_minutes), rate)
    inside = {f"clip {number:02}": clip for number, clip in enumerate(sources.clips)}
    return Bench(rate, {"in": inside, "out": read_folder(evaluation, rate)}, held, fitted)


def read_folder(folder: Path, rate: int) -> Clips:
    """Recordings of a folder, first channel, at ``rate`` Hz. Raises DataError if there are none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in AUDIO)
    if not paths:
        raise DataError(f"no recordings in {folder}; give --eval a folder of speech that was not trained on")
    clips = {}
    for path in paths:
        with AudioReader(path) as reader:
            blocks = [block[0] for block in reader]
            clips[path.stem] = resample(np.concatenate(blocks), reader.sample_rate, rate).astype(np.float32)
    return clips


def run_job(job: Job, scale: Scale, bench: Bench, out: Path, threads: int, device: str | None, tell: Tell) -> Any:
    """Train, or go on training, in ``out``; then finish and measure: the result as JSON values.

    Raises:
        StoppedError: a signal came; the training can go on from its checkpoint.
        AudiocodecError: it diverged, or cannot be measured.
    """
    started = time.monotonic()
    report = _train(job, out, threads, device, tell)
    trained = time.monotonic()
    codec = finish(job, scale, bench, out, tell)
    domains = {name: measure(codec, clips) for name, clips in bench.clips.items()}
    return {
        "method": job.method,
        "codes": job.codes,
        "seed": job.seed,
        "scale": scale.name,
        "settings": job.settings,
        "levels": list(codec.rates[0].levels),
        "dims": codec.config.dims,
        "parameters": sum(p.numel() for part in (codec.net.encoder, codec.net.decoder) for p in part.parameters()),
        "steps": report.step,
        "refused_steps": report.refused_steps,
        "train_seconds": round(report.elapsed_s, 1),
        "finish_seconds": round(time.monotonic() - trained, 1),
        "call_seconds": round(time.monotonic() - started, 1),
        "domains": domains,
    }


def _train(job: Job, out: Path, threads: int, device: str | None, tell: Tell) -> TrainReport:
    out.mkdir(parents=True, exist_ok=True)
    recipe = out / "job.yaml"
    recipe.write_text(yaml.safe_dump(as_json(job.recipe), sort_keys=False), encoding="utf-8")

    def watch(progress: Any) -> None:
        if progress.kind == "validation" or progress.step % (5 * job.recipe.log_steps) == 0:
            tell(progress.line())

    report = train_from_recipe(recipe, out_dir=out, resume=True, device=device, threads=threads, on_progress=watch)
    if report.exit_code:
        raise StoppedError(report.exit_code)
    return report


def finish(job: Job, scale: Scale, bench: Bench, out: Path, tell: Tell) -> Codec:
    """The run's model with VP's codebook and with entropy tables, in ``out``/finished."""
    net, files = load_model(out / "model")
    config = files.config
    if isinstance(net.bottleneck, VP):
        config = config_for(config, [job.codes])
        words = {job.codes: torch.zeros(1, job.codes, net.bottleneck.dims)}
        make_words(net, config, job.codes, bench.fitted, words, job.seed, tell)
        net.bottleneck = net.bottleneck.finished(words)
    save_model(out / "finished", net, config)
    # Steps, not seconds: a busy machine would fit worse tables, and the same run would write other bytes.
    measure_excerpts(out / "finished", bench.held, bench.fitted, FitSettings(steps=scale.fit_steps))
    return load(out / "finished")


def measure(codec: Codec, clips: Clips) -> dict[str, Any]:
    """Quality of decoded files, their size, and how the frame codes are used, over the recordings of a domain."""
    rows = [_measure_file(codec, name, clip) for name, clip in clips.items()]
    codes, seconds = math.prod(codec.rates[0].levels), sum(row["seconds"] for row in rows)
    joint = frame_codes(codec, list(clips.values()))
    perplexity = 2.0 ** entropies_of(joint[:, None], [codes])[0]
    return {
        "pesq": _mean([row["pesq"] for row in rows]),
        "stoi": _mean([row["stoi"] for row in rows]),
        "kbps": round(8e-3 * sum(row["bytes"] for row in rows) / seconds, 4),
        "raw_kbps": round(1e-3 * math.log2(codes) * codec.frame_rate, 4),
        "perplexity": round(perplexity, 3),
        "cvu": round(perplexity / codes, 6),
        "frames": len(joint),
        "files": rows,
    }


def frame_codes(codec: Codec, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """One code for each frame, all tokens of the frame together: below K, the product of the levels."""
    rate = codec.rates[0]
    levels = torch.tensor([rate.levels])
    codes = []
    for clip in clips:
        tokens = codec.encode(torch.from_numpy(clip), rate)
        codes.append(FSP.joined(tokens.indices, levels)[0, : codec.frames_for(len(clip))].numpy())
    return np.concatenate(codes)


def _measure_file(codec: Codec, name: str, clip: NDArray[np.float32]) -> dict[str, Any]:
    data = codec.compress(clip, codec.sample_rate, levels=codec.rates[0].base_levels, mode="range")
    decoded = codec.decompress(data)[0][0]
    return {
        "name": name,
        "seconds": round(len(clip) / codec.sample_rate, 4),
        "bytes": len(data),
        "pesq": _number(pesq_wb(clip, decoded, codec.sample_rate)),
        "stoi": _number(stoi(clip, decoded, codec.sample_rate)),
    }


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return round(float(np.mean(finite)), 5) if finite else None
