"""Train the network that estimates lost frames for a finished codec, which stays as it is.

python -m audiocodec.train.predictor pretrained/speech-16k --data data/free_speech --cache data/cache

Recordings are encoded at all of the model's rates. Stretches of their latents lose frames, alone and in a row, with
what follows known or not; the network learns first to come near the lost latents, then, through the frozen decoder,
that what is heard comes near what would have been heard without the loss (the losses of training, ``train/losses.py``).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save as serialise
from torch import Tensor, nn

from audiocodec.checkpoint import load_model
from audiocodec.codec import Codec, load
from audiocodec.errors import AudiocodecError, DataError
from audiocodec.modelfiles import write_atomically
from audiocodec.nn.model import CodecNet
from audiocodec.nn.predictor import FramePredictor
from audiocodec.prediction import GAP_FRAMES, PREDICTOR
from audiocodec.train.average import Average
from audiocodec.train.losses import LossConfig, ReconstructionLoss
from audiocodec.train.loudness import SAMPLE_RATE as LOUDNESS_RATE
from audiocodec.train.measure import Recording, draw_recordings, encode_all, split_excerpts
from audiocodec.train.shards import Corpus

LOSS_LENGTHS = (0.5, 0.22, 0.13, 0.08, 0.07)  # shares of losses of 1 to GAP_FRAMES frames
_SPACING = 12  # frames: of each so many, one loss
_LOSSES = 3  # in a stretch
_EXCERPTS = 60  # of 8 s, at most, at each rate
_LATENT_ROWS, _SOUND_ROWS = 512, 24
_ABSENT_SHARE = 0.05  # of stretches that begin with the stream: no past
_CLIP = 1.0


@dataclass(frozen=True)
class PredictorSettings:
    """How much is trained, and how."""

    context: int = 8
    width: int = 320
    latent_steps: int = 2000
    sound_steps: int = 500
    latent_rate: float = 2e-3
    sound_rate: float = 5e-4
    latent_weight: float = 0.2
    """Of the squared error of latents beside the losses of sound."""
    known_share: float = 0.6
    """Of losses whose following frame is known."""


@dataclass(frozen=True)
class Stretches:
    """Latents of one rate, ``[excerpts, frames, dims]``, and log2 of its base level count."""

    latents: Tensor
    detail: float


def encode_stretches(codec: Codec, excerpts: Sequence[Recording]) -> list[Stretches]:
    """Each rate's latents of its share of the excerpts."""
    found = []
    for number, rate in enumerate(codec.rates):
        tokens = encode_all(codec, excerpts[number :: len(codec.rates)][:_EXCERPTS], rate)
        if tokens:
            latents = [codec.runtime.latents(one[None], [rate])[0] for one in tokens]
            found.append(Stretches(torch.from_numpy(np.stack(latents)), float(np.log2(rate.base_levels))))
    if not found:
        raise DataError("no audio to learn from; give more of it")
    return found


class PredictorTrainer:
    """One predictor for one codec.

    Args:
        net: the codec's network, frozen.
        stretches: what `encode_stretches` gave.
        settings: how much is trained.
        seed: of everything that is drawn.
    """

    def __init__(
        self, net: CodecNet, stretches: Sequence[Stretches], settings: PredictorSettings, seed: int = 0
    ) -> None:
        self._decoder, self._stretches, self._settings = net.decoder, stretches, settings
        self._pitch, rate = net.config.pitch, net.config.sample_rate
        self._noise_frames, self._hop = net.config.noise_frames, net.config.hop_samples
        torch.manual_seed(seed)
        self.predictor = FramePredictor(net.config.dims, settings.context, settings.width)
        self._rng = np.random.default_rng(seed)
        self._loss = ReconstructionLoss(_loss_config(rate), rate).eval()

    def train(self, tell: Callable[[str], None]) -> FramePredictor:
        """Both stages; the averaged weights of the second."""
        settings = self._settings
        self._stage(settings.latent_steps, settings.latent_rate, self._latent_loss, tell)
        return self._stage(settings.sound_steps, settings.sound_rate, self._sound_loss, tell)

    def _stage(
        self, steps: int, rate: float, loss_of: Callable[[], Tensor], tell: Callable[[str], None]
    ) -> FramePredictor:
        optimiser = torch.optim.AdamW(self.predictor.parameters(), lr=rate, weight_decay=1e-2, betas=(0.9, 0.98))
        average, begun, recent = Average(self.predictor), time.perf_counter(), []
        for step in range(steps):
            share = min(1.0, (step + 1) / 50) * (1 - step / steps)
            for group in optimiser.param_groups:
                group["lr"] = rate * share
            loss = loss_of()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.predictor.parameters(), _CLIP)
            optimiser.step()
            average.update(min(0.99, (step + 1) / (step + 10)))
            recent.append(float(loss.detach()))
            if (step + 1) % 100 == 0 or step + 1 == steps:
                tell(f"step {step + 1}: loss {np.mean(recent):.4f}, {time.perf_counter() - begun:.0f} s")
                recent = []
        with average.applied():
            return copy.deepcopy(self.predictor)

    def _draw(self, rows: int, frames: int) -> tuple[Tensor, Tensor]:
        """Latents ``[rows, frames, dims]`` of stretches of all rates, and their details ``[rows]``."""
        parts, details = [], []
        for which in self._rng.integers(len(self._stretches), size=rows):
            latents = self._stretches[which].latents
            excerpt = self._rng.integers(len(latents))
            start = self._rng.integers(latents.shape[1] - frames + 1)
            parts.append(latents[excerpt, start : start + frames])
            details.append(self._stretches[which].detail)
        return torch.stack(parts), torch.tensor(details)

    def _lose(self, seen: list[Tensor], flags: Tensor, detail: Tensor, start: int, length: int) -> list[Tensor]:
        """Estimate frames ``start`` to ``start + length`` of ``seen``, in their places; returns them."""
        context = self.predictor.context
        past = torch.stack(seen[start - context : start], dim=1).detach()
        before, following = flags[:, start - context : start].clone(), seen[start + length]
        known = torch.from_numpy(self._rng.random(len(past)) < self._settings.known_share).float()
        guesses = []
        for place in range(1, length + 1):
            guess = self.predictor(past, before, following, known, place, length - place + 1, detail)
            guess = guess * (past != 0).any(dim=1)  # as in use: dimensions that the rate leaves out
            seen[start + place - 1] = guess
            flags[:, start + place - 1] = 1
            guesses.append(guess)
        return guesses

    def _estimated(self, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Whole stretches, the same with losses estimated, the error of the estimates, and details."""
        context = self.predictor.context
        whole, detail = self._draw(rows, context + _LOSSES * _SPACING)
        flags = torch.zeros(whole.shape[:2])
        absent = torch.from_numpy(self._rng.random(rows) < _ABSENT_SHARE)
        count = int(self._rng.integers(1, context))
        whole[absent, :count], flags[absent, :count] = 0.0, 1.0
        seen, error = list(whole.unbind(dim=1)), whole.new_zeros(())
        for number in range(_LOSSES):
            length = int(self._rng.choice(np.arange(1, GAP_FRAMES + 1), p=LOSS_LENGTHS))
            start = context + number * _SPACING + int(self._rng.integers(_SPACING - length))
            guesses = torch.stack(self._lose(seen, flags, detail, start, length), dim=1)
            error = error + self._error(guesses, whole[:, start : start + length]) / _LOSSES
        return whole, torch.stack(seen, dim=1), error, detail

    def _error(self, guesses: Tensor, wanted: Tensor) -> Tensor:
        """Squared error, but absolute of the pitch: the middle of an old and a new one is neither."""
        off = guesses - wanted
        if not self._pitch:
            return off.square().mean()
        return off[..., :-1].square().mean() + off[..., -1].abs().mean()

    def _latent_loss(self) -> Tensor:
        return self._estimated(_LATENT_ROWS)[2]

    def _sound_loss(self) -> Tensor:
        whole, estimated, error, detail = self._estimated(_SOUND_ROWS)
        start = torch.from_numpy(self._rng.integers(self._noise_frames, size=len(whole)))
        with torch.no_grad():
            wanted = self._decoder(whole, detail, start)
        if self._pitch:
            # Phases of harmonics give no gradient. What else the decoder makes of the pitch does, and would ruin it.
            estimated = torch.cat([estimated[..., :-1], estimated[..., -1:].detach()], dim=-1)
        heard = self._decoder(estimated, detail, start)
        skip = (self.predictor.context - 2) * self._hop  # alike until the first loss
        loss: Tensor = self._loss(heard[:, skip:], wanted[:, skip:])[0]
        return loss + self._settings.latent_weight * error


def _loss_config(rate: int) -> LossConfig:
    """That of ``recipes/free_speech.yaml``, its windows as long in time."""
    windows = tuple(16 * round(window * rate / LOUDNESS_RATE / 16) for window in LossConfig().windows)
    return LossConfig(windows=windows, complex_compressed=0.08, loudness=0.12 if rate >= LOUDNESS_RATE else 0.0)


def save_predictor(folder: Path, predictor: FramePredictor) -> None:
    """Write the weights in half precision, atomically, into a model's folder."""
    tensors = {name: value.half().contiguous() for name, value in predictor.state_dict().items()}
    write_atomically(folder / PREDICTOR, serialise(tensors))


def train_predictor(
    model: Path,
    recordings: Sequence[NDArray[np.float32]],
    settings: PredictorSettings | None = None,
    seed: int = 0,
    tell: Callable[[str], Any] = lambda _: None,
) -> FramePredictor:
    """A predictor for the model in a folder, from ``recordings [samples]`` at its rate.

    Raises:
        DataError: there is too little audio.
    """
    codec = load(model)
    excerpts = split_excerpts(recordings, codec.sample_rate)[1]
    tell(f"encoding {len(excerpts)} excerpts")
    stretches = encode_stretches(codec, excerpts)
    return PredictorTrainer(load_model(model)[0], stretches, settings or PredictorSettings(), seed).train(tell)


def main(
    model: Annotated[Path, typer.Argument(help="The model's folder; the predictor is written into it.")],
    data: Annotated[list[Path], typer.Option(help="The training data: shards, a folder or a list.")],
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded samples.")] = None,
    minutes: Annotated[float, typer.Option(help="Audio to draw.")] = 120.0,
    latent_steps: Annotated[int, typer.Option(min=1, help="Steps towards the lost latents.")] = 2000,
    sound_steps: Annotated[int, typer.Option(min=1, help="Steps towards the lost sound.")] = 500,
    width: Annotated[int, typer.Option(min=8, help="Of the hidden layers.")] = 320,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train a predictor of lost frames for a model."""
    corpus = Corpus.open(data, rate=load(model).sample_rate, cache=cache)
    settings = PredictorSettings(width=width, latent_steps=latent_steps, sound_steps=sound_steps)
    recordings = draw_recordings(corpus, 60 * minutes, seed)
    predictor = train_predictor(model, recordings, settings, seed, lambda line: print(line, flush=True))
    save_predictor(model, predictor)


if __name__ == "__main__":
    try:
        typer.run(main)
    except AudiocodecError as error:
        raise SystemExit(f"error: {error}") from None
