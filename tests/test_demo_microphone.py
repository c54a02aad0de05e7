"""The microphone on the page of ``audiocodec demo``: recorded within limits, live, and closed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from demo_helpers import Client, running, wav_bytes
from demo_page import BENCH, CHROMIUM, PATIENCE_S, give, loaded, text, told_of, turn

from audiocodec.demo.limits import Limits

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
# At 48 kHz two seconds are 192 kB, at 24 kHz half of that.
LIMITS = Limits(seconds=2.0, upload_bytes=120_000)


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running(LIMITS) as one:
        yield one


def test_a_recording_ends_at_the_limit_and_is_not_lost(page: Browser) -> None:
    page.click("#record")
    loaded(page)
    assert text(page, "#name") == "recording.wav"
    assert page.run(f"{BENCH}.recording.seconds") == pytest.approx(2.0, abs=0.05)
    assert page.run(f"{BENCH}.recording.sample_rate") == 24000
    assert "24 kHz" in text(page, "#notices")
    assert page.run("heard.open()") == 0


def test_too_long_is_told(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav_bytes(5.0, 8000))
    give(page, tmp_path / "long.wav")
    assert "long.wav is longer than 2 seconds" in told_of(page)
    page.wait_for("!document.getElementById('drop').hidden", PATIENCE_S)


@pytest.mark.parametrize(("seconds", "taken"), [(1.5, True), (30.0, False)])
def test_what_only_the_browser_reads_is_made_to_fit(page: Browser, tmp_path: Path, seconds: float, taken: bool) -> None:
    av = pytest.importorskip("av", reason="WebM is written by PyAV")
    with av.open(str(tmp_path / "talk.webm"), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 2 * round(48000 * seconds)), np.int16), format="s16", layout="stereo"
        )
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert (tmp_path / "talk.webm").stat().st_size < 30_000
    give(page, tmp_path / "talk.webm")
    if not taken:
        assert "talk.webm is longer than 2 seconds" in told_of(page)
        return
    loaded(page)
    assert "mono, 24 kHz" in text(page, "#notices")
    assert page.run(f"{BENCH}.recording.channels") == 1


def test_the_codec_is_heard_live_at_rates_that_turn(page: Browser) -> None:
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for("window.demo.live.answers.length > 30", PATIENCE_S)
    page.wait_for("heard.loudness() > 0.01", PATIENCE_S)
    page.wait_for("document.getElementById('live-kbps').textContent > '0'", PATIENCE_S)
    assert page.run("window.demo.live.shown.some((piece) => piece.out > 0.01)")
    # Two resamplers and a codec of 30 ms cannot be quicker; what waits to be played comes on top of it.
    told, coding, waits = page.run(
        "(() => { const l = window.demo.live; l.tell(); const mean = (a) => a.reduce((s, x) => s + x, 0) / a.length;"
        "return [Number(document.getElementById('live-delay').textContent), mean(l.delays), 1000 * mean(l.waits)]; })()"
    )
    assert coding > 40
    assert told >= coding + waits - 1
    turn(page, "live-rate", int(page.run("document.getElementById('live-rate').max")))
    turn(page, "live-loss", 20)
    page.wait_for("window.demo.live.totals[1] > 0", PATIENCE_S)
    page.click("#live-start")
    assert text(page, "#live-status") == "The microphone is off."
    page.wait_for("heard.open() === 0", PATIENCE_S)


def test_clicks_in_a_row_leave_no_microphone_open(page: Browser) -> None:
    page.click("#record")
    page.click("#record")  # while it is being opened, or to stop: never a second one
    page.run("new Promise((done) => setTimeout(done, 300))")
    assert page.run("heard.streams.length") == 1
    if page.run("document.getElementById('recording').hidden === false"):
        page.click("#record")
    page.wait_for("heard.open() === 0", PATIENCE_S)
    page.click("#tab-live")
    page.run("(() => { const b = document.getElementById('live-start'); for (let n = 0; n < 3; n++) b.click(); })()")
    page.wait_for("window.demo.live.answers.length > 3", PATIENCE_S)
    assert page.run("heard.open()") == 1
    page.click("#live-start")
    page.wait_for("heard.open() === 0", PATIENCE_S)


@pytest.mark.parametrize("tab", ["#tab-recordings", "#tab-live"])
def test_a_microphone_that_cannot_be_listened_to_is_closed(page: Browser, tab: str) -> None:
    page.run("AudioWorklet.prototype.addModule = () => Promise.reject(new Error('no worklet'))")
    page.click(tab)
    page.click("#live-start" if tab == "#tab-live" else "#record")
    assert "no worklet" in told_of(page)
    assert page.run("heard.streams.length") == 1
    page.wait_for("heard.open() === 0", PATIENCE_S)
