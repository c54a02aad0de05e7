"""Fit what tells speech from music: writes audiocodec/content_fit.py, and docs/results/content.md with how it does.

    python recipes/fit_content.py --speech data/free_speech --music data/debian --test FOLDER

Speech comes from packed shards (``prepare_free_speech.py`` makes them), music from the Debian packages that
``content_examples.py`` names, downloaded where they are absent. Takes about five minutes on one core.

A regression is fitted for each package without it, which shows what strange recordings would meet; then once on all.
``--test`` names a folder with ``speech`` and ``music`` in it, which is only ever judged.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path

import content_examples
import numpy as np
import soxr
from numpy.typing import NDArray

from audiocodec import content
from audiocodec.choosing import content_pieces
from audiocodec.evaluate.recordings import list_audio, read_mono

ROOT = Path(__file__).resolve().parent.parent
RIDGE = 1e-4  # of the number of examples: keeps weights of features that say the same from growing against each other
MUSIC_BEHIND = 0.3  # of worn speech
LENGTHS_S = ((7.0, 11.0), (4.0, 7.0), (1.5, 4.0), (0.0, 1.5))
DOMAINS = ("speech", "music")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Row by row: features, 1 for music, package, seconds, whether as recorded or with noise, rooms and music added."""

    rows: Array
    music: Array
    packages: NDArray[np.str_]
    seconds: Array
    worn: NDArray[np.bool_]


@dataclass(frozen=True)
class Fit:
    """Constants of the regression; ``weights`` end with the bias."""

    mean: Array
    scale: Array
    weights: Array

    def logits(self, rows: Array) -> Array:
        """``[examples, features]`` to log odds of music."""
        return scaled(rows, self.mean, self.scale) @ self.weights


def scaled(rows: Array, mean: Array, scale: Array) -> Array:
    """Standardised and clipped as `content.logit` does, with a column of ones."""
    return np.c_[np.clip((rows - mean) / scale, -content.CLIP, content.CLIP), np.ones(len(rows))]


def examples(pieces: dict[str, content_examples.Pieces], rng: np.random.Generator) -> Examples:
    """Each piece as it is, and once worn."""
    tunes = [piece for some in pieces["music"].values() for piece in some]
    kept = []
    for domain in DOMAINS:
        for package, some in pieces[domain].items():
            for piece in some:
                behind = domain == "speech" and rng.random() < MUSIC_BEHIND
                tune = tunes[rng.integers(len(tunes))] if behind else None
                for worn, heard in ((False, piece), (True, content_examples.worn(piece, rng, tune))):
                    row = content.features(heard)
                    if row is not None:
                        kept.append((row, float(domain == "music"), package, len(piece) / content.RATE, worn))
    rows, music, packages, seconds, worn_ones = zip(*kept, strict=True)
    return Examples(np.array(rows), np.array(music), np.array(packages), np.array(seconds), np.array(worn_ones))


def fit(data: Examples, chosen: NDArray[np.bool_]) -> Fit:
    """Logistic regression by Newton's method; each domain counts the same, and in it each package."""
    rows, music, packages = data.rows[chosen], data.music[chosen], data.packages[chosen]
    share = np.zeros(len(rows))
    for package in np.unique(packages):
        for domain in (0.0, 1.0):
            mine = (packages == package) & (music == domain)
            share[mine] = 1 / max(np.sum(mine), 1)
    for domain in (0.0, 1.0):
        share[music == domain] *= 0.5 * len(rows) / share[music == domain].sum()
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    columns = scaled(rows, mean, scale)
    weights, ridge = np.zeros(columns.shape[1]), np.eye(columns.shape[1]) * RIDGE * len(rows)
    ridge[-1, -1] = 0.0
    for _ in range(30):
        expected = 1 / (1 + np.exp(-columns @ weights))
        curvature = columns.T @ (columns * (share * expected * (1 - expected))[:, None]) + ridge
        weights = weights + np.linalg.solve(curvature, columns.T @ (share * (music - expected)) - ridge @ weights)
    return Fit(mean, scale, weights)


def held_out(data: Examples) -> NDArray[np.bool_]:
    """Whether each example is told right by the regression that never met its package."""
    right = np.zeros(len(data.music), bool)
    for package in np.unique(data.packages):
        met = data.packages == package
        right[met] = (fit(data, ~met).logits(data.rows[met]) > 0) == (data.music[met] > 0)
    return right


def write_constants(done: Fit, target: Path) -> None:
    """A module of four constants."""

    def block(name: str, values: Array) -> str:
        lines = "".join(f"    {value:.6g},\n" for value in values)
        return f"{name} = (\n{lines})\n"

    target.write_text(
        '"""Constants of `audiocodec.content`, one for each of its ``NAMES``; written by recipes/fit_content.py."""\n\n'
        + block("MEAN", done.mean)
        + block("SCALE", done.scale)
        + block("WEIGHTS", done.weights[:-1])
        + f"BIAS = {done.weights[-1]:.6g}\n"
    )


def report(data: Examples, right: NDArray[np.bool_], done: Fit) -> str:
    """Markdown: accuracy by length and by package, all of packages that the regression did not meet; the weights."""
    text = ["| seconds | speech | speech, worn | music | music, worn |", "|---|---:|---:|---:|---:|"]
    for low, high in LENGTHS_S:
        length = (data.seconds >= low) & (data.seconds < high)
        cells = [
            percent(right[length & (data.music == music) & (data.worn == worn)])
            for music in (0, 1)
            for worn in (False, True)
        ]
        text.append(f"| {np.median(data.seconds[length]):.0f} | {' | '.join(cells)} |")
    text += ["", "| package left out | holds | 5 and 10 s | 1 and 2 s |", "|---|---|---:|---:|"]
    for music, domain in enumerate(DOMAINS):
        for package in np.unique(data.packages[data.music == music]):
            mine = (data.packages == package) & (data.music == music)
            parts = [percent(right[mine & long]) for long in (data.seconds >= 4, data.seconds < 4)]
            text.append(f"| {package} | {domain} | {' | '.join(parts)} |")
    text += ["", "| feature | speech | music | weight |", "|---|---:|---:|---:|"]
    for n, name in enumerate(content.NAMES):
        means = [data.rows[data.music == music, n].mean() for music in (0, 1)]
        text.append(f"| {name} | {means[0]:.2f} | {means[1]:.2f} | {done.weights[n]:+.2f} |")
    return "\n".join(text)


def percent(right: NDArray[np.bool_]) -> str:
    """A share in words, with how many it is of."""
    return f"{100 * right.mean():.1f} % of {len(right)}" if len(right) else ""


def conditions(samples: Array, rate: int, rng: np.random.Generator) -> dict[str, tuple[Array, int]]:
    """A recording as it is, and as other devices would have it: ``([samples], rate)`` by name."""
    noise = rng.standard_normal(len(samples)) * samples.std()
    resampled = {f"{r // 1000} kHz": (soxr.resample(samples, rate, r), r) for r in (8000, 16000, 48000)}
    return {
        "as it is": (samples, rate),
        **resampled,
        "40 dB softer": (samples / 100, rate),
        "white noise 20 dB below": (samples + noise / 10, rate),
        "white noise 10 dB below": (samples + noise / 10**0.5, rate),
        "first 2 s": (samples[: 2 * rate], rate),
        "first 1 s": (samples[:rate], rate),
    }


def test(folder: Path, rng: np.random.Generator) -> str:
    """Markdown: how many recordings of ``folder`` are told right, under several conditions."""
    right: dict[str, dict[str, list[bool]]] = {}
    for domain in DOMAINS:
        for path in list_audio(folder / domain):
            for name, (samples, rate) in conditions(*read_mono(path), rng).items():
                pieces = content_pieces([[samples[None].astype(np.float32)]], rate)
                right.setdefault(name, {d: [] for d in DOMAINS})[domain].append(
                    content.classify(pieces).domain == domain
                )
    lines = ["| reserved recordings | speech | music |", "|---|---:|---:|"]
    for name, by_domain in right.items():
        cells = [f"{sum(by_domain[d])} of {len(by_domain[d])}" for d in DOMAINS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Gather, fit, judge, write."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--speech", type=Path, required=True, metavar="DIR", help="packed shards")
    made.add_argument("--cache", type=Path, metavar="DIR", help="decoded shards")
    made.add_argument("--music", type=Path, required=True, metavar="DIR", help="where packages are, or will be")
    made.add_argument("--test", type=Path, metavar="DIR", help="recordings that are only judged")
    options = made.parse_args()
    rng = np.random.default_rng(0)
    pieces = {
        "speech": content_examples.speech(options.speech, options.cache, rng),
        "music": content_examples.music(options.music, rng),
    }
    data = examples(pieces, rng)
    done = fit(data, np.ones(len(data.music), bool))
    write_constants(done, ROOT / "audiocodec" / "content_fit.py")
    text = "# Speech or music\n\nWritten by `recipes/fit_content.py`. Every package was judged by a fit without it.\n\n"
    text += report(data, held_out(data), done) + "\n"
    if options.test:
        importlib.reload(content.content_fit)
        text += "\n" + test(options.test, rng) + "\n"
    (ROOT / "docs" / "results" / "content.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
