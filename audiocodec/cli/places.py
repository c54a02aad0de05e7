"""Which files are read and written: pairs of input and output from what stands on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from audiocodec.errors import AudioError, DataError, OutputError, UsageError

Find = Callable[[Path], Iterable[Path]]


def plan(paths: list[str], out_dir: str | None, suffix: str, find: Find) -> list[tuple[str, str]]:
    """Pairs of (input, output) from what stood on the command line.

    With ``out_dir`` a folder stands for the files that ``find`` finds in it, which keep their places below it.

    Raises:
        UsageError: more than two paths without ``out_dir``, or two outputs of one name.
        AudioError: a folder without ``out_dir``.
        DataError: a folder that holds nothing of use.
    """
    if out_dir is None:
        if len(paths) > 2:
            raise UsageError(f"{len(paths)} files named; for several inputs pass --out-dir FOLDER")
        source = paths[0]
        if Path(source).is_dir():
            raise AudioError(f"{source} is a directory; to take every file in it pass --out-dir FOLDER")
        beside = "-" if source == "-" else str(Path(source).with_suffix(suffix))
        return [(source, paths[1] if len(paths) == 2 else beside)]
    if "-" in paths:
        raise UsageError("standard input has no name to use in --out-dir; write `- OUTPUT` instead")
    jobs = []
    for path in paths:
        inside = [(str(f), f.relative_to(path)) for f in find(Path(path))] if Path(path).is_dir() else []
        for source, place in inside or [(path, Path(Path(path).name))]:
            jobs.append((source, str(Path(out_dir) / place.with_suffix(suffix))))
    seen: dict[str, str] = {}
    for source, target in jobs:
        if target in seen:
            raise UsageError(f"{seen[target]} and {source} would both become {target}; encode them one at a time")
        seen[target] = source
    return jobs


def audio_in(folder: Path) -> list[Path]:
    """The audio files below a folder, sorted; hidden ones are left out. Raises DataError where there are none."""
    from audiocodec.evaluate.recordings import list_audio

    return list_audio(folder)


def coded_in(folder: Path) -> list[Path]:
    """The .vpc files below a folder, sorted; hidden ones are left out. Raises DataError where there are none."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == ".vpc"
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder} holds no .vpc files; pass a folder with some in it")
    return found


def refuse_mixed_up(jobs: list[tuple[str, str]], plausible: Callable[[Path], bool]) -> None:
    """Refuse an output whose name is that of an input: ``encode a.wav b.wav`` would replace a recording by a .vpc."""
    for _, target in jobs:
        if target != "-" and not plausible(Path(target)):
            raise UsageError(f"{target} does not look like an output; for several inputs pass --out-dir FOLDER")
        if target == "-" and sys.stdout.isatty():
            raise UsageError("standard output is a terminal; name an output file, or pipe it somewhere")


def check_jobs(jobs: list[tuple[str, str]], force: bool, out_dir: str | None = None) -> None:
    """Refuse outputs that exist or cannot be, before a model is loaded; then make ``out_dir`` and folders below it.

    Raises:
        OutputError: the first output that is refused.
    """
    from audiocodec.output import check_output

    # A folder whose parent is not there is a slip of the hand; what is below it is ours to lay out.
    ours = out_dir is not None and Path(out_dir).resolve().parent.is_dir()
    missing = {Path(target).parent for _, target in jobs if ours and not Path(target).parent.exists()}
    for source, target in jobs:
        if Path(target).parent not in missing:
            check_output(target, force, source)
    for folder in sorted(missing):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from None
