"""From a training run to a model that ships: half-precision weights, entropy tables, rates, and the index.

python -m audiocodec.train.ship runs/free-speech-16k/model pretrained/speech-16k --data data/free_speech

A network that was trained by vector perturbation gets its codebooks on the way, one size for each setting.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from audiocodec.bottleneck import vector_part
from audiocodec.checkpoint import load_model, save_model
from audiocodec.config import ModelConfig, VpConfig, parse
from audiocodec.errors import AudiocodecError, ConfigError
from audiocodec.export import add_graphs
from audiocodec.facts import GRAPHS, RUNTIME
from audiocodec.modelfiles import RATES, TABLES, fingerprint, read_config, write_atomically
from audiocodec.prediction import PREDICTOR
from audiocodec.train.codebook import compile_codebooks
from audiocodec.train.entropyfit import FitSettings
from audiocodec.train.measure import draw_recordings, measure_rates
from audiocodec.train.shards import Corpus

DOMAINS = ("speech", "music")


def ship(
    source: Annotated[Path, typer.Argument(help="The run's model folder.")],
    target: Annotated[Path, typer.Argument(help="Where the model goes: a folder beside the index it is entered in.")],
    data: Annotated[Path, typer.Option(help="The training data: shards, a folder or a list.")],
    cache: Annotated[Path | None, typer.Option(help="Folder of decoded samples.")] = None,
    minutes: Annotated[float, typer.Option(help="Audio to draw; each setting's tables see 20 minutes of it.")] = 60.0,
    fit_steps: Annotated[int, typer.Option(min=1, help="Steps of fitting them.")] = FitSettings.steps,
    fit_seconds: Annotated[float | None, typer.Option(help="Most time for it; the tables then depend on it.")] = None,
    settings: Annotated[str, typer.Option(help="Base level counts on offer, comma between; default: the run's.")] = "",
    description: Annotated[str, typer.Option(help="For the index.")] = "",
    domain: Annotated[str, typer.Option(help="What the model is for: speech or music; default: as entered.")] = "",
    automatic: Annotated[
        bool | None, typer.Option(help="Let --model auto pick it; default: as entered, else not if trained by VP.")
    ] = None,
) -> None:
    """Copy weights, fit tables, measure rates, and enter the model in the index."""
    if domain not in ("", *DOMAINS):
        raise ConfigError(f"--domain: '{domain}' is none of {', '.join(DOMAINS)}")
    if automatic and not domain and not _index(target).get(target.name, {}).get("domain"):
        raise ConfigError("--automatic needs --domain speech or --domain music")
    net, files = load_model(source)
    config = files.config
    fit = FitSettings(steps=fit_steps, seconds=fit_seconds)
    # Any count will do: the network was trained on a range of them, and is told which.
    counts = _counts(settings) if settings else config.level_settings
    if vector_part(net.bottleneck) is not None:
        rates = _with_codebooks(source, target, counts, data, cache, minutes, fit)
    else:
        config = parse(ModelConfig, config.model_dump() | {"level_settings": counts}, "--settings")
        save_model(target, net, config, half=True)
        corpus = Corpus.open([data], rate=config.sample_rate, cache=cache)
        rates = measure_rates(target, draw_recordings(corpus, minutes * 60), fit, _tell)
        add_graphs(target)
    for levels, row in rates.items():
        kbps = {name: value / 1000 for name, value in row.items()}
        print(
            f"{levels:>4} levels  {kbps['file_bps']:.2f} kbps"
            f"  (mean {kbps['mean_file_bps']:.2f}, raw {kbps['mean_raw_file_bps']:.2f})"
        )
    enter(target, description, domain, automatic)


def _counts(settings: str) -> tuple[int, ...]:
    try:
        return tuple(int(count) for count in settings.split(","))
    except ValueError:
        raise ConfigError(f"--settings: '{settings}' is not whole numbers with commas between") from None


def _with_codebooks(
    source: Path,
    target: Path,
    sizes: tuple[int, ...],
    data: Path,
    cache: Path | None,
    minutes: float,
    fit: FitSettings,
) -> dict[str, Any]:
    """Compile beside ``target``, then let the model's files take their places in it: its card stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=f".{target.name}.") as place:
        new = Path(place) / "new"
        made = compile_codebooks(
            source, new, sizes, [data], minutes=minutes, cache=cache, fit=fit, half=True, tell=_tell
        )
        target.mkdir(exist_ok=True)
        for stale in (TABLES, RATES, PREDICTOR, RUNTIME, *GRAPHS):  # there may be none to take their places
            (target / stale).unlink(missing_ok=True)
        for file in new.iterdir():
            os.replace(file, target / file.name)
    return made.rates


def _tell(line: str) -> None:
    print(line, flush=True)


def _index(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of the index that the model in ``folder`` is in, by name."""
    index = folder.parent / "index.json"
    entries = json.loads(index.read_text(encoding="utf-8"))["models"] if index.exists() else []
    return {str(entry["name"]): entry for entry in entries}


def enter(folder: Path, description: str = "", domain: str = "", automatic: bool | None = None) -> None:
    """Write the model's fingerprint, and what it is for, into the ``index.json`` of the folder above it.

    What is not given stays as it was entered. ``encode --model auto`` picks only models with a ``domain`` that are
    ``automatic``: by default those that were not trained by vector perturbation.
    """
    known = _index(folder)
    before = known.get(folder.name, {})
    config = read_config(folder)
    entry = {
        "name": folder.name,
        "fingerprint": fingerprint(folder).hex(),
        "description": description or before.get("description", ""),
        "sample_rate": config.sample_rate,
    }
    if domain := domain or before.get("domain", ""):
        usual = before.get("automatic", not isinstance(config.bottleneck, VpConfig))
        entry |= {"domain": domain, "automatic": usual if automatic is None else automatic}
    known[folder.name] = entry
    models = [known[name] for name in sorted(known)]
    write_atomically(folder.parent / "index.json", (json.dumps({"models": models}, indent=2) + "\n").encode())


if __name__ == "__main__":
    try:
        typer.run(ship)
    except AudiocodecError as error:
        raise SystemExit(f"error: {error}") from None
