"""Streams: the same bytes for any cutting of the input, the same samples for any cutting of the bytes."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import speech_like

from audiocodec.audio import Resampler
from audiocodec.bitstream import FileWriter
from audiocodec.errors import AudioError, BitstreamError, ModelError, UsageError
from audiocodec.streaming import FILE_BLOCK_FRAMES, StreamDecoder, StreamEncoder

SIZES = (0, 1, 7, 160, 5000)


def stereo(seconds: float) -> np.ndarray:
    return np.stack([speech_like(seconds, seed=1), speech_like(seconds, seed=2)])


def encode_cut(codec, wave, rng=None, rate=None, **options) -> bytes:
    """Header and packets of ``wave [channels, n]``, pushed whole or in random pieces."""
    encoder = StreamEncoder(codec, rate or codec.choose_rate(levels=9), wave.shape[0], **options)
    out, start = [encoder.header.pack()], 0
    while start < wave.shape[1]:
        size = wave.shape[1] if rng is None else int(rng.choice(SIZES))
        out += encoder.push(wave[:, start : start + size])
        start += size
    return b"".join(out + encoder.flush() + [encoder.end()])


def decode_cut(codec, data, rng=None, **options) -> np.ndarray:
    decoder = StreamDecoder(codec, **options)
    out, start = [], 0
    while start < len(data):
        size = len(data) if rng is None else int(rng.choice((1, 2, 13, 200)))
        out.append(decoder.push(data[start : start + size]))
        start += size
    out.append(decoder.flush())
    assert not decoder.problems
    return np.concatenate([part for part in out if part.size], axis=1)


@pytest.mark.parametrize("options", [{"block_frames": 1}, {"block_frames": 8, "packet_frames": 40}])
@pytest.mark.parametrize("mode", ["raw", "range"])
def test_any_cutting_gives_the_same_bytes_and_samples(tiny_codec, options, mode):
    wave = stereo(1.3)
    whole = encode_cut(tiny_codec, wave, mode=mode, **options)
    sound = decode_cut(tiny_codec, whole)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert encode_cut(tiny_codec, wave, rng, mode=mode, **options) == whole
        np.testing.assert_array_equal(decode_cut(tiny_codec, whole, rng), sound)


def test_thread_count_changes_nothing(tiny_codec):
    wave, threads = stereo(1.0), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            data = encode_cut(tiny_codec, wave, block_frames=8)
            results.append((data, decode_cut(tiny_codec, data)))
    finally:
        torch.set_num_threads(threads)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_live_decoder_keeps_up_with_the_encoder(tiny_codec):
    """Every packet of one frame gives a frame of sound at once, the first less the delay."""
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0], block_frames=1)
    decoder = StreamDecoder(tiny_codec, live=True)
    decoder.push(encoder.header.pack())
    hop, wave, heard = tiny_codec.hop_samples, speech_like(0.5), 0
    for frame in range(20):
        for packet in encoder.push(wave[None, frame * hop : (frame + 1) * hop]):
            heard += decoder.push(packet).shape[1]
        assert heard == (frame + 1) * hop - tiny_codec.delay_samples
    assert tiny_codec.latency_samples == hop + tiny_codec.delay_samples


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 319, 320, 321, 16000, 16001])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_as_many_samples_come_out_as_went_in(tiny_codec, samples, rate):
    wave = speech_like(2.0)[:samples]
    back, back_rate = tiny_codec.decompress(tiny_codec.compress(wave, rate, levels=9))
    assert back.shape == (1, samples)
    assert back_rate == rate
    assert np.isfinite(back).all()


def test_unknown_length_ends_at_the_exact_sample(tiny_codec, tmp_path):
    wave = speech_like(0.73)[None]
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0], block_frames=8)
    with (tmp_path / "a.vpc").open("wb") as file:
        writer = FileWriter(file, encoder.header, tiny_codec.entropy)
        for packet in encoder.push(wave) + encoder.flush():
            writer.write_packet(packet)
        writer.close(wave.shape[1])
    data = (tmp_path / "a.vpc").read_bytes()
    assert decode_cut(tiny_codec, data, np.random.default_rng(0)).shape == wave.shape


def test_silence_costs_next_to_nothing_and_comes_back_silent(tiny_codec):
    wave = np.zeros((1, 16000 * 60), np.float32)
    wave[:, :16000] = speech_like(1.0)
    one, all_of_it = (len(tiny_codec.compress(w, levels=9)) for w in (wave[:, :16000], wave))
    assert all_of_it - one < 64  # the rest of the block in which the voice ends, and a packet of silence
    back, _ = tiny_codec.decompress(tiny_codec.compress(wave, levels=9))
    tail = back[:, FILE_BLOCK_FRAMES * 320 + 160 :]  # behind the block in which the voice ends, and its overlap
    assert np.abs(tail).max() == 0
    assert np.abs(back[:, :16000]).max() > 0.01


def test_sound_after_silence_is_coded_as_at_the_start(tiny_codec):
    voice, blocks = speech_like(0.96), 2 * FILE_BLOCK_FRAMES * 320
    late, _ = tiny_codec.decompress(tiny_codec.compress(np.append(np.zeros(blocks, np.float32), voice), levels=9))
    first, _ = tiny_codec.decompress(tiny_codec.compress(voice, levels=9))
    assert np.abs(late[0, : blocks - tiny_codec.delay_samples]).max() == 0
    np.testing.assert_array_equal(late[:, blocks:], first)


def test_lost_packets_are_concealed_and_time_is_kept(tiny_codec):
    wave = stereo(2.0)
    encoder = StreamEncoder(tiny_codec, tiny_codec.choose_rate(levels=9), 2, block_frames=1, packet_frames=1)
    packets = [*encoder.push(wave), *encoder.flush(), encoder.end()]
    whole = decode_cut(tiny_codec, encoder.header.pack() + b"".join(packets))
    decoder = StreamDecoder(tiny_codec)
    damaged = decoder.push(encoder.header.pack() + b"".join(packets[:40] + packets[60:]))
    damaged = np.concatenate([damaged, decoder.flush()], axis=1)
    assert decoder.lost_frames == 20
    assert decoder.problems
    assert damaged.shape == whole.shape
    np.testing.assert_array_equal(damaged[:, : 39 * 320], whole[:, : 39 * 320])
    assert np.abs(damaged[:, 50 * 320 : 59 * 320]).max() < 1e-6  # faded out after 100 ms
    assert np.abs(damaged[:, 62 * 320 :]).max() > 0.01


def test_silence_sent_after_a_loss_brings_nothing_back(tiny_codec):
    wave = np.concatenate([speech_like(0.5), np.zeros(16000, np.float32)])[None]
    encoder = StreamEncoder(tiny_codec, tiny_codec.choose_rate(levels=9))
    packets = [*encoder.push(wave), *encoder.flush(), encoder.end()]
    decoder = StreamDecoder(tiny_codec)
    kept = b"".join(packets[:10] + packets[35:])  # half a second is lost, the voice's end and silence behind it
    sound = np.concatenate([decoder.push(encoder.header.pack() + kept), decoder.flush()], axis=1)
    assert decoder.lost_frames == 25
    assert sound.shape == wave.shape
    assert np.abs(sound[:, 16 * 320 :]).max() == 0  # the fade of 100 ms is over


def test_a_live_stream_of_another_rate_ends_at_the_exact_sample(tiny_codec):
    source = speech_like(0.5, 44100)[None, :22001]
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0], source_rate=44100)
    resampler = Resampler(44100, 16000, 1)
    pieces = [resampler.push(source), resampler.flush()]
    packets = [packet for piece in pieces for packet in encoder.push(piece)] + encoder.flush()
    back, rate = tiny_codec.decompress(b"".join([encoder.header.pack(), *packets, encoder.end(22001)]))
    assert (rate, back.shape) == (44100, (1, 22001))


def test_a_header_that_asks_for_huge_blocks_or_rates_is_refused(tiny_codec):
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    lying = dataclasses.replace(encoder.header, block_frames=1 << 16)
    with pytest.raises(BitstreamError, match="blocks of 65536"):
        StreamDecoder(tiny_codec).push(lying.pack())
    for source_rate in (1, 1 << 24):
        with pytest.raises(BitstreamError, match="Hz"):
            StreamDecoder(tiny_codec).push(dataclasses.replace(encoder.header, source_rate=source_rate).pack())
        with pytest.raises(UsageError, match="Hz"):
            StreamEncoder(tiny_codec, tiny_codec.rates[0], source_rate=source_rate)
    for block_frames in (0, 1 << 16):
        with pytest.raises(UsageError, match="blocks of"):
            StreamEncoder(tiny_codec, tiny_codec.rates[0], block_frames=block_frames)


def test_batches_with_lengths_agree_with_single_rows(tiny_codec):
    rows = [speech_like(0.8, seed=1), speech_like(0.5, seed=2)]
    batch = np.full((2, len(rows[0])), np.nan, np.float32)  # what lies beyond a length is not looked at
    for row, wave in zip(batch, rows, strict=True):
        row[: len(wave)] = wave
    lengths = torch.tensor([len(wave) for wave in rows])
    tokens = tiny_codec.encode(torch.from_numpy(batch), lengths=lengths, rate=tiny_codec.rates[1])
    back = tiny_codec.decode(tokens)
    for i, wave in enumerate(rows):
        alone = tiny_codec.encode(torch.from_numpy(wave), rate=tiny_codec.rates[1])
        frames = tiny_codec.frames_for(len(wave))
        assert (alone.indices[0, :frames] == tokens.indices[i, :frames]).float().mean() > 0.99
        assert (back[i, len(wave) :] == 0).all()
    torch.testing.assert_close(tiny_codec.decode(alone), back[1:, : len(rows[1])], atol=1e-3, rtol=0)


def test_compressing_and_the_token_interface_agree(tiny_codec):
    wave = speech_like(1.0)
    rate = tiny_codec.choose_rate(levels=9)
    direct = tiny_codec.decode(tiny_codec.encode(torch.from_numpy(wave), rate))
    through_bytes, _ = tiny_codec.decompress(tiny_codec.compress(wave, levels=9))
    np.testing.assert_allclose(through_bytes, direct.numpy(), atol=1e-6)


def test_another_model_is_refused_by_name(tiny_codec):
    other = type(tiny_codec).of(tiny_codec.net)
    data = other.compress(speech_like(0.2), levels=9)
    with pytest.raises(ModelError, match="0000000000000000"):
        tiny_codec.decompress(data)


def test_bad_input_is_refused(tiny_codec):
    for bad in (np.nan, np.inf):
        with pytest.raises(AudioError, match="NaN or infinity"):
            tiny_codec.compress(np.array([0.0, bad], np.float32), levels=9)
    with pytest.raises(AudioError, match="NaN or infinity"):
        tiny_codec.encode(torch.tensor([0.0, torch.nan]), tiny_codec.rates[0])
    with pytest.raises(AudioError, match="divide"):
        tiny_codec.compress(np.zeros(10, np.int16), levels=9)
    with pytest.raises(AudioError, match="divide"):
        tiny_codec.compress(np.full(10, 20_000.0), levels=9)
    with pytest.raises(AudioError, match="transpose"):
        tiny_codec.compress(np.zeros((160, 2)), levels=9)
    with pytest.raises(AudioError, match="shape"):
        tiny_codec.compress(np.zeros((1, 1, 2)), levels=9)
    for rate in (0, -1, 100, 1_000_000):
        with pytest.raises(AudioError, match="Hz"):
            tiny_codec.compress(np.zeros(10), rate, levels=9)
    with pytest.raises(BitstreamError):
        tiny_codec.decompress(b"no such thing")
    with pytest.raises(BitstreamError):
        tiny_codec.decompress(b"")
    encoder = StreamEncoder(tiny_codec, tiny_codec.rates[0])
    with pytest.raises(UsageError, match="1 channels"):
        encoder.push(np.zeros((2, 10), np.float32))
    with pytest.raises(AudioError, match="NaN"):
        encoder.push(np.array([[0.0, np.nan]], np.float32))
    encoder.flush()
    with pytest.raises(UsageError, match="flushed"):
        encoder.push(np.zeros((1, 10), np.float32))


@pytest.mark.parametrize("wave", [np.full(8000, 0.5), np.sign(np.sin(np.arange(8000) / 9)), np.full(8000, 3.0)])
def test_direct_current_clipping_and_overs_are_coded_without_complaint(tiny_codec, wave):
    back, _ = tiny_codec.decompress(tiny_codec.compress(wave.astype(np.float32), levels=9))
    assert back.shape == (1, 8000)
    assert np.isfinite(back).all()


def test_rate_knob(tiny_codec):
    wave = speech_like(4.0)
    sizes = [len(tiny_codec.compress(wave, levels=rate.base_levels)) for rate in tiny_codec.rates]
    assert sizes == sorted(sizes)
    assert tiny_codec.choose_rate(bitrate_kbps=1000).base_levels == 17
    chosen = tiny_codec.choose_rate(bitrate_kbps=tiny_codec.rates[1].expected_bps / 1000)
    assert chosen == tiny_codec.rates[1]
    with pytest.raises(UsageError, match="lowest rate"):
        tiny_codec.choose_rate(bitrate_kbps=0.01)
    with pytest.raises(UsageError, match="3, 5, 9, 17"):
        tiny_codec.choose_rate(levels=4)
    with pytest.raises(UsageError, match="not both"):
        tiny_codec.choose_rate(bitrate_kbps=1, levels=9)
