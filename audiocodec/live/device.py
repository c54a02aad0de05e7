"""Sound devices by ``sounddevice`` (PortAudio), which the extra ``live`` brings."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import Resampler
from audiocodec.errors import AudiocodecError, MissingExtraError, UsageError
from audiocodec.live.ends import BLOCK_S

Samples = NDArray[np.float32]

_HELD_S = 1.0  # of a microphone that nobody reads from
_FILL_BLOCKS = 3  # kept ready for a speaker: one plays, one is next, one for a busy moment
_STILL_S = 5.0  # that a device neither gives nor takes anything: it is gone, or its driver hangs


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


def _opened(what: str, rate: int, name: str | None, callback: Any) -> tuple[Any, int]:
    """A stream of one channel and its rate: ``rate``, or the device's own where it has no other."""
    sound = _sounddevice()
    make, kind = {"microphone": ("InputStream", "input"), "speaker": ("OutputStream", "output")}[what]

    def stream(at: int) -> Any:
        return getattr(sound, make)(
            samplerate=at,
            channels=1,
            dtype="float32",
            blocksize=round(BLOCK_S * at),
            latency="low",
            device=device,
            callback=callback,
        )

    try:
        device = int(name) if name is not None and name.isdecimal() else name
        try:
            return stream(rate), rate
        except sound.PortAudioError:
            own = round(sound.query_devices(device, kind)["default_samplerate"])
            if own == rate:
                raise
            return stream(own), own
    except (sound.PortAudioError, ValueError, OverflowError) as error:
        found = "the default one" if name is None else repr(name)
        raise UsageError(
            f"no {what} can be opened at {rate} Hz ({found}: {' '.join(str(error).split())}); pass a file instead"
        ) from None


class _Device:
    """What a microphone and a speaker have in common: a stream that is open for as long as the ``with`` block lasts."""

    def __init__(self, what: str, rate: int, name: str | None, callback: Any) -> None:
        self._what = what
        self._stream, self._device_rate = _opened(what, rate, name, callback)
        self._blocks_done = self._blocks_seen = 0
        self._moved_s = 0.0
        self.first_s: float | None = None

    def _begin(self, now: float) -> None:
        self._moved_s = now
        try:
            self._stream.start()
        except _sounddevice().PortAudioError as error:
            reason = " ".join(str(error).split())
            raise AudiocodecError(f"the {self._what} does not start ({reason}); is it still connected?") from None

    def stopped(self, now: float) -> bool:
        """See :class:`audiocodec.live.ends.Microphone`; some systems say so, some just ask for nothing any more."""
        if self._blocks_done != self._blocks_seen:
            self._blocks_seen, self._moved_s = self._blocks_done, now
        return not self._stream.active or now - self._moved_s > _STILL_S

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


class DeviceMicrophone(_Device):
    """A microphone; what is not read within a second is dropped, oldest first, and each block of it counted."""

    def __init__(self, sample_rate: int, name: str | None = None) -> None:
        super().__init__("microphone", sample_rate, name, self._hear)
        self._blocks: deque[Samples] = deque(maxlen=round(_HELD_S / BLOCK_S))
        self._resampler = Resampler(self._device_rate, sample_rate, 1, live=True)
        self.overruns = 0
        self.ended = False

    def _hear(self, block: NDArray[np.float32], _frames: int, _times: Any, status: Any) -> None:
        self._blocks_done += 1
        self.overruns += bool(status) + (len(self._blocks) == self._blocks.maxlen)
        self._blocks.append(np.nan_to_num(block[:, 0], nan=0.0).clip(-1, 1))

    def start(self, now: float) -> None:
        """See :class:`audiocodec.live.ends.Microphone`."""
        self._begin(now)
        self.first_s = now - float(self._stream.latency)

    def read(self, now: float) -> Samples:  # noqa: ARG002 - files need it
        """See :class:`audiocodec.live.ends.Microphone`."""
        parts = [np.zeros(0, np.float32)]
        while self._blocks:
            parts.append(self._blocks.popleft())
        return np.asarray(self._resampler.push(np.concatenate(parts)[None])[0])

    def __enter__(self) -> DeviceMicrophone:
        return self


class DeviceSpeaker(_Device):
    """A speaker with some blocks kept ready."""

    def __init__(self, sample_rate: int, name: str | None = None) -> None:
        super().__init__("speaker", sample_rate, name, self._play)
        self._rate = sample_rate
        self._resampler = Resampler(sample_rate, self._device_rate, 1, live=True)
        self._ready = np.zeros(0, np.float32)  # at the device's rate
        self._lock = threading.Lock()
        self._full = _FILL_BLOCKS * round(BLOCK_S * self._device_rate)
        self.underruns = 0

    def _play(self, out: NDArray[np.float32], frames: int, _times: Any, _status: Any) -> None:
        self._blocks_done += 1
        with self._lock:
            taken, self._ready = self._ready[:frames], self._ready[frames:]
        self.underruns += len(taken) < frames
        out[: len(taken), 0] = taken
        out[len(taken) :, 0] = 0

    def start(self, now: float) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        self._ready = np.zeros(self._full, np.float32)
        self._begin(now)
        self.first_s = now + float(self._stream.latency) + self._full / self._device_rate

    def wanted(self, now: float) -> tuple[int, float]:
        """See :class:`audiocodec.live.ends.Speaker`."""
        ready = len(self._ready)
        wanted = math.ceil((self._full - ready) * self._rate / self._device_rate)
        # What the resampler still holds back is heard after what is ready.
        behind_s = self._resampler.samples_in / self._rate - self._resampler.samples_out / self._device_rate
        return max(0, wanted), now + ready / self._device_rate + behind_s + float(self._stream.latency)

    def write(self, samples: Samples) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        more = self._resampler.push(samples[None])[0]
        with self._lock:
            self._ready = np.concatenate([self._ready, more])

    def finish(self) -> None:
        """See :class:`audiocodec.live.ends.Speaker`."""
        time.sleep(min(len(self._ready) / self._device_rate, 1.0))

    def __enter__(self) -> DeviceSpeaker:
        return self
