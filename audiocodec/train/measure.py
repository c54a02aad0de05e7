"""What a trained network's tokens cost: fit its entropy tables, and measure the rate of each setting in real files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.bitstream.entropy import MAX_LEVELS
from audiocodec.codec import Codec, load
from audiocodec.errors import DataError
from audiocodec.modelfiles import RATES, TABLES, read_config, write_atomically
from audiocodec.rates import RateSetting
from audiocodec.train.entropyfit import FitSettings, fit_entropy_model
from audiocodec.train.shards import Corpus

Recording = NDArray[np.float32]
Tell = Callable[[str], None]

_EXCERPT_SECONDS = 8
_BATCH_ROWS = 32
# To fit tables to, for each setting: 20 minutes.
EXCERPTS = 150
# A tenth of the excerpts tells the rates; the tables are fitted to the others.
_HELD_BACK = 10


def measure_rates(
    folder: Path,
    recordings: Sequence[Recording],
    settings: FitSettings | None = None,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Fit ``entropy.safetensors`` and write ``rates.json`` for the model in ``folder``.

    ``recordings`` are ``[samples]`` at the model's rate, of the training data. They are cut into excerpts of 8 s; the
    rates are of files of that length that the tables were not fitted to. Where there are more, each setting encodes
    ``EXCERPTS`` of them, others than the next one does.

    Raises:
        DataError: there is less than one excerpt a part.
    """
    held, fitted = split_excerpts(recordings, read_config(folder).sample_rate)
    return measure_excerpts(folder, held[: EXCERPTS // _HELD_BACK], fitted, settings, tell, most=EXCERPTS)


def measure_excerpts(
    folder: Path,
    held: Sequence[Recording],
    fitted: Sequence[Recording],
    settings: FitSettings | None = None,
    tell: Tell = lambda _: None,
    most: int | None = None,
) -> dict[str, Any]:
    """As :func:`measure_rates`: rates of the ``held`` excerpts with tables that were fitted to the others.

    Of these each setting encodes ``most`` at most. The network of the tables is one for all settings and learns from
    the others' excerpts too, so settings take different ones.
    Settings with larger alphabets than tables can be made for (16384) are left out of them, and cost what ``raw`` does.
    """
    codec = load(folder)
    tokens: dict[Sequence[int], Sequence[NDArray[np.int64]]] = {}
    parts = max(1, len(fitted) // (most or len(fitted)))
    for number, rate in enumerate(codec.rates):
        if max(rate.levels) <= MAX_LEVELS:
            chosen = fitted[number % parts :: parts][:most]
            tell(f"encoding {len(chosen)} excerpts at {rate.base_levels} levels")
            tokens[rate.levels] = encode_all(codec, chosen, rate)
    if tokens:
        tell("fitting the entropy tables")
        model = fit_entropy_model(tokens, settings, lambda step, bits: tell(f"step {step}: {bits:.2f} bits a frame"))
        write_atomically(folder / TABLES, model.to_bytes())
    rates = _file_rates(load(folder), held)
    write_atomically(folder / RATES, (json.dumps(rates, indent=2) + "\n").encode())
    return rates


def draw_recordings(corpus: Corpus, seconds: float, seed: int = 0) -> list[Recording]:
    """Recordings drawn from the whole corpus by ``seed`` until they last ``seconds`` or there are no more."""
    chosen, length = [], 0.0
    for i in np.random.default_rng(seed).permutation(len(corpus)):
        chosen.append(np.asarray(corpus.clip(int(i)), np.float32))
        length += len(chosen[-1]) / corpus.rate
        if length >= seconds:
            break
    return chosen


def split_excerpts(recordings: Sequence[Recording], rate: int) -> tuple[list[Recording], list[Recording]]:
    """Excerpts of 8 s at ``rate`` Hz: a tenth of them held back, and the others. Raises DataError if there are none."""
    excerpts = list(_excerpts(recordings, _EXCERPT_SECONDS * rate))
    held, fitted = excerpts[::_HELD_BACK], [e for i, e in enumerate(excerpts) if i % _HELD_BACK]
    if not fitted or not held:
        raise DataError(f"{len(excerpts)} excerpts of {_EXCERPT_SECONDS} s are too few to fit tables; give more audio")
    return held, fitted


def encode_all(codec: Codec, excerpts: Sequence[Recording], rate: RateSetting) -> list[NDArray[np.int64]]:
    """Tokens of excerpts of equal length, ``[frames, groups]`` each."""
    out: list[NDArray[np.int64]] = []
    for start in range(0, len(excerpts), _BATCH_ROWS):
        out += list(codec.encode(np.stack(excerpts[start : start + _BATCH_ROWS]), rate).indices)
    return out


def _excerpts(recordings: Sequence[Recording], samples: int) -> Iterator[Recording]:
    """Recordings joined end to end and cut to equal length; short ones would otherwise be lost."""
    pending: list[Recording] = []
    length = 0
    for recording in recordings:
        pending.append(recording)
        length += len(recording)
        if length >= samples:
            whole = np.concatenate(pending)
            yield from whole[: length // samples * samples].reshape(-1, samples)
            pending, length = [whole[length // samples * samples :]], length % samples


def _file_rates(codec: Codec, excerpts: Sequence[Recording]) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    for setting in codec.rates:
        bps = {
            mode: [
                8
                * codec.sample_rate
                / len(excerpt)
                * len(codec.compress(excerpt, levels=setting.base_levels, mode=mode))
                for excerpt in excerpts
            ]
            for mode in ("range", "raw")
        }
        rates[str(setting.base_levels)] = {
            # Excerpts with pauses cost less; three quarters of them stay below this.
            "file_bps": round(float(np.quantile(bps["range"], 0.75)), 1),
            "mean_file_bps": round(float(np.mean(bps["range"])), 1),
            "mean_raw_file_bps": round(float(np.mean(bps["raw"])), 1),
        }
    return rates
