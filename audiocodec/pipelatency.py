"""Latency through the pipe: ``audiocodec encode - - | audiocodec decode - -``, two processes fed as a device would."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.latency import percentiles
from audiocodec.streaming import LIVE_PACKET_FRAMES

if TYPE_CHECKING:
    from audiocodec.codec import Codec

PIECE_MS = 10.0
_INFO_S = 5.0
MOST_PACKET_FRAMES = 20  # less than the sound that is written first
_FIRST_S = 0.5  # of sound that is written at once: what comes of it shows that both processes have begun
_SETTLING_S = 1.0  # after which caches are warm, and what waited while the processes began is done
_PATIENCE_S = 60.0


@dataclass
class PipeTimes:
    """What went in and came out of the pipe."""

    start_s: float
    """From starting the processes until the first sound came out."""
    latency_ms: NDArray[np.float64]
    """Of each sample ``[samples]`` after the first 1.5 s: from when the piece that it belongs to was written until the
    sample was read."""
    late_ms: float
    """By how much the source itself was late, at most: this machine's doing."""
    heard: bytes = field(repr=False)
    """All that came out, as s16le."""


@dataclass
class Passing:
    """When how many samples had passed a place."""

    counts: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, count: int, time_s: float) -> None:
        """By ``time_s`` so many had passed, more than at the last call."""
        self.counts.append(count)
        self.times_s.append(time_s)

    def passed_s(self, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """When each of ``samples`` (numbers from 0) passed."""
        return np.array(self.times_s)[np.searchsorted(self.counts, samples, side="right")]


class _Listener(threading.Thread):
    """Reads all that a pipe gives, and notes when."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(name="listener", daemon=True)
        self._pipe = pipe
        self.log, self.heard, self.begun = Passing(), bytearray(), threading.Event()

    def run(self) -> None:
        """All of the thread."""
        while data := os.read(self._pipe.fileno(), 1 << 16):
            self.heard += data
            self.log.add(len(self.heard) // 2, time.perf_counter())
            self.begun.set()
        self.begun.set()


def measure_pipe(codec: Codec) -> dict[str, Any]:
    """What ``info --latency`` tells of the pipe, in milliseconds: of 5 s of noise at the model's rate."""
    assert codec.files is not None  # what has a name or a folder
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(_INFO_S * codec.sample_rate))
    times = time_pipe(noise, codec.sample_rate, str(codec.files.folder))
    return {
        "pipe_packet_ms": 1000 * LIVE_PACKET_FRAMES / codec.frame_rate,
        "through_pipe_ms": percentiles(times.latency_ms),
    }


def time_pipe(
    wave: NDArray[np.floating], sample_rate: int, model: str, *, piece_ms: float = PIECE_MS, options: Sequence[str] = ()
) -> PipeTimes:
    """Send ``wave [samples]``, in [-1, 1], through the pipe in real time.

    Args:
        wave: the sound, longer than 1.5 s, at ``sample_rate``, which is also that of what comes out.
        sample_rate: in Hz.
        model: name or folder.
        piece_ms: the source hands over so much at a time, as a sound card does.
        options: more of ``audiocodec encode``; packets have at most MOST_PACKET_FRAMES.

    Raises:
        UsageError: ``wave`` is too short to measure anything.
        AudiocodecError: one of the processes failed; says how.
    """
    measured = np.arange(round((_FIRST_S + _SETTLING_S) * sample_rate), len(wave))
    if not len(measured):
        raise UsageError(f"a sound of {len(wave) / sample_rate:.2f} s is too short; the pipe needs more than 1.5 s")
    samples = np.rint(np.clip(wave, -1, 1) * 32767).astype("<i2")
    began_s = time.perf_counter()
    encoder, decoder = _start(["--format", "s16le", "--rate", str(sample_rate), "-m", model, "-q"], options)
    try:
        assert encoder.stdin is not None
        assert decoder.stdout is not None
        listener = _Listener(decoder.stdout)
        listener.start()
        written, late_s = _feed(encoder.stdin, listener, samples, sample_rate, piece_ms / 1000)
        encoder.stdin.close()
        listener.join(_PATIENCE_S)
        for name, process in (("encode", encoder), ("decode", decoder)):
            if process.wait(_PATIENCE_S):
                raise AudiocodecError(f"audiocodec {name} failed with code {process.returncode}; it says above why")
    except (BrokenPipeError, subprocess.TimeoutExpired) as error:
        raise AudiocodecError(f"the pipe of encoder and decoder broke: {error}") from None
    finally:
        for process in (encoder, decoder):
            process.kill()
            process.wait()
    if len(listener.heard) != samples.nbytes:
        raise AudiocodecError(f"{len(listener.heard) // 2} samples came out of the pipe, and {len(samples)} went in")
    taken_s = listener.log.passed_s(measured) - written.passed_s(measured)
    return PipeTimes(listener.log.times_s[0] - began_s, 1000 * taken_s, 1000 * late_s, bytes(listener.heard))


def _start(layout: Sequence[str], options: Sequence[str]) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Encoder and decoder, one's output the other's input."""
    program = [sys.executable, "-m", "audiocodec"]
    encoder = subprocess.Popen(
        [*program, "encode", "-", "-", *layout, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    decoder = subprocess.Popen(
        [*program, "decode", "-", "-", *layout], stdin=encoder.stdout, stdout=subprocess.PIPE, bufsize=0
    )
    assert encoder.stdout is not None
    encoder.stdout.close()  # the decoder has it: it must see the end when the encoder goes
    return encoder, decoder


def _feed(
    pipe: IO[bytes], listener: _Listener, samples: NDArray[np.int16], sample_rate: int, piece_s: float
) -> tuple[Passing, float]:
    """Write all samples, each piece when its last sample would have been recorded; when, and how late at most."""
    log, late_s = Passing(), 0.0
    at = round(_FIRST_S * sample_rate)
    log.add(at, time.perf_counter())
    pipe.write(samples[:at].tobytes())
    if not listener.begun.wait(_PATIENCE_S):
        raise AudiocodecError(f"nothing came out of the pipe in {_PATIENCE_S:g} s")
    origin_s = time.perf_counter() - at / sample_rate
    while at < len(samples):
        end = min(at + max(1, round(piece_s * sample_rate)), len(samples))
        due_s = origin_s + end / sample_rate
        time.sleep(max(0.0, due_s - time.perf_counter()))
        now_s = time.perf_counter()
        late_s = max(late_s, now_s - due_s)
        log.add(end, now_s)
        pipe.write(samples[at:end].tobytes())
        at = end
    return log, late_s
