"""The page of a blind test in a browser: everything heard and rated by a listener, saved, and scored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blind_helpers import make_results
from browser import Browser, find_chromium

from audiocodec.evaluate.blind import score_blind_test, write_blind_test

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
SCORES = {"hidden reference": 100, "3.5 kHz anchor": 15, "nova 5 levels": 62, "opus 6 VBR": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blind") / "test"
    write_blind_test(make_results(tmp_path_factory.mktemp("results")), folder, seed=1, force=False)
    return folder


@pytest.fixture
def page(folder: Path) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as browser:
        browser.open(folder / "index.html", 1280)
        yield browser
        assert complaints(browser.events) == []


def complaints(events: list[dict]) -> list[str]:
    """Errors that the page told, and whatever it asked for beyond the disk and itself."""
    found = []
    for event in events:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown" or (method == "Runtime.consoleAPICalled" and told["type"] == "error"):
            found.append(json.dumps(told))
        if method == "Log.entryAdded" and told["entry"]["level"] == "error":
            found.append(told["entry"]["text"])
        if method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "data:", "blob:")):
            found.append(told["request"]["url"])
    return found


def begin(page: Browser, listener: str) -> None:
    page.run(f"document.getElementById('listener').value = {json.dumps(listener)}")
    page.click("#who button")
    ready(page)


def ready(page: Browser) -> None:
    page.wait_for("!document.getElementById('trial').hidden && !document.querySelector('[aria-busy]')")


def rate(page: Browser, number: int, score: int) -> None:
    """Move the slider of a version, as dragging does."""
    page.run(
        f"(() => {{ const s = document.querySelectorAll('.stimulus input')[{number}]; s.value = {score};"
        f"s.dispatchEvent(new Event('{'input' if score else 'click'}', {{bubbles: true}})); }})()"
    )


def labels(folder: Path, page: Browser) -> list[str]:
    """What stands behind the numbers of the trial at hand."""
    trials = json.loads((folder / "key.json").read_text())["trials"]
    what = {name: stimulus["label"] for trial in trials for name, stimulus in trial["stimuli"].items()}
    return [what[name] for name in page.run("current.stimuli.map((s) => s.name)")]


def do_trial(folder: Path, page: Browser) -> None:
    page.click("#play")  # the reference
    page.wait_for("Boolean(engine.playing)")
    for number, label in enumerate(labels(folder, page)):
        page.press(str(number + 1))
        rate(page, number, SCORES[label])
    assert page.run("missing()") == []


def saved(page: Browser, folder: Path, button: str, name: str) -> Path:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.click(button)
    end = time.monotonic() + 10
    while not (folder / name).exists() and time.monotonic() < end:
        time.sleep(0.05)
    return folder / name


def test_a_listener_rates_everything_and_the_file_is_scored(page: Browser, folder: Path, tmp_path: Path) -> None:
    begin(page, "Anna, B.")
    assert "trial 1 of 2" in page.run("document.getElementById('where').textContent")
    page.click("#next")  # refused: nothing was heard
    assert page.run("state.at") == 0
    told = page.run("document.getElementById('todo').textContent")
    assert told == "Still to do: hear the reference; hear 1, 2, 3, 4; rate 1, 2, 3, 4."
    do_trial(folder, page)
    best = labels(folder, page).index("hidden reference")
    rate(page, best, 99)
    assert page.run("missing()") == ["give 100 to the hidden reference"]
    page.click("#next")
    assert page.run("state.at") == 0
    rate(page, best, 100)
    page.press("n")
    ready(page)
    page.wait_for("state.at === 1 && current === state.trials[1]")
    do_trial(folder, page)
    page.click("#next")
    page.wait_for("!document.getElementById('end').hidden")
    path = saved(page, tmp_path, "#download", "ratings-Anna-B.csv")
    found = score_blind_test(folder, [path])
    assert {row.system: (row.n, row.mean) for row in found.systems} == {label: (2, s) for label, s in SCORES.items()}
    assert (found.listeners, found.unfinished) == (["Anna, B."], 0)
    lines = path.read_text().splitlines()
    assert lines[0] == "listener,trial,stimulus,score,seconds,played_count"
    assert all(int(line.split(",")[-1]) >= 1 for line in lines[1:])


def test_a_reload_goes_on_and_another_listener_begins_anew(page: Browser, folder: Path, tmp_path: Path) -> None:
    begin(page, "ben")
    rate(page, 2, 37)
    order = page.run("state.trials.map((t) => [t.id, t.stimuli.map((s) => s.name)])")
    page.open(folder / "index.html", 400)
    assert page.run("document.getElementById('listener').value") == "ben"
    assert "0 of 2 trials" in page.run("document.getElementById('resume').textContent")
    begin(page, "ben")
    assert page.run("state.trials.map((t) => [t.id, t.stimuli.map((s) => s.name)])") == order
    assert page.run("document.querySelectorAll('.stimulus output')[2].textContent") == "37"
    assert page.run("document.documentElement.scrollWidth") <= 400
    assert saved(page, tmp_path, "#save", "ratings-ben.csv").read_text().splitlines()[1].split(",")[3] == "37"
    page.open(folder / "index.html", 1280)
    orders = [order]
    for name in ("eva", "fay", "gus", "hal"):
        page.open(folder / "index.html", 1280)
        begin(page, name)
        orders.append(page.run("state.trials.map((t) => [t.id, t.stimuli.map((s) => s.name)])"))
    assert len({json.dumps(o) for o in orders}) > 1  # all five alike: 1 in 1e12


def test_switching_keeps_the_position_and_crossfades(page: Browser) -> None:
    begin(page, "cat")
    page.press("2")
    page.wait_for("Boolean(engine.playing) && engine.now > 0.05")
    before = page.run("[engine.playing.from, engine.playing.at]")
    page.press("r")
    page.wait_for("engine.playing.nodes.get('reference').gain.gain.value === 1")
    assert page.run("[engine.playing.from, engine.playing.at]") == before  # nothing was started anew
    assert page.run("[...engine.playing.nodes.values()].filter((n) => n.gain.gain.value > 0).length") == 1
    page.press("]")
    page.wait_for("engine.region[1] < engine.seconds")
    time.sleep(0.3)
    assert page.run("engine.now <= engine.region[1]")
    page.press(" ")
    page.wait_for("!engine.playing")
    page.press("l")
    assert page.run("engine.loop") is False
    page.press("1")
    page.call("Input.dispatchKeyEvent", type="rawKeyDown", key="ArrowUp", code="ArrowUp", windowsVirtualKeyCode=38)
    assert page.run("current.stimuli[0].score") == 1
    page.wait_for("!engine.playing", timeout=5)  # without the loop it ends
