"""Facts about models and files, as plain mappings that print well and dump as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from audiocodec.errors import AudioError, BitstreamError, ModelError, UsageError
from audiocodec.facts import GRAPHS, RUNTIME, ExportedFacts
from audiocodec.modelfiles import CONFIG, RATES, TABLES, WEIGHTS
from audiocodec.prediction import PREDICTOR

if TYPE_CHECKING:
    from audiocodec.bitstream import StreamHeader
    from audiocodec.codec import Codec
    from audiocodec.modelfiles import ModelFiles

Facts = dict[str, Any]


def describe_thing(thing: str, latency: bool = False) -> Facts:
    """Describe a .vpc file, or a model by name or folder; ``latency``: measure that of the model on this machine.

    Raises:
        BitstreamError: a file that is no .vpc.
        ModelError: neither a file nor a model.
        UsageError: the latency of a file.
    """
    if Path(thing).is_file():
        if latency:
            raise UsageError(f"{thing} is a file, which has no latency; name a model")
        return describe_file(Path(thing))
    if thing.endswith(".vpc"):
        raise ModelError(f"there is no file {thing}, and no model of that name")
    return describe_model(thing, latency)


def describe_models() -> list[Facts]:
    """What the indices say of every model that is installed."""
    from audiocodec.models import list_models

    return [
        {
            "name": m.name,
            "fingerprint": m.fingerprint,
            "folder": str(m.folder),
            "description": m.description,
            "domain": m.domain,
            "sample_rate_hz": m.sample_rate,
            "automatic": m.automatic,
        }
        for m in list_models()
    ]


def describe_model(name_or_path: str, latency: bool = False) -> Facts:
    """What a model is, what it costs and which rates it offers; ``latency``: measured here, in ten seconds.

    Raises:
        ModelError: it is not installed, or damaged.
    """
    from audiocodec.codec import load

    codec = load(name_or_path)
    assert codec.files is not None  # what has a name or a folder
    counts, costs = _costs(codec, codec.files)
    measured = {}
    if latency:
        from audiocodec.latency import measure_latency
        from audiocodec.pipelatency import measure_pipe

        measured = {**measure_latency(codec), **measure_pipe(codec)}
    return {
        "name": codec.facts.name,
        "fingerprint": codec.fingerprint.hex(),
        "sample_rate_hz": codec.sample_rate,
        "frame_rate_hz": codec.frame_rate,
        "hop_samples": codec.hop_samples,
        "latency_ms": 1000 * codec.latency_samples / codec.sample_rate,
        **measured,
        "dimensions": codec.facts.dims,
        "tokens_per_frame": codec.facts.tokens,
        "parameters": sum(counts.values()),
        **{f"{part}_parameters": count for part, count in counts.items()},
        "mega_macs_per_second": round(sum(costs.values()) / 1e6, 1),
        **{f"{part}_mega_macs_per_second": round(cost / 1e6, 1) for part, cost in costs.items()},
        "bytes": sum((codec.files.folder / name).stat().st_size for name in _files_of(codec.files.folder)),
        "runtime": codec.runtime.name,
        "entropy_tables": codec.entropy is not None,
        "rates": [
            {
                "levels": rate.base_levels,
                "raw_kbps": round(rate.raw_bps / 1000, 3),
                "expected_kbps": round(rate.expected_bps / 1000, 3),
            }
            for rate in codec.rates
        ],
    }


def _costs(codec: Codec, files: ModelFiles) -> tuple[dict[str, int], dict[str, float]]:
    """Parameters and multiply-accumulates a second: as the export noted them, else counted now, which needs torch."""
    if codec.runtime.name == "onnx":
        exported = ExportedFacts.read(files.folder, files.stored)
        assert exported is not None  # without it, it would be another runtime
        return exported.parameters, exported.macs_per_second
    from audiocodec.cost import count_parameters, macs_per_second

    return count_parameters(codec.net), macs_per_second(codec.net)


def _files_of(folder: Path) -> list[str]:
    """What coding needs of a model folder."""
    wanted = (CONFIG, WEIGHTS, TABLES, RATES, PREDICTOR, RUNTIME, *GRAPHS)
    return [name for name in wanted if (folder / name).exists()]


def describe_file(path: Path) -> Facts:
    """What a .vpc file holds. Its packets are checked but not decoded, so its model need not be installed.

    Raises:
        BitstreamError: it is no .vpc, or its header is damaged.
        AudioError: it cannot be read.
    """
    from audiocodec.bitstream.header import MAX_HEADER, StreamHeader

    try:
        with open(path, "rb") as file:
            header, size = StreamHeader.unpack(file.read(MAX_HEADER))
            file.seek(size)
            counts = _count_packets(file, header, size)
    except OSError as error:
        raise AudioError(f"cannot read {path}: {error.strerror or error}") from None
    except BitstreamError as error:
        error.args = (f"{path}: {error}",)
        raise
    total, count_bytes = counts.pop("samples"), path.stat().st_size
    seconds = None if total is None else total / header.source_rate
    return {
        "file": str(path),
        "bytes": count_bytes,
        "title": header.title,
        "seconds": seconds,
        "samples": total,
        "source_rate_hz": header.source_rate,
        "channels": header.channels,
        "kbps": round(count_bytes * 8e-3 / seconds, 3) if seconds else None,
        "fingerprint": header.fingerprint.hex(),
        "model": _model_name(header.fingerprint),
        "model_rate_hz": header.sample_rate,
        "hop_samples": header.hop_samples,
        "block_frames": header.block_frames,
        "running_frames": header.running_frames,
        "mode": header.mode,
        "coupling": "mid-side" if header.coupled else "independent",
        **_settings(header),
        "levels": list(header.levels),
        "side_levels": None if header.side_levels is None else list(header.side_levels),
        **counts,
    }


def _count_packets(file: BinaryIO, header: StreamHeader, position: int) -> Facts:
    from audiocodec.bitstream.index import read_end
    from audiocodec.bitstream.packet import Kind, Packet
    from audiocodec.bitstream.scanner import PacketScanner

    scanner = PacketScanner(header, position)
    counts: Facts = {
        "samples": header.total_samples,
        "packets": 0,
        "frames": 0,
        "silent_frames": 0,
        "damaged_places": 0,
    }
    while not scanner.final:
        data = file.read(1 << 16)
        scanner.feed(data)
        scanner.final = not data
        for item in scanner.items():
            if not isinstance(item, Packet):
                counts["damaged_places"] += 1
            elif item.kind is Kind.END:
                counts["samples"] = read_end(item.payload).total_samples
            else:
                counts["packets"] += 1
                counts["frames"] += item.frames
                counts["silent_frames"] += item.frames if item.kind is Kind.SILENCE else 0
    return counts


def _settings(header: StreamHeader) -> Facts:
    """Base level counts, of mid and side where there are such; None where the model is not installed."""
    from audiocodec.modelfiles import read_config
    from audiocodec.models import by_fingerprint

    try:
        config = read_config(by_fingerprint(header.fingerprint))
    except ModelError:
        known = {}
    else:
        known = {config.levels(base): base for base in config.level_settings}
    side = None if header.side_levels is None else known.get(header.side_levels)
    return {"setting": known.get(header.levels), "side_setting": "absent" if header.side_absent else side}


def _model_name(fingerprint: bytes) -> str | None:
    from audiocodec.models import list_models

    return next((m.name for m in list_models() if m.fingerprint == fingerprint.hex()), None)
