"""A network of wider band out of a trained one: ``python -m audiocodec.train.widen MODEL OUT --recipe R``.

Both have stem frames of the same duration, so that a bin of the stem means the same frequency in both; the wide one
has more bins, more envelope bands and some more latent dimensions above. What the narrow network learnt is carried
over: the stem's filters are interpolated to the higher sampling rate, everything about the lower bins is copied, and
the new dimensions are begun from real audio, by least squares and a Karhunen-Loeve transform of what the old ones
cannot tell about the upper bands. Training goes on from there (``--init OUT``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import FspConfig, ModelConfig
from audiocodec.errors import ConfigError
from audiocodec.nn.bands import edges_of
from audiocodec.nn.model import CodecNet
from audiocodec.nn.stem import lapped_basis
from audiocodec.train.network import INITIAL_SECONDS
from audiocodec.train.recipe import Recipe, load_recipe
from audiocodec.train.script import exit_code_of
from audiocodec.train.shards import Corpus

BASE_LEVELS = 22
"""The encoder depends on the rate; the new dimensions are begun at a middle one."""
RIDGE = 1e-3


@torch.no_grad()
def widened(narrow: CodecNet, config: ModelConfig, waves: Tensor) -> CodecNet:
    """A network of ``config`` that does what ``narrow`` does, and describes the upper bands of ``waves`` besides.

    ``waves [batch, samples]``: ten minutes of audio at the wide rate. Raises ConfigError where the two do not fit.
    """
    _check(narrow.config, config)
    wide = CodecNet(config)
    weights = wide.state_dict()
    for name, value in narrow.state_dict().items():
        weights[name] = _placed(name, value, weights[name], narrow.config, config)
    wide.load_state_dict(weights)
    _begin_upper_bands(wide, narrow.config, waves)
    return wide


def _check(old: ModelConfig, new: ModelConfig) -> None:
    if old.stem_hop * new.sample_rate != new.stem_hop * old.sample_rate or old.sample_rate >= new.sample_rate:
        raise ConfigError("widening keeps the duration of a stem frame and raises the sampling rate")
    if edges_of(new)[: old.bands + 1] != edges_of(old):
        raise ConfigError(f"the wide model's first {old.bands} bands must be those of the narrow one: set band_edges")
    same = ("stem_frames", "shape_dims", "pitch", "stem_width", "frame_width", "encoder_units", "decoder_units")
    odd = [name for name in (*same, "kernel", "expansion", "noise_frames") if getattr(old, name) != getattr(new, name)]
    odd += [name for name in ("stem", "linear_path") if getattr(old, name) != getattr(new, name)]
    if not (isinstance(old.bottleneck, FspConfig) and isinstance(new.bottleneck, FspConfig)):
        odd.append("bottleneck (both must be fsp)")
    if odd:
        raise ConfigError(f"the two models differ in {', '.join(odd)}; widening changes the band alone")
    if new.envelope_dims <= old.envelope_dims:
        raise ConfigError("the wide model needs envelope dimensions for its upper bands")


def _placed(name: str, value: Tensor, fresh: Tensor, old: ModelConfig, new: ModelConfig) -> Tensor:
    """A narrow network's tensor in its place in the wide one's; zero where the upper band meets what was learnt."""
    if name == "encoder.analysis.weight":
        # Divided by the ratio of rates: a filter's output is then what it was.
        ratio = new.sample_rate / old.sample_rate
        filters = torch.cat([lapped_basis(new.stem_hop), lapped_basis(new.stem_hop, sine=True)], dim=1) * ratio**-0.5
        filters[:, _stacked(old.stem_hop, new.stem_hop, 2, 0)] = _interpolation(old, new) @ value / ratio
        return filters
    if name == "decoder.synthesis.weight":
        filters = lapped_basis(new.stem_hop).T * (new.sample_rate / old.sample_rate) ** 0.5
        filters[: old.stem_hop] = value @ _interpolation(old, new).T
        return filters
    places = _places(name, old, new)
    if places is None:
        return value
    out = fresh.clone() if name == "decoder.noise" else torch.zeros_like(fresh)
    if name == "decoder.gates":  # upwards as at the old band's upper edge
        out = value[..., -10:].mean(dim=-1, keepdim=True).expand(out.shape).clone()
    rows, columns = places
    if value.ndim == 1:
        out[rows] = value
    elif value.ndim == 3:
        out[..., columns] = value
    else:
        out[rows[:, None], columns] = value
    return out


def _places(name: str, old: ModelConfig, new: ModelConfig) -> tuple[Tensor, Tensor] | None:
    """Where a tensor's rows and columns go, or None where its shape does not depend on the band."""
    every = torch.arange(4096)
    dims, pitch = _dims(old, new), int(old.pitch)
    rows = _stacked(old.bands, new.bands, old.stem_frames, pitch)
    shape = _stacked(old.stem_hop, new.stem_hop, old.stem_frames, 0)
    source = 3 + pitch
    table = {
        "encoder.envelope_mean": (rows, every),
        "encoder.envelope_in": (rows, dims),
        "encoder.shape_in": (shape, dims),
        "encoder.stem_in.weight": (every[: old.stem_width], _features(old, new, 1)),
        "encoder.out.weight": (dims, every[: old.frame_width]),
        "encoder.out.bias": (dims, every),
        "decoder.envelope_mean": (rows, every),
        "decoder.envelope_out": (dims, rows),
        "decoder.shape_out": (dims, shape),
        "decoder.gates": (every, every[: old.stem_hop]),
        "decoder.noise": (every[: old.noise_frames], shape),
        "decoder.frame_in.weight": (every[: old.frame_width], torch.cat([dims, torch.tensor([new.dims])])),
        "decoder.stem_in.weight": (every[: old.stem_width], _features(old, new, 2 + pitch)),
        "decoder.out.weight": (_stacked(old.stem_hop, new.stem_hop, source, 0), every[: old.stem_width]),
        "decoder.out.bias": (_stacked(old.stem_hop, new.stem_hop, source, 0), every),
    }
    return table.get(name)


def _dims(old: ModelConfig, new: ModelConfig) -> Tensor:
    """The old latent dimensions among the new ones, which stand at the end of the envelope's."""
    first = torch.arange(old.envelope_dims)
    return torch.cat([first, torch.arange(new.envelope_dims, new.dims)])


def _stacked(old: int, new: int, times: int, extra: int) -> Tensor:
    """Places of ``times`` runs of ``old`` among runs of ``new``, and of ``extra`` more behind them."""
    runs = [torch.arange(old) + new * i for i in range(times)]
    return torch.cat([*runs, torch.arange(extra) + new * times])


def _features(old: ModelConfig, new: ModelConfig, spectra: int) -> Tensor:
    """Places of the bands and of each spectrum's bins in the input of a ``stem_in``."""
    return torch.cat([torch.arange(old.bands), new.bands + _stacked(old.stem_hop, new.stem_hop, spectra, 0)])


def _interpolation(old: ModelConfig, new: ModelConfig) -> Tensor:
    """``[2 * new hop, 2 * old hop]``: samples of a filter at the new rate from those at the old one, by sinc."""
    at = (torch.arange(2 * new.stem_hop, dtype=torch.float64) + 0.5) * old.sample_rate / new.sample_rate - 0.5
    return torch.sinc(at[:, None] - torch.arange(2 * old.stem_hop, dtype=torch.float64)).float()


def _begin_upper_bands(wide: CodecNet, old: ModelConfig, waves: Tensor) -> None:
    """Means, and the linear path of the new dimensions, from what the old ones leave open of the upper bands."""
    config, encoder, decoder = wide.config, wide.encoder, wide.decoder
    wave = waves[:, : waves.shape[1] // config.hop_samples * config.hop_samples]
    state = encoder.initial_state(wave.shape[0])
    envelope, _, pitch, *_ = encoder.features(wave, state[0], state[3])
    upper = torch.tensor(
        [i * config.bands + b for i in range(config.stem_frames) for b in range(old.bands, config.bands)]
    )
    mean = encoder.stacked(envelope, pitch).flatten(0, 1)[:, upper].mean(dim=0)
    encoder.envelope_mean[upper] = mean
    decoder.envelope_mean[upper] = mean
    rows = encoder.stacked(envelope, pitch).flatten(0, 1)
    detail = torch.full((wave.shape[0],), float(np.log2(BASE_LEVELS)))
    known = _dims(old, config)
    latents = encoder(wave, detail).flatten(0, 1)[:, known] / wide.bottleneck.deviation
    told = _least_squares(latents, rows[:, upper])
    rest = rows[:, upper] - latents @ told
    values, vectors = torch.linalg.eigh(torch.cov(rest.T))
    count = config.envelope_dims - old.envelope_dims
    spread, vectors = values.flip(0)[:count].clamp(min=1e-6).sqrt(), vectors.flip(1)[:, :count]
    new = torch.arange(old.envelope_dims, config.envelope_dims)
    wanted = rest @ vectors / spread * wide.bottleneck.deviation
    encoder.envelope_in[:, new] = _least_squares(rows, wanted)
    decoder.envelope_out[known[:, None], upper] = told
    decoder.envelope_out[new[:, None], upper] = (vectors * spread).T


def _least_squares(given: Tensor, wanted: Tensor) -> Tensor:
    """``[inputs, outputs]`` of ridge regression without an intercept."""
    a, b = given.double(), wanted.double()
    gram = a.T @ a / len(a)
    return torch.linalg.solve(gram + RIDGE * torch.eye(len(gram), dtype=torch.float64), a.T @ b / len(a)).float()


def main() -> int:
    """Read the command line; 0 when done, an exit code of `audiocodec.errors` otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="folder of the narrow model")
    parser.add_argument("out", type=Path, help="folder for the wide one")
    parser.add_argument("--recipe", type=Path, required=True, help="recipe of the wide model, and of its audio")
    options = parser.parse_args()
    return exit_code_of(lambda: _widen(options.model, options.out, load_recipe(options.recipe, ())))


def _widen(model: Path, out: Path, recipe: Recipe) -> None:
    cache = Path(recipe.data.cache) if recipe.data.cache else None
    corpus = Corpus.open(recipe.data.train, rate=recipe.model.sample_rate, cache=cache)
    count = max(1, round(60.0 * recipe.data.initialise_minutes / INITIAL_SECONDS))
    waves = corpus.crops(np.random.default_rng(recipe.seed), count, INITIAL_SECONDS * recipe.model.sample_rate)
    wide = widened(load_model(model)[0], recipe.model, waves)
    save_model(out, wide, recipe.model)
    print(f"{out}: {sum(p.numel() for p in wide.parameters()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    sys.exit(main())
