"""The page of ``audiocodec demo`` in a browser: what a user does, and what reaches the loudspeakers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import Browser, find_chromium
from demo_helpers import Client, left_on_disk
from waiting import until

CHROMIUM = find_chromium()
# A microphone that beeps, and that may be used
FLAGS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
BENCH = "window.demo.bench"
QUIET = f"!document.querySelector('.voice:not([hidden])[aria-busy=true]') && Boolean({BENCH}.coding)"
PATIENCE_S = 180.0  # on a busy machine; what is waited for comes at once on an idle one
# Notes what reaches the loudspeakers, when players start, and which microphones were opened.
EARS = """
window.heard = { taps: [], starts: [], streams: [] };
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to === this.context.destination && !(this.context instanceof OfflineAudioContext)) {
    const tap = this.context.createAnalyser();
    connect.call(this, tap);
    heard.taps.push(tap);
  }
  return connect.call(this, to, ...more);
};
heard.loudness = () => {
  let most = 0;
  for (const tap of heard.taps) {
    const wave = new Float32Array(tap.fftSize);
    tap.getFloatTimeDomainData(wave);
    for (const value of wave) most = Math.max(most, Math.abs(value));
  }
  return most;
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  heard.starts.push([when, offset, this.buffer]);
  return start.call(this, when, offset);
};
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (asked) => {
  const stream = await open(asked);
  heard.streams.push(stream);
  return stream;
};
heard.open = () =>
  heard.streams.flatMap((stream) => stream.getTracks()).filter((track) => track.readyState === "live").length;
"""


@contextmanager
def opened(client: Client, flags: tuple[str, ...] = FLAGS) -> Iterator[Browser]:
    """A browser that listens to what the page does."""
    assert CHROMIUM is not None
    with Browser(CHROMIUM, flags) as one:
        one.call("Page.addScriptToEvaluateOnNewDocument", source=EARS)
        yield one


@contextmanager
def watched(browser: Browser, client: Client, scratch: Path) -> Iterator[Browser]:
    """The page loaded anew; at the end nothing has gone wrong in it, and no file is left."""
    open_page(browser, client)
    browser.events.clear()
    yield browser
    wrong = [event for event in browser.events if complaint(event, client)]
    assert not wrong
    # What the last click asked for may still be coded
    until(lambda: not any(name.startswith("audiocodec-demo") for name in left_on_disk(scratch)), "no file is left")


def open_page(browser: Browser, client: Client, width: int = 1280) -> None:
    browser.visit(client.url, width)
    browser.wait_for("document.documentElement.dataset.ready === 'yes'", PATIENCE_S)


def complaint(event: dict[str, Any], client: Client) -> bool:
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


def drop(page: Browser, path: Path) -> None:
    """Let a file go over the page. The events are the page's own: Chromium's drags do not end without a window."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.run(
        f"(() => {{ const bytes = Uint8Array.from(atob('{data}'), (letter) => letter.charCodeAt(0));"
        f"const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File([bytes], '{path.name}'));"
        "for (const kind of ['dragenter', 'dragover', 'drop']) document.getElementById('drop').dispatchEvent("
        "new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer})); })()"
    )


def loaded(page: Browser) -> None:
    """Wait until all versions of a recording can be heard."""
    page.wait_for(f"Boolean(window.demo) && !document.getElementById('bench').hidden && {QUIET}", PATIENCE_S)


def bring(page: Browser, path: Path) -> None:
    """Choose a recording, and wait until all of its versions can be heard."""
    give(page, path)
    loaded(page)


def turn(page: Browser, knob: str, value: int) -> None:
    """Move a slider, as dragging does."""
    page.run(
        f"(() => {{ const s = document.getElementById('{knob}'); s.value = {value};"
        "s.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def text(page: Browser, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).textContent")


def told_of(page: Browser) -> str:
    """The message that is shown, when one is."""
    page.wait_for("!document.getElementById('alert').hidden", PATIENCE_S)
    return text(page, "#alert p")
