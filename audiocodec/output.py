"""Outputs that appear whole or not at all: a temporary file beside the target, renamed when everything is written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from audiocodec import leftovers
from audiocodec.errors import OutputError
from audiocodec.stdio import standard_output

STDIO = "-"


def describe(place: str | Path, output: bool = False) -> str:
    """How a place is called in a message: its path, or ``standard input`` / ``standard output`` for ``-``."""
    if str(place) == STDIO:
        return "standard output" if output else "standard input"
    return str(place)


def check_output(target: str | Path, force: bool, source: str | Path | None = None) -> None:
    """Refuse a target before any work is done.

    Raises:
        OutputError: it exists and ``force`` is not set, it is a folder or the source itself, or its folder is missing.
        UsageError: it is standard output, and there is none.
    """
    if str(target) == STDIO:
        standard_output()
        return
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if source is not None and str(source) != STDIO and path.exists() and os.path.samefile(path, source):
        raise OutputError(f"{path} is the input itself; choose another output")
    if path.is_file() and not force:
        raise OutputError(f"{path} exists; pass --force to overwrite it")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist; create it first (mkdir -p)")


def is_live(target: str | Path) -> bool:
    """Whether someone may be reading ``target`` as it is written: a pipe, a terminal, a device."""
    if str(target) == STDIO:
        return not stat.S_ISREG(os.fstat(standard_output().fileno()).st_mode)
    return Path(target).exists() and not stat.S_ISREG(Path(target).stat().st_mode)


class OutputFile:
    """A binary file to write to, kept only if the ``with`` block ends without an exception.

    A target that is no regular file (``-``, a pipe, a device) is written directly: renaming over it would destroy it.
    Every failure of the operating system becomes an :class:`OutputError`, except a closed pipe, which stays one.

    What killed processes left of this target is removed, where there are locks (:mod:`audiocodec.leftovers`).

    A ``recording`` that cannot be made again asks for more: every write is handed to the operating system at once, so
    that a killed process leaves all of it in the temporary file, which is kept and told of; ``rescue`` makes a whole
    file of that one where the disk is full, and says whether there was anything to keep.
    """

    def __init__(self, target: str | Path, force: bool = False, recording: bool = False) -> None:
        self.target = target
        self.name = describe(target, output=True)
        self.bytes_written = 0
        self.live = False  # whether someone may be reading as it is written: a pipe, a terminal, a device
        self.rescue: Callable[[Path], bool] | None = None
        self._force, self._recording = force, recording
        self._temporary: Path | None = None
        self._claim: int | None = None  # a descriptor that keeps the lock until the temporary file has been renamed
        self._file: BinaryIO | None = None

    def __enter__(self) -> OutputFile:
        check_output(self.target, self._force)
        try:
            self._file = self._open()
        except BaseException as error:  # a signal perhaps, the file being there and nobody to remove it yet
            self._discard()
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise
        return self

    def _open(self) -> BinaryIO:
        if str(self.target) == STDIO:
            self.live = is_live(self.target)
            return standard_output()
        path = Path(self.target)
        if is_live(path):
            self.live = True
            return open(path, "wb", buffering=0)
        # Beside the real file, not beside a link to it: a rename has to stay within one file system.
        real = path.resolve()
        leftovers.sweep(real)
        for place in leftovers.places(real, self._recording):
            if file := self._begun(place):
                return file
        raise OSError(errno.EEXIST, "others write beside it")

    def _begun(self, place: Path) -> BinaryIO | None:
        """A new file there; None where there is one already."""
        try:  # mode 666 less the umask, as open() gives; tempfile would give 600 and leave it so after the rename
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            self._temporary = place
        except FileExistsError:
            return None
        except BaseException:
            leftovers.take_back(place)
            raise
        file = os.fdopen(descriptor, "wb")
        if leftovers.claim(descriptor):
            if os.name == "posix":  # elsewhere what is open cannot be renamed
                self._claim = os.dup(descriptor)
            return file
        self._temporary = None  # whoever took it for a leftover has removed it, and the name may be another's by now
        file.close()
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
            if kind is None:
                self._keep()
        except OSError as failure:
            if kind is None:
                raise self._rescued(self._failed(failure)) from None
        finally:
            if isinstance(error, OutputError):
                self._rescued(error)
            self._discard()

    def _keep(self) -> None:
        if self._temporary is not None:
            os.replace(self._temporary, Path(self.target).resolve())
            self._temporary = None

    def _rescued(self, error: OSError | OutputError) -> OSError | OutputError:
        """Keep what can be kept, the file being closed, and say so."""
        if self.rescue is not None and self._temporary is not None:
            with contextlib.suppress(OSError):
                if self.rescue(self._temporary):
                    self._keep()
                    error.args = (f"{error}; what came until then is kept in it",)
        return error

    def _discard(self) -> None:
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _close(self) -> None:
        assert self._file is not None
        if str(self.target) == STDIO:
            self._file.flush()
            return
        self._file.close()
        if self._temporary is not None:  # what was patched by seeking back was counted twice
            self.bytes_written = self._temporary.stat().st_size

    def seekable(self) -> bool:
        """Whether bytes already written can still be changed."""
        return self._temporary is not None

    def write(self, data: bytes) -> int:
        """Write all of ``data``; a live output gets it at once."""
        assert self._file is not None
        try:
            view = memoryview(data).cast("B")
            while len(view):  # an unbuffered device may take less than it was given
                done = self._file.write(view) or 0
                self.bytes_written += done
                view = view[done:]
            if self.live or self._recording:
                self._file.flush()
        except OSError as error:
            raise self._failed(error) from None
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset``; only where :meth:`seekable`."""
        return self._guard("seek", offset, whence)

    def tell(self) -> int:
        """The current position in bytes."""
        return self._guard("tell") if self.seekable() else self.bytes_written

    def flush(self) -> None:
        """Hand everything written so far to the operating system."""
        self._guard("flush")

    def _guard(self, method: str, *arguments: int) -> int:
        assert self._file is not None
        try:
            return int(getattr(self._file, method)(*arguments) or 0)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OSError | OutputError:
        if isinstance(error, BrokenPipeError):
            return error  # the reader has had enough: no fault, and no message
        return OutputError(f"cannot write {self.name}: {error.strerror or error}")
