"""Sound devices: at their own pace, at their own rate, and gone in the middle of a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from call_helpers import RATE, A, B
from conftest import ROOT, speech_like
from test_call_ends import MODEL, ended, free_port, started

from audiocodec.errors import AudiocodecError, UsageError
from audiocodec.live.device import DeviceMicrophone, DeviceSpeaker
from audiocodec.live.line import talk
from audiocodec.live.session import Session, Stage
from audiocodec.live.settings import CallSettings


class PortAudioError(Exception):
    """As of ``sounddevice``."""


class FakeSound:
    """What is used of ``sounddevice``, without a device: one of ``rates``, the first its own."""

    PortAudioError = PortAudioError

    def __init__(self, *rates: int) -> None:
        self._rates = rates or (RATE,)
        self.opened: dict = {}
        self.streams: dict = {}

    def query_devices(self, device, kind):
        return {"default_samplerate": float(self._rates[0])}

    def InputStream(self, **options):  # noqa: N802 - its name
        return self._stream("microphone", options)

    def OutputStream(self, **options):  # noqa: N802 - its name
        return self._stream("speaker", options)

    def _stream(self, what, options):
        if options["samplerate"] not in self._rates or options["device"] in (99, "nobody"):
            raise PortAudioError("Invalid sample rate")
        self.opened[what] = options
        self.streams[what] = SimpleNamespace(start=lambda: None, close=lambda: None, latency=0.01, active=True)
        return self.streams[what]

    def hear(self, block, status=False) -> None:
        """The microphone gives a block."""
        self.opened["microphone"]["callback"](np.asarray(block, np.float32)[:, None], len(block), None, status)

    def play(self, samples) -> np.ndarray:
        """The speaker takes ``samples``."""
        out = np.ones((samples, 1), np.float32)
        self.opened["speaker"]["callback"](out, samples, None, None)
        return out[:, 0]


@pytest.fixture
def sound(monkeypatch):
    def made(*rates: int) -> FakeSound:
        fake = FakeSound(*rates)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake

    return made


def test_devices_give_and_take_at_their_own_pace(sound):
    fake = sound()
    with DeviceMicrophone(RATE, "3") as mouth, DeviceSpeaker(RATE) as ear:
        assert fake.opened["microphone"]["device"] == 3
        mouth.start(5.0)
        ear.start(5.0)
        assert mouth.first_s == pytest.approx(4.99)
        fake.hear(np.full(160, np.nan))
        fake.hear(np.full(160, 2.0), True)
        assert mouth.read(5.1).tolist() == [0.0] * 160 + [1.0] * 160
        assert mouth.overruns == 1
        for _ in range(1000):
            fake.hear(np.zeros(160))
        assert len(mouth.read(5.2)) == RATE  # nobody read: a second is kept
        assert mouth.overruns == 901  # and what was not is counted
        assert not fake.play(160).any()
        assert ear.wanted(5.0)[0] == 160
        ear.write(np.full(160, 0.5, np.float32))
        for _ in range(4):
            fake.play(160)
        assert ear.underruns == 1


def tone(numbers, rate) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 300 * np.asarray(numbers) / rate)).astype(np.float32)


@pytest.mark.parametrize("own", [16000, 48000, 44100])
def test_a_microphone_that_has_its_own_rate_alone_is_resampled(sound, own):
    fake, block, heard = sound(own), own // 100, []
    with DeviceMicrophone(RATE) as mouth:
        mouth.start(0.0)
        for number in range(100):
            fake.hear(tone(np.arange(number * block, (number + 1) * block), own))
            heard.append(mouth.read(number / 100))
    voice = np.concatenate(heard)
    assert len(voice) >= RATE - 101  # what the filter reaches to either side
    np.testing.assert_allclose(voice[200:], tone(np.arange(len(voice)), RATE)[200:], atol=1e-3)


@pytest.mark.parametrize("own", [16000, 48000, 44100])
def test_a_speaker_that_has_its_own_rate_alone_is_resampled_for(sound, own):
    fake, block, heard, given = sound(own), own // 100, [], [(0, 0.0)]
    with DeviceSpeaker(RATE) as ear:
        ear.start(0.0)
        for number in range(100):
            wanted, heard_at = ear.wanted(number / 100)
            first = given[-1][0]
            ear.write(tone(np.arange(first, first + wanted), RATE))
            heard.append(fake.play(block))
            given.append((first + wanted, heard_at))
        assert ear.underruns == 0
    out = np.concatenate(heard)
    for (first, _), (_, heard_at) in list(pairwise(given))[10:90]:
        place = round((heard_at - 0.01) * own)  # after the latency
        assert out[place] == pytest.approx(tone(first, RATE), abs=0.02)


@pytest.mark.parametrize("name", ["hw:1", "99", "nobody", "²", "9" * 30, "9" * 5000])
@pytest.mark.parametrize(("what", "kind"), [("microphone", DeviceMicrophone), ("speaker", DeviceSpeaker)])
def test_a_device_that_cannot_be_had_is_told(sound, name, what, kind):
    fake = sound(8000)
    fake._rates = ()
    fake.query_devices = lambda device, kind: {"default_samplerate": 8000.0}
    with pytest.raises(UsageError, match=rf"no {what} can be opened at 16000 Hz"):
        kind(RATE, name)


def test_the_device_s_own_error_is_told(sound):
    sound(8000)
    with pytest.raises(UsageError, match=r"at 16000 Hz \('nobody': Invalid sample rate\); pass a file"):
        DeviceSpeaker(RATE, "nobody")


def test_a_device_that_went_away_before_the_call_is_told(sound):
    def gone():
        raise PortAudioError("Device unavailable")

    fake = sound()
    with DeviceMicrophone(RATE) as mouth:
        fake.streams["microphone"].start = gone
        with pytest.raises(AudiocodecError, match=r"the microphone does not start \(Device unavailable\)"):
            mouth.start(0.0)


class NoLine:
    """A line on which nothing comes; ``told`` is what went."""

    def __init__(self) -> None:
        self.told: list = []

    def send(self, datagrams) -> None:
        self.told += datagrams

    def serve(self, *_) -> None:
        pass


def in_a_call(codec) -> Session:
    caller, called = (Session(codec, CallSettings(codec.rates[0]), call=call) for call in (B, None))
    [(hello, _)] = caller.tick(0.0)
    [(answer, _)] = called.receive(hello, A, 0.0)
    caller.receive(answer, B, 0.0)
    assert caller.stage is Stage.TALKING
    return caller


@pytest.mark.parametrize("what", ["microphone", "speaker"])
@pytest.mark.parametrize("told", [True, False])
def test_a_device_that_stops_ends_the_call_and_is_named(sound, tiny_codec, what, told):
    """Some systems say that the stream is over, with others it just stands still."""
    fake, line, now = sound(), NoLine(), [0.0]

    def clock() -> float:
        now[0] += 0.01
        if now[0] < 1.0 or (what == "speaker" and not told):
            fake.hear(np.zeros(160))
        if now[0] < 1.0 or (what == "microphone" and not told):
            fake.play(160)
        if told and now[0] >= 1.0:
            fake.streams[what].active = False
        return now[0]

    with DeviceMicrophone(RATE) as mouth, DeviceSpeaker(RATE) as ear:
        report = talk(line, in_a_call(tiny_codec), mouth, ear, duration_s=30, clock=clock)
    assert report.problem.startswith(f"the {what} stopped")
    assert report.ended == report.problem
    assert now[0] < (1.3 if told else 6.5)
    assert sum(data[0] >> 6 != 2 and data[4] & 15 == 3 for data, _ in line.told) == 3  # BYE


FAKE = """
import threading, time
import numpy as np
class PortAudioError(Exception): pass
class InputStream:
    def __init__(self, *, samplerate, blocksize, callback, **_):
        self.step_s, self.size, self.callback = blocksize / samplerate, blocksize, callback
        self.latency, self.active = 0.01, True
    def start(self):
        threading.Thread(target=self.run, daemon=True).start()
    def run(self):
        for _ in range(150):
            time.sleep(self.step_s)
            self.callback(np.zeros((self.size, 1), "float32"), self.size, None, None)
        self.active = False
    def close(self):
        pass
"""


def test_a_call_whose_microphone_is_unplugged_fails_and_keeps_what_was_heard(tmp_path):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "sounddevice.py").write_text(FAKE)
    soundfile.write(tmp_path / "in.wav", speech_like(60.0), RATE)
    port = free_port()
    called = started(
        "--listen", f"127.0.0.1:{port}", "--in", str(tmp_path / "in.wav"), "--out", str(tmp_path / "b.wav")
    )
    assert "listening" in called.stderr.readline()
    command = [sys.executable, "-m", "audiocodec", "call", "--connect", f"127.0.0.1:{port}", "--model", MODEL]
    done = subprocess.run(
        [*command, "--json", "--out", str(tmp_path / "a.wav")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path / 'fake'}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 1
    assert "the microphone stopped" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["problem"]
    assert ended(called)["ended"] == "the other side hung up"
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5
