"""The decoder's step (``nn/seanet.py``) as a graph: latents and state to audio and state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audiocodec.export import pitch
from audiocodec.export.graph import Graph
from audiocodec.export.layers import detail_rows, linear, unit_stack
from audiocodec.export.state import StateTensors
from audiocodec.nn.seanet import LOG_POWER_MAX, LOG_POWER_MIN, STRENGTH_WEIGHT, USUAL_LOG_POWER, Decoder

STATE = ("noise", "frame", "stem", "overlap", "pulses")
"""Parts of the state, in the order of ``Decoder.initial_state``."""


def build_decoder(g: Graph, decoder: Decoder) -> None:
    """Inputs ``latents [batch, frames, dims]`` as a bottleneck gives them, ``detail [batch]`` and the state; outputs
    ``audio [batch, frames * hop]`` and the state after it."""
    dims, bins = decoder.frame_in.in_features - 1, decoder.bins
    latents, detail = g.input("latents", ("batch", "frames", dims)), g.input("detail", ("batch",))
    state = StateTensors(g, decoder.initial_state(1), STATE)
    frames = g.op("Shape", latents, start=1, end=2)
    rows = g.reshape(latents, -1, dims)

    noise_rows = _noise_rows(g, decoder, frames, state)
    pulses = None
    if decoder.pulses is not None:
        # The latent of the pitch comes back to its position: tanh(x) / 2 + 1 / 2
        squashed = g.op("Tanh", g.op("Mul", g.slice(latents, -1, g.END, 2), g.const(decoder.deviation)))
        position = g.op("Add", g.op("Mul", g.op("Squeeze", squashed, g.ints(2)), g.const(0.5)), g.const(0.5))
        spectrum, held = pitch.pulses(g, position, decoder.pulses, state["pulses"])
        state.next("pulses", held)
        pulses = g.reshape(spectrum, -1, bins)

    x = linear(g, g.concat(1, rows, detail_rows(g, detail, frames)), "decoder.frame_in")
    x, frame = unit_stack(g, x, decoder.frame_units, "decoder.frame_units", latents, state["frame"])
    state.next("frame", frame)
    envelope, strength, shape = _linear_path(g, decoder, rows)
    x = g.reshape(linear(g, x, "decoder.up"), -1, decoder.stem_in.out_features)
    x = _stem_in(g, decoder, x, envelope, shape, noise_rows, pulses)
    x, stem = unit_stack(g, x, decoder.stem_units, "decoder.stem_units", latents, state["stem"])
    state.next("stem", stem)

    log_power, flat = _spectrum(g, decoder, x, envelope, strength, shape, noise_rows, pulses)
    amplitude = g.op("Exp", g.op("Mul", log_power, g.const(0.5)))
    audio, tail = _overlap_add(g, g.op("Mul", flat, amplitude), bins, latents, state["overlap"][0])
    state.next("overlap", [tail])
    g.output(audio, "audio", ("batch", "samples"))
    state.close()


def _noise_rows(g: Graph, decoder: Decoder, frames: str, state: StateTensors) -> str:
    """Which rows of the noise ``[period * stack, bins]`` come next, ``[batch * stem frames]``; moves the state on."""
    period, stack = decoder.noise.shape[0], decoder.stack
    start = state["noise"][0]
    count = g.op("Squeeze", frames)
    after = g.op("Mod", g.op("Add", start, count), g.index(period))
    state.next("noise", [after])
    steps = g.op("Range", g.index(0), count, g.index(1))
    numbers = g.op("Mod", g.op("Add", g.op("Unsqueeze", start, g.ints(1)), steps), g.index(period))
    first = g.op("Mul", g.op("Unsqueeze", numbers, g.ints(2)), g.index(stack))
    return g.reshape(g.op("Add", first, g.ints(*range(stack))), -1)


def _linear_path(g: Graph, decoder: Decoder, rows: str) -> tuple[str, str | None, str]:
    """Log band powers, strength of the pitch (None without) and flattened MDCT, in rows of stem frames."""
    stack, bins, bands = decoder.stack, decoder.bins, decoder.spreading.shape[0]
    columns = decoder.envelope_mean.shape[0]
    if not decoder.linear_path:
        # As in training: the levels that silence about the envelope stands for, and a spectrum of nothing.
        nothing = g.op("Mul", g.slice(rows, 0, 1, 1), g.const(0.0))
        described = g.op("Add", nothing, g.const(np.full((1, columns), USUAL_LOG_POWER, np.float32)))
        shape = g.op("Add", nothing, g.const(np.zeros((1, stack * bins), np.float32)))
    else:
        described = g.op("Gemm", rows, g.weight("decoder.envelope_out"), g.weight("decoder.envelope_mean"))
        shape = g.op("MatMul", rows, g.weight("decoder.shape_out"))
    envelope = g.reshape(g.slice(described, 0, stack * bands, 1), -1, bands)
    strength = None
    if decoder.pulses is not None:
        own = g.op("Sub", g.op("Div", g.slice(described, stack * bands, g.END, 1), g.const(STRENGTH_WEIGHT)),
                   g.const(0.5))  # fmt: skip
        strength = g.reshape(g.concat(1, *[own] * stack), -1, 1)
    return envelope, strength, g.reshape(shape, -1, bins)


def _stem_in(g: Graph, decoder: Decoder, x: str, envelope: str, shape: str, noise_rows: str, pulses: str | None) -> str:
    """``x`` plus ``stem_in`` of envelope, spectrum and sources; of the fixed noise it is worked out once for all."""
    bands, bins = decoder.spreading.shape[0], decoder.bins
    weight = g.op("Transpose", g.weight("decoder.stem_in.weight"), perm=[1, 0])
    of_envelope = g.op("Mul", g.slice(weight, 0, bands, 0), g.const(0.5))
    usual = g.const(np.full((1, bands), -USUAL_LOG_POWER, np.float32))
    bias = g.op("Add", g.weight("decoder.stem_in.bias"), g.op("MatMul", usual, of_envelope))
    of_noise = g.slice(weight, bands + bins, bands + 2 * bins, 0)
    noise = g.op("Gemm", _noise_table(g, decoder), of_noise, bias)
    x = g.op("Add", x, g.op("Gather", noise, noise_rows, axis=0))
    x = g.op("Gemm", envelope, of_envelope, x)
    x = g.op("Gemm", shape, g.slice(weight, bands, bands + bins, 0), x)
    if pulses is not None:
        x = g.op("Gemm", pulses, g.slice(weight, bands + 2 * bins, g.END, 0), x)
    return x


def _noise_table(g: Graph, decoder: Decoder) -> str:
    return g.reshape(g.weight("decoder.noise"), -1, decoder.bins)


def _spectrum(
    g: Graph,
    decoder: Decoder,
    x: str,
    envelope: str,
    strength: str | None,
    shape: str,
    noise_rows: str,
    pulses: str | None,
) -> tuple[str, str]:
    """Log power and flat spectrum of each bin, in rows of stem frames."""
    bins = decoder.bins
    # One product gives level, correction and gates: the envelope spread over the bins and the slope of the gates over
    # the strength are rows more of its weights.
    inputs = [x, envelope] if strength is None else [x, envelope, strength]
    weight = g.concat(0, g.op("Transpose", g.weight("decoder.out.weight"), perm=[1, 0]), *_more_rows(g, decoder))
    gate_bias = _of_gates(g, decoder, 0, (-1,))
    bias = g.op("Add", g.weight("decoder.out.bias"), g.concat(0, g.const(np.zeros(2 * bins, np.float32)), gate_bias))
    out = g.op("Gemm", g.concat(1, *inputs), weight, bias)
    parts = decoder.out.out_features // bins
    level, correction, *gates = g.ops("Split", parts, out, axis=1, num_outputs=parts)
    log_power = g.op("Clip", level, g.const(LOG_POWER_MIN), g.const(LOG_POWER_MAX))
    flat = g.op("Add", shape, correction)
    sources = [g.op("Gather", _noise_table(g, decoder), noise_rows, axis=0), *([pulses] if pulses else [])]
    for source, gate in zip(sources, gates, strict=True):
        flat = g.op("Add", flat, g.op("Mul", source, g.op("Sigmoid", gate)))
    return log_power, flat


def _more_rows(g: Graph, decoder: Decoder) -> list[str]:
    """Rows ``[bands, outputs]`` that spread the envelope over the levels, and one that slopes the gates."""
    bins = decoder.bins
    rest = decoder.out.out_features - bins
    spreading: NDArray[np.float32] = np.pad(decoder.spreading.numpy(), ((0, 0), (0, rest)))
    rows = [g.const(spreading)]
    if decoder.pulses is not None:
        slope = _of_gates(g, decoder, 1, (1, -1))
        rows.append(g.concat(1, g.const(np.zeros((1, 2 * bins), np.float32)), slope))
    return rows


def _of_gates(g: Graph, decoder: Decoder, which: int, shape: tuple[int, ...]) -> str:
    """Biases (0) or slopes (1) of the gates of all sources, from ``gates [source, bias or slope, bins]``."""
    sources = 2 if decoder.pulses is not None else 1
    own = g.op("Gather", g.weight("decoder.gates"), g.index(which), axis=1)
    return g.reshape(g.slice(own, 0, sources, 0), *shape)


def _overlap_add(g: Graph, spectrum: str, bins: int, batch: str, carried: str) -> tuple[str, str]:
    parts = g.op("Reshape", g.op("MatMul", spectrum, g.weight("decoder.synthesis.weight")), g.batched(batch, 2 * bins))
    head, tail = g.slice(parts, 0, bins, 2), g.slice(parts, bins, g.END, 2)
    overlap = g.concat(1, g.op("Unsqueeze", carried, g.ints(1)), tail)
    wave = g.reshape(g.op("Add", head, g.slice(overlap, 0, -1, 1)), 0, -1)
    return wave, g.op("Gather", g.last(overlap, 1, 1), g.index(0), axis=1)
