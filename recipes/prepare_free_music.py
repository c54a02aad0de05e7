"""Make the corpus that the shipped music model is trained on: free recordings that Debian carries.

    python recipes/prepare_free_music.py --out data/free_music

Cost: 30 minutes beside other work (8.5 minutes of CPU time), 3.0 GB to download, 3.4 GB unpacked.
Result (Debian 12, the development music as ``--reserved``): 667 recordings, 17.70 h, 3100 MB in 55 shards. Left out:
102 shorter than 20 s, 28 without an upper band and their 27 sides, 7 sides that are silent, 1 duplicate; no recording
sounded like a reserved one.

It needs Debian (apt-get, dpkg; no root). It may be stopped and run again at any time. Packages are fetched with
apt-get, which verifies Debian's signatures. OUT then holds

    shard-00000.tar ...     48 kHz FLAC (audiocodec.train.pack); what `data.train` of a recipe names
    manifest.json           the shards, and each file that was left out with the reason
    sources.json            per package: version, hours, recordings, licence, copyright file
    copyright/PACKAGE.txt   Debian's copyright file of each

A recording is its mid, (left + right) / 2, for at most three minutes from its sixth second on (many begin with a slow
fade), and beside it one minute of its side, (left - right) / 2, because the network codes both. Left out on purpose:
what is shorter than 20 s (effects), what has nothing above 13 kHz (the network would learn that the upper band is
empty), sides 40 dB and more below their mid, duplicates, and everything reserved for testing
(``--reserved``, audiocodec.train.fingerprint). ufoai-music, nexuiz-music and 0ad-data keep their music in zip
archives and are not taken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import soundfile
from debian_corpus import IGNORED, SIDE, TRAIN, Kind, Package, command

from audiocodec.train.decode import Clip, UndecodableError, convert
from audiocodec.train.pack import Item

RATE = 48000
SKIPPED_SECONDS = 5
MID_SECONDS, SIDE_SECONDS = 180, 60
SHORTEST_SECONDS = 20
LOWEST_BANDWIDTH_HZ = 13000
SIDE_DB = -40.0


def _inside(*folders: str) -> Callable[[str], str]:
    return lambda path: TRAIN if any(folder in path for folder in folders) else IGNORED


PACKAGES = (
    Package("wesnoth-1.16-music", "GPL-2+", _inside("/music/")),
    Package("naev-data", "CC-BY-3.0, CC-BY-SA-3.0, GPL-3, public domain", _inside("/snd/music/")),
    Package("supertux-data", "GPL-2+, CC-BY-SA", _inside("/music/")),
    Package("widelands-data", "GPL-2+, CC-BY-SA-3.0", _inside("/data/music/")),
    Package("hedgewars-data", "GPL-2", _inside("/Data/Music/")),
    Package("berusky2-data", "GPL-2+", _inside("/berusky2/music/")),
    Package("supertuxkart-data", "CC-BY-SA-3.0, CC-BY-SA-4.0, CC-BY-3.0, CC0", _inside("/data/music/")),
    Package("singularity-music", "CC-BY-SA-3.0", _inside("/music/")),
    Package("marsshooter-data", "CC-BY-SA-3.0", _inside("/audio/")),
    Package("freedroidrpg-data", "GPL-2+", _inside("/sound/music/")),
    Package("drascula-music", "Drascula's licence", _inside("/drascula/audio/")),
    Package("flare-game", "CC-BY-SA-3.0+, GPL-3+", _inside("/fantasycore/music/")),
    Package("fretsonfire-songs-muldjord", "CC-BY-SA-3.0", _inside("/songs/muldjord/")),
    Package("colobot-common-sounds", "GPL-3+", _inside("/colobot/music/")),
)


def read(item: Item, rate: int) -> Clip:
    """The mid of one file, or the side where the item's name ends in ``#side``; refuses what the header tells."""
    side = item.name.endswith(SIDE)
    samples, source_rate = _excerpt(item, SIDE_SECONDS if side else MID_SECONDS)
    mono = samples.mean(axis=1) if not side else _side(samples)
    clip = convert(mono, source_rate, rate, measure=True)
    if clip.bandwidth_hz < LOWEST_BANDWIDTH_HZ and not side:
        raise UndecodableError(f"nothing above {clip.bandwidth_hz} Hz")
    return clip


def _excerpt(item: Item, seconds: int) -> tuple[np.ndarray, int]:
    try:
        with soundfile.SoundFile(str(item.path)) as file:
            if file.frames < SHORTEST_SECONDS * file.samplerate:
                raise UndecodableError(f"shorter than {SHORTEST_SECONDS} s")
            file.seek(SKIPPED_SECONDS * file.samplerate)
            return file.read(seconds * file.samplerate, dtype="float32", always_2d=True), file.samplerate
    except (RuntimeError, OSError) as error:
        raise UndecodableError(" ".join(str(error).split())) from None


def _side(samples: np.ndarray) -> np.ndarray:
    if samples.shape[1] != 2:
        raise UndecodableError("no side: it has one channel")
    mid, side = samples.mean(axis=1), (samples[:, 0] - samples[:, 1]) / 2
    if np.square(side).mean() < 10 ** (SIDE_DB / 10) * np.square(mid).mean():
        raise UndecodableError(f"no side above {SIDE_DB:g} dB")
    return side


KIND = Kind(RATE, read, sides=True)


if __name__ == "__main__":
    sys.exit(command(__doc__ or "", "data/free_music", PACKAGES, KIND))
