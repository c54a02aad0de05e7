"""Where a corpus keeps its decoded samples: in memory up to a bound, or in a file that is memory-mapped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import DataError


class Store:
    """Samples are added recording by recording, then `finish` makes ``samples``, ``spans`` and ``names`` final.

    On disk it is ``KEY.s16`` (native int16, nothing else) and ``KEY.json`` (spans, names, problems), which is written
    last and renamed into place: an interrupted run leaves nothing that a later one would trust.
    """

    def __init__(self, key: str, cache: Path | None, memory_gb: float) -> None:
        self.samples: NDArray[np.int16] = np.empty(1 << 20, np.int16)
        self.spans: list[tuple[int, int]] = []
        self.names: list[str] = []
        self.problems: list[str] = []
        self.complete = False
        self._length = 0
        self._bound_bytes = memory_gb * 1e9
        self._index = cache / f"{key}.json" if cache else None
        self._file: BinaryIO | None = None

    @classmethod
    def create(cls, key: str, cache: Path | None, memory_gb: float) -> Store:
        """A store for ``key``; ``complete`` at once if the cache holds it.

        Raises:
            DataError: the cache folder cannot be written to.
        """
        store = cls(key, cache, memory_gb)
        if store._index and not store._reopen():
            try:
                store._index.parent.mkdir(parents=True, exist_ok=True)
                store._file = store._partial.open("wb")
            except OSError as error:
                raise DataError(f"cannot write the cache {cache}: {error.strerror}; name another folder") from None
        return store

    @property
    def _partial(self) -> Path:
        assert self._index
        return self._index.with_suffix(f".{os.getpid()}.partial")

    def add(self, name: str, samples: NDArray[np.int16] | None, problem: str = "") -> None:
        """Append a recording, [n] int16, or note why it is skipped.

        Raises:
            DataError: the memory bound is exceeded, or the cache's disk is full.
        """
        if samples is None:
            self.problems.append(problem)
            return
        end = self._length + len(samples)
        if self._file:
            try:
                self._file.write(samples.tobytes())
            except OSError as error:
                self._file.close()
                self._partial.unlink(missing_ok=True)
                raise DataError(f"cannot write the cache {self._partial.parent}: {error.strerror}") from None
        else:
            if 2 * end > self._bound_bytes:
                raise DataError(
                    f"the training audio takes more than the {self._bound_bytes / 1e9:g} GB of memory allowed; name a"
                    " cache folder, which is memory-mapped instead"
                )
            if end > len(self.samples):  # in place: two copies of a large corpus would not fit
                self.samples.resize(max(end, len(self.samples) * 5 // 4), refcheck=False)
            self.samples[self._length : end] = samples
        self.names.append(name)
        self.spans.append((self._length, len(samples)))
        self._length = end

    def finish(self) -> None:
        """Make the samples final."""
        if self._file and self._index:
            self._file.close()
            os.replace(self._partial, self._index.with_suffix(".s16"))
            described = {"spans": self.spans, "names": self.names, "problems": self.problems}
            self._partial.write_text(json.dumps(described), encoding="utf-8")
            os.replace(self._partial, self._index)
            self._map()
        else:
            self.samples.resize(self._length, refcheck=False)
        self.complete = True

    def _reopen(self) -> bool:
        assert self._index
        try:
            described = json.loads(self._index.read_text(encoding="utf-8"))
            spans = [(int(start), int(length)) for start, length in described["spans"]]
            expected = sum(length for _, length in spans)
            if self._index.with_suffix(".s16").stat().st_size != 2 * expected:
                return False
            self.spans, self.names, self.problems = spans, described["names"], described["problems"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._length = expected
        self._map()
        self.complete = True
        return True

    def _map(self) -> None:
        assert self._index
        if self._length:
            self.samples = np.memmap(self._index.with_suffix(".s16"), np.int16, "r")
