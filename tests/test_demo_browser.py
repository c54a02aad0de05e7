"""The page of ``audiocodec demo`` as people use it, in a browser that reaches nothing but the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_chromium
from demo_helpers import Client, left_on_disk, running, wav_bytes

import audiocodec

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
# A microphone that beeps, and that may be used
FLAGS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
BENCH = "window.demo.bench"
QUIET = f"!document.querySelector('.voice:not([hidden])[aria-busy=true]') && Boolean({BENCH}.coding)"


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "talk.wav").write_bytes(wav_bytes(2.0, 22050))
    (folder / "other.wav").write_bytes(wav_bytes(1.2, 16000, seed=9))
    (folder / "letter.wav").write_text("Dear reader, this is no sound at all. " * 40)
    return folder


def open_page(browser: Browser, client: Client, width: int = 1280) -> None:
    browser.visit(client.url, width)
    browser.wait_for("document.documentElement.dataset.ready === 'yes'")


@pytest.fixture(scope="module")
def browser(client: Client) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM, FLAGS) as one:
        yield one


@pytest.fixture
def page(browser: Browser, client: Client, scratch: Path) -> Iterator[Browser]:
    open_page(browser, client)
    browser.events.clear()
    yield browser
    wrong = [event for event in browser.events if complaint(event, client)]
    assert not wrong
    assert [name for name in left_on_disk(scratch) if name.startswith("audiocodec-demo")] == []


def complaint(event: dict, client: Client) -> bool:
    """An error of the page, a breach of its policy, or something asked of anyone but the server."""
    method, told = event.get("method"), event.get("params", {})
    if method == "Network.requestWillBeSent":
        return not told["request"]["url"].startswith((client.url, "data:", "blob:"))
    if method == "Log.entryAdded":
        refused = told["entry"]["source"] == "network" and " 422 " in told["entry"]["text"]
        return told["entry"]["level"] == "error" and not refused
    return method == "Runtime.exceptionThrown"


def give(page: Browser, path: Path) -> None:
    """Choose a file."""
    field = page.call("Runtime.evaluate", expression="document.getElementById('file')")["result"]["objectId"]
    page.call("DOM.setFileInputFiles", files=[str(path)], objectId=field)


def bring(page: Browser, path: Path) -> None:
    """Choose a recording, and wait until all of its versions can be heard."""
    give(page, path)
    page.wait_for(f"Boolean(window.demo) && !document.getElementById('bench').hidden && {QUIET}")


def turn(page: Browser, knob: str, value: int) -> None:
    """Move a slider, as dragging does."""
    page.run(
        f"(() => {{ const s = document.getElementById('{knob}'); s.value = {value};"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def text(page: Browser, selector: str) -> str:
    return page.run(f"document.querySelector('{selector}').textContent")


def test_a_recording_is_coded_heard_at_other_rates_with_losses_and_saved(
    page: Browser, recordings: Path, tmp_path: Path
) -> None:
    bring(page, recordings / "talk.wav")
    assert text(page, "#name") == "talk.wav"
    assert text(page, "#facts").startswith("2.00 s, 22.05 kHz mono")
    assert "auto: " in page.run("document.getElementById('model').selectedOptions[0].textContent")
    assert page.run(f"[0, 1].map((n) => {BENCH}.player.voices[n].buffer.duration.toFixed(2))") == ["2.00", "2.00"]
    drawn = "[...document.querySelectorAll('.picture:not([hidden]) canvas')].map((c) => c.width)"
    assert set(page.run(drawn)) == {720}
    assert len(page.run("document.querySelector('.step.mine').getAttribute('d')")) > 100
    sizes = []
    most = int(page.run("document.getElementById('rate').max"))
    for place in (0, most):
        turn(page, "rate", place)
        page.wait_for(f"!{BENCH}.coding")
        page.wait_for(QUIET)
        sizes.append(page.run(f"{BENCH}.coding.bytes"))
    assert sizes[0] * 2 < sizes[1]
    before = page.run(f"Array.from({BENCH}.player.voices[1].buffer.getChannelData(0))")
    turn(page, "loss", 20)
    page.wait_for("document.getElementById('loss-note').textContent.includes('packets are lost')")
    page.wait_for(QUIET)
    after = page.run(f"Array.from({BENCH}.player.voices[1].buffer.getChannelData(0))")
    assert len(before) == len(after)
    assert before != after
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#download")
    end = time.monotonic() + 10
    while not (tmp_path / "talk.vpc").exists() and time.monotonic() < end:
        time.sleep(0.05)
    data = (tmp_path / "talk.vpc").read_bytes()
    assert len(data) == sizes[1]
    model = page.run(f"{BENCH}.coding.model")
    assert audiocodec.load(model).decompress(data)[0].shape == (1, 44100)
    page.click("#another")
    bring(page, tmp_path / "talk.vpc")
    assert page.run(f"{BENCH}.recording.kind") == "vpc"
    assert page.run("document.getElementById('rate').disabled")
    assert page.run("[...document.querySelectorAll('.voice')].map((v) => v.hidden)") == [True, False, True]


def test_keys_switch_at_the_same_moment(page: Browser, recordings: Path) -> None:
    bring(page, recordings / "talk.wav")
    page.press(" ")
    page.wait_for(f"{BENCH}.player.playing && {BENCH}.player.time > 0.1")
    before, clock = page.run(f"[{BENCH}.player.time, performance.now()]")
    page.press("1")
    after, later = page.run(f"[{BENCH}.player.time, performance.now()]")
    assert after - before == pytest.approx((later - clock) / 1000, abs=0.06)
    assert page.run("document.querySelector('.voice[aria-pressed=true]').dataset.voice") == "0"
    assert page.run(f"{BENCH}.player.voices.filter((v) => v.source).length") == page.run(
        "document.querySelectorAll('.voice:not([hidden])').length"
    )
    page.click(".voice[data-voice='1']")
    assert page.run(f"{BENCH}.player.active") == 1
    page.press(" ")  # goes to the page, though a button was clicked last
    assert not page.run(f"{BENCH}.player.playing")


def test_a_wrong_file_is_told_and_the_page_goes_on(page: Browser, recordings: Path) -> None:
    give(page, recordings / "letter.wav")
    page.wait_for("!document.getElementById('alert').hidden")
    told = text(page, "#alert p")
    assert "letter.wav is not audio that can be read" in told
    page.run("window.demo.take(new File([new Uint8Array(60e6)], 'large.wav'))")
    assert "50.0 MB is the most" in text(page, "#alert p")
    bring(page, recordings / "other.wav")
    assert page.run("document.getElementById('alert').hidden")


def test_two_visitors_at_once(page: Browser, client: Client, recordings: Path) -> None:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as other:
        open_page(other, client, 400)
        give(page, recordings / "talk.wav")
        give(other, recordings / "other.wav")
        for one, name, seconds in ((page, "talk.wav", 2.0), (other, "other.wav", 1.2)):
            one.wait_for(f"!document.getElementById('bench').hidden && {QUIET}")
            assert text(one, "#name") == name
            assert one.run(f"{BENCH}.player.seconds") == pytest.approx(seconds, abs=0.07)
        assert page.run(f"{BENCH}.recording.key") != other.run(f"{BENCH}.recording.key")
        assert other.run("document.documentElement.scrollWidth") <= 400


def test_the_microphone_is_recorded_and_live(page: Browser) -> None:
    page.click("#record")
    page.wait_for("document.getElementById('recorded').textContent >= '0:01'")
    page.click("#record")
    page.wait_for(f"!document.getElementById('bench').hidden && {QUIET}")
    assert text(page, "#name") == "recording.wav"
    page.click("#tab-live")
    page.click("#live-start")
    page.wait_for("document.getElementById('live-kbps').textContent > '0'")
    page.wait_for("window.demo.live.answers.length > 30")
    assert 20 < int(text(page, "#live-delay")) < 1500
    turn(page, "live-loss", 20)
    page.wait_for("window.demo.live.totals[1] > 0")
    page.click("#live-start")
    assert text(page, "#live-status") == "The microphone is off."


def test_nothing_scrolls_sideways_and_everything_has_a_name(page: Browser, recordings: Path) -> None:
    bring(page, recordings / "other.wav")
    nameless = (
        "[...document.querySelectorAll('button,input,select,canvas[role],svg[role],progress,meter')].filter((e) =>"
        "!(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"
    )
    assert page.run(nameless) == []
    for tab in ("#tab-recordings", "#tab-live"):
        page.click(tab)
        for width in (400, 1280):
            page.resize(width)
            assert page.run("document.documentElement.scrollWidth") <= width
