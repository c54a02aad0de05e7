"""Which model and rate encode a recording: those named, or with ``--model auto`` what it seems to hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from audiocodec.errors import UsageError
from audiocodec.output import is_live

if TYPE_CHECKING:
    from audiocodec.audio import AudioReader
    from audiocodec.choosing import Choice
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting
    from audiocodec.runtime import RuntimeName

AUTO = "auto"


class Picker:
    """Loads each model once. A model that is named is loaded at once: what is wrong with it is told before any work."""

    def __init__(
        self, model: str, bitrate: float | None, levels: int | None, quiet: bool, runtime: RuntimeName = "auto"
    ) -> None:
        self._runtime = runtime
        self._bitrate, self._levels, self._quiet = bitrate, levels, quiet
        self._loaded: dict[str, Codec] = {}
        self._named: tuple[Codec, RateSetting] | None = None
        if model != AUTO:
            codec = self._load(model)
            self._named = codec, codec.choose_rate(bitrate, levels)

    def __call__(self, reader: AudioReader, target: str) -> tuple[Codec, RateSetting, str]:
        """The model and its rate for ``reader``; and for people its name and why it was picked, empty if it was named.

        Raises:
            ModelError: none that may be picked is installed, or it is damaged.
            UsageError: none that suits the recording offers the rate.
        """
        if self._named:
            return *self._named, ""
        from audiocodec.choosing import choose

        # From pipe to pipe a listener waits at the end; into a file nobody does.
        choice = choose(reader, wait=not (reader.live and is_live(target)))
        codec, rate, name = self._with_rate(choice)
        if choice.notice and not self._quiet:
            print(f"note: {choice.notice}", file=sys.stderr, flush=True)
        return codec, rate, f"{name} ({choice.reason})"

    def _with_rate(self, choice: Choice) -> tuple[Codec, RateSetting, str]:
        """The first of the suitable models that offers the rate wanted."""
        problems = []
        for model in choice.models:
            codec = self._load(str(model.folder))
            try:
                return codec, codec.choose_rate(self._bitrate, self._levels), model.name
            except UsageError as error:
                problems.append(error)
        names = " and ".join(model.name for model in choice.models)
        why = f"picked for this recording ({choice.reason}): {names}; --model NAME takes another"
        raise UsageError(f"{problems[0]}; {why}")

    def _load(self, model: str) -> Codec:
        from audiocodec.codec import load

        if model not in self._loaded:
            self._loaded[model] = load(model, runtime=self._runtime)
        return self._loaded[model]
