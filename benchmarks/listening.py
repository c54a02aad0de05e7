"""What ``encode --model auto`` adds to encoding: promised is less than 5 % of encoding ten seconds.

CPU seconds on one thread, of a WAV file at 44.1 kHz. Of a file of up to 30 s the samples that are listened to are those
that are encoded, and reading them is not counted; of a longer one, three pieces are read again, and that is. Exits 1
above the promise.

    python benchmarks/listening.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import common
import torch

from audiocodec import codec as codecs
from audiocodec.audio import AudioReader
from audiocodec.choosing import PIECE_SECONDS, PIECES, choose
from audiocodec.transcode import encode_file

LIMIT = 0.05
SECONDS = (1, 3, 10, 30, 60)
PROMISED = 10
RATE = 44100


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k", help="name or path of the model that encodes")
    made.add_argument("--repeat", type=int, default=9)
    options = made.parse_args()
    torch.set_num_threads(1)
    codec = codecs.load(options.model)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for seconds in SECONDS:
            source = Path(place) / "speech.wav"
            common.write_looped_speech(source, options.audio, RATE, seconds)
            listening, encoding = measure(codec, source, options.repeat)
            rows.append({"seconds": seconds, "listening_s": listening, "encoding_s": encoding})
            print(
                f"{seconds:>3} s: listening {1000 * listening:6.1f} ms, encoding {1000 * encoding:7.1f} ms, "
                f"{100 * listening / encoding:.1f} %"
            )
    share = next(row["listening_s"] / row["encoding_s"] for row in rows if row["seconds"] == PROMISED)
    print(f"of {PROMISED} s {100 * share:.1f} %, promised less than {100 * LIMIT:g} %")
    common.finish({"rows": rows, "share": share, "limit": LIMIT, "machine": common.machine()}, options.json)
    return int(share >= LIMIT)


def measure(codec: codecs.Codec, source: Path, repeat: int) -> tuple[float, float]:
    """Median CPU seconds of listening and of encoding, in turns; the first turn warms up."""
    listening, encoding = [], []
    for _ in range(repeat + 1):
        with AudioReader(source) as reader:
            if (reader.frames or 0) <= PIECES * PIECE_SECONDS * RATE:
                reader.peek(PIECES * PIECE_SECONDS)
            start = time.process_time()
            choose(reader)
            listening.append(time.process_time() - start)
            start = time.process_time()
            encode_file(codec, reader, source.with_suffix(".vpc"), codec.choose_rate(), force=True)
            encoding.append(time.process_time() - start)
    return statistics.median(listening[1:]), statistics.median(encoding[1:])


if __name__ == "__main__":
    sys.exit(main())
