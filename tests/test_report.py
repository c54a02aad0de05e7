"""The report holds together whatever results it is given, and has everything in it."""

from __future__ import annotations

import base64
import io
import math
import re

import numpy as np
import pytest
import soundfile
from report_helpers import OPUS, OURS, RATE, make_results

from audiocodec.errors import OutputError
from audiocodec.evaluate.report import spectrograms as pictures
from audiocodec.evaluate.report.html import render, without_folders, write_html
from audiocodec.evaluate.report.players import in_step
from audiocodec.evaluate.report.scales import linear_ticks, log_ticks
from audiocodec.evaluate.report.selection import chosen_files, chosen_systems
from audiocodec.evaluate.results import read_results

HEADINGS = (
    "Findings",
    "Summary",
    "Rate and quality",
    "Bits at equal quality",
    "Paired significance",
    "Listening",
    "Worst and best recordings",
    "Token use",
    "Recordings",
    "Method",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("results")
    make_results(folder, absent={"lyra": "no networks in /opt/somewhere/lyra/soundstream.tflite"})
    return render(read_results(folder))


def words(page: str) -> str:
    """A page with all blanks alike."""
    return page.replace("\N{NO-BREAK SPACE}", " ")


def players(page: str) -> list[str]:
    return re.findall(r'<article class="player".*?</article>', page, re.DOTALL)


def test_it_has_its_parts_in_order(page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == list(HEADINGS)
    assert page.count('<figure class="chart"') == 3
    assert len(players(page)) == 3
    assert all(one.count('class="spectrogram"') == 6 for one in players(page))  # the original, three, and two
    assert page.count('<details class="tokens"') == 3


def test_nothing_is_fetched_from_anywhere(page):
    bare = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"https?://", bare)
    assert not re.search(r'(src|href)="(?!data:|#)', bare)
    assert not re.search(r"@import|url\(", bare)
    assert "default-src 'none'" in bare  # and a browser would refuse it


def test_it_tells_no_folder_of_the_machine(page):
    assert "/home/someone" not in page
    assert "/opt/somewhere" not in page
    assert "audiocodec evaluate speech --out=out" in page
    assert "no networks in soundstream.tflite" in page
    assert without_folders("see C:\\Users\\me\\x.wav, and/or a/b") == "see x.wav, and/or a/b"


def test_findings_are_those_of_the_figures(page):
    assert "50 % fewer bits than opus at equal ESTOI (over 0.840 to 0.890); 95 % interval" in words(page)
    assert "More bits at equal" not in page
    worse = render(make_results(None, ours={"a": (12.0, 1.7, 0.80, 0.40), "b": (40.0, 1.9, 0.95, 0.37)}))
    assert "times the bits than opus at equal ESTOI" in worse
    assert "3 recordings cannot make any difference significant" in page


def test_what_is_measured_with_files_enough_is_called_significant_both_ways():
    page = render(make_results(None, files=tuple(f"{index}.flac" for index in range(12))))
    assert "Significantly better in PESQ-WB (+0.20), ESTOI (+0.050) and mel (\u22120.270)." in page
    ours = {"7 levels": (6.0, 1.5, 0.70, 0.40), "22 levels": (7.0, 1.6, 0.72, 0.37)}
    page = render(make_results(None, files=tuple(f"{index}.flac" for index in range(12)), ours=ours))
    assert "Significantly worse in PESQ-WB" in page
    assert 'class="loss"' in page


def test_names_of_files_are_text(tmp_path):
    name = "<script>alert('x')</script> & \"q\".flac"
    make_results(tmp_path, files=(name, "b.flac", "c.flac"), skipped={"</style><img src=x>": "<b>broken</b>"})
    page = render(read_results(tmp_path))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "<img src=x>" not in page
    assert "<b>broken" not in page


def test_audio_is_what_was_decoded(page):
    first = players(page)[0]
    audio = re.findall(r'<script type="text/plain" class="audio">(.*?)</script>', first)
    assert len(audio) == 6
    for place, text in enumerate(audio):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(text)))
        spectrum = np.abs(np.fft.rfft(samples))
        assert rate == RATE
        assert spectrum.argmax() * rate / len(samples) == pytest.approx(500.0 + 250.0 * place, abs=2)
        assert np.abs(samples).max() == pytest.approx(0.3, abs=1e-3), "loudness is not touched"


def test_a_late_version_is_brought_into_step():
    samples = np.arange(5.0)
    assert in_step(samples, 2).tolist() == [2, 3, 4]
    assert in_step(samples, -2).tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert in_step(samples, 0).tolist() == samples.tolist()


def test_without_audio_it_says_so(tmp_path):
    page = render(make_results(None))
    assert "decoded audio was not kept" in page
    assert not players(page)


@pytest.mark.parametrize("listen", [0, 1, 2])
def test_no_more_is_embedded_than_was_asked_for(tmp_path, listen):
    make_results(tmp_path)
    assert len(players(render(read_results(tmp_path), listen=listen))) == listen


@pytest.mark.parametrize(
    "changes",
    [
        {"opus": {}},
        {"opus": {}, "anchor": False},
        {"ours": {}},
        {"ours": {}, "opus": {}},
        {"files": ("a.flac",)},
        {"files": ()},
        {"ours": {"7 levels": OURS["7 levels"]}},
        {"ours": {"7 levels": OURS["7 levels"]}, "opus": {"6": OPUS["6"]}, "files": ("a.flac",)},
        {"metrics": []},
        {"metrics": ["of another version", "estoi"]},
        {"domain": "music", "metrics": ["mel"]},
        {"environment": {}},
    ],
    ids=str,
)
def test_it_holds_with_parts_missing(tmp_path, changes):
    make_results(tmp_path, **changes)
    page = render(read_results(tmp_path))
    assert re.findall(r"<h2>(.*?)</h2>", page) == list(HEADINGS)
    assert "nan" not in re.sub(r'<script.*?</script>|base64,[^"]*', "", page, flags=re.DOTALL).lower().split()


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_it_holds_without_finite_values(tmp_path, value):
    results = make_results(tmp_path)
    for row in results.rows:
        row["mel"] = value
        if row["file"] == "a.flac":
            row["estoi"] = value
    for row in results.summary:
        row["mel"] = value
    page = render(results)
    assert page.count('<figure class="chart"') == 2
    assert len(players(page)) == 2, "the recording without a score has no place in the order"


def test_one_recording_has_no_statistics_and_says_why():
    page = render(make_results(None, files=("a.flac",)))
    assert "no interval: too few recordings" in page
    assert "one recording alone has no spread" in page
    assert "It takes two recordings" in page


def test_it_is_not_overwritten_unasked(tmp_path):
    results = make_results(None)
    write_html(results, tmp_path / "report.html", force=False)
    with pytest.raises(OutputError, match="--force"):
        write_html(results, tmp_path / "report.html", force=False)
    write_html(results, tmp_path / "report.html", force=True)
    first = (tmp_path / "report.html").read_bytes()
    write_html(results, tmp_path / "report.html", force=True)
    assert (tmp_path / "report.html").read_bytes() == first, "the same results give the same page"


def test_the_worst_the_best_and_the_median_are_heard_first(tmp_path):
    files = tuple(f"{index}.flac" for index in range(7))  # the later, the worse
    make_results(tmp_path, files=files)
    chosen = chosen_files(read_results(tmp_path), 5)
    assert [file for file, _ in chosen] == ["6.flac", "0.flac", "3.flac", "5.flac", "1.flac"]
    assert [why for _, why in chosen][:4] == [
        f"{name} ESTOI at ours-16k 22 levels" for name in ("worst", "best", "median", "second worst")
    ]


def test_systems_to_hear_are_those_of_comparable_rates():
    opus = {str(kbps): (float(kbps), 2.0, 0.9, 0.3) for kbps in (6, 8, 12, 24, 64)}
    heard = [system.label for system in chosen_systems(make_results(None, opus=opus))]
    assert heard == ["ours-16k 7 levels", "ours-16k 22 levels", "ours-16k 34 levels", "opus 6", "opus 8"]
    many = {str(step): (1.2**step, 1.7, 0.8, 0.4) for step in range(18)}
    heard = [system.setting for system in chosen_systems(make_results(None, ours=many, opus={}))]
    assert heard == ["0", "6", "8", "11", "17"], "both ends, evenly between them, and the middle"


def test_a_spectrogram_shows_a_tone_where_it_is():
    rate, seconds, top = 22050, 1.5, 11025.0
    tone = 0.5 * np.sin(2 * np.pi * 3000.0 * np.arange(round(seconds * rate)) / rate)
    levels = pictures.spectrum_db(tone, rate, seconds, top)
    assert levels.shape == (pictures.ROWS, pictures.COLUMNS)
    middle = levels[:, pictures.COLUMNS // 2]
    assert middle.argmax() == pytest.approx(3000.0 / top * pictures.ROWS, abs=1)
    assert middle.max() == pytest.approx(20 * np.log10(0.5), abs=1.5)
    # The same sound at another rate is the same picture
    low = pictures.spectrum_db(np.zeros(0), 8000, seconds, top)
    assert low.shape == levels.shape
    assert low.max() < -120


def test_a_png_is_a_png():
    from PIL import Image

    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = bytes(range(36))
    with Image.open(io.BytesIO(pictures.indexed_png(pixels, palette))) as image:
        assert image.size == (4, 3)
        assert np.array(image).tolist() == pixels.tolist()
        assert image.convert("RGB").getpixel((1, 0)) == (3, 4, 5)


def test_bits_over_time_are_told_for_twenty_milliseconds():
    steps = pictures.bits_per_frame([[0.02, 10], [0.04, 10], [0.0, 5], [1.0, 100]])
    assert steps == [
        pytest.approx((0.0, 0.02, 80.0)),
        pytest.approx((0.02, 0.06, 40.0)),
        pytest.approx((0.06, 1.06, 16.0)),
    ]
    assert pictures.step_path(steps, 0.05, 100.0) == "M0.0 20.0H400.0L400.0 60.0H1000.0"
    assert pictures.step_path([], 1.0, 100.0) == ""


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.80, 0.95), (-18.5, 7.3), (1e-4, 2e-4), (0, 1e6), (3.0, 3.001)]
)
def test_ticks_are_round_and_within(low, high):
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 <= value <= high + 1e-9 for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)
    for value, label in ticks:
        assert float(label.replace("\u2212", "-")) == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("low", "high"), [(1.4, 17.7), (0.5, 300.0), (5.8, 6.4), (5.9, 13.0)])
def test_logarithmic_ticks_are_within(low, high):
    values = [value for value, _ in log_ticks(low, high)]
    assert values
    assert all(low <= value <= high for value in values)
    assert values == sorted(set(values))
