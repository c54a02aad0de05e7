"""Codebooks of many sizes, and of one speaker, from one network; promised: more words, more bits and a smaller error.

A network trained by vector perturbation (VP, arXiv 2602.17133) gets its codebooks afterwards. Here ``audiocodec
codebook``'s own function compiles them twice, with the same sizes: from all of the training data, and from the
recordings of one speaker. Then files are written and decoded:

- of the development speech with the general codebooks: written bitrate must rise with the number of words, and the
  mel distance fall, from each size to the next;
- of recordings of the speaker that no codebook has seen: the speaker's own must have the smaller mel distance at each
  size. The written rates of both are told, because tables are fitted to the same recordings as the words.

Exits 1 where a promise is broken.

    python benchmarks/codebooks.py runs/free-speech-16k-vp/model --data data/free_speech --speaker festvox-ru \\
        --audio ../shared/eval/speech --out docs/results/codebooks
"""

from __future__ import annotations

import os

# Before numpy and torch start their thread pools.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import json
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import common
import numpy as np
import numpy.typing as npt
import soxr
import torch

from audiocodec import Codec, load
from audiocodec.evaluate.metrics import estoi, mel_distance, pesq_wb
from audiocodec.evaluate.recordings import list_audio, read_mono
from audiocodec.modelfiles import read_config
from audiocodec.train.codebook import compile_codebooks
from audiocodec.train.entropyfit import FitSettings
from audiocodec.train.shards import Corpus

SIZES = (256, 1024, 4096)
METRICS = {"pesq_wb": pesq_wb, "estoi": estoi, "mel": mel_distance}
# A tenth of the speaker's recordings makes no codebook; of these, as many are measured.
HELD_BACK, MEASURED = 0.1, 24
# Shorter ones say little to PESQ.
LEAST_SECONDS = 3.0

Wave = npt.NDArray[np.float32]
Row = dict[str, Any]


def main() -> int:
    """Compile, measure, write, judge."""
    options = _options()
    torch.set_num_threads(1)
    corpus = Corpus.open([options.data], rate=read_config(options.model).sample_rate, cache=options.cache)
    owned = [i for i, name in enumerate(corpus.names) if options.speaker in name]
    if not owned:
        print(f"no recording in {options.data} has '{options.speaker}' in its name", file=sys.stderr)
        return 2
    speaker = Corpus(corpus.samples, corpus.spans[owned], [corpus.names[i] for i in owned], corpus.rate)
    own, held = speaker.split(HELD_BACK)
    assert held is not None
    hidden, unseen = set(held.names), _longer(held)
    general = [i for i, name in enumerate(corpus.names) if name not in hidden]
    if not unseen or not general:
        print(
            f"too little of '{options.speaker}' in {options.data}: some of it is held back to be measured, which takes "
            f"recordings of {LEAST_SECONDS:g} s or more, and the general codebook needs others",
            file=sys.stderr,
        )
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = {
            "general": _stored(corpus, corpus.spans[general], folder / "general.npy"),
            "speaker": _stored(corpus, own.spans, folder / "speaker.npy"),
        }
        fit = FitSettings(steps=options.fit_steps)
        for name, source in sources.items():
            print(f"codebooks of {name}", file=sys.stderr, flush=True)
            made = compile_codebooks(
                options.model, folder / name, options.size, [source], minutes=options.minutes, fit=fit
            )
            codec = load(made.folder)
            if name == "general":
                rows += _measured(
                    codec, recordings(options.audio, codec.sample_rate), options.size, name, "development"
                )
            rows += _measured(codec, unseen, options.size, name, "speaker")
    result = {"rows": rows, "promises": promises(rows), "speaker": options.speaker, "minutes": options.minutes}
    common.finish({"machine": common.machine(), **result}, options.json)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (options.out / "table.md").write_text(table(result), encoding="utf-8")
    print(table(result))
    return int(not all(result["promises"].values()))


def promises(rows: Sequence[Row]) -> dict[str, bool]:
    """What the module's text promises, each kept or not."""
    by_size = {row["size"]: row for row in rows if row["audio"] == "development"}
    sizes = sorted(by_size)
    steps = list(pairwise(sizes))
    pairs = [{row["codebook"]: row for row in rows if (row["audio"], row["size"]) == ("speaker", k)} for k in sizes]
    return {
        "written bitrate rises with the number of words": all(
            by_size[a]["kbps"] < by_size[b]["kbps"] for a, b in steps
        ),
        "mel distance falls with the number of words": all(by_size[a]["mel"] > by_size[b]["mel"] for a, b in steps),
        "the speaker's own codebook has the smaller mel distance at each size": all(
            pair["speaker"]["mel"] < pair["general"]["mel"] for pair in pairs
        ),
    }


def table(result: dict[str, Any]) -> str:
    """Markdown of a result."""
    lines = ["| audio | codebook of | words | kbps written | PESQ-WB | ESTOI | mel distance | files |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for row in sorted(result["rows"], key=lambda row: (row["audio"], row["size"], row["codebook"])):
        what = "one speaker" if row["audio"] == "speaker" else "development speech"
        whose = "that speaker" if row["codebook"] == "speaker" else "all speakers"
        lines.append(
            f"| {what} | {whose} | {row['size']} | {row['kbps']:.2f} | {row['pesq_wb']:.3f} | {row['estoi']:.3f} "
            f"| {row['mel']:.4f} | {row['files']} |"
        )
    lines += [""] + [f"- {name}: {'yes' if kept else 'no'}" for name, kept in result["promises"].items()]
    return "\n".join(lines) + "\n"


def recordings(folder: Path, rate: int) -> list[Wave]:
    """Every recording of a folder, mono at ``rate`` Hz."""
    waves = []
    for path in list_audio(folder):
        samples, own_rate = read_mono(path)
        waves.append(soxr.resample(samples, own_rate, rate).astype(np.float32))
    return waves


def _measured(codec: Codec, waves: Sequence[Wave], sizes: Sequence[int], codebook: str, audio: str) -> list[Row]:
    rows = []
    for size in sizes:
        size_bytes = seconds = 0.0
        values: dict[str, list[float]] = {name: [] for name in METRICS}
        for wave in waves:
            data = codec.compress(wave, levels=size)
            decoded = codec.decompress(data)[0].reshape(-1)[: len(wave)]
            size_bytes += len(data)
            seconds += len(wave) / codec.sample_rate
            for name, metric in METRICS.items():
                values[name].append(metric(wave, decoded, codec.sample_rate))
        means = {name: round(float(np.nanmean(list_)), 4) for name, list_ in values.items()}
        kbps = round(8e-3 * size_bytes / seconds, 3)
        rows.append({"audio": audio, "codebook": codebook, "size": size, "kbps": kbps, **means, "files": len(waves)})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _longer(corpus: Corpus) -> list[Wave]:
    waves = [np.asarray(corpus.clip(i), np.float32) for i in range(len(corpus))]
    return [wave for wave in waves if len(wave) >= LEAST_SECONDS * corpus.rate][:MEASURED]


def _stored(corpus: Corpus, spans: npt.NDArray[np.int64], path: Path) -> Path:
    """Some recordings of a corpus as a corpus of their own (see :class:`Corpus`)."""
    np.save(path, np.concatenate([corpus.samples[start : start + length] for start, length in spans.tolist()]))
    lengths = spans[:, 1]
    np.save(path.with_name(f"{path.stem}_index.npy"), np.stack([np.cumsum(lengths) - lengths, lengths], axis=1))
    return path


def _options() -> Any:
    made = common.parser(__doc__ or "")
    made.add_argument("model", type=Path, help="a network trained by vector perturbation, finished or not")
    made.add_argument("--data", type=Path, required=True, help="recordings or shards that codebooks are made of")
    made.add_argument("--cache", type=Path, help="keep decoded recordings here")
    made.add_argument("--speaker", required=True, help="part of the names of one speaker's recordings")
    made.add_argument("--audio", type=Path, default=common.REPOSITORY.parent / "shared/eval/speech")
    made.add_argument("--size", type=int, nargs="+", default=SIZES, help="words of the codebooks")
    made.add_argument("--minutes", type=float, default=60.0, help="audio that each codebook is made of")
    made.add_argument("--fit-steps", type=int, default=3000, help="steps of fitting the entropy tables")
    made.add_argument("--out", type=Path, help="folder for results.json and table.md")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main())
