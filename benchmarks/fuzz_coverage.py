"""Coverage-guided fuzzing (atheris) of what strangers send: streams, and the packets and messages of calls.

    pip install atheris
    python benchmarks/fuzz_coverage.py stream corpus/ -max_total_time=3600
    python benchmarks/fuzz_coverage.py rtp corpus-rtp/ -max_total_time=600

Targets: ``stream`` (header, packets, entropy decoding; half of the inputs with their checksums made right again, or all
would end there), ``rtp`` (packets and control messages). Anything but a result or a BitstreamError is a finding, which
libFuzzer saves as ``crash-...``; so is memory beyond its ``-rss_limit_mb``, and time beyond its ``-timeout``. Only
Python guides, so the entropy coder is the one in Python, unless AUDIOCODEC_NATIVE=1 asks for C. Further arguments are
libFuzzer's.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("AUDIOCODEC_NATIVE", "0")

import atheris

with atheris.instrument_imports(include=["audiocodec"]):
    import fuzz_bitstream
    from bitstream_helpers import small_model

    from audiocodec.bitstream import StreamReader
    from audiocodec.bitstream.reader import Frames
    from audiocodec.errors import BitstreamError
    from audiocodec.live import control
    from audiocodec.live.rtp import RtpPacket

TARGETS = ("stream", "rtp")
MODEL = small_model()


def stream(data: bytes) -> None:
    """Read a stream whole, and cut in two where its length says: the same events or the same refusal."""
    whole, halves = _told(data, len(data)), _told(data, len(data) * 7 // 13)
    assert whole == halves, "events depend on how the bytes were cut"


def _told(data: bytes, cut: int) -> list[str] | None:
    reader, told = StreamReader(lambda _: MODEL), []
    try:
        for events in (reader.events(data[:cut]), reader.events(data[cut:]), reader.final_events()):
            for event in events:
                told.append(f"{event}{event.indices.tobytes()!r}" if isinstance(event, Frames) else str(event))
    except BitstreamError:
        return None
    return told


def rtp(data: bytes) -> None:
    """Parse a datagram as both of what it may be."""
    for parse in (RtpPacket.parse, control.parse):
        try:
            parse(data)
        except BitstreamError:
            continue


def resealed(data: bytes, size: int, seed: int) -> bytes:
    """libFuzzer's own mutation, every other one with its checksums made right again."""
    mutated: bytes = atheris.Mutate(data, size)
    return fuzz_bitstream.reseal(mutated)[:size] if seed % 2 else mutated


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"{__doc__}\nname a target: {', '.join(TARGETS)}")
    target = sys.argv.pop(1)
    for folder in [argument for argument in sys.argv[1:] if not argument.startswith("-")][:1]:
        os.makedirs(folder, exist_ok=True)
        if target == "stream" and not os.listdir(folder):
            for number, seed in enumerate(fuzz_bitstream.seeds(MODEL)[:4]):
                with open(os.path.join(folder, f"seed-{number}"), "wb") as file:
                    file.write(seed)
    one = {"stream": stream, "rtp": rtp}[target]
    custom = {"custom_mutator": resealed} if target == "stream" else {}
    atheris.Setup(sys.argv, one, **custom)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
