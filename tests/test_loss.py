"""The measurement of packet loss: what it hears is the codec's own, in step; and its figures add up."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, speech_like

from audiocodec import models

STORED = ROOT / "docs" / "results" / "loss" / "loss.json"
RATE = 16_000


@pytest.fixture
def opus(bench) -> None:
    """Skips where libopus is absent, with its reason."""
    from audiocodec.evaluate.peers.libopus import absent_libopus

    if reason := absent_libopus():
        pytest.skip(reason)


@pytest.fixture
def spoken(bench, tmp_path: Path):
    """Two seconds, read as the benchmark reads them."""
    path = tmp_path / "spoken.wav"
    soundfile.write(path, speech_like(2.0), RATE, subtype="FLOAT")
    return bench("losspaths").read(path)


def none_lost(recording) -> np.ndarray:
    return np.zeros(recording.packets, bool)


def test_without_loss_a_call_is_the_codec_s_own_stream(bench, spoken, tiny_codec):
    """To the sample, whatever the copies: the delay that they need is taken off."""
    from audiocodec.streaming import StreamDecoder, StreamEncoder

    encoder = StreamEncoder(tiny_codec, tiny_codec.choose_rate(levels=9))
    decoder = StreamDecoder(tiny_codec, live=True)
    decoder.push(encoder.header.pack())
    speech = np.asarray(spoken.samples, np.float32)
    expected = np.concatenate([decoder.push(packet)[0] for packet in encoder.push(speech[None])])
    for copies in (0, 2):
        heard = bench("losspaths").Ours(9, copies).start(tiny_codec, spoken)(none_lost(spoken), 0.0)
        assert len(heard.samples) == len(speech)
        whole = len(expected) - RATE // 50  # the end of a call is silence, that of the stream above is not said
        assert np.allclose(heard.samples[:whole], expected[:whole], atol=1e-5)


def test_copies_stand_in_for_what_is_lost(bench, spoken, tiny_codec):
    lost = none_lost(spoken)
    lost[49:57] = True  # of a syllable, longer than what is made up lasts
    hole = slice(55 * 320, 57 * 320)
    loudness = {}
    for copies in (0, 8):
        play = bench("losspaths").Ours(17, copies).start(tiny_codec, spoken)
        clear, holed = (play(which, 0.0).samples for which in (none_lost(spoken), lost))
        assert np.allclose(clear[: 48 * 320], holed[: 48 * 320], atol=1e-6)
        loudness[copies] = np.square(holed[hole]).sum() / np.square(clear[hole]).sum()
    assert loudness[0] < loudness[8]
    assert 0.1 < loudness[8] < 10


def test_opus_is_heard_in_step_and_loses_the_same_packets(bench, opus, spoken, tiny_codec):
    play = bench("losspaths").Opus(64.0).start(tiny_codec, spoken)
    clear = play(none_lost(spoken), 0.0)
    shifts = {
        lag: np.dot(clear.samples[100:-100], spoken.samples[100 + lag : -100 + lag or None]) for lag in (-40, 0, 40)
    }
    assert max(shifts, key=shifts.__getitem__) == 0
    assert len(clear.samples) == len(spoken.samples)
    lost = none_lost(spoken)
    lost[50] = True
    holed = play(lost, 0.0)
    assert np.allclose(clear.samples[: 49 * 320], holed.samples[: 49 * 320])
    assert not np.allclose(clear.samples[50 * 320 : 51 * 320], holed.samples[50 * 320 : 51 * 320], atol=1e-3)


def test_our_setting_takes_no_more_than_opus(bench):
    found = [
        {"opus": {6.0: 500}, "frames": {4: 100, 9: 300, 20: 400}, "copies": {1: 120}},
        {"opus": {6.0: 300}, "frames": {4: 90, 9: 250, 20: 390}, "copies": {1: 110}},
    ]
    fitting, ours = bench("lossmeasure").fitting, bench("losspaths").Ours
    assert fitting(found, 6.0, 1) == ours(9, 1)  # 550 + 230 of 800
    found[0]["opus"][6.0] = 50
    assert fitting(found, 6.0, 1) is None


def test_a_fall_is_from_the_same_packets_without_loss(bench):
    findings, names = bench("lossfindings"), bench("lossmeasure").METRICS

    def outcome(file: str, values: dict[tuple[str, float], float]) -> dict:
        scores = {at: {name: [value] for name in names} for at, value in values.items()}
        rows = [{"kind": at[0], "loss": at[1], "kbps": 9, "lost": at[1], "scores": scores[at]} for at in scores]
        return {"way": "opus", "file": file, "rows": rows}

    told = outcome("a", {("none", 0.0): 3.0, ("random", 0.05): 2.0, ("none", 0.05): 2.5, ("random", 0.1): 1.5})
    same = outcome("b", {("none", 0.0): 4.0, ("random", 0.05): 3.0, ("random", 0.1): 2.5})
    rows = findings.gathered([told, same], ["opus"], ["a", "b"])
    assert findings.fall(rows, "opus", "random", 0.05, "stoi") == pytest.approx((2.5 + 4.0) / 2 - 2.5)
    assert findings.fall(rows, "opus", "random", 0.1, "stoi") == pytest.approx(1.5)
    assert findings.fall(rows, "opus", "none", 0.0, "stoi") == 0


def test_a_run_from_end_to_end_and_on_from_where_it_stopped(bench, opus, spoken, tiny_model, tmp_path, monkeypatch):
    out = {name: tmp_path / name for name in ("loss.json", "loss.svg", "work.jsonl")}
    words = [
        "--model",
        tiny_model,
        "--audio",
        spoken.path,
        "--loss",
        "0.05",
        "0.2",
        "--opus",
        "24",
        "--alone",
        "32",
        "--workers",
        "1",
    ]
    words += ["--json", out["loss.json"], "--plot", out["loss.svg"], "--work", out["work.jsonl"]]
    monkeypatch.setattr(sys, "argv", ["loss.py", *map(str, words)])
    code = bench("loss").main()
    result = json.loads(out["loss.json"].read_text(encoding="utf-8"))
    assert code == int(not all(promise["kept"] for promise in result["promises"]))
    networks = {(row["kind"], row["loss"]) for row in result["rows"] if row["way"] == result["pairs"][0]["ours"]}
    assert networks == {("none", 0.0), *((kind, loss) for kind in ("random", "burst") for loss in (0.05, 0.2))}
    assert recomputed(bench, result) == result["promises"]
    drawing = ET.fromstring(out["loss.svg"].read_text(encoding="utf-8"))
    assert sum("PLCMOS" in (text.text or "") for text in drawing.iter("{http://www.w3.org/2000/svg}text")) == 2
    monkeypatch.setattr(bench("losspaths"), "read", None)  # whatever is measured again would fail
    monkeypatch.setattr(bench("loss"), "copies_from", lambda *_: [])
    monkeypatch.setattr(bench("loss"), "planned", lambda *_: [(24.0, *ways_of(bench, result["pairs"][0]))])
    bench("loss").main()
    assert json.loads(out["loss.json"].read_text(encoding="utf-8"))["rows"] == result["rows"]


def test_what_other_code_gave_is_measured_anew(bench, tmp_path, monkeypatch):
    measure, paths = bench("lossmeasure"), bench("losspaths")
    ours, opus = paths.Ours(9, 2), paths.Opus(12.0)
    tasks = [measure.Task(Path("a.wav"), way, ()) for way in (ours, opus)]
    code, measured = {ours.modules: "1", opus.modules: "1"}, []
    monkeypatch.setattr(measure, "code_of", lambda modules: code[modules])
    monkeypatch.setattr(measure, "measure", lambda job, task: measured.append(task.way.name) or {"key": task.key})

    def run() -> list[str]:
        measured.clear()
        found = list(measure.run(None, tasks, 1, tmp_path / "work.jsonl", "model"))
        assert sorted(one["key"] for one in found) == sorted(task.key for task in tasks)
        return list(measured)

    assert run() == [ours.name, opus.name]
    assert run() == []
    with (tmp_path / "work.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"identity": "mo')  # killed as it wrote
    code[ours.modules] = "2"
    assert run() == [ours.name]
    assert run() == []


def test_the_code_of_a_call_is_all_that_it_runs(bench):
    """And no more of ours counts for Opus."""
    paths, sources = bench("losspaths"), bench("sources")
    ours = {path.relative_to(ROOT / "audiocodec").as_posix() for path in sources.files(paths.Ours.modules)}
    assert ours >= {
        *(f"live/{name}.py" for name in ("arrivals", "jitter", "payload", "receiver", "rtp", "sender", "stretch")),
        *("codec.py", "concealment.py", "decoding.py", "prediction.py", "runtime/onnx_runtime.py", "nn/seanet.py"),
        *("bitstream/rangecoder.py", "bitstream/_native.c"),
    }
    opus = {path.relative_to(ROOT / "audiocodec").as_posix() for path in sources.files(paths.Opus.modules)}
    assert "evaluate/peers/libopus.py" in opus
    assert not opus & {"live/receiver.py", "concealment.py", "codec.py"}


def test_a_digest_is_of_what_a_source_does(bench, tmp_path, monkeypatch):
    sources = bench("sources")
    monkeypatch.setattr(sources, "REPOSITORY", tmp_path)
    package = tmp_path / "audiocodec"
    first = {
        "a.py": "from audiocodec.b import f\n\ndef g():\n    from audiocodec import c\n    return c.h(f())\n",
        "b.py": "def f():\n    return 1\n",
        "c/__init__.py": "h = abs\n",
        "c/x.c": "int x;",
        "d.py": "unseen = 1\n",
    }

    def digest(changed: dict[str, str], **options) -> str:
        for name, text in {**first, **changed}.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text)
        sources.read.cache_clear()
        return sources.digest(["audiocodec.a"], **options)

    same = digest({})
    for changed in ({"b.py": '"""Says."""\ndef f():  # one\n    return 1\n'}, {"d.py": "unseen = 2\n"}):
        assert digest(changed) == same
    types = "if TYPE_CHECKING:\n    from audiocodec import d\n"
    assert digest({"b.py": types + first["b.py"]}) == same
    others = [{"b.py": "def f():\n    return 2\n"}, {"c/__init__.py": "h = int\n"}, {"c/x.c": "int y;"}]
    assert len({same, *map(digest, others)}) == 4
    assert digest({"b.py": ""}, without=["audiocodec.b"]) == digest({}, without=["audiocodec.b"]) != same
    assert digest({}, besides=[tmp_path / "audiocodec" / "d.py"]) != same


def ways_of(bench, pair) -> tuple:
    _, levels, copies = (part.split()[0] for part in pair["ours"].split(", "))
    return bench("losspaths").Ours(int(levels), int(copies)), bench("losspaths").Opus(pair["total_kbps"])


def recomputed(bench, result) -> list[dict]:
    """The promises, from the scores of the recordings."""
    findings = bench("lossfindings")
    pairs = [findings.Pair(**pair) for pair in result["pairs"]]
    file = next(iter(result["ways"]))
    promises = [
        *findings.of_default(result["rows"], result["default"], file),
        *findings.of_pairs(result["rows"], pairs),
    ]
    return json.loads(json.dumps([promise.told() for promise in promises]))


def test_stored_promises_are_those_of_the_stored_scores(bench):
    result = json.loads(STORED.read_text(encoding="utf-8"))
    assert recomputed(bench, result) == result["promises"]
    shipped = {model.name: model.fingerprint for model in models.list_models()}
    assert shipped[result["model"]] == result["fingerprint"]
