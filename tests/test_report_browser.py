"""The report in a real browser, from a file and without a network: no error, everything there, players that play."""

from __future__ import annotations

import re
import shutil
import time

import pytest
from browser import Browser, find_chromium
from report_helpers import METRICS, make_results, tone_hz

from audiocodec.evaluate.report.html import write_html
from audiocodec.evaluate.results import read_results

SECONDS = 4.0
PLAYER = "document.querySelector('.player').player"
# What reaches the loudspeaker, as the frequency of its strongest tone
LISTEN = """(() => {
  const player = document.querySelector('.player').player, context = player.output.context;
  window.ear = context.createAnalyser();
  window.ear.fftSize = 8192;
  window.ear.smoothingTimeConstant = 0;
  player.output.connect(window.ear);
  window.hear = () => {
    const levels = new Float32Array(window.ear.frequencyBinCount);
    window.ear.getFloatFrequencyData(levels);
    const top = levels.indexOf(Math.max(...levels));
    return levels[top] < -60 ? 0 : top * context.sampleRate / window.ear.fftSize;
  };
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report, open at 1280 pixels, in a browser that reaches nothing."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: install chromium, or name one in $AUDIOCODEC_CHROMIUM")
    if shutil.which("bash") is None:
        pytest.skip("no bash, through which the browser gets its pipes")
    folder = tmp_path_factory.mktemp("report")
    make_results(folder, seconds=SECONDS, files=("a.flac", "b.flac", "c.flac", "long name " * 12 + ".flac"))
    write_html(read_results(folder), folder / "report.html", force=False, listen=3)
    with Browser(program) as browser:
        browser.call("Network.setBlockedURLs", urls=["http://*", "https://*", "ws://*", "wss://*"])
        browser.open(folder / "report.html", width=1280)
        yield browser


def wait_until(page: Browser, expression: str) -> None:
    page.wait_for(expression, timeout=20.0)


@pytest.fixture
def playing(page):
    """The first player, playing the original."""
    page.click(".player .voice[data-voice='0']")
    page.click(".player .play")
    wait_until(page, f"{PLAYER}.playing && {PLAYER}.time > 0.1")
    if page.run("typeof window.hear") != "function":
        page.run(LISTEN)
    yield page
    page.run(f"{PLAYER}.pause(); {PLAYER}.seek(0)")


def test_everything_is_there(page):
    def count(selector):
        return page.run(f"document.querySelectorAll({selector!r}).length")

    assert count(".chart svg .point") == len(METRICS) * 5
    assert count(".player") == 3
    assert page.run("[...document.querySelectorAll('.player')].every((one) => one.player)")
    assert count(".spectrogram img") == 3 * 6
    assert page.run("[...document.querySelectorAll('img')].every((one) => one.complete && one.naturalWidth > 0)")
    assert count(".tokens .histograms svg path") == 3 * 2
    assert count(".bits .step") == 3 * 3
    visible = page.run(
        "[...document.querySelectorAll('.chart svg, .wave svg, .bits svg, .play, .seek')].every("
        "(one) => one.getBoundingClientRect().width > 10)"
    )
    assert visible


def test_it_asks_nothing_of_a_network_and_has_no_error(page):
    page.run("new Promise((done) => setTimeout(done, 300))")
    asked = {
        event["params"]["request"]["url"] for event in page.events if event["method"] == "Network.requestWillBeSent"
    }
    assert asked, "events come at all"
    assert all(re.match(r"(file|data|blob):", url) for url in asked), asked
    wrong = [
        event
        for event in page.events
        if event["method"] == "Runtime.exceptionThrown"
        or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning", "assert"))
        or (event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"))
    ]
    assert not wrong


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_does_not_scroll_sideways(page, width):
    page.resize(width)
    page.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.run("document.documentElement.scrollWidth") <= width
    right = (
        "Math.max(...[...document.querySelectorAll('main > section')].map((one) => one.getBoundingClientRect().right))"
    )
    assert page.run(right) <= width
    page.resize(1280)


def test_play_moves_time_and_pause_holds_it(playing):
    before, clock = playing.run(f"[{PLAYER}.time, performance.now()]")
    time.sleep(0.3)
    after, later = playing.run(f"[{PLAYER}.time, performance.now()]")
    assert after - before == pytest.approx((later - clock) / 1000.0, abs=0.05)
    playing.click(".player .play")
    held = playing.run(f"{PLAYER}.time")
    time.sleep(0.1)
    assert playing.run(f"{PLAYER}.time") == held
    assert not playing.run(f"{PLAYER}.playing")


def test_a_switch_keeps_the_moment_and_is_heard(playing):
    wait_until(playing, f"Math.abs(hear() - {tone_hz(0)}) < 12")
    for place in (3, 4, 1):
        before, clock = playing.run(f"[{PLAYER}.time, performance.now()]")
        if place == 4:
            playing.press("4")
        else:
            playing.click(f".player .voice[data-voice='{place}']")
        after, later = playing.run(f"[{PLAYER}.time, performance.now()]")
        assert after - before == pytest.approx((later - clock) / 1000.0, abs=0.05)
        assert playing.run(f"{PLAYER}.playing")
        wait_until(playing, f"Math.abs(hear() - {tone_hz(place)}) < 12")
        pressed = "[...document.querySelectorAll('.player .voice[aria-pressed=true]')].map((one) => one.dataset.voice)"
        assert str(place) in playing.run(pressed)
        assert playing.run("document.querySelector('.player .spectrogram.current').dataset.voice") == str(place)


def test_seeking_goes_there_and_the_end_is_an_end(playing):
    playing.run(f"{PLAYER}.seek({SECONDS - 0.4})")
    assert playing.run(f"{PLAYER}.time") == pytest.approx(SECONDS - 0.4, abs=0.1)
    wait_until(playing, f"!{PLAYER}.playing")
    assert playing.run(f"{PLAYER}.time") == 0
    playing.click(".player .wave .seekable")
    assert playing.run(f"{PLAYER}.time") == pytest.approx(SECONDS / 2, abs=0.05)


def test_one_player_at_a_time(playing):
    playing.click("#listen-1 .play")
    wait_until(playing, "document.querySelector('#listen-1').player.playing")
    assert not playing.run(f"{PLAYER}.playing")
    playing.run("document.querySelector('#listen-1').player.pause()")


def test_a_heading_sorts_its_table(page):
    read = "[...document.querySelectorAll('#summary tbody tr')].map((row) => Number(row.cells[1].dataset.sort))"
    page.click("#summary thead th:nth-child(2) button")
    rates = page.run(read)
    assert rates == sorted(rates)
    page.click("#summary thead th:nth-child(2) button")
    assert page.run(read) == rates[::-1]
    assert page.run("document.querySelector('#summary th[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_recordings_are_filtered(page):
    rows = "[...document.querySelectorAll('.recordings tbody tr')].filter((row) => !row.hidden).length"
    everything = page.run(rows)
    set_filter = (
        "(() => {{ const form = document.querySelector('.filter'); form.elements.text.value = {!r};"
        "form.dispatchEvent(new Event('input')); }})()"
    )
    page.run(set_filter.format("b.fl"))
    assert page.run(rows) == everything // 4
    page.run(set_filter.format(""))
    assert page.run(rows) == everything


def test_the_legend_hides_a_codec(page):
    shown = "[...document.querySelectorAll('.curve:not(.gone)')].length"
    page.click(".legend button:nth-child(2)")
    assert page.run(shown) == len(METRICS)
    page.click(".legend button:nth-child(2)")
    assert page.run(shown) == 2 * len(METRICS)
