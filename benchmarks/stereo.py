"""Mid and side against left and right, by how loud the side is: what ``audiocodec.stereo.LEAST_GAIN`` rests on.

    python benchmarks/stereo.py speech-16k FOLDER --bitrate 3

Of each stereo recording the side is brought to several levels below the mid, and each version coded both ways.
Distances are of mel spectra (less is better): of the downmix, and of left and right, where phases that a codec makes up
turn a side into an error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import audiocodec
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.recordings import list_audio, read_audio
from audiocodec.stereo import STEREO, balance_of

SIDE_DB = (-6, -9, -12, -16, -20, -26)


def versions(wave: np.ndarray) -> dict[int, np.ndarray]:
    """``[2, n]`` with the side at each of SIDE_DB below the mid; none where one of them is silent."""
    mid, side = wave.mean(axis=0), (wave[0] - wave[1]) / 2
    if not (mid.any() and side.any()):
        return {}
    ratio = np.sqrt((mid @ mid) / (side @ side))
    return {db: 0.7 * np.stack([mid + g * side, mid - g * side]) for db in SIDE_DB if (g := ratio * 10 ** (db / 20))}


def scores(codec: audiocodec.Codec, wave: np.ndarray, rate: int, kbps: float, stereo: str) -> list[float]:
    """kbps as written, and the mel distances of the downmix and of left and right."""
    data = codec.compress(wave, rate, bitrate_kbps=kbps, stereo=stereo)  # type: ignore[arg-type]
    back, _ = codec.decompress(data)
    pair = Pair(wave, rate, back.astype(np.float64), rate, delay_s=0.0, max_delay_s=0.0)
    kbps_written = len(data) * 8e-3 * rate / wave.shape[1]
    return [kbps_written, pair.score("mel", None), pair.score("mel_lr", None)]


def main() -> None:
    """Print means over recordings, a line for each level of the side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bitrate", type=float, default=3.0, help="kbps a channel")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each recording, from its second second on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec = audiocodec.load(options.model)
    found: dict[int, list[list[float]]] = {db: [] for db in SIDE_DB}
    for path in list_audio(options.folder):
        wave, rate = read_audio(path)
        if wave.ndim == 1:
            continue
        for db, version in versions(wave[:, 2 * rate : round((2 + options.seconds) * rate)]).items():
            balance = balance_of([version])
            gain = balance.left * balance.right / (4 * balance.mid * balance.side)
            ways = [scores(codec, version, rate, options.bitrate, stereo) for stereo in STEREO[:0:-1]]
            found[db].append([gain, *ways[0], *ways[1]])
    print("side dB | gain | independent: kbps, mel, mel_lr | mid-side: kbps, mel, mel_lr")
    for db, rows in found.items():
        if rows:
            print(f"{db:7d} | " + " ".join(f"{value:7.3f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
