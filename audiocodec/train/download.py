"""LibriSpeech (Panayotov et al., ICASSP 2015), CC-BY-4.0: downloaded with resumption, verified, unpacked.

    python -m audiocodec.train.download train-clean-100 dev-clean --dest data

The layout is the corpus's own: ``DEST/LibriSpeech/train-clean-100/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac``.
Checksums are the MD5 sums that https://www.openslr.org/resources/12/md5sum.txt publishes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from audiocodec.errors import DataError, OutputError, UsageError
from audiocodec.train.script import exit_code_of

LIBRISPEECH_URL = "https://www.openslr.org/resources/12"
CHUNK_BYTES = 1 << 20
ATTEMPTS = 5
# The first try again comes after one second, the next after two, then four, ...
PAUSE_S = 1.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Archive:
    """One part of the corpus: checksum of its .tar.gz, and about how long and large it is."""

    md5: str
    hours: float
    gigabytes: float


LIBRISPEECH: dict[str, Archive] = {
    "dev-clean": Archive("42e2234ba48799c1f50f24a7926300a1", 5.4, 0.34),
    "dev-other": Archive("c8d0bcc9cca99d4f8b62fcc847357931", 5.3, 0.31),
    "test-clean": Archive("32fa31d27d2e1cad72775fee3f4849a9", 5.4, 0.35),
    "test-other": Archive("fb5a50374b501bb3bac4815ee91d3135", 5.1, 0.33),
    "train-clean-100": Archive("2a93770f6d5c6c964bc36631d331a522", 100.6, 6.4),
    "train-clean-360": Archive("c0e676e450a7ff2f54aeade5171606fa", 363.6, 23.0),
    "train-other-500": Archive("d1a0fd59409feb2c614ce4d30c387708", 496.7, 30.6),
}


def download_librispeech(
    parts: Sequence[str],
    destination: Path,
    *,
    base_url: str = LIBRISPEECH_URL,
    archives: dict[str, Archive] | None = None,
    keep_archives: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Download, verify and unpack ``parts``; returns their folders. What is complete already is left alone.

    ``progress(what, bytes done, bytes in all)`` is called about every megabyte; ``base_url`` may name a mirror.

    Raises:
        UsageError: no such part.
        DataError: the server cannot be reached, or what it sends does not have the published checksum.
        OutputError: the disk is full or ``destination`` cannot be written to.
    """
    known = archives or LIBRISPEECH
    for part in parts:
        if part not in known:
            raise UsageError(f"LibriSpeech has no part '{part}'; it has {', '.join(known)}")
    return [_fetch(part, known[part], destination, base_url, keep_archives, progress) for part in parts]


def _fetch(
    part: str, archive: Archive, destination: Path, base_url: str, keep: bool, progress: Progress | None
) -> Path:
    folder = destination / "LibriSpeech" / part
    marker = folder / ".complete"
    if marker.exists():
        return folder
    path = destination / f"{part}.tar.gz"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        download(f"{base_url}/{part}.tar.gz", path, md5=archive.md5, progress=progress)
        extract(path, destination, progress=progress)
        if not folder.is_dir():
            raise DataError(f"{path} does not contain LibriSpeech/{part}; delete it and download again")
        marker.touch()
        if not keep:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {destination}: {error.strerror or error}; free space or name another folder"
        ) from None
    return folder


def download(url: str, path: Path, *, md5: str, progress: Progress | None = None) -> None:
    """Fetch ``url`` into ``path``, going on where an earlier attempt stopped, and verify its checksum.

    The bytes so far lie in ``PATH.partial``. A connection that fails is tried five times; each byte that arrives
    starts the count anew. A whole file with the wrong checksum is deleted.

    Raises:
        DataError: as `download_librispeech`; the partial file stays for the next attempt unless it is wrong.
    """
    if path.exists() and _md5(path, progress) == md5:
        return
    partial = path.with_name(path.name + ".partial")
    failures = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _receive(url, partial, before, progress)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise DataError(f"{url}: the server says {error.code} {error.reason}; try a mirror") from None
            reason: object = f"{error.code} {error.reason}"
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", None) or error or type(error).__name__
        arrived = partial.exists() and partial.stat().st_size > before
        failures = 1 if arrived else failures + 1
        if failures >= ATTEMPTS:
            raise DataError(f"cannot download {url}: {reason}; run the same command again to go on from here")
        time.sleep(PAUSE_S * 2.0 ** (failures - 1))
    found = _md5(partial, progress)
    if found != md5:
        partial.unlink()
        raise DataError(f"{url} has checksum {found} instead of {md5}; run the command again, or try a mirror")
    os.replace(partial, path)


def _receive(url: str, partial: Path, start: int, progress: Progress | None) -> None:
    """Append what is missing from byte ``start`` on. Raises URLError and its kin when the connection fails."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing lies behind what is here: it is whole, or wrong
            return
        raise
    with response:
        resumed = response.status == 206
        done = start if resumed else 0  # a server that ignores the range sends everything
        total = done + int(response.headers.get("Content-Length") or 0)
        with partial.open("ab" if resumed else "wb") as file:
            while block := response.read(CHUNK_BYTES):
                file.write(block)
                done += len(block)
                if progress:
                    progress(f"downloading {partial.stem}", done, max(total, done))
        if done < total:
            raise ConnectionError(f"the connection closed after {done} of {total} bytes")


def extract(archive: Path, destination: Path, *, progress: Progress | None = None) -> None:
    """Unpack a .tar.gz whose members must all stay inside ``destination``.

    Raises:
        DataError: a damaged archive, or a member that points outside.
    """
    total = archive.stat().st_size
    try:
        with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:gz") as tar:
            for member in tar:
                tar.extract(member, destination, filter="data")
                if progress:
                    progress(f"unpacking {archive.name}", min(raw.tell(), total), total)
    except tarfile.FilterError as error:
        raise DataError(f"{archive} is not safe to unpack: {error}; do not use it") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{archive} is damaged ({error}); delete it and download again") from None


def _md5(path: Path, progress: Progress | None) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            done += len(block)
            if progress:
                progress(f"verifying {path.name}", done, total)
    return digest.hexdigest()


def main() -> int:
    """The command line; 0 when done, an exit code of `audiocodec.errors` otherwise."""
    parser = argparse.ArgumentParser(prog="python -m audiocodec.train.download", description="Download LibriSpeech.")
    sizes = ", ".join(
        f"{part} ({archive.hours:g} h, {archive.gigabytes:g} GB)" for part, archive in LIBRISPEECH.items()
    )
    parser.add_argument("parts", nargs="+", metavar="PART", help=sizes)
    parser.add_argument("--dest", type=Path, default=Path("data"), help="folder that gets LibriSpeech/ (%(default)s)")
    parser.add_argument("--mirror", default=LIBRISPEECH_URL, help="where PART.tar.gz lies (%(default)s)")
    parser.add_argument("--keep-archives", action="store_true", help="do not delete PART.tar.gz once it is unpacked")
    options = parser.parse_args()
    return exit_code_of(
        lambda: download_librispeech(
            options.parts,
            options.dest,
            base_url=options.mirror.rstrip("/"),
            keep_archives=options.keep_archives,
            progress=_show if sys.stderr.isatty() else None,
        )
    )


def _show(what: str, done: int, total: int) -> None:
    print(f"\r{what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB ", end="\n" if done == total else "", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
