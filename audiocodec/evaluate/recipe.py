"""What an evaluation is told: files, models, peers, measures. Typed and strict, from YAML or from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from audiocodec.config import Strict, load_settings
from audiocodec.evaluate.metrics import METRICS, Domain
from audiocodec.evaluate.peers import CommandPeer
from audiocodec.evaluate.recordings import Channels


class FilesConfig(Strict):
    """Which recordings. Relative paths are taken from the working directory."""

    folder: str = Field(description="a folder of recordings, searched recursively")
    pattern: str = Field("**/*", description="of paths below the folder, as pathlib's glob has it")
    manifest: str | None = Field(
        None,
        description="these files and no others, paths below the folder: a list as sha256sum writes it, each verified, "
        "or a .tsv with a column named path",
    )
    limit: int | None = Field(None, ge=1, description="take this many, spread evenly over the sorted list")
    transcripts: str | None = Field(
        None,
        description="pattern below the folder, or one file, of text whose lines are a file's name and its words, as in "
        "LibriSpeech (ID WORDS) or LJ Speech (ID|words), or .tsv with path and sentence: for the word error rate",
    )


class ModelEntry(Strict):
    """One of our models; with neither bitrates nor levels, at all its settings."""

    model: str = Field(description="name or folder")
    bitrates: list[float] = Field([], description="kbps")
    levels: list[int] = Field([], description="base level counts")


class EvaluationRecipe(Strict):
    """A whole evaluation. ``audiocodec evaluate RECIPE`` reads it from YAML."""

    name: str = Field(min_length=1, description="name of the evaluation; results go to runs/evaluate-NAME")
    domain: Domain = "speech"
    channels: Channels = Field(
        "downmix",
        description="downmix: every codec is given the mean of the channels. stereo: stereo recordings are coded in "
        "stereo, and each measure is taken of the downmix and, as NAME_lr, of left and right",
    )
    files: FilesConfig
    models: list[ModelEntry] = Field([], description="ours; empty: peers alone")
    peers: list[str] = Field([], description="such as opus:6,12; see audiocodec evaluate --help")
    lyra: str | None = Field(None, description="folder of Lyra v2's three TFLite networks")
    commands: list[CommandPeer] = Field([], description="any other codec, as a pair of commands")
    anchors: list[Literal["original"]] = Field(
        [], description="the recording itself among the systems: what measures without a reference say of it"
    )
    metrics: list[str] | Literal["all"] = Field("all", description="all: those of the domain that can run here")
    workers: int = Field(1, ge=1, description="processes; with more than one, speeds are blurred")
    seed: int = Field(0, ge=0, description="of the bootstrap and of blind tests")
    listen: int = Field(6, ge=0, description="recordings to listen to in the report")

    @model_validator(mode="after")
    def _check(self) -> EvaluationRecipe:
        for name in self.metrics if self.metrics != "all" else ():
            if name not in METRICS:
                raise ValueError(f"unknown metric '{name}'; known: {', '.join(METRICS)}")
            if self.domain not in METRICS[name].domains:
                raise ValueError(f"{METRICS[name].heading} says nothing about {self.domain}; leave out '{name}'")
            if METRICS[name].needs_transcript and not self.files.transcripts:
                raise ValueError(f"'{name}' needs transcripts; name them as files.transcripts, or leave it out")
            if METRICS[name].per_channel and self.channels != "stereo":
                raise ValueError(f"'{name}' is a measure of stereo; set channels: stereo, or leave it out")
        return self


def metrics_of(domain: Domain, transcripts: bool, channels: Channels = "downmix") -> list[str]:
    """Names of all measures that are valid for a domain, with or without transcripts and stereo at hand."""
    mono = (metric for metric in METRICS.values() if channels == "stereo" or not metric.per_channel)
    fitting = (metric for metric in mono if domain in metric.domains)
    return [metric.name for metric in fitting if transcripts or not metric.needs_transcript]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> EvaluationRecipe:
    """Read a recipe; ``overrides`` are ``section.key=value`` with the value in YAML.

    Raises:
        ConfigError: unreadable file, unknown key (names the nearest), value out of range, malformed override.
    """
    return load_settings(EvaluationRecipe, path, overrides)
