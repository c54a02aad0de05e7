"""The exception tree.

::

    AudiocodecError                 exit code 1   anything this package raises on purpose
    ├── UsageError                  exit code 2   a combination of options that cannot work
    ├── BitstreamError              exit code 3   a damaged or foreign .vpc stream
    ├── AudioError                  exit code 4   an input that is not audio, or not usable audio
    ├── ModelError                  exit code 5   a model that is missing, damaged or not the one a file names
    ├── OutputError                 exit code 6   an output that exists, or cannot be written
    ├── ConfigError                 exit code 7   a recipe or model config that does not hold together
    ├── DataError                   exit code 8   training or evaluation data that is missing or empty
    └── MissingExtraError           exit code 9   an optional dependency that is absent or broken

Every message says what is wrong, where, and what to do about it, in one line.
"""

from __future__ import annotations


class AudiocodecError(Exception):
    """Base of every error that a user can cause; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(AudiocodecError):
    """Options that contradict each other or lie outside what the model offers."""

    exit_code = 2


class BitstreamError(AudiocodecError):
    """A stream that is not valid .vpc.

    ``position`` is the byte offset of the damage within the stream, or None where it has no place.
    """

    exit_code = 3

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at byte {position})")
        self.position = position


class AudioError(AudiocodecError):
    """An audio input that cannot be read or must be refused (NaN, infinity, unsupported rate)."""

    exit_code = 4


class ModelError(AudiocodecError):
    """A model that is not installed, is damaged, or is not the one that a stream was made by."""

    exit_code = 5


class OutputError(AudiocodecError):
    """An output that exists already, or a place that cannot be written to."""

    exit_code = 6


class ConfigError(AudiocodecError):
    """A recipe or model config with an unknown key or a value out of range."""

    exit_code = 7


class DataError(AudiocodecError):
    """Audio data for training or evaluation that is missing, empty or unusable."""

    exit_code = 8


class MissingExtraError(AudiocodecError):
    """An optional dependency that is absent or does not import; the message names the extra to install."""

    exit_code = 9
