"""Packed shards: a corpus as a few large files that travel well.

A shard is a plain tar archive, ``shard-00000.tar``, of recordings ``000000.flac`` (16 bit, lossless) or
``000000.opus`` (Ogg Opus at 64 kbps), mono at one sampling rate, and ``index.json`` as its last member::

    {"format": "audiocodec-shard", "version": 1, "rate": 16000, "codec": "flac",
     "members": [{"member": "000000.flac", "source": "speaker/one.wav", "samples": 40000, "source_rate": 44100,
                  "bandwidth_hz": 15890, ...what the caller knows of it: package, licence...}],
     "skipped": [{"source": "speaker/broken.wav", "reason": "..."}]}

``manifest.json`` in the folder names the shards and sums up. A shard is written under another name and renamed, so
one that is there is whole; packing that was interrupted goes on behind the last whole shard.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import AudioError, DataError, OutputError, UsageError
from audiocodec.train.decode import AUDIO_SUFFIXES, Clip, UndecodableError, decode

Codec = Literal["flac", "opus"]
FORMAT = "audiocodec-shard"
INDEX_NAME = "index.json"
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
# libsndfile maps its compression level 0..1 to 256..6 kbps per channel; this is 64 kbps.
OPUS_LEVEL = 1.0 - (64.0 - 6.0) / 250.0


@dataclass(frozen=True)
class Item:
    """One recording to pack: where it is, what it is called, and what else the index should say about it."""

    path: Path
    name: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PackReport:
    """What is in the folder now. ``skipped`` has one "name: reason" for each recording that could not be used."""

    recordings: int
    hours: float
    shards: int
    bytes: int
    skipped: list[str]


Reader = Callable[[Item, int], Clip]
Refusal = Callable[[Item, Clip], str | None]
Progress = Callable[[int, int], None]


def pack_folder(
    source: Path,
    out: Path,
    *,
    rate: int = 16000,
    codec: Codec = "flac",
    shard_mb: float = 60.0,
    workers: int = 2,
    progress: Progress | None = None,
) -> PackReport:
    """Pack every audio file under ``source`` into shards in ``out``; raises as `pack_items`.

    Raises:
        DataError: no such folder, or no audio file in it.
    """
    if not source.is_dir():
        raise DataError(f"no such folder: {source}; name a folder of audio files")
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
    if not paths:
        known = ", ".join(sorted(AUDIO_SUFFIXES))
        raise DataError(f"no audio files under {source}; files that count end in {known}")
    items = [Item(path, path.relative_to(source).as_posix()) for path in paths]
    return pack_items(items, out, rate=rate, codec=codec, shard_mb=shard_mb, workers=workers, progress=progress)


def read_item(item: Item, rate: int) -> Clip:
    """The reader that `pack_items` uses unless told otherwise: any file that libsndfile knows."""
    return decode(item.path, rate, measure=True)


def pack_items(
    items: Iterable[Item],
    out: Path,
    *,
    rate: int = 16000,
    codec: Codec = "flac",
    shard_mb: float = 60.0,
    workers: int = 2,
    progress: Progress | None = None,
    read: Reader = read_item,
    refuse: Refusal | None = None,
) -> PackReport:
    """Pack ``items``, in their order, into shards of at most ``shard_mb`` megabytes (10^6 bytes) in ``out``.

    Recordings that ``read`` (called in threads) refuses with `UndecodableError`, or for which ``refuse`` (called in
    order) gives a reason, are skipped, counted and named in the index. Items whose name a shard in ``out`` has already
    are not read again. ``progress(done, total)`` is called after each recording.

    Raises:
        UsageError: the rate is not one that Opus codes, or ``shard_mb`` is not positive.
        OutputError: ``out`` holds shards of other settings, or cannot be written to.
        DataError: nothing in ``items`` could be used.
    """
    if codec == "opus" and rate not in OPUS_RATES:
        rates = ", ".join(str(known) for known in OPUS_RATES)
        raise UsageError(f"Opus codes {rates} Hz, not {rate}; choose one of them, or --codec flac")
    if shard_mb <= 0:
        raise UsageError(f"a shard must have a size above zero, not {shard_mb:g} MB")
    listed = list(items)
    try:
        out.mkdir(parents=True, exist_ok=True)
        numbers, indexes = _existing(out, rate, codec)
        known = {entry["source"] for index in indexes for entry in (*index["members"], *index["skipped"])}
        pending = [item for item in listed if item.name not in known]
        writer = _ShardWriter(out, max(numbers, default=-1) + 1, rate, codec, int(shard_mb * 1e6))
        results = _encoded(pending, rate, codec, workers, read)
        for count, (item, clip, content) in enumerate(results, start=len(listed) - len(pending)):
            reason = clip if isinstance(clip, str) else refuse(item, clip) if refuse else None
            if reason is None and isinstance(clip, Clip):
                writer.add(item, clip, content)
            else:
                writer.skip(item, reason or "")
            if progress:
                progress(count + 1, len(listed))
        writer.close()
        report = _summarise(out, [*indexes, *writer.indexes], rate, codec)
    except OSError as error:
        raise OutputError(
            f"cannot write shards to {out}: {error.strerror or error}; free space or name another folder"
        ) from None
    if not report.recordings:
        reason = f"; the first: {report.skipped[0]}" if report.skipped else ""
        raise DataError(f"none of {len(listed)} files holds usable audio{reason}")
    return report


def read_index(path: Path) -> dict[str, Any]:
    """The index of one shard.

    Raises:
        DataError: it is not a shard, or is damaged.
    """
    try:
        with tarfile.open(path, "r:") as shard:
            content = shard.extractfile(INDEX_NAME)
            index = json.load(content) if content else None
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a whole shard ({error}); delete it and pack again") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or index.get("version") != 1:
        raise DataError(f"{path} is not a shard of this version; pack the corpus again")
    return index


class _ShardWriter:
    """Fills one shard after the other. A shard exists under its name only once it is whole."""

    def __init__(self, out: Path, number: int, rate: int, codec: Codec, limit_bytes: int) -> None:
        self.indexes: list[dict[str, Any]] = []
        self._out, self._number, self._limit_bytes = out, number, limit_bytes
        self._head = {"format": FORMAT, "version": 1, "rate": rate, "codec": codec}
        self._contents: list[bytes] = []
        self._members: list[dict[str, Any]] = []
        self._skipped: list[dict[str, str]] = []
        self._bytes = 0

    def skip(self, item: Item, reason: str) -> None:
        self._skipped.append({"source": item.name, "reason": reason})

    def add(self, item: Item, clip: Clip, content: bytes) -> None:
        facts = {"samples": len(clip.samples), "source_rate": clip.source_rate, "bandwidth_hz": clip.bandwidth_hz}
        taken = 1024 + len(content)  # a tar header and padding
        if self._members and self._bytes + taken > self._limit_bytes:
            self.close()
        member = f"{len(self._members):06d}.{self._head['codec']}"
        self._members.append({"member": member, "source": item.name, **facts, **item.facts})
        self._contents.append(content)
        self._bytes += taken

    def close(self) -> None:
        """Write what is pending, if anything is."""
        if not self._members and not self._skipped:
            return
        index = {**self._head, "members": self._members, "skipped": self._skipped}
        path = self._out / f"shard-{self._number:05d}.tar"
        partial = path.with_suffix(".partial")
        try:
            with tarfile.open(partial, "w") as shard:
                for entry, content in zip(self._members, self._contents, strict=True):
                    _put(shard, entry["member"], content)
                _put(shard, INDEX_NAME, json.dumps(index, ensure_ascii=False).encode())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        self.indexes.append(index)
        self._number += 1
        self._contents, self._members, self._skipped, self._bytes = [], [], [], 0


def _put(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time, no owner: the same corpus gives the same bytes
    info.size = len(content)
    shard.addfile(info, io.BytesIO(content))


def _existing(out: Path, rate: int, codec: Codec) -> tuple[list[int], list[dict[str, Any]]]:
    """Numbers and indexes of the shards that are there."""
    paths = _shards(out)
    indexes = [read_index(path) for path in paths]
    for index in indexes:
        if (index["rate"], index["codec"]) != (rate, codec):
            raise OutputError(
                f"{out} holds shards at {index['rate']} Hz in {index['codec']}; name another folder, or delete them"
            )
    return [int(path.stem.removeprefix("shard-")) for path in paths], indexes


def _shards(out: Path) -> list[Path]:
    return sorted(path for path in out.glob("shard-*.tar") if path.stem.removeprefix("shard-").isdigit())


def _encoded(
    items: list[Item], rate: int, codec: Codec, workers: int, read: Reader
) -> Iterator[tuple[Item, Clip | str, bytes]]:
    """Each item with its recording, decoded and coded; a reason in place of the former where it is unusable."""

    def work(item: Item) -> tuple[Item, Clip | str, bytes]:
        try:
            clip = read(item, rate)
        except (UndecodableError, AudioError) as error:
            return item, str(error), b""
        return item, clip, encode_member(clip.samples, rate, codec)

    pending = iter(items)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        while chunk := list(islice(pending, 64)):  # so that few recordings wait in memory
            yield from pool.map(work, chunk)


def encode_member(samples: NDArray[np.int16], rate: int, codec: Codec) -> bytes:
    """One recording, [n] int16, as a FLAC or Ogg Opus file."""
    import soundfile

    buffer = io.BytesIO()
    if codec == "flac":
        soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    else:
        soundfile.write(buffer, samples, rate, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL)
    return buffer.getvalue()


def _summarise(out: Path, indexes: list[dict[str, Any]], rate: int, codec: Codec) -> PackReport:
    members = [entry for index in indexes for entry in index["members"]]
    skipped = [entry for index in indexes for entry in index["skipped"]]
    names = [path.name for path in _shards(out)]
    hours = sum(entry["samples"] for entry in members) / rate / 3600.0
    total_bytes = sum((out / name).stat().st_size for name in names)
    manifest = {
        "format": FORMAT,
        "version": 1,
        "rate": rate,
        "codec": codec,
        "recordings": len(members),
        "hours": round(hours, 4),
        "bytes": total_bytes,
        "shards": names,
        "skipped": skipped,
    }
    partial = out / "manifest.json.partial"
    partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, out / "manifest.json")
    problems = [f"{entry['source']}: {entry['reason']}" for entry in skipped]
    return PackReport(len(members), hours, len(indexes), total_bytes, problems)
