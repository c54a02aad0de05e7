"""The trainable whole: encoder, bottleneck, decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.bottleneck import build_bottleneck
from audiocodec.config import ModelConfig
from audiocodec.nn.seanet import Decoder, Encoder


@dataclass(frozen=True)
class CodecOutput:
    """One training pass."""

    audio: Tensor
    """``[batch, samples]``, aligned with the input."""
    latents: Tensor
    """``[batch, frames, dims]``, before the bottleneck."""
    penalty: Tensor
    """Scalar: the bottleneck's regulariser."""


class CodecNet(nn.Module):
    """Encoder, bottleneck and decoder of one config."""

    level_line: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.bottleneck = build_bottleneck(config.bottleneck, config.dims, config.pitch)
        self.decoder = Decoder(config)
        # In float64, as ModelConfig.levels: training and inference must agree at every half.
        line = torch.tensor([config.level_scale, config.offsets], dtype=torch.float64)
        self.register_buffer("level_line", line, persistent=False)

    @property
    def delay_samples(self) -> int:
        """By how much the decoder's output lags behind the input: the overlap of the stem."""
        return self.config.stem_hop

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: a whole token frame, and the overlap its last output waits for."""
        return self.config.hop_samples + self.delay_samples

    @property
    def decoder_context_frames(self) -> int:
        """Past token frames that one output sample depends on: what a seek must decode first."""
        stem = self.decoder.stem_units.context + 1  # one stem frame more for the overlap
        return self.decoder.frame_units.context + -(-stem // self.config.stem_frames)

    def levels_of(self, base: Tensor) -> Tensor:
        """Base level counts ``[batch]`` to the level count of each dimension, ``[batch, dims]``."""
        scale, offset = self.level_line
        levels = torch.floor(base[:, None] * scale + offset + 0.5).to(torch.int64)
        return levels.clamp(1, self.config.max_levels)

    def forward(self, wave: Tensor, base_levels: Tensor, quantise: bool = True, frame_loss: float = 0.0) -> CodecOutput:
        """``wave [batch, samples]``, ``base_levels [batch]`` to the reconstruction, aligned with the input.

        ``quantise=False`` passes the latents undisturbed, for the first steps of a training run. Of the frames, the
        decoder is given a share ``frame_loss`` as a stream conceals them that lost them: the last one again.
        """
        samples = wave.shape[1]
        delay, hop = self.delay_samples, self.config.hop_samples
        padded = F.pad(wave, (0, delay + (-(samples + delay)) % hop))
        detail = torch.log2(base_levels.float())
        latents = self.encoder(padded, detail)
        levels = self.levels_of(base_levels)
        with torch.autocast(wave.device.type, enabled=False):
            latents = latents.float()
            learnt = latents[..., : self.config.envelope_dims + self.config.shape_dims]  # the pitch is not learnt
            penalty = self.bottleneck.penalty(learnt)
            seen = self.bottleneck(latents, levels) if quantise else self.bottleneck.undisturbed(latents)
        if frame_loss:
            seen = repeated(seen, torch.rand(seen.shape[:2], device=seen.device) < frame_loss)
        start = torch.randint(0, self.config.noise_frames, (wave.shape[0],), device=wave.device)
        audio = self.decoder(seen, detail, start)
        return CodecOutput(audio[:, delay : delay + samples].float(), latents, penalty)


def repeated(latents: Tensor, lost: Tensor) -> Tensor:
    """``latents [batch, frames, dims]`` with each ``lost [batch, frames]`` one replaced by the last that is not."""
    places = torch.arange(latents.shape[1], device=latents.device)
    last = torch.where(lost, 0, places).cummax(dim=1).values
    return latents.gather(1, last[..., None].expand_as(latents))
