"""Training audio in memory: a `Corpus` is one int16 array, the place of each recording in it, and random crops.

A corpus is opened from any of these, or from several at once:

- a folder of audio files (searched to any depth), or one audio file;
- a list: a text file (.txt, .lst) with one path a line, taken from the list's own folder; ``#`` starts a comment;
- packed shards, as `audiocodec.train.pack` writes them: their folder, or one ``shard-*.tar``;
- an int16 array: ``NAME.npy`` of shape [samples] at the model's rate, memory-mapped, with ``NAME_index.npy`` of shape
  [recordings, 2] (start, length) beside it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiocodec.errors import DataError
from audiocodec.train.decode import AUDIO_SUFFIXES, UndecodableError, decode
from audiocodec.train.pack import INDEX_NAME
from audiocodec.train.store import Store

SILENCE_DB = -50.0
TRIES = 4
# 5 ms at 16 kHz: where a crop runs from one recording into the next, neither ends in a click.
FADE_SAMPLES = 80


class Corpus:
    """Recordings in one array.

    Attributes:
        samples: [total] int16, in memory or memory-mapped, read only.
        spans: [recordings, 2] int64, start and length of each recording in ``samples``.
        names: one for each recording, the same wherever the corpus lies; they decide what `split` holds back.
        problems: one line for each file that was skipped.
    """

    def __init__(
        self,
        samples: NDArray[np.int16],
        spans: NDArray[np.int64],
        names: Sequence[str],
        rate: int,
        problems: Sequence[str] = (),
    ) -> None:
        self.samples = samples
        self.spans = spans
        self.names = list(names)
        self.rate = rate
        self.problems = list(problems)
        self._ends: NDArray[np.int64] = np.cumsum(spans[:, 1])

    @classmethod
    def open(
        cls,
        sources: str | Path | Sequence[str | Path],
        *,
        rate: int,
        cache: Path | None = None,
        memory_gb: float = 4.0,
        workers: int = 2,
    ) -> Corpus:
        """Decode ``sources`` (see the module) to mono at ``rate`` Hz with ``workers`` threads.

        A ``cache`` folder keeps the decoded samples: they are memory-mapped instead of held in memory, and the next
        run opens them at once unless a file has changed. One hour at 16 kHz takes 115 MB.

        Raises:
            DataError: a source that does not exist, no usable audio in it, or more than ``memory_gb`` without a cache.
        """
        listed = [sources] if isinstance(sources, str | Path) else list(sources)
        paths = [Path(source) for source in listed]
        if len(paths) == 1 and paths[0].suffix == ".npy":
            return cls._from_array(paths[0], rate)
        store = Store.create(_fingerprint(paths, rate), cache, memory_gb)
        if not store.complete:
            for name, samples, problem in _decoded(paths, rate, workers):
                store.add(name, samples, problem)
            store.finish()
        if not store.names:
            first = f"; the first problem: {store.problems[0]}" if store.problems else ""
            places = ", ".join(str(path) for path in paths)
            raise DataError(
                f"no usable audio in {places} ({len(store.problems)} files skipped{first}); name a folder of audio"
                " files, a list of them, or shards made by 'audiocodec data pack'"
            )
        return cls(store.samples, np.array(store.spans, np.int64), store.names, rate, store.problems)

    @classmethod
    def _from_array(cls, path: Path, rate: int) -> Corpus:
        try:
            samples = np.load(path, mmap_mode="r", allow_pickle=False)
            index = path.with_name(f"{path.stem}_index.npy")
            spans = np.load(index, allow_pickle=False) if index.exists() else np.array([[0, len(samples)]], np.int64)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"cannot read {path}: {error}; it must be an int16 array written by numpy.save") from None
        if samples.dtype != np.int16 or samples.ndim != 1 or spans.ndim != 2 or spans.shape[1] != 2 or not len(spans):
            raise DataError(f"{path} must hold int16 [samples], and its _index.npy int64 [recordings, 2]")
        if spans.min() < 0 or spans.sum(axis=1).max() > len(samples):
            raise DataError(f"{path} is shorter than its _index.npy says; write both again")
        return cls(samples, spans.astype(np.int64), [f"{start}+{length}" for start, length in spans.tolist()], rate)

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def hours(self) -> float:
        """Length of all recordings together."""
        return float(self._ends[-1]) / self.rate / 3600.0

    @property
    def skipped(self) -> int:
        """How many files could not be used; `problems` says why."""
        return len(self.problems)

    def clip(self, number: int) -> NDArray[np.float32]:
        """Recording ``number`` whole: [samples] float32 of full scale 1."""
        start, length = self.spans[number].tolist()
        return self.samples[start : start + length].astype(np.float32) / np.float32(32768.0)

    def crops(
        self, generator: np.random.Generator, batch: int, samples: int, *, silence_db: float = SILENCE_DB
    ) -> Tensor:
        """Random crops, [batch, samples] float32 of full scale 1, each instant of the corpus equally likely.

        A crop below ``silence_db`` (root mean square against full scale) is drawn again, up to three times. Recordings
        shorter than a crop are followed by the next ones, as neighbours in a corpus tend to share their voice. The
        result depends on the state of ``generator`` alone.
        """
        out = np.empty((batch, samples), np.float32)
        wanted = np.arange(batch)
        floor = 10.0 ** (silence_db / 10.0)
        for _ in range(TRIES):
            for row, position in zip(wanted, generator.integers(self._ends[-1], size=len(wanted)), strict=True):
                self._fill(out[row], int(position))
            wanted = wanted[np.einsum("bs,bs->b", out[wanted], out[wanted]) < floor * samples]
            if not len(wanted):
                break
        return torch.from_numpy(out)

    def split(self, held_back: float) -> tuple[Corpus, Corpus | None]:
        """The corpus without, and with only, about the fraction ``held_back`` of its recordings, by a hash of names.

        At least one recording is held back; of a corpus of one recording, its end is. None if ``held_back`` is 0.
        """
        if held_back <= 0.0:
            return self, None
        if len(self) == 1:
            start, length = self.spans[0].tolist()
            kept = length - max(1, round(length * held_back))
            return self._part([[start, kept]], self.names), self._part([[start + kept, length - kept]], self.names)
        draws = np.array([_unit_hash(name) for name in self.names])
        chosen = draws < max(held_back, draws.min() * (1.0 + 1e-9) + 1e-12)
        if chosen.all():
            chosen[np.argmax(draws)] = False
        parts = [
            self._part(self.spans[mask], [name for name, picked in zip(self.names, mask, strict=True) if picked])
            for mask in (~chosen, chosen)
        ]
        return parts[0], parts[1]

    def _part(self, spans: Any, names: Sequence[str]) -> Corpus:
        return Corpus(self.samples, np.asarray(spans, np.int64), names, self.rate, self.problems)

    def _fill(self, row: NDArray[np.float32], position: int) -> None:
        """Copy from ``position``, counted along the recordings one after the other, until ``row`` is full."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        offset = position - int(self._ends[number] - self.spans[number, 1])
        filled = 0
        while filled < len(row):
            start, length = self.spans[number].tolist()
            count = min(length - offset, len(row) - filled)
            piece = row[filled : filled + count]
            np.multiply(self.samples[start + offset : start + offset + count], np.float32(1 / 32768), out=piece)
            if filled:
                _fade(piece, into=True)
            if filled + count < len(row):
                _fade(piece, into=False)
            filled += count
            number, offset = (number + 1) % len(self.spans), 0


def _fade(piece: NDArray[np.float32], *, into: bool) -> None:
    count = min(FADE_SAMPLES, len(piece))
    ramp = np.linspace(0.0, 1.0, count, dtype=np.float32)
    if into:
        piece[:count] *= ramp
    else:
        piece[len(piece) - count :] *= ramp[::-1]


def _unit_hash(name: str) -> float:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2.0**64


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file of a source: audio files and shards. Raises DataError if the source is missing."""
    if source.is_dir():
        shards = sorted(source.glob("shard-*.tar"))
        found = shards or sorted(
            path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        )
        yield from ((path.relative_to(source).as_posix(), path) for path in found)
    elif not source.exists():
        raise DataError(f"no such file or folder: {source}; name a folder of audio, a list, or packed shards")
    elif source.suffix.lower() in {".txt", ".lst"}:
        for line in source.read_text(encoding="utf-8").splitlines():
            entry = line.split("#", 1)[0].strip()
            if entry:
                yield entry, source.parent / entry
    else:
        yield source.name, source


def _fingerprint(sources: Sequence[Path], rate: int) -> str:
    """A name for the decoded samples that changes when any file does."""
    described = hashlib.blake2b(str(rate).encode(), digest_size=12)
    for source in sources:
        for name, path in _files(source):
            facts = path.stat() if path.exists() else None
            described.update(json.dumps([name, facts and [facts.st_size, facts.st_mtime_ns]]).encode())
    return described.hexdigest()


def _decoded(sources: Sequence[Path], rate: int, workers: int) -> Iterator[tuple[str, NDArray[np.int16] | None, str]]:
    """Name, samples (None: skipped) and the reason for skipping, in the order of the sources."""
    jobs = (job for source in sources for name, path in _files(source) for job in _jobs(name, path))

    def work(job: tuple[str, Path | bytes | str]) -> tuple[str, NDArray[np.int16] | None, str]:
        name, source = job
        try:
            if isinstance(source, str):
                raise UndecodableError(source)
            return name, decode(source, rate).samples, ""
        except UndecodableError as error:
            return name, None, f"{name}: {error}"

    with ThreadPoolExecutor(max(1, workers)) as pool:
        while chunk := list(islice(jobs, 64)):  # so that no more than 64 recordings wait in memory
            yield from pool.map(work, chunk)


def _jobs(name: str, path: Path) -> Iterator[tuple[str, Path | bytes | str]]:
    """The recordings of one file: itself, or the members of a shard. A string stands for what went wrong."""
    if path.suffix != ".tar":
        yield name, path
        return
    try:
        with tarfile.open(path, "r:") as shard:
            sources: dict[str, str] = {}
            index = shard.extractfile(INDEX_NAME) if INDEX_NAME in shard.getnames() else None
            if index:
                sources = {item["member"]: item["source"] for item in json.load(index)["members"]}
            for member in shard:
                content = shard.extractfile(member) if member.isfile() and member.name != INDEX_NAME else None
                if content:
                    yield sources.get(member.name, member.name), content.read()
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        yield name, f"damaged shard: {error}"
