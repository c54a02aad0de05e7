"""The codec: waveform to tokens to bytes, and back.

All inference runs through the network's ``step`` at one fixed block length, because a convolution over a chunk is
not bit-equal to the same convolution over a whole file: any cutting of the input must give the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from audiocodec import models
from audiocodec.checkpoint import TABLES, ModelFiles, load_model
from audiocodec.errors import AudioError, ModelError, UsageError
from audiocodec.stereo import MidSide, Stereo
from audiocodec.threads import one_thread

if TYPE_CHECKING:
    from audiocodec.bitstream import EntropyModel, StreamHeader
    from audiocodec.config import ModelConfig
    from audiocodec.nn.model import CodecNet

DEFAULT_BITRATE_KBPS = 3.0
FULL_BAND_BITRATE_KBPS = 6.0
"""The default of models at more than 24 kHz: they are for music, which is noise in bands at 3 kbps."""


@dataclass(frozen=True)
class RateSetting:
    """One point of a model's rate knob."""

    base_levels: int
    """What ``--levels`` names: the base level count."""
    levels: tuple[int, ...]
    """Size of each token's alphabet; 1 means absent."""
    raw_bps: float
    """Bits a second before entropy coding."""
    expected_bps: float
    """Written bits a second that three quarters of speech files stay below; ``raw_bps`` where none were measured."""


Rates = RateSetting | Sequence[RateSetting]


@dataclass(frozen=True)
class Tokens:
    """Integers of a batch: ``indices [batch, frames, groups] int64``, ``lengths [batch]`` in samples."""

    indices: Tensor
    rate: RateSetting
    lengths: Tensor


def load(model: str | Path = models.DEFAULT, device: str | torch.device = "cpu") -> Codec:
    """Load a codec by model name or folder.

    Raises:
        ModelError: it is not installed or damaged, or its codebooks were not made yet.
    """
    folder = models.resolve(model)
    net, files = load_model(folder, device)
    try:
        for base in files.config.level_settings:
            net.bottleneck.alphabet(files.config.levels(base))
    except ValueError as error:
        made = f"audiocodec codebook {folder} --size N --data DIR -o NEW"
        raise ModelError(f"{folder} cannot encode yet: {error}; make codebooks: {made}") from None
    return Codec(net, files)


class Codec:
    """A loaded model. Holds no stream: any number of streams may share it."""

    def __init__(self, net: CodecNet, files: ModelFiles | None = None) -> None:
        """``files`` is None for a network that was never saved; its streams carry a zero fingerprint."""
        self.net = net.eval()
        self.files = files
        self.fingerprint = files.fingerprint if files else bytes(8)
        self.rates = tuple(self._setting(base) for base in self.config.level_settings)
        self._entropy: EntropyModel | None = None

    @property
    def config(self) -> ModelConfig:
        """The model's settings."""
        return self.net.config

    @property
    def sample_rate(self) -> int:
        """Samples per second that the network works at."""
        return self.config.sample_rate

    @property
    def hop_samples(self) -> int:
        """Samples per frame."""
        return self.config.hop_samples

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.config.frame_rate

    @property
    def delay_samples(self) -> int:
        """Samples to trim from the start of the decoder's output."""
        return self.net.delay_samples

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: framing and overlap."""
        return self.net.latency_samples

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

    @property
    def entropy(self) -> EntropyModel | None:
        """The range coder's tables, or None if the model has none. Raises ModelError if they are damaged."""
        if self._entropy is None and self.files is not None and (self.files.folder / TABLES).exists():
            from audiocodec.bitstream import EntropyModel

            self._entropy = EntropyModel.load(self.files.folder / TABLES)
        return self._entropy

    def choose_rate(self, bitrate_kbps: float | None = None, levels: int | None = None) -> RateSetting:
        """The setting for ``levels``, or the best one expected to stay at or below ``bitrate_kbps``.

        Without either: at or below 3 kbps, 6 for a model at more than 24 kHz, or the lowest there is.

        Raises:
            UsageError: both are given, or the model has no such setting.
        """
        if bitrate_kbps is not None and levels is not None:
            raise UsageError("give a bitrate or a level count, not both")
        if levels is not None:
            for setting in self.rates:
                if setting.base_levels == levels:
                    return setting
            raise UsageError(
                f"no setting with {levels} levels; there are {', '.join(map(str, self.config.level_settings))}"
            )
        usual = FULL_BAND_BITRATE_KBPS if self.config.sample_rate > 24000 else DEFAULT_BITRATE_KBPS
        wanted = usual if bitrate_kbps is None else bitrate_kbps
        fitting = [setting for setting in self.rates if setting.expected_bps <= wanted * 1000]
        if not fitting and bitrate_kbps is None:
            return min(self.rates, key=lambda setting: setting.expected_bps)
        if not fitting:
            least = min(setting.expected_bps for setting in self.rates) / 1000
            raise UsageError(f"{wanted:g} kbps is less than this model can do; its lowest rate is {least:.2f} kbps")
        return max(fitting, key=lambda setting: setting.expected_bps)

    def frames_for(self, samples: int) -> int:
        """Frames needed so that decoding gives back ``samples`` samples."""
        return -(-(samples + self.delay_samples) // self.hop_samples) if samples else 0

    @torch.inference_mode()
    def encode(self, waveform: Tensor, rate: RateSetting | None = None, lengths: Tensor | None = None) -> Tokens:
        """``waveform [batch, samples]`` (or ``[samples]``), float in [-1, 1], to tokens.

        ``lengths [batch]`` are the valid samples of each row; what lies beyond is taken as silence, and frames beyond
        ``frames_for(length)`` mean nothing.

        Raises:
            AudioError: NaN or infinity within the lengths.
        """
        rate = rate or self.choose_rate()
        wave = torch.atleast_2d(waveform).to(self.device, torch.float32)
        batch, samples = wave.shape
        sizes = torch.full((batch,), samples) if lengths is None else lengths.cpu().to(torch.int64)
        wave = wave.masked_fill(torch.arange(samples, device=self.device) >= sizes.to(self.device)[:, None], 0.0)
        if not bool(torch.isfinite(wave).all()):
            raise AudioError("the waveform holds NaN or infinity; clean it first")
        frames, block = self.frames_for(samples), self.config.file_block_frames
        padded = F.pad(wave, (0, -(-frames // block) * block * self.hop_samples - samples))
        state, parts = self.net.encoder.initial_state(batch), []
        for chunk in padded.split(block * self.hop_samples, dim=1) if frames else ():
            indices, state = self.encode_block(chunk, rate, state)
            parts.append(indices)
        empty = torch.zeros(batch, 0, self.config.tokens, dtype=torch.int64)
        return Tokens(torch.cat(parts, dim=1)[:, :frames] if parts else empty, rate, sizes)

    @torch.inference_mode()
    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens to ``[batch, samples]``, rows shorter than the longest ending in zeros.

        Raises:
            UsageError: an index lies outside its alphabet, or there are too few frames for the lengths.
        """
        indices = tokens.indices.to(self.device)
        samples = int(tokens.lengths.max()) if len(tokens.lengths) else 0
        self._check_indices(indices, tokens.rate, self.frames_for(samples))
        block = self.config.file_block_frames
        state, parts = self.net.decoder.initial_state(indices.shape[0]), []
        for chunk in F.pad(indices, (0, 0, 0, -indices.shape[1] % block)).split(block, dim=1) if samples else ():
            wave, state = self.decode_block(chunk, tokens.rate, state)
            parts.append(wave)
        if not parts:
            return torch.zeros(indices.shape[0], 0)
        wave = torch.cat(parts, dim=1)[:, self.delay_samples : self.delay_samples + samples]
        return wave * (torch.arange(samples, device=self.device) < tokens.lengths.to(self.device)[:, None])

    @torch.inference_mode()
    def encode_block(self, wave: Tensor, rate: Rates, state: Any) -> tuple[Tensor, Any]:
        """One block ``[batch, frames * hop]`` to indices ``[batch, frames, groups]`` and the state after it.

        ``rate`` is one setting for all rows, or one for each.
        """
        detail, levels = self._conditioning(rate, wave.shape[0])
        with one_thread():
            latents, state = self.net.encoder.step(wave, detail, state)
            return self.net.bottleneck.indices(latents, levels), state

    @torch.inference_mode()
    def decode_block(self, indices: Tensor, rate: Rates, state: Any) -> tuple[Tensor, Any]:
        """One block of indices to ``[batch, frames * hop]`` and the state after it."""
        detail, levels = self._conditioning(rate, indices.shape[0])
        with one_thread():
            return self.net.decoder.step(self.net.bottleneck.from_indices(indices, levels), detail, state)

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

    def _conditioning(self, rate: Rates, batch: int) -> tuple[Tensor, Tensor]:
        rows = [rate] * batch if isinstance(rate, RateSetting) else rate
        base = torch.tensor([float(row.base_levels) for row in rows], device=self.device)
        return torch.log2(base), torch.tensor([row.levels for row in rows], device=self.device)

    def _setting(self, base: int) -> RateSetting:
        levels = self.config.levels(base)
        raw = float(np.log2(levels).sum() * self.frame_rate)
        measured = (self.files.rates if self.files else {}).get(str(base), {})
        return RateSetting(base, levels, raw, float(measured.get("file_bps", raw)))

    def _check_indices(self, indices: Tensor, rate: RateSetting, frames: int) -> None:
        if indices.ndim != 3 or indices.shape[2] != self.config.tokens or indices.shape[1] < frames:
            raise UsageError(
                f"indices have shape {tuple(indices.shape)}; expected [batch, {frames}, {self.config.tokens}]"
            )
        limit = torch.tensor(rate.levels, device=indices.device)
        if bool(((indices < 0) | (indices >= limit))[:, :frames].any()):
            raise UsageError("an index lies outside its alphabet")
