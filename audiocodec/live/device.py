"""Sound devices by ``sounddevice`` (PortAudio), which the extra ``live`` brings."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.live.ends import BLOCK_S

Samples = NDArray[np.float32]

_HELD_S = 1.0  # of a microphone that nobody reads from
_FILL_BLOCKS = 3  # kept ready for a speaker: one plays, one is next, one for a busy moment


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError(
            "a microphone and a speaker need sounddevice; pip install 'audiocodec[live]', or pass --in and --out files"
        ) from None
    except OSError as error:  # the package is there, the library that it loads is not
        raise MissingExtraError(
            f"sounddevice does not load ({error}); install PortAudio (libportaudio2), or pass --in and --out files"
        ) from None
    return sounddevice


def _opened(make: Any, what: str, rate: int, name: str | None, callback: Any) -> Any:
    sound = _sounddevice()
    device = int(name) if name is not None and name.isdigit() else name
    try:
        return getattr(sound, make)(
            samplerate=rate,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * rate),
            latency="low",
            device=device,
            callback=callback,
        )
    except (sound.PortAudioError, ValueError) as error:
        found = "the default one" if name is None else repr(name)
        raise UsageError(
            f"no {what} can be opened at {rate} Hz ({found}: {' '.join(str(error).split())}); pass a file instead"
        ) from None


class DeviceMicrophone:
    """A microphone; what is not read within a second is dropped, oldest first."""

    def __init__(self, sample_rate: int, name: str | None = None) -> None:
        self._blocks: deque[Samples] = deque(maxlen=round(_HELD_S / BLOCK_S))
        self._stream = _opened("InputStream", "microphone", sample_rate, name, self._hear)
        self.first_s: float | None = None
        self.overruns = 0
        self.ended = False

    def _hear(self, block: NDArray[np.float32], _frames: int, _times: Any, status: Any) -> None:
        self.overruns += bool(status)
        self._blocks.append(np.nan_to_num(block[:, 0], nan=0.0).clip(-1, 1))

    def start(self, now: float) -> None:
        """See :class:`audiocodec.live.ends.Microphone`."""
        self._stream.start()
        self.first_s = now - float(self._stream.latency)

    def read(self, now: float) -> Samples:  # noqa: ARG002 - files need it
        """See :class:`audiocodec.live.ends.Microphone`."""
        parts = [np.zeros(0, np.float32)]
        while self._blocks:
            parts.append(self._blocks.popleft())
        return np.concatenate(parts)

    def __enter__(self) -> DeviceMicrophone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


class DeviceSpeaker:
    """A speaker with some blocks kept ready."""

    def __init__(self, sample_rate: int, name: str | None = None) -> None:
        self._rate = sample_rate
        self._ready = np.zeros(0, np.float32)
        self._lock = threading.Lock()
        self._stream = _opened("OutputStream", "speaker", sample_rate, name, self._play)
        self._full = _FILL_BLOCKS * round(BLOCK_S * sample_rate)
        self.first_s: float | None = None
        self.underruns = 0

    def _play(self, out: NDArray[np.float32], frames: int, _times: Any, _status: Any) -> None:
        with self._lock:
            taken, self._ready = self._ready[:frames], self._ready[frames:]
        self.underruns += len(taken) < frames
        out[: len(taken), 0] = taken
        out[len(taken) :, 0] = 0

    def start(self, now: float) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        self._ready = np.zeros(self._full, np.float32)
        self._stream.start()
        self.first_s = now + float(self._stream.latency) + self._full / self._rate

    def wanted(self, now: float) -> tuple[int, float]:
        """See :class:`audiocodec.live.ends.Speaker`."""
        ready = len(self._ready)
        return max(0, self._full - ready), now + ready / self._rate + float(self._stream.latency)

    def write(self, samples: Samples) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        with self._lock:
            self._ready = np.concatenate([self._ready, samples])

    def finish(self) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        time.sleep(min(len(self._ready) / self._rate, 1.0))

    def __enter__(self) -> DeviceSpeaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
