"""Which recordings a recipe means: by pattern, by a list with checksums, by a table; and what is said in them."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

from audiocodec.errors import DataError
from audiocodec.evaluate.recipe import FilesConfig
from audiocodec.evaluate.recordings import list_audio


def choose(files: FilesConfig) -> list[Path]:
    """The recordings that a recipe names, sorted by path.

    Raises:
        DataError: none there, or one of the manifest is missing or has another checksum.
    """
    folder = Path(files.folder)
    if files.manifest is None:
        found = list_audio(folder, files.pattern)
    elif files.manifest.endswith(".tsv"):
        found = _tabled(folder, Path(files.manifest))
    else:
        found = _listed(folder, Path(files.manifest))
    if files.limit is None or files.limit >= len(found):
        return found
    return [found[index * len(found) // files.limit] for index in range(files.limit)]


def _listed(folder: Path, manifest: Path) -> list[Path]:
    """The files of a manifest in sha256sum's format, each verified."""
    found = []
    for number, line in enumerate(_lines(manifest), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line)
        if not match:
            raise DataError(f"{manifest}, line {number}: expected a SHA-256 and a path, as sha256sum writes them")
        path = _below(folder, match[2], manifest)
        if not path.is_file():
            raise DataError(f"{path} is in {manifest} but not there; correct files.folder, or the manifest")
        if sha256(path) != match[1]:
            raise DataError(f"{path} is not the file that {manifest} lists (its checksum differs)")
        found.append(path)
    if not found:
        raise DataError(f"the manifest {manifest} lists no files")
    return sorted(set(found))


def _below(folder: Path, name: str, source: Path) -> Path:
    path = folder / name
    if not path.is_relative_to(folder):
        raise DataError(f"{name} in {source} is not below {folder}; write paths below files.folder, or correct that")
    return path


def _tabled(folder: Path, table: Path) -> list[Path]:
    """The files in the column ``path`` of a table with tabs, as Common Voice has it; no checksums there."""
    found = [_below(folder, row["path"], table) for row in _rows(table) if row.get("path")]
    if not found:
        raise DataError(f"{table} lists no files: it needs a column named path")
    for path in found:
        if not path.is_file():
            raise DataError(f"{path} is in {table} but not there; correct files.folder, or the table")
    return sorted(set(found))


def _rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE))


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark at the start
        # Not splitlines: sentences hold line separators of Unicode
        return text.split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_transcripts(folder: Path, pattern: str) -> dict[str, str]:
    """Words by file name without suffix, from text files of ``NAME WORDS`` or ``NAME|WORDS[|NORMALISED WORDS]`` lines,
    or from tables with tabs and the columns ``path`` and ``sentence``.

    ``pattern`` is one below ``folder``, or names one file wherever it lies.

    Raises:
        DataError: no file matches, or one cannot be read.
    """
    words: dict[str, str] = {}
    single = Path(pattern)
    sources = [single] if single.is_file() else sorted(path for path in folder.glob(pattern) if path.is_file())
    if not sources:
        raise DataError(f"no transcripts match {pattern} in {folder}; correct files.transcripts or leave it out")
    for source in sources:
        if source.suffix == ".tsv":
            words |= {Path(row["path"]).stem: row["sentence"] for row in _rows(source) if row.get("sentence")}
            continue
        for line in filter(str.strip, _lines(source)):
            # LJ Speech's third column has numbers and abbreviations written out, as they are spoken
            parts = line.split("|") if "|" in line else line.split(maxsplit=1)
            words[parts[0].strip()] = parts[-1].strip()
    return words
