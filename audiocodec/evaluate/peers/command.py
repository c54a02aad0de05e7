"""Any codec at all, as a pair of commands in YAML."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from audiocodec.config import Field, Strict
from audiocodec.errors import AudioError
from audiocodec.evaluate.metrics import resample
from audiocodec.evaluate.peers.process import TIMEOUT_S, fingerprint, run_tool, tool_fingerprint
from audiocodec.evaluate.recordings import read_audio
from audiocodec.evaluate.systems import Coded, Stopwatch, System


def _checked(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{error} in '{command}'") from None
    missing = [name for name in ("{input}", "{output}") if not any(name in word for word in words[1:])]
    if missing:
        raise ValueError(f"write {' and '.join(missing)} where '{command}' takes its files")
    return command


Command = Annotated[str, AfterValidator(_checked)]


class CommandPeer(Strict):
    """A codec as two commands, each of which reads ``{input}`` and writes ``{output}``.

    They are split into words as a shell would and run without one, so paths may hold spaces. ``{rate}``, ``{setting}``
    and ``{sample_rate}`` stand for those values. A pipeline is its own shell, with the paths as its arguments::

        encode: sh -c 'sox "$1" -t raw - | tool > "$2"' sh {input} {output}
    """

    name: str = Field(min_length=1)
    """What tables call it."""
    setting: str = ""
    """What tables call this setting; the rate where left out."""
    rate: str | int | float | None = None
    """What ``{rate}`` stands for in the commands, in whatever unit they take."""
    encode: Command
    """From a WAV file of 16 bits at ``sample_rate`` to the codec's own file; mono, but of a stereo evaluation's."""
    decode: Command
    """From the codec's own file to a WAV file, at any rate."""
    suffix: str = Field(".bin", pattern=r"^\.[A-Za-z0-9]+$")
    """The end of the name of the codec's own file."""
    sample_rate: int = Field(16_000, ge=1_000, le=384_000)
    """What the encoder is handed, in Hz."""
    max_delay_ms: float = Field(100.0, ge=0.0, le=1_000.0)
    """The codec's delay is searched up to here; 0 where the decoder trims it."""
    timeout_s: float = Field(TIMEOUT_S, gt=0.0)
    """Each command is stopped after this time."""
    header_bytes: int = Field(0, ge=0)
    """Container bytes of a file, which the payload is without."""


@dataclass(frozen=True)
class CommandSystem:
    """A :class:`CommandPeer` as a system under evaluation."""

    peer: CommandPeer

    stereo: ClassVar[bool] = True

    @property
    def codec(self) -> str:
        """Name in tables."""
        return self.peer.name

    @property
    def setting(self) -> str:
        """Name of the setting in tables."""
        return self.peer.setting or ("" if self.peer.rate is None else str(self.peer.rate))

    def identity(self) -> dict[str, str]:
        """The commands with all their settings, and the programs that they start."""
        peer = self.peer
        return {
            "encode": peer.encode,
            "decode": peer.decode,
            "rate": str(peer.rate),
            "sample_rate": str(peer.sample_rate),
            "header_bytes": str(peer.header_bytes),
            "max_delay_ms": f"{peer.max_delay_ms:g}",
            "suffix": peer.suffix,  # many programs choose the format by it
            "encoder": tool_fingerprint(_program(peer.encode)),
            "decoder": tool_fingerprint(_program(peer.decode)),
            **{word: fingerprint(Path(word)) for word in _files(peer)},
        }

    def run(self, source: Path, folder: Path) -> Coded:
        """Write ``source`` as WAV into ``folder`` and run both commands on it."""
        import soundfile

        wav, coded, decoded = folder / "command.wav", folder / f"command{self.peer.suffix}", folder / "decoded.wav"
        samples, sample_rate = read_audio(source)
        resampled = resample(samples.T, sample_rate, self.peer.sample_rate)
        soundfile.write(str(wav), resampled, self.peer.sample_rate, subtype="PCM_16")
        encoding, decoding = Stopwatch(), Stopwatch()
        with encoding:
            self._call(self.peer.encode, wav, coded)
        with decoding:
            self._call(self.peer.decode, coded, decoded)
        output, output_rate = read_audio(decoded)
        file_bytes = coded.stat().st_size
        return Coded(
            samples=output,
            sample_rate=output_rate,
            file_bytes=file_bytes,
            payload_bytes=max(0, file_bytes - self.peer.header_bytes),
            encode_seconds=encoding.seconds,
            decode_seconds=decoding.seconds,
            delay_s=None if self.peer.max_delay_ms else 0.0,
            max_delay_s=self.peer.max_delay_ms / 1000.0,
        )

    def _call(self, command: str, source: Path, target: Path) -> None:
        target.unlink(missing_ok=True)  # of another setting: a command that writes nothing must not pass for it
        values = {
            "input": str(source),
            "output": str(target),
            "rate": str(self.peer.rate),
            "setting": self.setting,
            "sample_rate": str(self.peer.sample_rate),
        }
        words = fill(command, values)
        run_tool(words, self.peer.timeout_s)
        if not target.is_file():
            raise AudioError(f"{shlex.join(words)} wrote no {target.name}")


def fill(command: str, values: Mapping[str, str]) -> list[str]:
    """The words of ``command`` with ``{name}`` replaced; other braces are left to the command."""
    names = re.compile("{(" + "|".join(values) + ")}")  # in one pass: a path may itself hold what looks like a name
    return [names.sub(lambda found: values[found[1]], word) for word in shlex.split(command)]


def command_systems(commands: Sequence[CommandPeer]) -> tuple[list[System], dict[str, str]]:
    """The systems that can run here, and for the others the reason, with the remedy."""
    systems: list[System] = []
    absent: dict[str, str] = {}
    for peer in commands:
        system = CommandSystem(peer)
        programs = dict.fromkeys((_program(peer.encode), _program(peer.decode)))
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            name = f"{system.codec} {system.setting}".strip()
            absent[name] = f"{' and '.join(missing)} not found on PATH; install it, or correct the command"
        else:
            systems.append(system)
    return systems, absent


def _files(peer: CommandPeer) -> list[str]:
    """Words of the commands that are files: a script, a network."""
    words = (word for command in (peer.encode, peer.decode) for word in shlex.split(command)[1:])
    return sorted({word for word in words if "{" not in word and os.path.isfile(word)})


def _program(command: str) -> str:
    return shlex.split(command)[0]
