"""Lost frames: what estimates them, what it is told of their neighbours, and that it is worth having."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from conftest import speech_like
from safetensors.numpy import save

from audiocodec.bitstream import StreamReader
from audiocodec.codec import load
from audiocodec.concealment import FrameHistory
from audiocodec.errors import ModelError
from audiocodec.nn.predictor import FramePredictor
from audiocodec.prediction import GAP_FRAMES, PREDICTOR, Predictor, straight_line
from audiocodec.streaming import StreamDecoder, StreamEncoder

DIMS, CONTEXT = 8, 3


def network(seed: int = 0, out: bool = True) -> FramePredictor:
    torch.manual_seed(seed)
    net = FramePredictor(DIMS, CONTEXT, 16)
    if out:
        torch.nn.init.normal_(net.out.weight)
    return net.eval()


def weights_of(net: FramePredictor) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in net.state_dict().items()}


class Recorder:
    """In the place of a predictor: notes what it is asked, and answers with the number of the question."""

    context_frames = CONTEXT

    def __init__(self):
        self.asked = []

    def estimate(self, past, estimated, following, place, rest, detail):
        self.asked.append((past.copy(), estimated.copy(), following, place, rest))
        return np.full(past[:, 0].shape, float(len(self.asked)), np.float32)


@pytest.fixture
def recorded(tiny_model):
    """A codec whose predictor is a `Recorder`."""
    codec = load(tiny_model)
    codec.__dict__["predictor"] = Recorder()
    return codec


@pytest.mark.parametrize(("known", "place", "rest"), [(True, 1, 1), (True, 2, 3), (False, 4, 1), (False, 1, 1)])
def test_numpy_computes_what_was_trained(known, place, rest):
    net, rng = network(), np.random.default_rng(0)
    past, after = rng.standard_normal((2, CONTEXT, DIMS), np.float32), rng.standard_normal((2, DIMS), np.float32)
    flags, detail = np.array([[0, 1, 0], [1, 0, 0]], np.float32), np.array([2.0, 4.5], np.float32)
    ours = Predictor(weights_of(net), DIMS).estimate(past, flags, after if known else None, place, rest, detail)
    parts = [torch.from_numpy(part) for part in (past, flags, after)]
    with torch.no_grad():
        theirs = net(*parts, torch.full((2,), float(known)), place, rest, torch.from_numpy(detail)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs(ours - straight_line(past, after if known else None, place, rest)).max() > 0.1


def test_a_network_that_learnt_nothing_draws_a_straight_line():
    predictor = Predictor(weights_of(network(out=False)), DIMS)
    past = np.zeros((1, CONTEXT, DIMS), np.float32)
    past[0, -1] = 4.0
    none, detail, after = np.zeros((1, CONTEXT), np.float32), np.ones(1, np.float32), np.zeros((1, DIMS), np.float32)
    assert np.allclose(predictor.estimate(past, none, None, 1, 1, detail), 4.0)
    assert [float(predictor.estimate(past, none, after, k, 4 - k, detail)[0, 0]) for k in (1, 2, 3)] == [3.0, 2.0, 1.0]


def test_weights_of_another_model_and_damaged_files_are_refused(tiny_model, tmp_path):
    weights = weights_of(network())
    assert Predictor(weights, DIMS).context_frames == CONTEXT
    with pytest.raises(ModelError, match="predictor"):
        Predictor(weights, DIMS + 1)
    with pytest.raises(ModelError, match="predictor"):
        Predictor({name: value for name, value in weights.items() if name != "out.bias"}, DIMS)
    with pytest.raises(ModelError, match="predictor"):
        Predictor(weights | {"out.weight": weights["out.weight"][:, :-1]}, DIMS)
    with pytest.raises(ModelError, match="finite"):
        Predictor(weights | {"out.bias": np.full(DIMS, np.nan, np.float32)}, DIMS)
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    for data in (b"nothing", save({"into.weight": np.zeros((4, 4), np.int32)}), save({})):
        (folder / PREDICTOR).write_bytes(data)
        with pytest.raises(ModelError, match=r"predictor\.safetensors is damaged"):
            _ = load(folder).predictor


def test_a_predictor_changes_no_fingerprint(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    before = load(folder)
    assert before.predictor is None
    (folder / PREDICTOR).write_bytes(save(weights_of(network())))
    after = load(folder)
    assert after.predictor is not None
    assert after.fingerprint == before.fingerprint


def indices_of(codec, wave, rate) -> np.ndarray:
    return codec.encode(wave[None], rate).indices


def test_without_a_predictor_the_last_frame_is_repeated(tiny_codec):
    rate = tiny_codec.choose_rate(levels=9)
    indices = indices_of(tiny_codec, speech_like(0.5), rate)
    history = FrameHistory(tiny_codec, [rate])
    history.heard(indices[:, :4])
    history.heard(indices[:, 4:5])
    for _ in range(2):
        wanted = tiny_codec.runtime.latents(indices[:, 4:5], [rate])
        np.testing.assert_allclose(history.lost(indices[:, 9], 1), wanted, atol=1e-6)


def test_a_predictor_is_told_of_the_past_the_future_and_the_place(recorded):
    rate = recorded.choose_rate(levels=9)
    indices = indices_of(recorded, speech_like(0.5), rate)
    latents = recorded.runtime.latents(indices, [rate])
    history, asked = FrameHistory(recorded, [rate]), recorded.predictor.asked
    history.heard(indices[:, :2])
    history.lost()
    past, estimated, following, place, _ = asked[0]
    assert (following, place) == (None, 1)
    np.testing.assert_allclose(past[:, 1:], latents[:, :2], atol=1e-6)
    assert past[:, 0].any() == 0  # there was no third frame yet
    assert estimated.tolist() == [[1, 0, 0]]
    second = history.lost(indices[:, 4], 1)
    past, _, following, place, rest = asked[1]
    assert (place, rest) == (2, 1)
    np.testing.assert_allclose(past[:, 1:], latents[:, :2], atol=1e-6)  # as it was before the loss
    np.testing.assert_allclose(following, latents[:, 4], atol=1e-6)
    history.heard(indices[:, 4:5])
    history.lost(indices[:, 9], GAP_FRAMES + 1)
    past, estimated, following, place, _ = asked[2]
    np.testing.assert_allclose(past[:, 1:2], second, atol=1e-6)
    assert estimated.tolist() == [[1, 1, 0]]
    assert (following, place) == (None, 1)  # what follows is too far away


def test_frames_at_another_rate_count_as_estimated_and_absent_dimensions_stay_absent(recorded):
    rate, low = recorded.choose_rate(levels=17), recorded.choose_rate(levels=3)
    wave = speech_like(0.5)
    history = FrameHistory(recorded, [low])
    history.heard(indices_of(recorded, wave, low)[:, :2])
    absent = np.array(low.levels) == 1
    assert absent.any()
    guess = history.lost()[0, 0]
    assert not guess[absent].any()
    assert guess.any()
    mixed = FrameHistory(recorded, [rate])
    mixed.heard(indices_of(recorded, wave, rate)[:, :2])
    mixed.heard(indices_of(recorded, wave, low)[:, 2:3], [low])
    mixed.lost()
    assert recorded.predictor.asked[-1][1].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("live", [False, True])
def test_a_stream_knows_what_follows_a_loss(recorded, live):
    rate = recorded.choose_rate(levels=9)
    encoder = StreamEncoder(recorded, rate)
    packets = [*encoder.push(speech_like(1.0)[None]), *encoder.flush(), encoder.end()]
    decoder = StreamDecoder(recorded, live=live)
    header = encoder.header.pack()
    decoder.push(header + b"".join(packets[:10] + packets[12:]))
    decoder.flush()
    events = StreamReader(lambda _: recorded.entropy).events(header + b"".join(packets[:13]))
    frames = [event.indices for event in events if hasattr(event, "indices")]
    wanted = recorded.runtime.latents(np.concatenate(frames)[12][None], [rate])[:, 0]
    asked = recorded.predictor.asked
    assert [(place, rest) for _, _, _, place, rest in asked] == [(1, 2), (2, 1)]
    for question in asked:
        np.testing.assert_allclose(question[2], wanted, atol=1e-6)


def test_training_learns_more_than_a_straight_line(tiny_model):
    from audiocodec.checkpoint import load_model
    from audiocodec.train.predictor import PredictorSettings, PredictorTrainer, encode_stretches, train_predictor

    settings = PredictorSettings(width=32, latent_steps=60, sound_steps=3)
    voices = [speech_like(8.0, seed=seed) for seed in range(12)]
    trained = train_predictor(tiny_model, voices, settings)
    unseen = encode_stretches(load(tiny_model), [speech_like(8.0, seed=seed) for seed in range(20, 24)])

    def error(predictor) -> float:
        trainer = PredictorTrainer(load_model(tiny_model)[0], unseen, settings, seed=5)
        if predictor is not None:
            trainer.predictor = predictor
        with torch.no_grad():
            return float(np.mean([float(trainer._latent_loss()) for _ in range(10)]))

    assert error(trained) < 0.9 * error(None)
