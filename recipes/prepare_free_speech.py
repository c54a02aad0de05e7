"""Make the corpus that the shipped speech models are trained on: free recordings that Debian carries.

    python recipes/prepare_free_speech.py --out data/free_speech
    python recipes/prepare_free_speech.py --out data/free_speech_24k --rate 24000

Cost: 13 minutes on two busy CPU cores (6.5 minutes of CPU time), 0.8 GB to download, 2.5 GB of disk for the packages.
Result (Debian 12, the development speech as ``--reserved``): 17981 recordings, 11.18 h, 746 MB in 13 shards. Left
out: 991 duplicates (108 of them found by their sound alone), 124 files at 8 kHz, 5 unusable; no recording sounded
like a reserved one.

It needs Debian (apt-get, dpkg, and for the two source packages a network that reaches Debian's mirror; no root), and
``pip install 'audiocodec[eval]'`` for PyAV, which decodes the telephone prompts' G.722. It may be stopped and run
again at any time. Packages are fetched with apt-get, which verifies Debian's signatures. OUT then holds

    shard-00000.tar ...     mono FLAC at --rate (audiocodec.train.pack); what `data.train` of a recipe names
    manifest.json           the shards, and each file that was left out with the reason
    sources.json            per package: version, hours, recordings, licence, copyright file
    copyright/PACKAGE.txt   Debian's copyright file of each

Left out on purpose: files sampled below 16 kHz, at --rate 24000 below 22.05 kHz (or the upper band would seem to be
empty), silence, duplicates, and everything reserved for testing: the languages marked below, whatever lies in the
folders given with ``--reserved``, and any recording that sounds the same as one of those
(audiocodec.train.fingerprint).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from debian_corpus import IGNORED, RESERVED, TRAIN, Kind, Package, command

from audiocodec.errors import MissingExtraError
from audiocodec.train.decode import Clip, UndecodableError, convert, decode
from audiocodec.train.pack import Item

# Sampling rates of the corpus, and the lowest of a file that gets in: 22.05 kHz holds all that is heard of speech.
LOWEST_RATE = {16000: 16000, 24000: 22050}


def _all(_: str) -> str:
    return TRAIN


def _tuxpaint(path: str) -> str:
    spoken = re.search(r"_desc(?:_([a-z]+))?[^/]*\.ogg$", path)
    return IGNORED if not spoken else RESERVED if spoken[1] in {"es", "fr"} else TRAIN


def _language(folder: str, reserved: set[str], ignored: tuple[str, ...] = ()) -> Callable[[str], str]:
    def use(path: str) -> str:
        found = re.search(rf"/{folder}/([^/]+)/", path)
        language = found[1] if found else ""
        return IGNORED if language in ignored else RESERVED if language in reserved else TRAIN

    return use


def _asterisk(path: str) -> str:
    return IGNORED if "/silence/" in path else TRAIN


def _hedgewars(path: str) -> str:
    return TRAIN if "/Sounds/voices/" in path else IGNORED


PACKAGES = (
    Package("tuxpaint-stamps-default", "GPL-2", _tuxpaint),
    Package("fillets-ng-data-cs", "GPL-2", _all),
    Package("fillets-ng-data-nl", "GPL-2", _all),
    Package("festvox-ru", "BSD-like", _all),
    *(
        Package(f"asterisk-core-sounds-{language}-g722", "CC-BY-SA-3.0", _asterisk)
        for language in ("en", "es", "fr", "it", "ru")
    ),
    # British English is neither trained on nor held out: it may share its speaker with the reserved English.
    Package("klettres-data", "GPL-2+", _language("klettres", {"en", "it"}, ("en_GB",))),
    Package("ktuberling-data", "GPL-2+, CC-BY", _language("sounds", {"ru", "sl", "wa"})),
    Package("festvox-czech-krb", "GPL-3+", _all, source=True),
    Package("festvox-czech-machac", "GPL-3+", _all, source=True),
    Package("hedgewars-data", "GPL-2", _hedgewars),
)


def read(item: Item, rate: int) -> Clip:
    """Decode one file; refuses what is sampled below `LOWEST_RATE`."""
    clip = _read_g722(item.path, rate) if item.path.suffix == ".g722" else decode(item.path, rate, measure=True)
    if clip.source_rate < LOWEST_RATE[rate]:
        raise UndecodableError(f"sampled at {clip.source_rate} Hz")
    if len(clip.samples) < rate // 10:
        raise UndecodableError("shorter than 0.1 s")
    return clip


def _read_g722(path: Path, rate: int) -> Clip:
    """Raw G.722 at 64 kbps: no header, 16 kHz."""
    try:
        import av
    except ImportError:
        raise MissingExtraError("decoding G.722 needs PyAV: pip install 'audiocodec[eval]'") from None
    try:
        with av.open(str(path), format="g722") as container:
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UndecodableError(str(error)) from None
    if not blocks:
        raise UndecodableError("no audio in it")
    return convert(np.concatenate(blocks), 16000, rate, measure=True)


KIND = Kind(16000, read)


if __name__ == "__main__":
    sys.exit(command(__doc__ or "", "data/free_speech", PACKAGES, KIND, rates=tuple(LOWEST_RATE)))
