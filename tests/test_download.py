"""Downloads go on where they stopped, are verified, and cannot write outside their folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.errors import DataError, UsageError
from audiocodec.train import download as module
from audiocodec.train.download import LIBRISPEECH, Archive, download, download_librispeech, extract
from audiocodec.train.shards import Corpus


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``break_after`` bytes it drops the connection, ``breaks`` times."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.break_after = 0
        self.breaks = 0
        self.ranges_work = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Single byte ranges, as openslr.org serves them."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        content = server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = 0
        if server.ranges_work and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: server.break_after]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _flac(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(-3000, 3000, 8000).astype(np.int16)
    soundfile.write(buffer, noise, 16000, format="FLAC")
    return buffer.getvalue()


@pytest.fixture
def archive(server: Server) -> Archive:
    """A small corpus in LibriSpeech's layout, served as part "dev-clean"."""
    content = _tar(
        {
            "LibriSpeech/README.TXT": b"hello",
            "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac": _flac(0),
            "LibriSpeech/dev-clean/84/121123/84-121123-0001.flac": _flac(1),
            "LibriSpeech/dev-clean/84/121123/84-121123.trans.txt": b"84-121123-0000 GO ON",
        }
    )
    server.files["dev-clean.tar.gz"] = content
    return Archive(hashlib.md5(content).hexdigest(), 0.0, 0.0)


def test_a_part_arrives_in_its_layout_and_is_not_fetched_twice(
    server: Server, archive: Archive, tmp_path: Path
) -> None:
    steps: list[str] = []
    for _ in range(2):
        folders = download_librispeech(
            ["dev-clean"],
            tmp_path,
            base_url=server.url,
            archives={"dev-clean": archive},
            progress=lambda what, done, total: steps.append(what.split()[0]),
        )
    assert folders == [tmp_path / "LibriSpeech" / "dev-clean"]
    assert (folders[0] / "84" / "121123" / "84-121123-0001.flac").read_bytes() == _flac(1)
    assert len(Corpus.open(folders[0], rate=16000)) == 2
    assert len(server.ranges) == 1
    assert set(steps) == {"downloading", "verifying", "unpacking"}
    assert not list(tmp_path.glob("*.tar.gz*"))


def test_broken_connections_are_resumed(server: Server, archive: Archive, tmp_path: Path) -> None:
    size = len(server.files["dev-clean.tar.gz"])
    server.break_after, server.breaks = size // 5, 3
    download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a.tar.gz", md5=archive.md5)
    assert (tmp_path / "a.tar.gz").read_bytes() == server.files["dev-clean.tar.gz"]
    assert server.ranges == [None] + [f"bytes={n * (size // 5)}-" for n in (1, 2, 3)]


def test_a_later_run_goes_on_from_the_partial_file(server: Server, archive: Archive, tmp_path: Path) -> None:
    content = server.files["dev-clean.tar.gz"]
    (tmp_path / "a.partial").write_bytes(content[:1000])
    download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a", md5=archive.md5)
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "a").read_bytes() == content
    (tmp_path / "b.partial").write_bytes(content)  # whole already: the server has no more
    download(f"{server.url}/dev-clean.tar.gz", tmp_path / "b", md5=archive.md5)
    assert (tmp_path / "b").read_bytes() == content


def test_a_server_without_ranges_starts_over(server: Server, archive: Archive, tmp_path: Path) -> None:
    server.ranges_work = False
    (tmp_path / "a.partial").write_bytes(b"x" * 1000)
    download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a", md5=archive.md5)
    assert (tmp_path / "a").read_bytes() == server.files["dev-clean.tar.gz"]


def test_corruption_is_found_and_cured_by_another_run(server: Server, archive: Archive, tmp_path: Path) -> None:
    content = server.files["dev-clean.tar.gz"]
    (tmp_path / "a.partial").write_bytes(b"\0" * 1000)
    with pytest.raises(DataError, match="checksum"):
        download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a", md5=archive.md5)
    assert not list(tmp_path.iterdir())
    download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a", md5=archive.md5)
    assert (tmp_path / "a").read_bytes() == content


def test_a_server_that_never_delivers_is_given_up(server: Server, archive: Archive, tmp_path: Path) -> None:
    server.break_after, server.breaks = 0, 1000
    with pytest.raises(DataError, match="run the same command again"):
        download(f"{server.url}/dev-clean.tar.gz", tmp_path / "a", md5=archive.md5)
    assert len(server.ranges) == module.ATTEMPTS
    with pytest.raises(DataError, match="404"):
        download(f"{server.url}/absent.tar.gz", tmp_path / "b", md5=archive.md5)


@pytest.mark.parametrize("name", ["../outside.txt", "LibriSpeech/../../outside.txt"])
def test_members_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "bad.tar.gz").write_bytes(_tar({name: b"got out"}))
    with pytest.raises(DataError, match="not safe"):
        extract(tmp_path / "bad.tar.gz", tmp_path / "in" / "side")
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_cut_archive_is_an_error_of_one_line(server: Server, archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "cut.tar.gz").write_bytes(server.files["dev-clean.tar.gz"][:9000])
    with pytest.raises(DataError, match="damaged"):
        extract(tmp_path / "cut.tar.gz", tmp_path / "out")


def test_unknown_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train-clean-100"):
        download_librispeech(["train-clean"], tmp_path)
    assert {len(archive.md5) for archive in LIBRISPEECH.values()} == {32}
