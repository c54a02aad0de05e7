"""The network: causal by gradient, the same in steps as in one pass, within its stated latency and cost."""

import pytest
import torch
from conftest import speech_like, tiny_config

from audiocodec.config import ModelConfig
from audiocodec.nn.model import CodecNet, repeated
from audiocodec.nn.pitch import HIGHEST_HZ, LOWEST_HZ, PitchTracker, PulseTrain
from audiocodec.nn.stem import Analysis, Synthesis


def random_net(**changes) -> CodecNet:
    """Every weight random, so that no path hides behind a zero."""
    torch.manual_seed(3)
    net = CodecNet(tiny_config(**changes)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("hop", [80, 160])
def test_stem_reconstructs_perfectly_before_training(hop):
    wave = torch.randn(2, hop * 12)
    spectrum = Analysis(hop)(wave)[..., :hop]
    back = Synthesis(hop)(spectrum)
    torch.testing.assert_close(back[:, hop:], wave[:, :-hop], atol=1e-5, rtol=0)


def test_latency_is_thirty_milliseconds_at_most_and_is_not_exceeded_by_any_gradient():
    net = random_net()
    config, hop = net.config, net.config.hop_samples
    assert net.latency_samples / config.sample_rate <= 0.030
    wave = torch.from_numpy(speech_like(0.4)).requires_grad_()
    detail, levels = torch.tensor([3.0]), net.levels_of(torch.tensor([9]))
    latents = net.encoder(wave[None], detail)
    seen = net.bottleneck(latents, levels)
    out = net.decoder(seen, detail)[0]
    furthest = 0
    for position in range(hop * 6, hop * 8, 37):
        (gradient,) = torch.autograd.grad(out[position], wave, retain_graph=True)
        last = int(gradient.nonzero().max())
        # The output lags by delay_samples: out[n] plays input time n - delay.
        furthest = max(furthest, last - (position - net.delay_samples))
    assert 0 < furthest < net.latency_samples


def test_pitch_obeys_the_same_latency():
    tracker = PitchTracker(16000, 320)
    wave = torch.from_numpy(speech_like(0.4))[None]
    (before, _), _ = tracker.step(wave, tracker.initial_state(1))
    changed = wave.clone()
    changed[:, 320 * 10 :] = torch.randn_like(changed[:, 320 * 10 :])
    (after, _), _ = tracker.step(changed, tracker.initial_state(1))
    torch.testing.assert_close(before[:, :10], after[:, :10], atol=0, rtol=0)
    assert not torch.equal(before[:, 10:], after[:, 10:])


@pytest.mark.parametrize("stem", ["mdct", "learnt"])
@pytest.mark.parametrize("blocks", [[1] * 12, [3, 1, 8], [12]])
def test_steps_agree_with_forward(stem, blocks):
    net = random_net(stem=stem, linear_path=stem == "mdct")
    hop = net.config.hop_samples
    wave, detail = torch.from_numpy(speech_like(12 * hop / 16000))[None], torch.tensor([3.0])
    with torch.no_grad():
        latents = net.encoder(wave, detail)
        whole = net.decoder(latents, detail)
        encoder_state, decoder_state = net.encoder.initial_state(1), net.decoder.initial_state(1)
        parts, waves, start = [], [], 0
        for frames in blocks:
            part, encoder_state = net.encoder.step(wave[:, start : start + frames * hop], detail, encoder_state)
            sound, decoder_state = net.decoder.step(part, detail, decoder_state)
            parts.append(part)
            waves.append(sound)
            start += frames * hop
    torch.testing.assert_close(torch.cat(parts, 1), latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cat(waves, 1), whole, atol=1e-4, rtol=1e-4)


def test_two_streams_never_meet():
    net = random_net()
    wave, detail = torch.randn(2, 640) * 0.1, torch.tensor([3.0])
    with torch.no_grad():
        first, state = net.encoder.step(wave[:1], detail, net.encoder.initial_state(1))
        kept = [tensor.clone() for part in state for tensor in part]
        net.encoder.step(wave[1:], detail, net.encoder.initial_state(1))
    assert all(torch.equal(a, b) for a, b in zip(kept, (t for part in state for t in part), strict=True))
    assert first.shape == (1, 2, net.config.dims)


@pytest.mark.parametrize("hertz", [70.0, 110.0, 180.0, 250.0, 390.0])
def test_pitch_of_a_pulse_train_is_found_and_played(hertz):
    position = torch.full((1, 40), (torch.tensor(hertz / LOWEST_HZ).log() / torch.tensor(HIGHEST_HZ / LOWEST_HZ).log()))
    pulses = PulseTrain(16000, 160, 2)
    spectrum, _ = pulses.step(position, pulses.initial_state(1))
    wave = Synthesis(160)(spectrum)
    tracker = PitchTracker(16000, 320)
    (found, strength), _ = tracker.step(wave, tracker.initial_state(1))
    hertz_found = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** found[0, 8:]
    assert (hertz_found / hertz - 1).abs().max() < 0.02
    assert strength[0, 8:].min() > 0.8


def test_silence_has_no_pitch_strength_and_finite_latents():
    net = random_net()
    with torch.no_grad():
        latents = net.encoder(torch.zeros(1, 3200), torch.tensor([3.0]))
        (_, strength), _ = net.encoder.pitch.step(torch.zeros(1, 3200), net.encoder.pitch.initial_state(1))
    assert torch.isfinite(latents).all()
    assert strength.max() == 0


def test_every_parameter_learns():
    net = random_net().train().requires_grad_(True)
    wave = torch.from_numpy(speech_like(1.0))[None]
    out = net(wave, torch.tensor([9]))
    (out.audio - wave).square().mean().add(out.penalty).backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


def test_unknown_shape_of_level_scale_is_refused():
    with pytest.raises(ValueError, match="level_scale"):
        ModelConfig(level_scale=(1.0,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": 161}, "161 bands"),
        ({"sample_rate": 48000}, "multiple of 12"),
        ({"sample_rate": 44100}, "multiple of 11"),
        ({"level_settings": ()}, "at least one"),
        ({"level_settings": (1, 5)}, "2 or more"),
        ({"level_settings": (5, 9, 9)}, "the same levels"),
        ({"envelope_dims": 0, "shape_dims": 0, "level_scale": (1.0,)}, "both 0"),
    ],
)
def test_settings_that_no_network_can_have_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_bfloat16_training_keeps_waveform_precision():
    net = random_net()
    wave = torch.from_numpy(speech_like(0.5))[None]
    with torch.no_grad():
        torch.manual_seed(0)
        exact = net(wave, torch.tensor([9]), quantise=False)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(wave, torch.tensor([9]), quantise=False)
    assert rough.audio.dtype == rough.latents.dtype == torch.float32
    assert (rough.audio - exact.audio).std() < 0.2 * exact.audio.std()


def test_lost_frames_are_the_last_ones_again():
    latents = torch.arange(12.0).reshape(1, 6, 2)
    lost = torch.tensor([[False, True, False, False, True, True]])
    assert repeated(latents, lost)[0, :, 0].tolist() == [0.0, 0.0, 4.0, 6.0, 6.0, 6.0]
    assert repeated(latents, torch.tensor([[True] + 5 * [False]]))[0, 0, 0] == 0.0  # there is none before it


def test_training_with_lost_frames_is_another_pass_through_the_same_network(tiny_net):
    wave = torch.from_numpy(speech_like(1.0))[None]
    levels = torch.tensor([9])

    def passed(**options):
        torch.manual_seed(0)
        return tiny_net(wave, levels, quantise=False, **options)

    whole, without, robbed = passed(), passed(frame_loss=0.0), passed(frame_loss=0.5)
    assert torch.equal(whole.audio, without.audio)
    assert torch.equal(whole.latents, robbed.latents)  # the encoder does not know
    assert (whole.audio - robbed.audio).abs().max() > 0.01
