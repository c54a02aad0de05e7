"""Where the time of the graphs goes: block lengths, threads, fusing, kinds of operators, and weights of eight bits.

    python benchmarks/kernels.py --model speech-16k

CPU milliseconds a second of audio of encoder and decoder by ONNX Runtime, medians of turns taken by all variants, and
wall milliseconds where threads are compared. Eight bits: dynamic quantisation, of all products or of those in residual
units alone, with the share of equal tokens and the STOI of speech decoded by each against the recording. Promises
nothing: what was chosen from its figures is told in docs/log.md. Needs ``audiocodec[export]``.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import common
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import audiocodec
from audiocodec.export.folder import export_model
from audiocodec.facts import DECODER, ENCODER, RUNTIME
from audiocodec.models import resolve

BLOCKS = (1, 4, 16, 32, 64, 128, 256)
BLOCK = 64
LEVELS = {
    "nothing fused": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "constants folded": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all fused": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session(path: Path, threads: int = 1, level: Any = LEVELS["all fused"], profile: Path | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that wait by spinning would take the processor from the variants that run next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level, options.log_severity_level = level, 3
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass
class Variant:
    """A session, what it is fed, and what a run took."""

    session: Any
    feeds: dict[str, NDArray[Any]]
    seconds: float
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def run(self, times: int) -> None:
        """Take one turn of several runs."""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            self.session.run(None, self.feeds)
        self.cpu.append((time.process_time() - cpu) / times / self.seconds * 1e3)
        self.wall.append((time.perf_counter() - wall) / times / self.seconds * 1e3)


def feeds_of(codec: audiocodec.Codec, kind: str, frames: int, speech: NDArray[Any]) -> dict[str, Any]:
    """Real sound, or its latents, and the state of a stream's beginning."""
    detail = np.log2(np.array([codec.choose_rate().base_levels], np.float32))
    step = codec.runtime._encoder if kind == ENCODER else codec.runtime._decoder
    wave = speech[None, : frames * codec.hop_samples]
    if kind == ENCODER:
        return {"audio": wave, "detail": detail, **step.initial_state(1)}
    rate = codec.choose_rate()
    indices, _ = codec.encode_block(wave, rate, codec.runtime.encoder_state(1))
    latents = codec.runtime.latents(indices, [rate])
    return {"latents": latents, "detail": detail, **step.initial_state(1)}


def take_turns(variants: dict[str, Variant], repeat: int) -> None:
    for turn in range(repeat + 1):
        for variant in variants.values():
            variant.run(max(1, round(1.28 / variant.seconds)))
            if turn == 0:
                variant.cpu.clear()
                variant.wall.clear()


def leading(variant: Variant, path: Path, folder: Path) -> dict[str, float]:
    """Shares of the operators that lead, from the runtime's own profile."""
    profiled = session(path, profile=folder / "profile")
    for _ in range(30):
        profiled.run(None, variant.feeds)
    events = json.loads(Path(profiled.end_profiling()).read_text())
    total: dict[str, float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            kind = event["args"]["op_name"]
            total[kind] = total.get(kind, 0.0) + event["dur"]
    whole = sum(total.values())
    return {kind: round(t / whole, 3) for kind, t in sorted(total.items(), key=lambda item: -item[1])[:8]}


def eight_bits(path: Path, target: Path, chosen: Callable[[str], bool]) -> None:
    """Quantise the products whose weight's name is chosen."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(path)).graph
    maker = {name: node for node in graph.node for name in node.output}
    names = []
    for node in graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            weight = node.input[1]
            while weight in maker and maker[weight].input:
                weight = maker[weight].input[0]
            if chosen(weight):
                names += [node.name, f"{node.name}_MatMul"]  # Gemm is taken apart first, under this name
    folded = target.with_suffix(".folded")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = LEVELS["constants folded"], 3
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(path), options)
    kinds = ["Gemm", "MatMul"]
    quantize_dynamic(
        str(folded), str(target), weight_type=QuantType.QInt8, per_channel=True, nodes_to_quantize=names,
        op_types_to_quantize=kinds,
    )  # fmt: skip


def tell_of(folder: Path) -> None:
    """Let ``runtime.json`` know the graphs that were exchanged."""
    stored = json.loads((folder / RUNTIME).read_text())
    for kind in (ENCODER, DECODER):
        stored["graphs"][kind] = {"sha256": hashlib.sha256((folder / kind).read_bytes()).hexdigest(), "weights": []}
    (folder / RUNTIME).write_text(json.dumps(stored))


def quality(model: Path, folder: Path, speech: NDArray[Any]) -> dict[str, float]:
    """Tokens as those of the model, and STOI of what both make of speech."""
    from pystoi import stoi

    ours, other = audiocodec.load(model, runtime="onnx"), audiocodec.load(folder, runtime="onnx")
    rate = ours.choose_rate()
    tokens = [codec.encode(speech[None], rate) for codec in (ours, other)]
    sounds = [codec.decode(t)[0] for codec, t in zip((ours, other), tokens, strict=True)]
    scores = [float(stoi(speech, sound, ours.sample_rate, extended=True)) for sound in sounds]
    same = float((tokens[0].indices == tokens[1].indices).mean())
    apart = float(np.abs(ours.decode(tokens[0]) - other.decode(tokens[0])).max())
    return {"equal_tokens": same, "estoi": scores[1], "estoi_float": scores[0], "largest_difference": apart}


def main() -> int:
    made = common.parser(__doc__ or "")
    common.add_audio_option(made)
    made.add_argument("--model", default="speech-16k")
    made.add_argument("--repeat", type=int, default=7)
    options = made.parse_args()
    model = resolve(options.model)
    codec = audiocodec.load(model, runtime="onnx")
    speech = common.looped_speech(options.audio, codec.sample_rate, 20.0)
    result: dict[str, Any] = {"model": options.model}
    with tempfile.TemporaryDirectory(prefix="audiocodec-kernels-") as name:
        folder = Path(name)
        graphs = folder / "graphs"
        export_model(model, graphs)
        for kind in (ENCODER, DECODER):
            path, part = graphs / kind, kind.removesuffix(".onnx")
            feeds = {frames: feeds_of(codec, kind, frames, speech) for frames in BLOCKS}
            seconds = {frames: frames / codec.frame_rate for frames in BLOCKS}
            variants = {f"{n} frames": Variant(session(path), feeds[n], seconds[n]) for n in BLOCKS}
            for label, level in LEVELS.items():
                variants[label] = Variant(session(path, level=level), feeds[BLOCK], seconds[BLOCK])
            variants["2 threads"] = Variant(session(path, threads=2), feeds[BLOCK], seconds[BLOCK])
            for label, chosen in (("int8", lambda _: True), ("int8 in units", lambda weight: "units" in weight)):
                target = folder / label / kind
                target.parent.mkdir(exist_ok=True)
                eight_bits(path, target, chosen)
                variants[label] = Variant(session(target), feeds[BLOCK], seconds[BLOCK])
            take_turns(variants, options.repeat)
            print(f"{part}: CPU (wall) ms a second of audio")
            rows = {label: (statistics.median(v.cpu), statistics.median(v.wall)) for label, v in variants.items()}
            for label, (cpu, wall) in rows.items():
                print(f"  {label:18} {cpu:6.2f} ({wall:.2f})")
            lead = leading(variants[f"{BLOCK} frames"], path, folder)
            print("  " + ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in lead.items()))
            result[part] = {"ms_per_s": rows, "operators": lead}
        for label in ("int8", "int8 in units"):
            place = folder / label
            for file in model.iterdir():
                if file.is_file() and not (place / file.name).exists():
                    shutil.copy(file, place)
            tell_of(place)
            result[label] = quality(model, place, speech)
            print(f"{label}: " + ", ".join(f"{key} {value:.4f}" for key, value in result[label].items()))
    common.finish({**result, "machine": common.machine()}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
