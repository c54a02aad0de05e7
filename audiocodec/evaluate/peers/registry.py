"""Peers by name: what is known, which rates each has, whether it can run here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiocodec.errors import UsageError
from audiocodec.evaluate.peers.amrwb import AMR_WB_KBPS, AmrWb, absent_amr_wb
from audiocodec.evaluate.peers.ffmpeg import AAC_KBPS, HE_AAC_KBPS, MP3_KBPS, Ffmpeg, absent_ffmpeg
from audiocodec.evaluate.peers.lyra import LYRA_KBPS, Lyra, absent_lyra
from audiocodec.evaluate.peers.neural import DAC_KBPS, ENCODEC_KBPS, MIMI_KBPS, SNAC_KBPS, Neural, absent_neural
from audiocodec.evaluate.peers.opus import Opus, absent_opus
from audiocodec.evaluate.peers.pyav import absent_pyav
from audiocodec.evaluate.peers.tools import CODEC2_BPS, Codec2, Lc3, absent_codec2, absent_lc3
from audiocodec.evaluate.peers.vorbis import Vorbis
from audiocodec.evaluate.systems import System


@dataclass(frozen=True)
class Peer:
    """A codec that ``--peer NAME`` or ``--peer NAME:RATE,RATE`` asks for.

    ``make(rate, lyra)`` and ``absent(lyra)`` are given the folder of Lyra's networks. ``allowed`` are all its rates, or
    the (lowest, highest) of a range where ``ranged``.
    """

    name: str
    about: str
    defaults: tuple[float, ...]
    example: str
    allowed: tuple[float, ...]
    make: Callable[[float, Path | None], System]
    absent: Callable[[Path | None], str | None]
    ranged: bool = False
    unit: str = "kbps"

    def rates(self, text: str) -> tuple[float, ...]:
        """The rates in ``text``, or the default ones where it is empty. Raises UsageError."""
        if not text:
            return self.defaults
        rates = []
        for part in text.split(","):
            try:
                # Codec2 itself says 700C
                rate = float(part.strip().upper().removesuffix("C") if self.name == "codec2" else part)
            except ValueError:
                raise UsageError(f"'{part}' is not a rate of {self.name}; {self._known()}") from None
            if not (self.allowed[0] <= rate <= self.allowed[-1] if self.ranged else rate in self.allowed):
                raise UsageError(f"{self.name} has no {rate:g} {self.unit}; {self._known()}")
            rates.append(rate)
        return tuple(rates)

    def _known(self) -> str:
        rates = " to ".join(f"{rate:g}" for rate in self.allowed) if self.ranged else _listed(self.allowed)
        return f"it has {rates} {self.unit}; write for instance {self.example}"


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def _lyra(kbps: float, folder: Path | None) -> System:
    assert folder is not None, "absent_lyra says so first"
    return Lyra(kbps, folder)


def _neural(name: str, kbps: float, _: Path | None) -> System:
    return Neural(name, kbps)


def _absent_neural(name: str, _: Path | None) -> str | None:
    return absent_neural(name)


_OPUS_DEFAULTS: tuple[float, ...] = (6, 8, 9, 12, 16, 24)
_PEERS: tuple[Peer, ...] = (
    Peer(
        "opus",
        "Opus, variable bit rate (libopus in PyAV)",
        defaults=_OPUS_DEFAULTS,
        example="opus:6,12",
        allowed=(6, 256),
        ranged=True,
        make=lambda kbps, _: Opus(kbps),
        absent=lambda _: absent_opus(),
    ),
    Peer(
        "opus-cbr",
        "Opus, constant bit rate",
        defaults=_OPUS_DEFAULTS,
        example="opus-cbr:16",
        allowed=(6, 256),
        ranged=True,
        make=lambda kbps, _: Opus(kbps, variable=False),
        absent=lambda _: absent_opus(),
    ),
    Peer(
        "opus-audio",
        "Opus, variable bit rate, tuned for music instead of speech",
        defaults=(16, 24, 32, 64),
        example="opus-audio:16,32",
        allowed=(6, 256),
        ranged=True,
        make=lambda kbps, _: Opus(kbps, application="audio"),
        absent=lambda _: absent_opus(),
    ),
    Peer(
        "codec2",
        "Codec2 (c2enc and c2dec), rates in bits a second",
        defaults=(700, 1200, 2400, 3200),
        example="codec2:1200,3200",
        allowed=CODEC2_BPS,
        unit="bit/s",
        make=lambda bps, _: Codec2(round(bps)),
        absent=lambda _: absent_codec2(),
    ),
    Peer(
        "lc3",
        "LC3 of Bluetooth LE Audio (elc3 and dlc3)",
        defaults=(16, 24, 32),
        example="lc3:16,24",
        allowed=(16, 320),
        ranged=True,
        make=lambda kbps, _: Lc3(kbps),
        absent=lambda _: absent_lc3(),
    ),
    Peer(
        "lyra",
        "Lyra v2 (ai-edge-litert, and the folder of --lyra)",
        defaults=LYRA_KBPS,
        example="lyra:3.2,6",
        allowed=LYRA_KBPS,
        make=_lyra,
        absent=absent_lyra,
    ),
    Peer(
        "amr-wb",
        "AMR-WB of mobile telephony (library vo-amrwbenc)",
        defaults=(6.6, 12.65, 23.85),
        example="amr-wb:6.6,12.65",
        allowed=AMR_WB_KBPS,
        make=lambda kbps, _: AmrWb(kbps),
        absent=lambda _: absent_amr_wb(),
    ),
    Peer(
        "aac",
        "AAC-LC (FFmpeg's own encoder)",
        defaults=(16, 24, 32, 64),
        example="aac:16,24",
        allowed=AAC_KBPS,
        ranged=True,
        make=lambda kbps, _: Ffmpeg("aac", kbps),
        absent=lambda _: absent_ffmpeg("aac"),
    ),
    Peer(
        "he-aac",
        "HE-AAC v1 (libfdk_aac or Apple's, where FFmpeg has them)",
        defaults=(12, 16, 24, 32),
        example="he-aac:16",
        allowed=HE_AAC_KBPS,
        ranged=True,
        make=lambda kbps, _: Ffmpeg("he-aac", kbps),
        absent=lambda _: absent_ffmpeg("he-aac"),
    ),
    Peer(
        "mp3",
        "MP3, constant bit rate (LAME in PyAV)",
        defaults=(16, 24, 32, 64),
        example="mp3:16,32",
        allowed=MP3_KBPS,
        make=lambda kbps, _: Ffmpeg("mp3", kbps),
        absent=lambda _: absent_ffmpeg("mp3"),
    ),
    Peer(
        "vorbis",
        "Ogg Vorbis (libvorbis in soundfile), by quality",
        defaults=(0, 2, 5),
        example="vorbis:0,5",
        allowed=(0, 10),
        ranged=True,
        unit="quality",
        make=lambda quality, _: Vorbis(quality),
        absent=lambda _: absent_pyav(),
    ),
    *(
        Peer(
            name,
            about,
            defaults=rates[:3],
            example=f"{name}:{rates[0]:g}",
            allowed=rates,
            make=functools.partial(_neural, name),
            absent=functools.partial(_absent_neural, name),
        )
        for name, about, rates in (
            ("encodec", "EnCodec 24 kHz (package encodec)", ENCODEC_KBPS),
            ("dac", "Descript Audio Codec 24 kHz (package descript-audio-codec)", DAC_KBPS),
            ("mimi", "Mimi (package transformers)", MIMI_KBPS),
            ("snac", "SNAC 24 kHz (package snac)", SNAC_KBPS),
        )
    ),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _PEERS}


def peer_systems(names: Sequence[str], *, lyra: Path | None = None) -> tuple[list[System], dict[str, str]]:
    """The systems that ``names`` ask for and that can run here, and for each other name the reason, with the remedy.

    Args:
        names: ``opus``, or with rates ``opus:6,12``; see :data:`PEERS`. A system that is asked for twice is one.
        lyra: the folder of Lyra's networks.

    Raises:
        UsageError: an unknown peer, or a rate that it does not have.
    """
    systems: dict[tuple[str, str], System] = {}
    absent: dict[str, str] = {}
    for name in names:
        word, _, text = name.partition(":")
        peer = PEERS.get(word)
        if peer is None:
            raise UsageError(f"unknown peer '{word}'; known: {', '.join(PEERS)}; write for instance opus:6,12")
        rates = peer.rates(text)
        if reason := peer.absent(lyra):
            absent[name] = reason
            continue
        for rate in rates:
            system = peer.make(rate, lyra)
            systems[system.codec, system.setting] = system
    return list(systems.values()), absent
