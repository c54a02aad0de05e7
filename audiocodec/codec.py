"""The codec: waveform to tokens to bytes, and back.

All inference runs through the network's ``step`` at one fixed block length, because a convolution over a chunk is
not bit-equal to the same convolution over a whole file: any cutting of the input must give the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec import models
from audiocodec.audio.samples import float_samples
from audiocodec.errors import ModelError, UsageError
from audiocodec.facts import ModelFacts
from audiocodec.modelfiles import TABLES, ModelFiles, read_files
from audiocodec.prediction import PREDICTOR, Predictor
from audiocodec.rates import RateSetting, packet_bps
from audiocodec.runtime import Runtime, RuntimeName, open_runtime
from audiocodec.stereo import MidSide, Stereo
from audiocodec.streaming.limits import FILE_BLOCK_FRAMES

if TYPE_CHECKING:
    from torch import Tensor

    from audiocodec.bitstream import EntropyModel, StreamHeader
    from audiocodec.config import ModelConfig
    from audiocodec.nn.model import CodecNet

DEFAULT_BITRATE_KBPS = 3.0
FULL_BAND_BITRATE_KBPS = 6.0
"""The default of models at more than 24 kHz: they are for music, which is noise in bands at 3 kbps."""

Rates = RateSetting | Sequence[RateSetting]


@dataclass(frozen=True)
class Tokens:
    """Integers of a batch: ``indices [batch, frames, groups] int64``, ``lengths [batch]`` in samples.

    Tensors where a tensor was encoded, NumPy arrays otherwise.
    """

    indices: Any
    rate: RateSetting
    lengths: Any


def load(model: str | Path = models.DEFAULT, device: str = "cpu", runtime: RuntimeName = "auto") -> Codec:
    """Load a codec by model name or folder.

    Args:
        model: name or folder.
        device: ``cpu``, or what torch knows, such as ``cuda``.
        runtime: ``onnx`` (ONNX Runtime, without torch, on one CPU thread), ``torch``, or ``auto``: onnx where it is
            installed and the model has its graphs.

    Raises:
        ModelError: it is not installed or damaged, or its codebooks were not made yet.
        MissingExtraError: the runtime is not installed.
        UsageError: no such runtime.
    """
    files = read_files(models.resolve(model))
    return Codec(open_runtime(files, runtime, str(device)), files)


class Codec:
    """A loaded model. Holds no stream: any number of streams, in any thread, may share it."""

    def __init__(self, runtime: Runtime, files: ModelFiles | None = None) -> None:
        """``files`` is None for a network that was never saved; its streams carry a zero fingerprint."""
        self.runtime = runtime
        self.files = files
        self.fingerprint = files.fingerprint if files else bytes(8)
        self.rates = tuple(self._setting(base) for base in self.facts.settings)
        self._entropy: EntropyModel | None = None

    @classmethod
    def of(cls, net: CodecNet, files: ModelFiles | None = None) -> Codec:
        """A codec that runs ``net`` by torch."""
        from audiocodec.runtime.torch_runtime import TorchRuntime

        return cls(TorchRuntime(net), files)

    @property
    def facts(self) -> ModelFacts:
        """The model's geometry."""
        return self.runtime.facts

    @cached_property
    def net(self) -> CodecNet:
        """The network as a torch module, loaded now where another runtime runs it. Raises ImportError without torch."""
        from audiocodec.runtime.torch_runtime import TorchRuntime

        if isinstance(self.runtime, TorchRuntime):
            return self.runtime.net
        from audiocodec.checkpoint import load_model

        assert self.files is not None  # only a network can be without
        return load_model(self.files.folder)[0]

    @property
    def config(self) -> ModelConfig:
        """The model's settings."""
        return self.files.config if self.files else self.net.config

    @property
    def sample_rate(self) -> int:
        """Samples per second that the network works at."""
        return self.facts.sample_rate

    @property
    def hop_samples(self) -> int:
        """Samples per frame."""
        return self.facts.hop_samples

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.facts.frame_rate

    @property
    def delay_samples(self) -> int:
        """Samples to trim from the start of the decoder's output."""
        return self.facts.delay_samples

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: framing and overlap."""
        return self.hop_samples + self.delay_samples

    @property
    def device(self) -> str:
        """Where the network is."""
        return self.runtime.device

    @property
    def entropy(self) -> EntropyModel | None:
        """The range coder's tables, or None if the model has none. Raises ModelError if they are damaged."""
        if self._entropy is None and self.files is not None and (self.files.folder / TABLES).exists():
            from audiocodec.bitstream import EntropyModel

            self._entropy = EntropyModel.load(self.files.folder / TABLES)
        return self._entropy

    @cached_property
    def predictor(self) -> Predictor | None:
        """What estimates lost frames, or None if the model has none. Raises ModelError if it is damaged."""
        if self.files is None or not (self.files.folder / PREDICTOR).exists():
            return None
        return Predictor.load(self.files.folder / PREDICTOR, self.facts.dims)

    def choose_rate(
        self,
        bitrate_kbps: float | None = None,
        levels: int | None = None,
        *,
        packet_frames: int | None = None,
        channels: int = 1,
    ) -> RateSetting:
        """The setting for ``levels``, or the best one expected to stay at or below ``bitrate_kbps`` a channel.

        Without either: at or below 3 kbps in files, 6 for a model at more than 24 kHz, or the lowest there is.

        Args:
            bitrate_kbps: of files; with ``packet_frames``, of a stream in packets of so many frames and ``channels``,
                which costs more.
            levels: a base level count.
            packet_frames: counts for ``bitrate_kbps`` alone.
            channels: that share each packet.

        Raises:
            UsageError: a bitrate and levels are given, or the model has no such setting.
        """
        if bitrate_kbps is not None and levels is not None:
            raise UsageError("give a bitrate or a level count, not both")
        if channels < 1 or (packet_frames is not None and packet_frames < 1):
            raise UsageError(f"packets of {packet_frames} frames of {channels} channels; give 1 or more of both")
        if levels is not None:
            for setting in self.rates:
                if setting.base_levels == levels:
                    return setting
            raise UsageError(f"no setting with {levels} levels; there are {', '.join(map(str, self.facts.settings))}")
        if bitrate_kbps is None:
            usual = FULL_BAND_BITRATE_KBPS if self.facts.sample_rate > 24000 else DEFAULT_BITRATE_KBPS
            fitting = [setting for setting in self.rates if setting.expected_bps <= 1000 * usual]
            return max(fitting or [min(self.rates, key=_file_bps)], key=_file_bps)
        if packet_frames is None:
            return self._at_most(bitrate_kbps, _file_bps, "")
        kind = f" in packets of {packet_frames} frame{'s' * (packet_frames > 1)}"
        return self._at_most(bitrate_kbps, lambda one: packet_bps(one, self.frame_rate, packet_frames, channels), kind)

    def _at_most(self, kbps: float, cost: Callable[[RateSetting], float], kind: str) -> RateSetting:
        """The best setting that costs so much or less. Raises UsageError, which speaks of ``kind``, without one."""
        fitting = [setting for setting in self.rates if cost(setting) <= 1000 * kbps]
        if not fitting:
            least = min(map(cost, self.rates)) / 1000
            raise UsageError(f"{kbps:g} kbps is less than this model can do{kind}; its lowest rate is {least:.2f} kbps")
        return max(fitting, key=cost)

    def frames_for(self, samples: int) -> int:
        """Frames needed so that decoding gives back ``samples`` samples."""
        return -(-(samples + self.delay_samples) // self.hop_samples) if samples else 0

    def encode(
        self, waveform: NDArray[np.floating[Any]] | Tensor, rate: RateSetting | None = None, lengths: Any = None
    ) -> Tokens:
        """``waveform [batch, samples]`` (or ``[samples]``), float in [-1, 1], array or tensor, to tokens.

        ``lengths [batch]`` are the valid samples of each row; what lies beyond is taken as silence, and frames beyond
        ``frames_for(length)`` mean nothing.

        Raises:
            AudioError: NaN, infinity or an amplitude that only unscaled integers have, within the lengths.
            UsageError: lengths of another shape.
        """
        rate = rate or self.choose_rate()
        wave = np.atleast_2d(_array(waveform)).astype(np.float32)
        batch, samples = wave.shape
        sizes = np.full(batch, samples) if lengths is None else _array(lengths).astype(np.int64)
        if sizes.shape != (batch,):
            raise UsageError(f"lengths have shape {sizes.shape}; expected [{batch}], one for each row")
        wave[np.arange(samples) >= sizes[:, None]] = 0.0
        float_samples(wave)
        frames, block = self.frames_for(samples), FILE_BLOCK_FRAMES
        step = block * self.hop_samples
        padded = np.pad(wave, ((0, 0), (0, -(-frames // block) * step - samples)))
        state, parts = self.runtime.encoder_state(batch), [np.zeros((batch, 0, self.facts.tokens), np.int64)]
        if not batch:
            parts = [np.zeros((0, frames, self.facts.tokens), np.int64)]
        for start in range(0, padded.shape[1] if batch else 0, step):
            indices, state = self.encode_block(padded[:, start : start + step], rate, state)
            parts.append(indices)
        indices = np.concatenate(parts, axis=1)[:, :frames]
        return Tokens(_like(waveform, indices), rate, _like(waveform, sizes))

    def decode(self, tokens: Tokens) -> Any:
        """Tokens to ``[batch, samples]``, rows shorter than the longest ending in zeros; a tensor if they are.

        Raises:
            UsageError: an index lies outside its alphabet, or there are too few frames for the lengths.
        """
        indices, lengths = _array(tokens.indices), _array(tokens.lengths)
        samples = int(lengths.max()) if len(lengths) else 0
        frames = self.frames_for(samples)
        self._check_indices(indices, tokens.rate, frames)
        indices, block = indices[:, :frames], FILE_BLOCK_FRAMES
        padded = np.pad(indices, ((0, 0), (0, -indices.shape[1] % block), (0, 0)))
        state = self.runtime.decoder_state(len(indices))
        parts = [np.zeros((len(indices), 0), np.float32)]
        for start in range(0, padded.shape[1] if samples else 0, block):
            wave, state = self.decode_block(padded[:, start : start + block], tokens.rate, state)
            parts.append(wave)
        wave = np.concatenate(parts, axis=1)[:, self.delay_samples : self.delay_samples + samples]
        return _like(tokens.indices, wave * (np.arange(samples) < lengths[:, None]))

    def encode_block(self, wave: NDArray[np.float32], rate: Rates, state: Any) -> tuple[NDArray[np.int64], Any]:
        """One block ``[batch, frames * hop]`` to indices ``[batch, frames, groups]`` and the state after it.

        ``rate`` is one setting for all rows, or one for each; the first ``state`` is ``runtime.encoder_state(batch)``.
        """
        return self.runtime.encode(wave, _each(rate, len(wave)), state)

    def decode_block(self, indices: NDArray[np.int64], rate: Rates, state: Any) -> tuple[NDArray[np.float32], Any]:
        """One block of indices to ``[batch, frames * hop]`` and the state after it."""
        return self.runtime.decode(indices, _each(rate, len(indices)), state)

    def compress(
        self,
        waveform: NDArray[np.floating[Any]],
        sample_rate: int | None = None,
        *,
        bitrate_kbps: float | None = None,
        levels: int | None = None,
        mode: Literal["raw", "range"] = "range",
        stereo: Stereo = "auto",
    ) -> bytes:
        """``waveform [samples]`` or ``[channels, samples]`` to the bytes of a .vpc file.

        ``stereo`` says how two channels are coded for the bits of two: independent, as mid and side, or what suits.

        Raises:
            AudioError: NaN or infinity, integers, more than two channels, or a rate outside 8 to 192 kHz.
            UsageError: no such rate setting.
        """
        from audiocodec.memory import compress

        rate = self.choose_rate(bitrate_kbps, levels)
        return compress(self, waveform, self.sample_rate if sample_rate is None else sample_rate, rate, mode, stereo)

    def decompress(self, data: bytes) -> tuple[NDArray[np.float32], int]:
        """The bytes of a .vpc file to ``([channels, samples], sample_rate)``.

        Raises:
            BitstreamError: the stream is damaged.
            ModelError: another model made it.
        """
        from audiocodec.memory import decompress

        return decompress(self, data)

    def rate_of(self, header: StreamHeader) -> RateSetting | MidSide:
        """What a stream was made with: one setting, or those of mid and side. Raises ModelError for other levels."""
        mid = self._setting_with(header.levels)
        if header.side_levels is None:
            return mid
        return MidSide(mid, None if header.side_absent else self._setting_with(header.side_levels))

    def _setting_with(self, levels: tuple[int, ...]) -> RateSetting:
        for setting in self.rates:
            if setting.levels == levels:
                return setting
        raise ModelError("the stream's level counts are none that its model offers; it was not made by this model")

    def check_header(self, header: StreamHeader) -> None:
        """Raises ModelError unless this model made the stream."""
        if header.fingerprint != self.fingerprint:
            made, ours = header.fingerprint.hex(), self.fingerprint.hex()
            raise ModelError(f"made by model {made}, but the model given is {ours}; pass --model PATH to the right one")
        if (header.sample_rate, header.hop_samples) != (self.sample_rate, self.hop_samples):
            raise ModelError("the stream's geometry is not its model's; the header is wrong")

    def _setting(self, base: int) -> RateSetting:
        levels = self.facts.settings[base]
        raw = float(np.log2(levels).sum() * self.frame_rate)
        measured = (self.files.rates if self.files else {}).get(str(base), {})
        return RateSetting(base, levels, raw, float(measured.get("file_bps", raw)))

    def _check_indices(self, indices: NDArray[Any], rate: RateSetting, frames: int) -> None:
        if indices.ndim != 3 or indices.shape[2] != self.facts.tokens or indices.shape[1] < frames:
            raise UsageError(f"indices have shape {indices.shape}; expected [batch, {frames}, {self.facts.tokens}]")
        if ((indices < 0) | (indices >= np.array(rate.levels)))[:, :frames].any():
            raise UsageError("an index lies outside its alphabet")


def _file_bps(setting: RateSetting) -> float:
    return setting.expected_bps


def _each(rate: Rates, rows: int) -> Sequence[RateSetting]:
    return [rate] * rows if isinstance(rate, RateSetting) else rate


def _array(values: Any) -> NDArray[Any]:
    """An array, or a tensor of any device as one."""
    if not isinstance(values, np.ndarray) and hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()  # NumPy knows no bfloat16
    return np.asarray(values)


def _like(given: Any, array: NDArray[Any]) -> Any:
    """``array`` as a tensor on the device of ``given``, where that is one."""
    if not hasattr(given, "cpu"):
        return array
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(given.device)
