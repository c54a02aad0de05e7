"""Debian packages as a source of free recordings: fetched and verified by apt-get, unpacked without installing."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from audiocodec.errors import DataError

MIRROR = "http://deb.debian.org/debian"


def fetch(name: str, work: Path, *, source: bool = False) -> Path:
    """Download and unpack package ``name`` below ``work``; returns the folder of its files.

    A ``source`` package is unpacked as upstream's and Debian's archives side by side.

    Raises:
        DataError: apt-get or dpkg is absent or fails.
    """
    folder = work / "unpacked" / name
    marker = folder / ".complete"
    if marker.exists():
        return folder
    archives = work / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if source:
        _fetch_source(name, archives, folder)
    else:
        found = sorted(archives.glob(f"{name}_*.deb"))
        if not found:
            _command(["apt-get", "download", name], archives)
            found = sorted(archives.glob(f"{name}_*.deb"))
        _command(["dpkg", "-x", str(found[-1].resolve()), str(folder.resolve())], archives)
    described = sorted(path for path in archives.glob(f"{name}_*") if path.suffix in {".deb", ".dsc"})[-1]
    marker.write_text(described.name.split("_")[1].removesuffix(".dsc").replace("%3a", ":"))
    return folder


def _fetch_source(name: str, archives: Path, folder: Path) -> None:
    if not list(archives.glob(f"{name}_*.dsc")):
        _command(["apt-get", *_private_sources(archives), "source", "--download-only", name], archives)
    for archive in sorted(archives.glob(f"{name}_*.tar.*")):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


def _private_sources(archives: Path) -> list[str]:
    """Options that let apt-get read Debian's source packages without a change to the system's own lists."""
    apt = (archives / "apt").resolve()
    for part in ("lists/partial", "parts"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = system.get("VERSION_CODENAME", "stable").strip('"')
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "parts" / "source.list").write_text(f"deb-src [signed-by={key}] {MIRROR} {suite} main\n")
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": f"{apt}/parts",
        "Dir::State::Lists": f"{apt}/lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
    }
    options = [text for key, value in settings.items() for text in ("-o", f"{key}={value}")]
    _command(["apt-get", *options, "update"], archives)
    return options


def _command(arguments: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise DataError(f"cannot run {arguments[0]}: {error.strerror}; this recipe needs Debian") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DataError(f"'{' '.join(arguments[:1] + arguments[-2:])}' failed: {last}; try 'apt-get update' first")


def version(folder: Path) -> str:
    """Version of the package that `fetch` unpacked into ``folder``."""
    return (folder / ".complete").read_text()


def copyright_file(name: str, folder: Path) -> Path | None:
    """Debian's copyright file of an unpacked package."""
    places = (folder / "usr/share/doc" / name / "copyright", folder / "debian/copyright")
    return next((place for place in places if place.exists()), None)
