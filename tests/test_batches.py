"""Files coded side by side as batches of one network: the same as each alone, and an end that leaves nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import speech_like

from audiocodec.audio import AudioWriter
from audiocodec.batches import BatchedRuntime, batched, side_by_side
from audiocodec.bitstream import FileReader, Frames
from audiocodec.codec import Codec
from audiocodec.errors import AudioError
from audiocodec.transcode import decode_file, encode_file


def recordings(folder: Path) -> list[Path]:
    """Of unlike lengths, rates and channels, some with silence."""
    paths = []
    for number, (seconds, rate, channels) in enumerate([(4, 16000, 1), (0.3, 16000, 1), (6, 44100, 2), (5, 16000, 2)]):
        wave = np.stack([speech_like(seconds, rate, seed=number + c) for c in range(channels)])
        wave[:, rate // 2 : 3 * rate] *= number != 0
        paths.append(folder / f"{number}.wav")
        with AudioWriter(paths[-1], rate, channels) as writer:
            writer.write(wave)
    return paths


def tokens(path: Path, codec: Codec) -> np.ndarray:
    with open(path, "rb") as file:
        reader = FileReader(file, lambda header: codec.entropy)
        return np.concatenate([event.indices.ravel() for event in reader if isinstance(event, Frames)])


def test_files_are_as_each_alone(tiny_codec: Codec, tmp_path: Path) -> None:
    alone = Codec.of(tiny_codec.net, tiny_codec.files)
    together = batched(alone, 3)
    sources = recordings(tmp_path)

    def encode(source: Path) -> int:
        return encode_file(
            together, source, source.with_suffix(".vpc"), together.rates[1], stereo="independent"
        ).samples

    assert all(isinstance(result, int) for result in side_by_side(encode, sources, [together], 3))
    together = batched(alone, 3)

    def decode(source: Path) -> int:
        return decode_file(together, source.with_suffix(".vpc"), source.with_suffix(".flac")).samples

    lengths = list(side_by_side(decode, sources, [together], 3))
    for source, length in zip(sources, lengths, strict=True):
        encode_file(alone, source, tmp_path / "alone.vpc", alone.rates[1], stereo="independent", force=True)
        one, other = tokens(source.with_suffix(".vpc"), alone), tokens(tmp_path / "alone.vpc", alone)
        assert one.shape == other.shape
        assert (one == other).mean() > 0.999
        report = decode_file(alone, source.with_suffix(".vpc"), tmp_path / "alone.flac", force=True)
        assert report.samples == length


def test_an_error_is_its_file_s_and_stopping_leaves_nothing(tiny_codec: Codec, tmp_path: Path) -> None:
    alone = Codec.of(tiny_codec.net, tiny_codec.files)
    sources = recordings(tmp_path)
    sources[1].write_text("no audio")
    long = tmp_path / "long.wav"
    with AudioWriter(long, 16000, 1) as writer:
        writer.write(np.tile(speech_like(10.0), 60)[None])
    together = batched(alone, 4)

    def encode(source: Path) -> str:
        return encode_file(together, source, source.with_suffix(".vpc"), together.rates[1]).source

    with closing(side_by_side(encode, [*sources, long], [together], 4)) as results:
        assert next(results) == str(sources[0])
        assert isinstance(next(results), AudioError)
    assert not list(tmp_path.glob(".*.part"))
    assert not long.with_suffix(".vpc").exists()


def test_what_the_network_fails_by_reaches_the_file(tiny_codec: Codec) -> None:
    together = batched(Codec.of(tiny_codec.net, tiny_codec.files), 2)
    assert isinstance(together.runtime, BatchedRuntime)
    with pytest.raises(RuntimeError):
        together.runtime.encode(np.zeros((1, 7), np.float32), [together.rates[0]], together.runtime.encoder_state(1))
    together.runtime.close()
