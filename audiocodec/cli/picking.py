"""Which model and rate encode a recording: those named, or with ``--model auto`` what it seems to hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from audiocodec.errors import UsageError
from audiocodec.output import is_live

if TYPE_CHECKING:
    from audiocodec.audio import AudioReader
    from audiocodec.choosing import Choice
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

AUTO = "auto"


class Picker:
    """A model that is named is loaded at once: what is wrong with it is told before any work."""

    def __init__(
        self,
        model: str,
        bitrate: float | None,
        levels: int | None,
        quiet: bool,
        load: Callable[[str], Codec],
        packet_frames: int | None = None,
    ) -> None:
        self._bitrate, self._levels, self._quiet = bitrate, levels, quiet
        self._packet_frames = packet_frames
        self._load = load
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
        live = reader.live and is_live(target)  # from pipe to pipe a listener waits at the end; into a file nobody does
        if self._named:
            codec, rate, why = *self._named, ""
        else:
            from audiocodec.choosing import choose

            choice = choose(reader, wait=not live)
            codec, rate, name = self._with_rate(choice)
            why = f"{name} ({choice.reason})"
            if choice.notice:
                self._note(choice.notice)
        if live and self._bitrate is not None:
            rate = self._in_packets(codec, self._bitrate, reader.channels)
        return codec, rate, why

    def _in_packets(self, codec: Codec, kbps: float, channels: int) -> RateSetting:
        """The rate whose packets cost what was asked for, or the lowest, with a note."""
        from audiocodec.streaming.limits import LIVE_PACKET_FRAMES

        frames = self._packet_frames or LIVE_PACKET_FRAMES
        try:
            return codec.choose_rate(kbps, packet_frames=frames, channels=channels)
        except UsageError as error:
            self._note(f"{error}, which is taken; longer packets (--packet-frames) cost less")
            return min(codec.rates, key=lambda rate: rate.expected_bps)

    def _note(self, text: str) -> None:
        if not self._quiet:
            print(f"note: {text}", file=sys.stderr, flush=True)

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
