"""Make the corpus that the shipped speech models are trained on: free recordings that Debian carries.

    python recipes/prepare_free_speech.py --out data/free_speech

Cost: 13 minutes on two busy CPU cores (6.5 minutes of CPU time), 0.8 GB to download, 2.5 GB of disk for the packages.
Result (Debian 12, the development speech as ``--reserved``): 17981 recordings, 11.18 h, 746 MB in 13 shards. Left
out: 991 duplicates (108 of them found by their sound alone), 124 files at 8 kHz, 5 unusable; no recording sounded
like a reserved one.

It needs Debian (apt-get, dpkg, and for the two source packages a network that reaches Debian's mirror; no root), and
``pip install 'audiocodec[eval]'`` for PyAV, which decodes the telephone prompts' G.722. It may be stopped and run
again at any time. Packages are fetched with apt-get, which verifies Debian's signatures. OUT then holds

    shard-00000.tar ...     16 kHz mono FLAC (audiocodec.train.pack); what `data.train` of a recipe names
    manifest.json           the shards, and each file that was left out with the reason
    sources.json            per package: version, hours, recordings, licence, copyright file
    copyright/PACKAGE.txt   Debian's copyright file of each

Left out on purpose: files sampled below 16 kHz (a wideband codec would learn that the upper band is empty), silence,
duplicates, and everything reserved for testing: the languages marked below, whatever lies in the folders given with
``--reserved``, and any recording that sounds the same as one of those (audiocodec.train.fingerprint).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from debian_packages import copyright_file, fetch, version
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from audiocodec.errors import AudiocodecError, MissingExtraError
from audiocodec.train.decode import AUDIO_SUFFIXES, Clip, UndecodableError, convert, decode
from audiocodec.train.fingerprint import FingerprintIndex, fingerprint
from audiocodec.train.pack import Item, pack_items, read_index
from audiocodec.train.shards import Corpus

RATE = 16000
# A duplicate covers this much of a recording; prompts that share one spoken number do not.
DUPLICATE_SHARE = 0.8

TRAIN, RESERVED, IGNORED = "train", "reserved", "ignored"


@dataclass(frozen=True)
class Package:
    """``use`` says of a file (path inside the package) whether it is for training, reserved, or neither."""

    name: str
    licence: str
    use: Callable[[str], str]
    source: bool = False


def _all(_: str) -> str:
    return TRAIN


def _tuxpaint(path: str) -> str:
    spoken = re.search(r"_desc(?:_([a-z]+))?[^/]*\.ogg$", path)
    return IGNORED if not spoken else RESERVED if spoken[1] in {"es", "fr"} else TRAIN


def _language(folder: str, reserved: set[str], ignored: tuple[str, ...] = ()) -> Callable[[str], str]:
    def use(path: str) -> str:
        found = re.search(rf"/{folder}/([^/]+)/", path)
        language = found[1] if found else ""
        return IGNORED if language in ignored else RESERVED if language in reserved else TRAIN

    return use


def _asterisk(path: str) -> str:
    return IGNORED if "/silence/" in path else TRAIN


def _hedgewars(path: str) -> str:
    return TRAIN if "/Sounds/voices/" in path else IGNORED


PACKAGES = (
    Package("tuxpaint-stamps-default", "GPL-2", _tuxpaint),
    Package("fillets-ng-data-cs", "GPL-2", _all),
    Package("fillets-ng-data-nl", "GPL-2", _all),
    Package("festvox-ru", "BSD-like", _all),
    *(
        Package(f"asterisk-core-sounds-{language}-g722", "CC-BY-SA-3.0", _asterisk)
        for language in ("en", "es", "fr", "it", "ru")
    ),
    # British English is neither trained on nor held out: it may share its speaker with the reserved English.
    Package("klettres-data", "GPL-2+", _language("klettres", {"en", "it"}, ("en_GB",))),
    Package("ktuberling-data", "GPL-2+, CC-BY", _language("sounds", {"ru", "sl", "wa"})),
    Package("festvox-czech-krb", "GPL-3+", _all, source=True),
    Package("festvox-czech-machac", "GPL-3+", _all, source=True),
    Package("hedgewars-data", "GPL-2", _hedgewars),
)


def audio_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path inside the package, and path, of each audio file (links left out: they repeat others)."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {*AUDIO_SUFFIXES, ".g722"} and path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path


def read(item: Item, rate: int) -> Clip:
    """Decode one file; refuses what is sampled below ``rate``."""
    clip = _read_g722(item.path, rate) if item.path.suffix == ".g722" else decode(item.path, rate, measure=True)
    if clip.source_rate < rate:
        raise UndecodableError(f"sampled at {clip.source_rate} Hz")
    if len(clip.samples) < rate // 10:
        raise UndecodableError("shorter than 0.1 s")
    return clip


def _read_g722(path: Path, rate: int) -> Clip:
    """Raw G.722 at 64 kbps: no header, 16 kHz."""
    try:
        import av
    except ImportError:
        raise MissingExtraError("decoding G.722 needs PyAV: pip install 'audiocodec[eval]'") from None
    try:
        with av.open(str(path), format="g722") as container:
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UndecodableError(str(error)) from None
    if not blocks:
        raise UndecodableError("no audio in it")
    return convert(np.concatenate(blocks), 16000, rate, measure=True)


class Gate:
    """Refuses recordings that sound like a reserved one, or like one that is packed already."""

    def __init__(self, reserved: FingerprintIndex) -> None:
        self._reserved = reserved
        self._known = FingerprintIndex()
        self._exact: dict[bytes, str] = {}

    def remember(self, name: str, samples: NDArray[np.int16]) -> None:
        """Make a recording known that is packed."""
        self._exact[hashlib.sha256(samples.tobytes()).digest()] = name
        self._known.add(name, fingerprint(samples))

    def __call__(self, item: Item, clip: Clip) -> str | None:
        """The reason for refusing, or None; what is not refused is remembered."""
        digest = hashlib.sha256(clip.samples.tobytes()).digest()
        if digest in self._exact:
            return f"the same as {self._exact[digest]}"
        words = fingerprint(clip.samples)
        if match := self._reserved.find(words):
            return f"sounds like the reserved {match.name} for {match.seconds:.1f} s"
        match = self._known.find(words)
        if match and match.words >= DUPLICATE_SHARE * np.count_nonzero(words):
            return f"sounds like {match.name}"
        self._exact[digest] = item.name
        self._known.add(item.name, words)
        return None


def prepare(out: Path, work: Path, reserved_folders: Sequence[Path], workers: int, packages: Sequence[Package]) -> None:
    """The whole recipe. Raises AudiocodecError of one line."""
    items: list[Item] = []
    reserved: list[tuple[str, Path]] = [found for folder in reserved_folders for found in audio_files(folder)]
    folders: dict[str, Path] = {}
    with _bar() as bar:
        for package in bar.track(packages, description="fetching packages"):
            folders[package.name] = fetch(package.name, work, source=package.source)
            facts = {"package": package.name, "licence": package.licence}
            for inside, path in audio_files(folders[package.name]):
                use = package.use("/" + inside)
                if use == TRAIN:
                    items.append(Item(path, f"{package.name}/{inside}", facts))
                elif use == RESERVED:
                    reserved.append((f"{package.name}/{inside}", path))
        index = FingerprintIndex()
        for name, path in bar.track(reserved, description="fingerprints of what is reserved"):
            with contextlib.suppress(UndecodableError):
                index.add(name, fingerprint(decode(path, RATE).samples))
        gate = Gate(index)
        for shard in bar.track(sorted(out.glob("shard-*.tar")), description="what is packed already"):
            packed = Corpus.open(shard, rate=RATE, workers=workers)
            for number, name in enumerate(packed.names):
                gate.remember(name, (packed.clip(number) * 32768.0).astype(np.int16))
        task = bar.add_task("decoding and packing", total=len(items))
        report = pack_items(
            items,
            out,
            rate=RATE,
            workers=workers,
            progress=lambda done, _: bar.update(task, completed=done),
            read=read,
            refuse=gate,
        )
    _describe(out, folders, packages)
    print(
        f"{report.recordings} recordings, {report.hours:.2f} h, {report.bytes / 1e6:.0f} MB in {report.shards} shards"
    )
    kinds = ("the same as", "sounds like the reserved", "sounds like", "sampled at")
    reasons = Counter(next((kind for kind in kinds if kind in line), "unusable") for line in report.skipped)
    print("left out: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))


def _describe(out: Path, folders: dict[str, Path], packages: Sequence[Package]) -> None:
    """Write sources.json and the copyright files, and print the table."""
    members = [entry for shard in sorted(out.glob("shard-*.tar")) for entry in read_index(shard)["members"]]
    (out / "copyright").mkdir(exist_ok=True)
    rows = []
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
                "hours": round(sum(entry["samples"] for entry in mine) / RATE / 3600.0, 3),
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


def main() -> int:
    """Read the command line; 0 when done, an exit code of `audiocodec.errors` otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("data/free_speech"), help="folder for the shards")
    parser.add_argument("--work", type=Path, default=Path("data/debian"), help="folder for packages; 2.5 GB")
    parser.add_argument("--reserved", type=Path, action="append", default=[], help="folder of audio to keep out")
    parser.add_argument("--workers", type=int, default=2, help="threads that decode")
    options = parser.parse_args()
    try:
        prepare(options.out, options.work, options.reserved, options.workers, PACKAGES)
    except AudiocodecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
