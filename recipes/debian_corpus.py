"""A training corpus out of Debian packages: what the two recipes for free audio share.

A recipe names packages, with a rule for each that says which files are for training and which are reserved for
testing, and a reader. Nothing that sounds like a reserved recording, or like one that is packed already, gets in
(audiocodec.train.fingerprint).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from debian_packages import copyright_file, fetch, version
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from audiocodec.train.decode import AUDIO_SUFFIXES, Clip, UndecodableError, convert, decode
from audiocodec.train.fingerprint import RATE as FINGERPRINT_RATE
from audiocodec.train.fingerprint import FingerprintIndex, fingerprint
from audiocodec.train.pack import Item, Reader, pack_items, read_index
from audiocodec.train.script import exit_code_of
from audiocodec.train.shards import Corpus

# A duplicate covers this much of a recording; prompts that share one spoken number do not.
DUPLICATE_SHARE = 0.8
SIDE = "#side"
"""Ends the name of a stereo recording's difference signal, which follows the recording itself in the list of items."""

TRAIN, RESERVED, IGNORED = "train", "reserved", "ignored"


@dataclass(frozen=True)
class Package:
    """``use`` says of a file (path inside the package) whether it is for training, reserved, or neither."""

    name: str
    licence: str
    use: Callable[[str], str]
    source: bool = False


@dataclass(frozen=True)
class Kind:
    """What differs between corpora: sampling rate in Hz, the reader of one file, and whether sides are packed too."""

    rate: int
    read: Reader
    sides: bool = False


def audio_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path inside the package, and path, of each audio file (links left out: they repeat others)."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {*AUDIO_SUFFIXES, ".g722"} and path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path


def words_of(samples: NDArray[np.int16], rate: int) -> NDArray[np.uint32]:
    """Fingerprint of [n] int16 at ``rate`` Hz."""
    return fingerprint(convert(samples, rate, FINGERPRINT_RATE, measure=False, trim=False).samples)


class Gate:
    """Refuses recordings that sound like a reserved one, or like one that is packed already.

    The side of a stereo recording follows the recording, and is refused with it.
    """

    def __init__(self, reserved: FingerprintIndex, rate: int) -> None:
        self._reserved, self._rate = reserved, rate
        self._known = FingerprintIndex()
        self._exact: dict[bytes, str] = {}
        self._taken: set[str] = set()

    def remember(self, name: str, samples: NDArray[np.int16]) -> None:
        """Make a recording known that is packed."""
        self._taken.add(name)
        if not name.endswith(SIDE):
            self._exact[hashlib.sha256(samples.tobytes()).digest()] = name
            self._known.add(name, words_of(samples, self._rate))

    def __call__(self, item: Item, clip: Clip) -> str | None:
        """The reason for refusing, or None; what is not refused is remembered."""
        if item.name.endswith(SIDE):
            return None if item.name.removesuffix(SIDE) in self._taken else "its recording was left out"
        digest = hashlib.sha256(clip.samples.tobytes()).digest()
        if digest in self._exact:
            return f"the same as {self._exact[digest]}"
        words = words_of(clip.samples, self._rate)
        if match := self._reserved.find(words):
            return f"sounds like the reserved {match.name} for {match.seconds:.1f} s"
        match = self._known.find(words)
        if match and match.words >= DUPLICATE_SHARE * np.count_nonzero(words):
            return f"sounds like {match.name}"
        self._exact[digest] = item.name
        self._known.add(item.name, words)
        self._taken.add(item.name)
        return None


def prepare(
    out: Path, work: Path, reserved_folders: Sequence[Path], workers: int, packages: Sequence[Package], kind: Kind
) -> None:
    """Fetch, sort, decode, pack and describe. Raises AudiocodecError of one line."""
    items: list[Item] = []
    reserved: list[tuple[str, Path]] = [found for folder in reserved_folders for found in audio_files(folder)]
    folders: dict[str, Path] = {}
    with _bar() as bar:
        for package in bar.track(packages, description="fetching packages"):
            folders[package.name] = fetch(package.name, work, source=package.source)
            for inside, path in audio_files(folders[package.name]):
                use = package.use("/" + inside)
                if use == TRAIN:
                    items.extend(_items(path, package, inside, kind))
                elif use == RESERVED:
                    reserved.append((f"{package.name}/{inside}", path))
        gate = Gate(_index(reserved, bar), kind.rate)
        for shard in bar.track(sorted(out.glob("shard-*.tar")), description="what is packed already"):
            packed = Corpus.open(shard, rate=kind.rate, workers=workers)
            for number, name in enumerate(packed.names):
                gate.remember(name, (packed.clip(number) * 32768.0).astype(np.int16))
        task = bar.add_task("decoding and packing", total=len(items))
        report = pack_items(
            items,
            out,
            rate=kind.rate,
            workers=workers,
            progress=lambda done, _: bar.update(task, completed=done),
            read=kind.read,
            refuse=gate,
        )
    _describe(out, folders, packages, kind.rate)
    print(
        f"{report.recordings} recordings, {report.hours:.2f} h, {report.bytes / 1e6:.0f} MB in {report.shards} shards"
    )
    print("left out: " + ", ".join(f"{count} {reason}" for reason, count in _reasons(report.skipped)))


def _items(path: Path, package: Package, inside: str, kind: Kind) -> Iterator[Item]:
    facts = {"package": package.name, "licence": package.licence}
    yield Item(path, f"{package.name}/{inside}", facts)
    if kind.sides:
        yield Item(path, f"{package.name}/{inside}{SIDE}", facts)


def _index(reserved: Sequence[tuple[str, Path]], bar: Progress) -> FingerprintIndex:
    index = FingerprintIndex()
    for name, path in bar.track(reserved, description="fingerprints of what is reserved"):
        with contextlib.suppress(UndecodableError):
            index.add(name, fingerprint(decode(path, FINGERPRINT_RATE).samples))
    return index


def _reasons(skipped: Sequence[str]) -> list[tuple[str, int]]:
    kinds = (
        "the same as",
        "sounds like the reserved",
        "sounds like",
        "sampled at",
        "nothing above",
        "no side",
        "its recording was left out",
        "shorter than",
    )
    return Counter(next((kind for kind in kinds if kind in line), "unusable") for line in skipped).most_common()


def _describe(out: Path, folders: dict[str, Path], packages: Sequence[Package], rate: int) -> None:
    """Write sources.json and the copyright files, and print the table."""
    members = [entry for shard in sorted(out.glob("shard-*.tar")) for entry in read_index(shard)["members"]]
    (out / "copyright").mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for package in packages:
        folder = folders[package.name]
        mine = [entry for entry in members if entry["package"] == package.name]
        terms = copyright_file(package.name, folder)
        if terms:
            shutil.copyfile(terms, out / "copyright" / f"{package.name}.txt")
        rows.append(
            {
                "package": package.name,
                "version": version(folder),
                "hours": round(sum(entry["samples"] for entry in mine) / rate / 3600.0, 3),
                "recordings": len(mine),
                "licence": package.licence,
                "copyright": f"copyright/{package.name}.txt" if terms else None,
            }
        )
        print(f"{package.name:32s} {rows[-1]['hours']:6.2f} h  {len(mine):6d} recordings  {package.licence}")
    (out / "sources.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def command(description: str, out: str, packages: Sequence[Package], kind: Kind, rates: Sequence[int] = ()) -> int:
    """Read the command line and `prepare`; 0 when done, an exit code of `audiocodec.errors` otherwise.

    ``rates``: sampling rates that the reader can give besides the kind's own.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the shards")
    parser.add_argument("--work", type=Path, default=Path("data/debian"), help="folder for packages")
    parser.add_argument("--reserved", type=Path, action="append", default=[], help="folder of audio to keep out")
    parser.add_argument("--workers", type=int, default=2, help="threads that decode")
    parser.add_argument("--rate", type=int, default=kind.rate, choices=rates or (kind.rate,), help="of the shards, Hz")
    options = parser.parse_args()
    kind = replace(kind, rate=options.rate)
    return exit_code_of(lambda: prepare(options.out, options.work, options.reserved, options.workers, packages, kind))
