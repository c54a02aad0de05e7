"""Whether a call stays in sync, and in its memory, over a bad network.

Two processes of ``audiocodec call`` speak with each other, recordings in place of devices, through a proxy that loses
10 % of the datagrams and delays each by up to 30 ms more than the last, with a seed. What each side recorded is laid
beside what the other spoke; both say when their first sample was, by the clock of the machine. The delay from mouth to
ear is that at which envelopes match best, for every two seconds. Exits 1 where a promise is broken.

    python benchmarks/call.py
    python benchmarks/call.py --minutes 0.4 --loss 0.2 --redundancy 0
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from common import growth_mb, resident_mb

sys.path.insert(0, str(common.REPOSITORY / "tests"))
from badnetwork import Badness, Proxy

DRIFT_LIMIT_MS = 40.0
GROWTH_LIMIT_MB = 4.0
SPOKEN_RATE = 16000
_WINDOW_S, _SEARCH_S, _STEP_S = 2.0, 0.6, 0.001
_CLEAR = 0.5  # correlation of envelopes from which a delay is believed
_SETTLED_S = 5.0  # of the beginning that says nothing about drift


def envelope(wave: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float64]:
    """Loudness in dB, a thousand values a second, over 20 ms."""
    step, width = round(_STEP_S * rate), round(0.02 * rate)
    power = np.concatenate([np.zeros(1), np.cumsum(np.square(wave, dtype=np.float64))])
    starts = np.arange(0, len(wave) - width, step)
    return 10 * np.log10((power[starts + width] - power[starts]) / width + 1e-6)


def delays(
    spoken: npt.NDArray[np.float32], heard: npt.NDArray[np.float32], rate: int, offset_s: float
) -> list[tuple[float, float]]:
    """(seconds into what was heard, delay in ms) of every window; ``heard`` began ``offset_s`` after ``spoken``."""
    mouth, ear = envelope(spoken, rate), envelope(heard, rate)
    size, search, found = round(_WINDOW_S / _STEP_S), round(_SEARCH_S / _STEP_S), []
    shift = round(offset_s / _STEP_S)
    for start in range(0, len(ear) - size, size):
        window = ear[start : start + size]
        first = start + shift - search  # the earliest that it may have been spoken, if it took all of the search
        if first < 0 or start + shift + size > len(mouth) or np.ptp(window) < 10:
            continue
        near = np.lib.stride_tricks.sliding_window_view(mouth[first : start + shift + size], size)
        centred = near - near.mean(axis=1, keepdims=True)
        target = window - window.mean()
        norms = np.sqrt(np.square(centred).sum(axis=1) * np.square(target).sum())
        likeness = centred @ target / np.maximum(norms, 1e-9)
        best = int(np.argmax(likeness))
        if likeness[best] >= _CLEAR:
            found.append((start * _STEP_S, (search - best) * 1000 * _STEP_S))
    return found


def drift_ms(found: list[tuple[float, float]]) -> float | None:
    """By how much the delay of the last third differs from that of the first, in lower quartiles.

    Not in medians: a machine that stood still makes a buffer longer for a while, which is no drift.
    """
    settled = [delay for when, delay in found if when >= _SETTLED_S]
    third = len(settled) // 3
    return float(np.percentile(settled[-third:], 25) - np.percentile(settled[:third], 25)) if third >= 1 else None


def start(folder: Path, name: str, options: argparse.Namespace, *words: str) -> subprocess.Popen[str]:
    """One side."""
    command = [sys.executable, "-m", "audiocodec", "call", *words, "--json", "--model", options.model]
    command += ["--in", str(folder / "in.wav"), "--out", str(folder / f"{name}.wav")]
    command += ["--redundancy", str(options.redundancy), "--runtime", options.runtime]
    command += ["--bitrate", str(options.bitrate)] if options.bitrate else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=common.REPOSITORY)


def hold_call(folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[list[float]], float]:
    """Reports of both sides, their memory every half second, and for how long the machine stopped the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    called = start(folder, "called", options, "--listen", f"127.0.0.1:{port}")
    assert called.stderr is not None
    called.stderr.readline()  # that it listens
    bad = Badness(loss=options.loss, jitter_s=options.jitter_ms / 1000, delay_s=0.02, duplicates=0.01)
    with Proxy(port, bad, options.seed) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        seconds = str(60 * options.minutes)
        sides = [start(folder, "caller", options, "--connect", place, "--duration", seconds), called]
        sizes: list[list[float]] = [[], []]
        while sides[0].poll() is None:
            time.sleep(0.5)
            for side, row in zip(sides, sizes, strict=True):
                size = resident_mb(side.pid)
                if size:
                    row.append(size)
        reports = []
        for side in sides:
            out, err = side.communicate(timeout=30)
            if side.returncode:
                sys.exit(f"a side failed: {err}")
            reports.append(json.loads(out))
    return reports, sizes, proxy.longest_s


def measure(
    folder: Path, name: str, spoken: npt.NDArray[np.float32], rows: tuple[dict[str, Any], dict[str, Any]]
) -> dict[str, Any]:
    """What one side heard beside what the other spoke; ``rows`` are the reports of this side and of the other."""
    ours, theirs = rows
    heard, rate = soundfile.read(folder / f"{name}.wav", dtype="float32")
    mouth = soxr.resample(spoken, SPOKEN_RATE, rate)
    found = delays(mouth, heard, rate, ours["first_sample_out_s"] - theirs["first_sample_in_s"])
    late = [delay for _, delay in found]
    shares = {f"p{share}": float(np.percentile(late, share)) for share in (5, 50, 95, 99)} if late else {}
    return {
        "side": name,
        "mouth_to_ear_ms": shares,
        "windows": len(found),
        "drift_ms": drift_ms(found),
        "report": ours,
    }


def tell(side: dict[str, Any]) -> None:
    """One side for people."""
    shares = "".join(f" {key} {value:.0f}" for key, value in side["mouth_to_ear_ms"].items()) or " unknown"
    print(
        f"{side['side']}: mouth to ear in ms, {side['windows']} windows:{shares}; "
        f"drift {_told(side['drift_ms'], 'ms')}, memory {_told(side['memory_mb'], 'MB')}, "
        f"grown by {_told(side['growth_mb'], 'MB')}"
    )
    row = side["report"]
    frames = max(row["played_frames"] + row["concealed_frames"], 1)
    print(
        f"  {100 * row['loss']:.1f} % of packets lost, {row['late_packets']} late; of {frames} frames "
        f"{100 * row['recovered_frames'] / frames:.1f} % from copies, "
        f"{100 * row['concealed_frames'] / frames:.2f} % concealed; buffer {row['delay_ms']:.0f} ms, "
        f"{row['received_kbps']:.2f} kbps with RTP headers"
    )


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    common.add_runtime_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model")
    made.add_argument("--bitrate", type=float, help="kbps; without it, the model's default rate")
    made.add_argument("--minutes", type=float, default=5.0, help="how long the call is")
    made.add_argument("--loss", type=float, default=0.1, help="share of datagrams lost")
    made.add_argument("--jitter-ms", type=float, default=30.0, help="most that one is delayed more than another")
    made.add_argument("--redundancy", type=int, default=2, help="copies of frames in each packet")
    made.add_argument("--seed", type=int, default=0, help="of the network")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spoken = common.looped_speech(options.audio, SPOKEN_RATE, 60 * options.minutes + 10)
        soundfile.write(folder / "in.wav", spoken, SPOKEN_RATE)
        (caller, called), sizes, stood_s = hold_call(folder, options)
        sides = [
            measure(folder, "caller", spoken, (caller, called)),
            measure(folder, "called", spoken, (called, caller)),
        ]
    kept = True
    for side, size in zip(sides, sizes, strict=True):
        side.update({"memory_mb": size[-1] if size else None, "growth_mb": growth_mb(size)})
        tell(side)
        kept &= side["drift_ms"] is not None and abs(side["drift_ms"]) <= DRIFT_LIMIT_MS
        kept &= side["growth_mb"] is None or side["growth_mb"] <= GROWTH_LIMIT_MB
    print(f"the machine itself held the network up for {1000 * stood_s:.0f} ms at most")
    verdict = "kept" if kept else "BROKEN"
    print(f"promised: drift within {DRIFT_LIMIT_MS:g} ms, growth within {GROWTH_LIMIT_MB:g} MB: {verdict}")
    setting = {key: getattr(options, key) for key in ("model", "minutes", "loss", "jitter_ms", "redundancy", "seed")}
    told = {"sides": sides, "stood_ms": 1000 * stood_s, "kept": kept, "machine": common.machine()}
    common.finish({**setting, **told}, options.json)
    return int(not kept)


def _told(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.1f} {unit}"


if __name__ == "__main__":
    sys.exit(main())
