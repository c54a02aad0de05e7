"""The page of ``audiocodec demo`` as people use it, in a browser that reaches nothing but the server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from conftest import speech_like
from demo_helpers import Client, running, wav_bytes
from demo_page import (
    BENCH,
    CHROMIUM,
    PATIENCE_S,
    QUIET,
    bring,
    drop,
    give,
    loaded,
    open_page,
    opened,
    text,
    told_of,
    turn,
)

import audiocodec

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")


@pytest.fixture(scope="module")
def client(scratch: Path) -> Iterator[Client]:
    with running() as one:
        yield one


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "talk.wav").write_bytes(wav_bytes(2.0, 22050))
    (folder / "long.wav").write_bytes(wav_bytes(12.0, 16000, seed=2))
    (folder / "other.wav").write_bytes(wav_bytes(1.2, 16000, seed=9))
    (folder / "letter.wav").write_text("Dear reader, this is no sound at all. " * 40)
    return folder


def test_a_recording_is_coded_heard_at_other_rates_with_losses_and_saved(
    page: Browser, recordings: Path, tmp_path: Path
) -> None:
    bring(page, recordings / "talk.wav")
    assert text(page, "#name") == "talk.wav"
    assert text(page, "#facts").startswith("2.00 s, 22.05 kHz mono")
    assert "auto: " in page.run("document.getElementById('model').selectedOptions[0].textContent")
    assert page.run(f"[0, 1].map((n) => {BENCH}.player.voices[n].buffer.duration.toFixed(2))") == ["2.00", "2.00"]
    for version in (0, 1):
        assert picture(page, version) > 50
    assert len(page.run("document.querySelector('.step.mine').getAttribute('d')")) > 100
    sizes = []
    most = int(page.run("document.getElementById('rate').max"))
    for place in (0, most):
        turn(page, "rate", place)
        page.wait_for(f"!{BENCH}.coding", PATIENCE_S)
        page.wait_for(QUIET, PATIENCE_S)
        sizes.append(page.run(f"{BENCH}.coding.bytes"))
    assert sizes[0] * 2 < sizes[1]
    before = page.run(f"Array.from({BENCH}.player.voices[1].buffer.getChannelData(0))")
    turn(page, "loss", 20)
    page.wait_for("document.getElementById('loss-note').textContent.includes('packets are lost')", PATIENCE_S)
    page.wait_for(QUIET, PATIENCE_S)
    after = page.run(f"Array.from({BENCH}.player.voices[1].buffer.getChannelData(0))")
    assert len(before) == len(after)
    assert before != after
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#download")
    end = time.monotonic() + PATIENCE_S
    while not (tmp_path / "talk.vpc").exists() and time.monotonic() < end:
        time.sleep(0.05)
    data = (tmp_path / "talk.vpc").read_bytes()
    assert len(data) == sizes[1]
    model = page.run(f"{BENCH}.coding.model")
    assert audiocodec.load(model).decompress(data)[0].shape == (1, 44100)


def test_a_coded_file_that_is_dropped_is_played(page: Browser, recordings: Path, tmp_path: Path) -> None:
    bring(page, recordings / "other.wav")
    page.click("#another")
    data = audiocodec.load("speech-16k").compress(speech_like(2.0), 16000)
    (tmp_path / "talk.vpc").write_bytes(data)
    drop(page, tmp_path / "talk.vpc")
    loaded(page)
    assert page.run(f"{BENCH}.recording.kind") == "vpc"
    assert page.run("document.getElementById('rate').disabled")
    assert page.run("[...document.querySelectorAll('.voice')].map((v) => v.hidden)") == [True, False, True]
    page.press(" ")
    page.wait_for(f"{BENCH}.player.playing && heard.loudness() > 0.01", PATIENCE_S)
    assert picture(page, 1) > 50


def picture(page: Browser, version: int) -> int:
    """How many shades its spectrogram has."""
    return page.run(
        f"(() => {{ const c = document.querySelector('.picture[data-voice=\"{version}\"] canvas');"
        "const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const shades = new Set();"
        "for (let n = 0; n < pixels.length; n += 4) shades.add(pixels.slice(n, n + 3).join());"
        "return shades.size; })()"
    )


def test_sizes_are_told(page: Browser, recordings: Path) -> None:
    bring(page, recordings / "talk.wav")
    rows = page.run("[...document.querySelectorAll('#sizes tr')].map((r) => [...r.children].map((c) => c.textContent))")
    assert [row[0] for row in rows[:3]] == ["Samples of 16 bits", "The file dropped", "audiocodec"]
    assert [row[2] for row in rows[:2]] == ["88.2 kB", "88.2 kB"]
    ours = page.run(f"{BENCH}.coding.bytes")
    assert rows[2][2:] == [f"{ours} bytes" if ours < 1000 else f"{ours / 1000:.1f} kB", f"{ours * 8e-3 / 2:.1f} kbps"]
    assert f"{88200 / ours:.0f} times smaller" in text(page, "#smaller")
    assert f"{ours * 8e-3 / 2:.2f} kbps" in text(page, ".voice[data-voice='1'] small")


def test_keys_switch_at_the_same_moment(page: Browser, recordings: Path) -> None:
    bring(page, recordings / "long.wav")
    page.run("heard.starts.length = 0")
    page.press(" ")
    page.wait_for(f"{BENCH}.player.playing && {BENCH}.player.time > 0.1", PATIENCE_S)
    voices = page.run("[...document.querySelectorAll('.voice:not([hidden])')].map((v) => Number(v.dataset.voice))")
    # All versions run: they began at one moment, at the same place of the recording.
    began = page.run("heard.starts.map(([when, offset]) => [when, offset])")
    assert len(began) == len(voices)
    assert all(one == began[0] for one in began)
    before, clock = page.run(f"[{BENCH}.player.time, performance.now()]")
    page.press("1")
    after, later = page.run(f"[{BENCH}.player.time, performance.now()]")
    assert after - before == pytest.approx((later - clock) / 1000, abs=0.1)
    for version in voices:
        page.click(f".voice[data-voice='{version}']")
        assert page.run("document.querySelector('.voice[aria-pressed=true]').dataset.voice") == str(version)
        wanted = [1 if one == version else 0 for one in voices]
        gains = f"{json.dumps(voices)}.map((n) => Math.round(1000 * {BENCH}.player.voices[n].gain.gain.value) / 1000)"
        page.wait_for(f"JSON.stringify({gains}) === '{json.dumps(wanted, separators=(',', ':'))}'", PATIENCE_S)
        page.wait_for("heard.loudness() > 0.01", PATIENCE_S)
    page.press(" ")  # goes to the page, though a button was clicked last
    assert not page.run(f"{BENCH}.player.playing")


OPUS_HELD = """
const ask = window.fetch;
window.held = 0;
window.fetch = (url, options) => {
  if (!String(url).includes("audio/opus") || held++) return ask(url, options);
  return new Promise((_, reject) =>
    options.signal.addEventListener("abort", () => reject(new DOMException("given up", "AbortError"))));
};
"""


def test_opus_is_heard_beside_ours_at_its_bytes_whenever_knobs_turn(page: Browser, recordings: Path) -> None:
    if page.run(f"{BENCH}.about.opus_note"):
        pytest.skip("no Opus is installed")
    bring(page, recordings / "talk.wav")
    low = page.run(f"Array.from({BENCH}.player.voices[2].buffer.getChannelData(0))")
    page.run(OPUS_HELD)
    most = int(page.run("document.getElementById('rate').max"))
    turn(page, "rate", most)
    page.wait_for("held === 1", PATIENCE_S)  # its sound is asked for, and does not come
    turn(page, "loss", 5)
    page.wait_for("document.getElementById('loss-note').textContent.includes('packets are lost')", PATIENCE_S)
    page.wait_for(QUIET, PATIENCE_S)
    ours, theirs = page.run(f"[{BENCH}.coding.bytes, {BENCH}.opus.bytes]")
    assert 0.7 * ours < theirs < 1.5 * ours
    versions = [page.run(f"Array.from({BENCH}.player.voices[{n}].buffer.getChannelData(0))") for n in range(3)]
    length = min(len(low), *map(len, versions))
    original, coded, opus = (np.array(one[:length]) for one in versions)
    for other in (original, coded, np.array(low[:length])):
        assert np.abs(opus - other).max() > 0.01
    assert np.corrcoef(original, opus)[0, 1] > 0.8  # and it is the same recording, in time
    assert text(page, "#sizes tr.theirs th").startswith("Opus")
    assert picture(page, 2) > 50
    page.press("3")
    page.press(" ")
    page.wait_for(f"{BENCH}.player.playing", PATIENCE_S)
    assert page.run(f"heard.starts.filter(([, , buffer]) => buffer === {BENCH}.player.voices[2].buffer).length") == 1


def test_an_upload_tells_how_far_it_is(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav_bytes(20.0, 48000))
    page.run(
        "window.said = []; new MutationObserver(() => said.push([document.getElementById('sending-text').textContent,"
        "document.getElementById('sent').value])).observe(document.getElementById('sending'),"
        "{subtree: true, childList: true, characterData: true, attributes: true})"
    )
    page.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=1e6)
    try:
        give(page, tmp_path / "long.wav")
        page.wait_for("said.some(([text, share]) => /^Sending long.wav: \\d+ %$/.test(text) && share > 0)", PATIENCE_S)
    finally:
        page.call(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
    page.wait_for("document.getElementById('sending').hidden", PATIENCE_S)
    loaded(page)
    shares = [int(told.split()[-2]) for told, _ in page.run("said") if told.endswith("%")]
    assert any(0 < share < 100 for share in shares)
    assert shares == sorted(shares)


def test_a_wrong_file_is_told_and_the_page_goes_on(page: Browser, recordings: Path) -> None:
    give(page, recordings / "letter.wav")
    assert "letter.wav is not audio that can be read" in told_of(page)
    page.run("window.demo.take(new File([new Uint8Array(60e6)], 'large.wav'))")
    assert "50.0 MB is the most" in text(page, "#alert p")
    bring(page, recordings / "other.wav")
    assert page.run("document.getElementById('alert').hidden")


def test_two_visitors_at_once(page: Browser, client: Client, recordings: Path) -> None:
    with opened(client, ()) as other:
        open_page(other, client, 400)
        give(page, recordings / "talk.wav")
        give(other, recordings / "other.wav")
        for one, name, seconds in ((page, "talk.wav", 2.0), (other, "other.wav", 1.2)):
            loaded(one)
            assert text(one, "#name") == name
            assert one.run(f"{BENCH}.player.seconds") == pytest.approx(seconds, abs=0.07)
        assert page.run(f"{BENCH}.recording.key") != other.run(f"{BENCH}.recording.key")
        assert other.run("document.documentElement.scrollWidth") <= 400


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
