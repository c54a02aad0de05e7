"""Writing a blind listening test: a folder that goes to listeners, and the key that does not.

::

    index.html            the page: opened from the disk, no server, no network
    trials/NN/            reference.flac, and one FLAC a stimulus under a random name
    trials/NN.js          the same bytes as text, which is what the page plays
    README.txt            how to run it
    key.json              which name is which: stays with whoever runs the test

Why the page does not play the FLAC files: opened from the disk, a browser lets it neither fetch them nor pass them
through WebAudio (Chromium 156 refuses the one and plays silence for the other), and several <audio> elements were found
up to 1.4 ms apart after a jump. Scripts may be loaded from the disk; decoded from them, all stimuli run on one clock
and are crossfaded without a gap.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import soundfile

from audiocodec.errors import OutputError
from audiocodec.evaluate.blind.choose import choose_files, choose_systems
from audiocodec.evaluate.blind.stimuli import ANCHOR, REFERENCE, Trial, make_trial
from audiocodec.evaluate.metrics import Samples
from audiocodec.evaluate.results import Results, SystemInfo
from audiocodec.output import OutputFile

KEY, PAGE, README, TRIALS = "key.json", "index.html", "README.txt", "trials"
FORMAT = 1
# No vowels, so no words, and nothing that looks like something else.
_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
_NAME_LENGTH = 8


@dataclass(frozen=True)
class BlindTest:
    """What was written: ``files`` are the recordings, one a trial; ``systems`` what is heard beside reference, anchor.

    ``turned_down`` are the recordings all of whose stimuli were turned down alike, because one would have clipped.
    """

    folder: Path
    files: list[str]
    systems: list[str]
    turned_down: list[str]

    @property
    def stimuli(self) -> int:
        """How many sounds are rated in a trial."""
        return len(self.systems) + 2


def write_blind_test(
    results: Results,
    folder: Path,
    *,
    systems: Sequence[SystemInfo] | None = None,
    files: Sequence[str] | None = None,
    seed: int,
    force: bool,
) -> BlindTest:
    """Make a MUSHRA test of an evaluation: a page to rate on, the sounds under random names, the key.

    Every trial has an open reference, the same once more hidden, its 3.5 kHz low-pass as anchor, and the systems.

    Args:
        results: with the audio kept (``evaluate --out``).
        folder: made where missing.
        systems: ten at most; None: up to three rates of ours, and of each peer the settings nearest to them.
        files: recordings by their names in ``results``; None: up to eight that every system coded, drawn by ``seed``.
        seed: of the names and the choice. Who knows it and the results can work out the key.
        force: replace a test that ``folder`` holds.

    Raises:
        UsageError: too many systems, or systems or recordings that are not in the results.
        DataError: audio that was not kept.
        AudioError: audio that cannot be read.
        OutputError: the folder is not empty and ``force`` is not set, or it cannot be written.
    """
    chosen = choose_systems(results, systems)
    recordings = choose_files(results, chosen, files, seed)
    _prepare(folder, force)
    names = _names(seed, len(recordings) * (len(chosen) + 2))
    shuffler = random.Random(f"{seed} order")
    key: list[dict[str, Any]] = []
    for number, file in enumerate(recordings, 1):
        trial = make_trial(results, file, chosen)
        labels = list(trial.sounds)
        shuffler.shuffle(labels)
        own = dict(sorted(zip([names.pop() for _ in labels], labels, strict=True)))
        _write_trial(folder, f"{number:02d}", trial, own)
        key.append(_key_entry(f"{number:02d}", trial, own, {system.label: system.role for system in chosen}))
    _write_page(folder, key, seed)
    quieter = [entry["file"] for entry in key if entry["gain"] < 1.0]
    return BlindTest(folder, recordings, [system.label for system in chosen], quieter)


def _prepare(folder: Path, force: bool) -> None:
    """Make the folder, empty of any test before. Raises OutputError."""
    try:
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise OutputError(f"{folder} is not empty; pass --force to replace the test in it, or another folder")
        if (folder / KEY).exists():  # a test of ours: names of before must not lie among those of now
            shutil.rmtree(folder / TRIALS, ignore_errors=True)
        (folder / TRIALS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None


def _names(seed: int, count: int) -> list[str]:
    """``count`` different random names."""
    drawing = random.Random(f"{seed} names")
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(drawing.choices(_ALPHABET, k=_NAME_LENGTH))] = None
    return list(names)


def _key_entry(number: str, trial: Trial, own: dict[str, str], roles: dict[str, str]) -> dict[str, Any]:
    stimuli = {
        name: {"label": label, "role": {REFERENCE: "reference", ANCHOR: "anchor"}.get(label) or roles[label]}
        for name, label in own.items()
    }
    where = {"start_s": trial.start_s, "seconds": trial.seconds, "sample_rate": trial.rate, "gain": trial.gain}
    return {"trial": number, "file": trial.file, **where, "stimuli": stimuli}


def _write_trial(folder: Path, number: str, trial: Trial, own: dict[str, str]) -> None:
    """The sounds, in the order of their names: times of files must not tell either."""
    (folder / TRIALS / number).mkdir(exist_ok=True)
    coded = {name: _flac(trial.sounds[label], trial.rate) for name, label in {"reference": REFERENCE, **own}.items()}
    for name, data in coded.items():
        _write(folder / TRIALS / number / f"{name}.flac", data)
    text = json.dumps({name: base64.b64encode(data).decode() for name, data in coded.items()})
    _write(folder / TRIALS / f"{number}.js", f'takeTrial("{number}", {text});\n'.encode())


def _flac(samples: Samples, rate: int) -> bytes:
    """16 bits for all: with 24, sizes would tell which sounds were never more than 16."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _write_page(folder: Path, key: list[dict[str, Any]], seed: int) -> None:
    """The page, which knows names and nothing else; the README; the key, last."""
    trials = [
        {"id": entry["trial"], "seconds": round(entry["seconds"], 3), "stimuli": list(entry["stimuli"])}
        for entry in key
    ]
    identity = hashlib.sha256(json.dumps(trials).encode()).hexdigest()[:12]
    parts = {name: (resources.files(__package__) / name).read_text(encoding="utf-8") for name in _PARTS}
    page = parts["page.html"]
    for name in ("page.css", "engine.js", "answers.js", "page.js"):
        page = page.replace(f"/* {name} */", parts[name])
    page = page.replace('"trials"', json.dumps({"id": identity, "trials": trials}), 1)
    whole = {"format": FORMAT, "id": identity, "seed": seed, "trials": key}
    _write(folder / PAGE, page.encode())
    _write(folder / README, parts["readme.txt"].encode())
    _write(folder / KEY, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())


_PARTS = ("page.html", "page.css", "engine.js", "answers.js", "page.js", "readme.txt")


def _write(path: Path, data: bytes) -> None:
    with OutputFile(path, force=True) as file:
        file.write(data)
