"""Items made ahead in a thread: the same ones in the same order, the same errors, and nobody left waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like

from audiocodec import ahead as module
from audiocodec.ahead import ahead
from audiocodec.audio import AudioReader, AudioWriter
from audiocodec.codec import Codec
from audiocodec.errors import AudioError, OutputError
from audiocodec.transcode import decode_file, encode_file


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 2)


def makers() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_the_same_items_in_the_same_order(depth: int) -> None:
    with ahead(iter(range(1000)), depth) as items:
        assert list(items) == list(range(1000))
    with ahead([], depth) as items:
        assert list(items) == []
    assert makers() == 0


def test_made_ahead_but_no_more_than_asked_for() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with ahead(counted(), 3) as items:
        assert next(items) == 0
        end = time.monotonic() + 10
        while len(made) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(made) == 5  # one taken, three waiting, one in the maker's hands
    assert makers() == 0


@pytest.mark.parametrize("depth", [0, 3])
def test_an_error_comes_where_it_happened(depth: int) -> None:
    def failing() -> Iterator[int]:
        yield from range(10)
        raise AudioError("broken")

    with ahead(failing(), depth) as items:
        assert [next(items) for _ in range(10)] == list(range(10))
        with pytest.raises(AudioError, match="broken"):
            next(items)
    assert makers() == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
def test_a_consumer_that_fails_is_not_waited_for(error: type[BaseException]) -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    def fail() -> None:
        with ahead(endless(), 1) as items:
            next(items)
            raise error("enough")

    with pytest.raises(error):
        fail()
    assert makers() == 0


def test_a_single_core_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 1)
    with ahead(iter(range(3))) as items:
        assert next(items) == 0
        assert makers() == 0


@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_the_same_with_and_without(
    tiny_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    source = tmp_path / "a.flac"
    with AudioWriter(source, 44100, channels) as writer:
        writer.write(np.stack([speech_like(6.0, 44100, seed) for seed in range(channels)]))
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        steps: list[float] = []

        def note(done_s: float, _total_s: float | None, steps: list[float] = steps) -> None:
            steps.append(done_s)

        encode_file(tiny_codec, source, tmp_path / "a.vpc", tiny_codec.rates[1], force=True, progress=note)
        decode_file(tiny_codec, tmp_path / "a.vpc", tmp_path / "b.wav", force=True, progress=note)
        found.append(((tmp_path / "a.vpc").read_bytes(), (tmp_path / "b.wav").read_bytes(), steps))
    assert found[0] == found[1]


def test_damage_and_a_full_disk_are_the_same_errors(tiny_codec: Codec, tmp_path: Path) -> None:
    bad = speech_like(6.0)
    bad[80_000] = np.nan
    with AudioWriter(tmp_path / "a.wav", 16000, 1, "FLOAT") as writer:
        writer.write(bad[None])
    with pytest.raises(AudioError, match="nan at 5"):
        encode_file(tiny_codec, tmp_path / "a.wav", tmp_path / "a.vpc", tiny_codec.rates[0])
    with AudioReader(tmp_path / "a.wav") as reader, AudioWriter(tmp_path / "b.wav", 16000, 1) as writer:
        writer.write(np.nan_to_num(next(iter(reader))))
    encode_file(tiny_codec, tmp_path / "b.wav", tmp_path / "b.vpc", tiny_codec.rates[0])
    with pytest.raises(OutputError, match="No space left"):
        encode_file(tiny_codec, tmp_path / "b.wav", "/dev/full", tiny_codec.rates[0])
    with pytest.raises(OutputError, match="No space left"):
        decode_file(tiny_codec, tmp_path / "b.vpc", "/dev/full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.vpc", "b.wav"]
    assert makers() == 0
