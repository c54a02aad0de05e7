"""kill -9 at random moments, over and over: what is lost is what was in flight, and the others go on.

Each round picks, with a seed, how much is fed before an encoder in a pipe, a recording to a file, a decoder and a side
of a call are killed, and lays what is left beside what they had read. The demo is killed amid the work of a visitor,
with temporary files in a folder of its own. Exits 1 where more is lost than one packet and what was being computed,
where the other side of a call does not go on, or where anything is left on disk. Needs POSIX and what the demo needs.

    python benchmarks/kills.py --rounds 20
"""

from __future__ import annotations

import os

# Before numpy starts its thread pools, and for the processes that are started.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import common
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(common.REPOSITORY / "tests"))
from kill_helpers import Fed, until

from audiocodec import StreamDecoder, load
from audiocodec.leftovers import left_behind
from audiocodec.streaming import FILE_BLOCK_FRAMES, FILE_PACKET_FRAMES
from audiocodec.transcode import LIVE_PACKET_FRAMES

RATE, HOP = 16000, 320
PIECE_FRAMES = 5
MODEL = ("-m", "speech-16k")
RAW = ("--format", "s16le", "--rate", str(RATE))
# A packet, the piece that was just read, and the frame that a decoder holds back
PIPE_LIMIT_FRAMES = LIVE_PACKET_FRAMES + PIECE_FRAMES + 1
FILE_LIMIT_FRAMES = FILE_PACKET_FRAMES + 2 * FILE_BLOCK_FRAMES


class Rounds:
    """What rounds share: speech, a model, a folder, luck."""

    def __init__(self, audio: Path, folder: Path, seed: int) -> None:
        self.codec = load("speech-16k")
        self.folder, self.luck = folder, np.random.default_rng(seed)
        self._speech = np.rint(common.looped_speech(audio, RATE, 60.0) * 32767).astype("<i2")

    def pcm(self, frames: int) -> bytes:
        """So many frames of speech, from anywhere."""
        start = int(self.luck.integers(len(self._speech) - frames * HOP))
        return self._speech[start : start + frames * HOP].tobytes()

    def frames_in(self, coded: bytes) -> int:
        """Frames that a decoder gives of what there is."""
        decoder = StreamDecoder(self.codec)
        return -(-(decoder.push(coded).shape[1] + decoder.flush().shape[1]) // HOP)

    def encoder(self) -> dict[str, Any]:
        """From pipe to pipe."""
        one = Fed("encode", "-", "-", *MODEL, *RAW)
        one.feed(self.pcm(int(self.luck.integers(20, 400))), 2 * HOP * PIECE_FRAMES)
        one.kill()
        lost = one.taken // (2 * HOP) - self.frames_in(bytes(one.out))
        return {"lost_frames": lost, "kept": 0 <= lost <= PIPE_LIMIT_FRAMES}

    def recording(self) -> dict[str, Any]:
        """From a pipe to a file, found under the name that the next run would tell."""
        target = self.folder / "talk.vpc"
        one = Fed("encode", "-", str(target), *MODEL, *RAW)
        one.feed(self.pcm(int(self.luck.integers(600, 2500))), 2 * HOP * FILE_BLOCK_FRAMES)
        one.kill()
        (left,) = left_behind(target)
        lost = one.taken // (2 * HOP) - self.frames_in(left.read_bytes())
        left.unlink()
        return {"lost_frames": lost, "kept": lost <= FILE_LIMIT_FRAMES and not target.exists()}

    def decoder(self) -> dict[str, Any]:
        """From pipe to pipe: what it gave is how what it should give begins, all but of the last bytes that it read."""
        done = subprocess.run(
            [sys.executable, "-m", "audiocodec", "encode", "-q", "-", "-", *MODEL, *RAW],
            input=self.pcm(500), capture_output=True, check=True,
        )  # fmt: skip
        piece = 100
        one = Fed("decode", "-", "-", "--format", "s16le")
        one.feed(done.stdout[: int(self.luck.integers(300, len(done.stdout)))], piece)
        one.kill()
        sure = StreamDecoder(self.codec).push(done.stdout[: one.taken - piece])
        whole = StreamDecoder(self.codec).push(done.stdout)
        found = np.frombuffer(bytes(one.out), "<i2")
        lost = (sure.shape[1] - len(found)) / HOP
        return {"lost_frames": lost, "kept": lost <= 0 and _alike(found, whole[0])}

    def call(self) -> dict[str, Any]:
        """One side of a call; the other conceals, then is silent, and tells."""
        from test_call_ends import ended, free_port, started

        voice = self.folder / "voice.wav"
        common.write_looped_speech(voice, common.REPOSITORY / "samples", RATE, 60)
        where = f"127.0.0.1:{free_port()}"
        ear = self.folder / "heard.wav"
        sides = [started("--listen", where, "--in", str(voice), "--out", str(ear), "--force")]
        assert sides[0].stderr is not None
        sides[0].stderr.readline()
        gone = self.folder / "gone.wav"
        sides.append(started("--connect", where, "--in", str(voice), "--out", str(gone), "--force"))
        heard = int(self.luck.integers(16_000, 100_000))
        until(lambda: _size(self.folder, ".heard.wav.*.part") > heard, "the call is heard")
        sides[1].kill()
        sides[1].communicate()
        report = ended(sides[0])
        for left in left_behind(gone):
            left.unlink()
        return {"kept": report["ended"] == "the other side fell silent" and report["concealed_frames"] > 0}

    def server(self) -> dict[str, Any]:
        """The demo, amid the work of a visitor."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "audiocodec", "demo", "--port", "0"]
        told: Any = {"stderr": subprocess.PIPE, "text": True, "env": {**os.environ, "TMPDIR": str(scratch)}}
        with subprocess.Popen(command, **told) as server:
            assert server.stderr is not None
            port = int(server.stderr.readline().partition("127.0.0.1:")[2].partition("/")[0])
            body = (common.REPOSITORY / "samples" / "speech.flac").read_bytes()
            threading.Thread(target=_upload, args=(port, body), daemon=True).start()
            until(lambda: list(scratch.iterdir()), "it works")
            server.kill()
        until(lambda: not list(scratch.iterdir()), "nothing is left on disk")
        return {"kept": True}


def _alike(found: npt.NDArray[np.int16], whole: npt.NDArray[np.float32]) -> bool:
    wanted = np.rint(whole[: len(found)] * 32767)
    return len(wanted) == len(found) and bool((np.abs(wanted - found) <= 2).all())


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _upload(port: int, body: bytes) -> None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/api/recordings?name=talk.flac", body)
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        pass  # it is killed


def soak(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All rounds of all kinds."""
    rounds = Rounds(options.audio, folder, options.seed)
    kinds = {name: getattr(rounds, name) for name in options.kinds}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    for number in range(options.rounds):
        for name, kill in kinds.items():
            try:
                found[name].append(kill())
            except Exception as error:  # told, and the next is tried
                found[name].append({"kept": False, "error": f"{type(error).__name__}: {error}"})
            if not found[name][-1]["kept"]:
                print(f"BROKEN: {name}, round {number}: {found[name][-1]}", flush=True)
    return found


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--rounds", type=int, default=20)
    made.add_argument("--seed", type=int, default=0, help="of the moments")
    names = ("encoder", "recording", "decoder", "call", "server")
    made.add_argument("--kinds", nargs="+", choices=names, default=names)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = soak(options, Path(name))
    for kind, rows in found.items():
        lost = [row["lost_frames"] for row in rows if "lost_frames" in row]
        most = f", at most {max(lost):g} frames lost" if lost else ""
        print(f"{kind}: {len(rows)} killed, {sum(row['kept'] for row in rows)} as promised{most}")
    print(f"promised: {PIPE_LIMIT_FRAMES} frames in pipes, {FILE_LIMIT_FRAMES} in files")
    kept = all(row["kept"] for rows in found.values() for row in rows)
    common.finish({"rounds": found, "seed": options.seed, "kept": kept, "machine": common.machine()}, options.json)
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
