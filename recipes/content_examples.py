"""Pieces of speech and music from the training lists, at 8 kHz, with what the world adds to recordings."""

from __future__ import annotations

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from debian_packages import fetch
from numpy.typing import NDArray

from audiocodec import content
from audiocodec.choosing import content_pieces
from audiocodec.train.shards import Corpus

Samples = NDArray[np.float32]
Pieces = dict[str, list[Samples]]  # of a package, at content.RATE

MUSIC_PACKAGES = (
    "berusky2-data",
    "colobot-common-sounds",
    "drascula-music",
    "flare-game",
    "freedroidrpg-data",
    "fretsonfire-songs-muldjord",
    "hedgewars-data",
    "marsshooter-data",
    "naev-data",
    "nexuiz-music",
    "singularity-music",
    "supertux-data",
    "supertuxkart-data",
    "ufoai-music",
    "wesnoth-1.16-music",
    "widelands-data",
)
LEAST_SECONDS = 45.0  # of a tune; what is shorter is a jingle or an effect
TUNES, PER_TUNE = 24, 8  # of a package, so that none outweighs the rest
SPEECH_PIECES = 160
LENGTHS_S = (1.0, 2.0, 5.0, 10.0, 10.0)
SPEECH_RATE = 16000


def music(work: Path, rng: np.random.Generator) -> Pieces:
    """Excerpts of each package of `MUSIC_PACKAGES`, downloaded where it is absent."""
    found: Pieces = {}
    for package in MUSIC_PACKAGES:
        tunes = list(_tunes(fetch(package, work)))
        chosen = [tunes[n] for n in sorted(rng.permutation(len(tunes))[:TUNES])]
        found[package] = [piece for tune in chosen for piece in _excerpts(tune, rng)]
    return found


def _tunes(folder: Path) -> Iterator[Path | bytes]:
    """Files that lie in a folder, or a package, of music; some games keep theirs in a ZIP archive of another suffix."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".pk3":
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(name) for name in archive.namelist() if name.endswith(".ogg"))
        elif path.suffix in {".ogg", ".wav", ".mp3"} and path.is_file():
            named = re.search("(?i)music|songs", str(path.relative_to(folder.parent)))
            if named and soundfile.info(path).duration >= LEAST_SECONDS:
                yield path


def _excerpts(tune: Path | bytes, rng: np.random.Generator) -> Iterator[Samples]:
    source: BinaryIO | Path = io.BytesIO(tune) if isinstance(tune, bytes) else tune
    with soundfile.SoundFile(source) as file:
        for _ in range(PER_TUNE):
            size = round(float(rng.choice(LENGTHS_S)) * file.samplerate)
            file.seek(int(rng.integers(max(file.frames - size, 1))))
            block = file.read(size, dtype="float32", always_2d=True).T
            yield content_pieces([[block]], file.samplerate)[0]


def speech(source: Path, cache: Path | None, rng: np.random.Generator) -> Pieces:
    """Stretches of each package in the shards: recordings of one voice follow each other as sentences do."""
    corpus = Corpus.open([source], rate=SPEECH_RATE, cache=cache)
    voices: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, name in enumerate(corpus.names):
        voices[name.split("/")[0]][_voice(name)].append(number)
    found: Pieces = {}
    for package, members in voices.items():
        numbers = list(members.values())
        shares = np.array([len(some) for some in numbers]) / sum(map(len, numbers))
        picks = rng.choice(len(numbers), SPEECH_PIECES, p=shares)
        found[package] = [_stretch(corpus, numbers[pick], rng) for pick in picks]
    return found


def _voice(name: str) -> str:
    """What recordings of one speaker share: their folder, or the language at the end of a stamp's description."""
    language = re.search(r"_desc_(\w+)\.", name)
    return language[1] if language else str(Path(name).parent)


def _stretch(corpus: Corpus, numbers: list[int], rng: np.random.Generator) -> Samples:
    wanted = round(float(rng.choice(LENGTHS_S)) * SPEECH_RATE)
    parts, place, held = [], int(rng.integers(len(numbers))), 0
    while held < wanted + SPEECH_RATE:
        pause = np.zeros(round(float(rng.uniform(0.1, 0.6)) * SPEECH_RATE), np.float32)
        parts += [corpus.clip(numbers[place % len(numbers)]), pause]
        held, place = held + len(parts[-1]) + len(parts[-2]), place + 1
    start = int(rng.integers(SPEECH_RATE))
    joined = np.concatenate(parts)[start : start + wanted]
    return soxr.resample(joined, SPEECH_RATE, content.RATE)


def worn(piece: Samples, rng: np.random.Generator, background: Samples | None = None) -> Samples:
    """``piece`` as it may arrive: with noise between 10 and 50 dB below it, perhaps in a room, a band or with music."""
    level = float(np.sqrt(np.mean(np.square(piece)))) + 1e-9
    out = piece
    if rng.random() < 0.3:
        decay = np.exp(-np.arange(3200) / (content.RATE * rng.uniform(0.02, 0.08)))
        room = rng.standard_normal(3200) * decay * rng.uniform(0.02, 0.15)
        room[0] = 1.0
        size = len(piece) + len(room)
        out = np.fft.irfft(np.fft.rfft(out, size) * np.fft.rfft(room, size), size)[: len(piece)].astype(np.float32)
    if rng.random() < 0.7:
        noise = rng.standard_normal(len(piece))
        if rng.random() < 0.5:  # pink, as rooms and streets are
            bins = np.fft.rfft(noise)
            noise = np.fft.irfft(bins / np.sqrt(np.arange(len(bins)) + 1.0), len(piece))
        out = out + noise / (noise.std() + 1e-9) * level * 10 ** (-rng.uniform(10, 50) / 20)
    if background is not None:
        more = np.resize(background, len(piece))
        loud = float(np.sqrt(np.mean(np.square(more)))) + 1e-9
        out = out + more * (level / loud * 10 ** (-rng.uniform(15, 30) / 20))
    return np.asarray(out, np.float32)
