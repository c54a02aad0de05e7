"""Coverage-guided fuzzing (atheris) of what strangers send: streams, and the packets and messages of calls.

    pip install atheris
    python benchmarks/fuzz_coverage.py stream corpus/ -max_total_time=3600
    python benchmarks/fuzz_coverage.py rtp corpus-rtp/ -max_total_time=600
    python benchmarks/fuzz_coverage.py call corpus-call/ -max_total_time=600

Targets are those of ``fuzz_targets.py``: ``stream`` (header, packets, entropy decoding; half of the inputs with their
checksums made right again, or all would end there), ``rtp`` (a datagram as packet and as message) and ``call`` (packets
with their payloads, one after the other into a jitter buffer). Anything but a result or a BitstreamError is a finding,
which libFuzzer saves as ``crash-...``; so is memory beyond its ``-rss_limit_mb``, and time beyond its ``-timeout``.
Only Python guides, so the entropy coder is the one in Python, unless AUDIOCODEC_NATIVE=1 asks for C. Further arguments
are libFuzzer's.

An empty folder is filled with the corpus in ``tests/corpus``, which the tests run through once. To put what a folder
holds in its place:

    python benchmarks/fuzz_coverage.py stream corpus/ --keep
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("AUDIOCODEC_NATIVE", "0")

import atheris

with atheris.instrument_imports(include=["audiocodec"]):
    import fuzz_bitstream
    import fuzz_targets


def resealed(data: bytes, size: int, seed: int) -> bytes:
    """libFuzzer's own mutation, every other one with its checksums made right again."""
    mutated: bytes = atheris.Mutate(data, size)
    return fuzz_bitstream.reseal(mutated)[:size] if seed % 2 else mutated


def fill(folder: Path, target: str) -> None:
    """Give an empty corpus something to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    first = {f"seed-{number}": seed for number, seed in enumerate(fuzz_targets.seeds(target))}
    for name, data in (first | fuzz_targets.corpus(target)).items():
        (folder / name).write_bytes(data)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in fuzz_targets.TARGETS:
        raise SystemExit(f"{__doc__}\nname a target: {', '.join(fuzz_targets.TARGETS)}")
    target = sys.argv.pop(1)
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    if "--keep" in sys.argv:
        print(f"{fuzz_targets.keep(target, folders[0])} inputs kept in {fuzz_targets.CORPUS / target}.zip")
        return
    if folders:
        fill(folders[0], target)

    def one(data: bytes) -> None:
        fuzz_targets.TARGETS[target](data)

    custom = {"custom_mutator": resealed} if target == "stream" else {}
    atheris.Setup(sys.argv, one, **custom)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
