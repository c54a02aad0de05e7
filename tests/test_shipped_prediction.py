"""What ships estimates lost frames better than repeating the last one does."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import DEVELOPMENT_SPEECH

from audiocodec.audio import AudioReader, Resampler
from audiocodec.codec import Codec, load
from audiocodec.streaming import StreamDecoder, StreamEncoder

LOSS = 0.1


def recording(path, rate: int) -> np.ndarray:
    """``[1, samples]`` at the model's rate."""
    with AudioReader(path) as reader:
        slow = Resampler(reader.sample_rate, rate, 1)
        return np.concatenate([*(slow.push(block[:1]) for block in reader), slow.flush()], axis=1)


def through_losses(codec: Codec, wave: np.ndarray, seed: int) -> np.ndarray:
    """``[samples]``, decoded from packets of one frame of which some are lost."""
    encoder = StreamEncoder(codec, codec.choose_rate())
    packets = [*encoder.push(wave), *encoder.flush()]
    kept = np.random.default_rng(seed).random(len(packets)) >= LOSS
    kept[[0, -1]] = True
    data = b"".join(packet for packet, stays in zip(packets, kept, strict=True) if stays)
    decoder = StreamDecoder(codec)
    sound = decoder.push(encoder.header.pack() + data + encoder.end()), decoder.flush()
    assert decoder.lost_frames == np.count_nonzero(~kept)
    return np.concatenate(sound, axis=1)[0]


@pytest.mark.skipif(not DEVELOPMENT_SPEECH.is_dir(), reason="no shared/eval/speech beside the repository")
@pytest.mark.parametrize("model", ["speech-16k", "speech-24k", "speech-16k-vp"])
def test_lost_frames_sound_better_estimated_than_repeated(model):
    pytest.importorskip("pystoi")
    from audiocodec.evaluate.metrics import SPEECH_RATE, resample, stoi

    estimating, repeating = load(model), load(model)
    assert estimating.predictor is not None
    repeating.__dict__["predictor"] = None
    gains = []
    for seed, path in enumerate(sorted(DEVELOPMENT_SPEECH.iterdir())[:4]):
        wave = recording(path, estimating.sample_rate)
        heard = [through_losses(codec, wave, seed) for codec in (estimating, repeating)]
        clean, *heard = (resample(one, estimating.sample_rate, SPEECH_RATE) for one in (wave[0], *heard))
        scores = [stoi(clean, one, SPEECH_RATE) for one in heard]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.004
