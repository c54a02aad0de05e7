"""Pictures of sound: spectrograms as small PNG files, outlines of waveforms and bits over time as SVG paths."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.metrics import Samples

WINDOW_SECONDS = 0.032  # resolves the harmonics of most voices
MAX_HZ = 12_000.0
RANGE_DB = 80.0
COLUMNS, ROWS = 640, 176
FRAME_SECONDS = 0.02  # bits over time are told for so long, whatever a system puts into a packet
_SHADES = 64  # more are not seen, and cost a fifth more bytes
# Matplotlib's magma (van der Walt and Smith, CC0), perceptually uniform, every sixteenth of its range.
_MAGMA = (
    "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 "
    "fcfdbf"
)


def spectrum_db(samples: Samples, sample_rate: int, seconds: float, top_hz: float) -> npt.NDArray[np.float64]:
    """Levels [ROWS, COLUMNS] in dB re full scale of a sine, of [samples]: from 0 to ``top_hz``, over ``seconds``.

    Windows are equally long in seconds at every rate, so that pictures of different rates compare line by line. What
    lies above the signal's own Nyquist rate, or after its end, is silence.
    """
    size = round(WINDOW_SECONDS * sample_rate)
    window = np.hanning(size + 1)[:-1]
    signal = np.pad(samples, (size // 2, size))
    starts = np.linspace(0, seconds * sample_rate, COLUMNS, endpoint=False).round().astype(int)
    frames = np.zeros((COLUMNS, size))
    within = starts + size <= len(signal)
    frames[within] = signal[starts[within, None] + np.arange(size)]
    power = (np.abs(np.fft.rfft(frames * window, axis=1)) * (2.0 / window.sum())) ** 2
    # Bins go to the row that they lie in, and a row keeps its loudest: thin harmonics are seen, not averaged away.
    bins = np.arange(power.shape[1]) / WINDOW_SECONDS
    edges = np.searchsorted(bins, np.linspace(0.0, top_hz, ROWS + 1)[:-1])
    power = np.pad(power, ((0, 0), (0, max(0, edges[-1] + 1 - power.shape[1]))))
    last = max(int(np.searchsorted(bins, top_hz)), int(edges[-1]) + 1)
    rows = np.maximum.reduceat(power[:, :last], edges, axis=1)
    return (10.0 * np.log10(np.maximum(rows, 1e-14))).T


def spectrogram_png(levels_db: npt.NDArray[np.float64], top_db: float) -> bytes:
    """PNG of levels [rows, columns], low frequencies below: from ``top_db`` - RANGE_DB, dark, to ``top_db``, light."""
    share = np.clip((levels_db - top_db) / RANGE_DB + 1.0, 0.0, 1.0)
    return indexed_png((share[::-1] * (_SHADES - 1)).round().astype(np.uint8), _palette())


def _palette() -> bytes:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _MAGMA.split()], dtype=np.float64)
    at = np.linspace(0, len(anchors) - 1, _SHADES)
    shades = np.stack([np.interp(at, np.arange(len(anchors)), channel) for channel in anchors.T], axis=1)
    return shades.round().astype(np.uint8).tobytes()


def indexed_png(pixels: npt.NDArray[np.uint8], palette: bytes) -> bytes:
    """A PNG file (ISO/IEC 15948) of palette indices [rows, columns]; ``palette`` has three bytes a colour."""
    rows, columns = pixels.shape
    lines = np.hstack([np.zeros((rows, 1), np.uint8), pixels])  # each line says that it is not filtered

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, palette, nothing interlaced
    body = zlib.compress(lines.tobytes(), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", body)
        + chunk(b"IEND", b"")
    )


def waveform_path(samples: Samples, sample_rate: int, seconds: float, columns: int = 500) -> str:
    """Outline of [samples] in a box 1000 wide (``seconds``) and 100 high, the loudest sample at its rim."""
    count = max(columns, round(seconds * sample_rate))
    signal = np.zeros(count)
    kept = min(count, len(samples))
    signal[:kept] = samples[:kept]
    edges = np.linspace(0, count, columns, endpoint=False).astype(int)
    highs, lows = np.maximum.reduceat(signal, edges), np.minimum.reduceat(signal, edges)
    scale = 48.0 / max(float(np.abs(signal).max()), 1e-9)
    x = (edges + 0.5) * 1000.0 / count
    upper = [f"{at:.0f} {50 - scale * high:.1f}" for at, high in zip(x, highs, strict=True)]
    lower = [f"{at:.0f} {50 - scale * low:.1f}" for at, low in zip(x[::-1], lows[::-1], strict=True)]
    return "M" + "L".join(upper + lower) + "Z"


def bits_per_frame(packets: Sequence[Sequence[float]]) -> list[tuple[float, float, float]]:
    """(start in seconds, end, bits per FRAME_SECONDS) of every packet of [[seconds, bytes], ...]."""
    steps, time = [], 0.0
    for seconds, size in packets:
        if seconds > 0.0:
            steps.append((time, time + seconds, 8.0 * size * FRAME_SECONDS / seconds))
        time += seconds
    return steps


def step_path(steps: Sequence[tuple[float, float, float]], seconds: float, top: float) -> str:
    """The steps in a box 1000 wide (``seconds``) and 100 high (0 to ``top``), up to ``seconds``; empty without any."""
    path = ""
    for start, end, value in steps:
        if start >= seconds:
            break
        height = f"{100.0 - 100.0 * value / top:.1f}"
        path += (
            f"{'L' if path else 'M'}{1000.0 * start / seconds:.1f} {height}H{1000.0 * min(end, seconds) / seconds:.1f}"
        )
    return path
