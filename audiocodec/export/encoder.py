"""The encoder's step (``nn/seanet.py``) as a graph: audio and state to latents and state."""

from __future__ import annotations

import numpy as np

from audiocodec.export import pitch
from audiocodec.export.graph import Graph
from audiocodec.export.layers import detail_rows, linear, unit_stack
from audiocodec.export.state import StateTensors
from audiocodec.nn.bands import POWER_FLOOR
from audiocodec.nn.seanet import STRENGTH_WEIGHT, Encoder

STATE = ("analysis", "stem", "frame", "pitch")
"""Parts of the state, in the order of ``Encoder.initial_state``."""


def build_encoder(g: Graph, encoder: Encoder) -> None:
    """Inputs ``audio [batch, samples]``, ``detail [batch]`` and the state; outputs ``latents [batch, frames, dims]``
    and the state after them. ``samples`` is a multiple of the hop."""
    audio, detail = g.input("audio", ("batch", "samples")), g.input("detail", ("batch",))
    state = StateTensors(g, encoder.initial_state(1), STATE)
    envelope, shape, after = _features(g, encoder, audio, state["analysis"][0])
    state.next("analysis", [after])

    bands, bins, stack = encoder.pooling.shape[1], encoder.bins, encoder.stack
    x = _stem_in(g, encoder, envelope, shape)
    x, stem = unit_stack(g, x, encoder.stem_units, "encoder.stem_units", audio, state["stem"])
    state.next("stem", stem)

    x = g.reshape(x, -1, stack * encoder.stem_in.out_features)
    rows = g.reshape(envelope, -1, stack * bands)
    frames = g.op("Div", g.op("Shape", audio, start=1, end=2), g.ints(stack * bins))
    extra = [detail_rows(g, detail, frames)]
    if encoder.pitch is not None:
        position, strength, held = pitch.track(g, audio, encoder.pitch, state["pitch"])
        state.next("pitch", held)
        extra += [g.reshape(position, -1, 1), g.reshape(strength, -1, 1)]
        rows = g.concat(1, rows, g.op("Mul", extra[2], g.const(STRENGTH_WEIGHT)))
    x = linear(g, g.concat(1, x, *extra), "encoder.down")
    x, frame = unit_stack(g, x, encoder.frame_units, "encoder.frame_units", audio, state["frame"])
    state.next("frame", frame)

    latents = linear(g, x, "encoder.out")
    if encoder.linear_path:
        rows = g.op("Sub", rows, g.weight("encoder.envelope_mean"))
        latents = g.op("Gemm", rows, g.weight("encoder.envelope_in"), latents)
        latents = g.op("Gemm", g.reshape(shape, -1, stack * bins), g.weight("encoder.shape_in"), latents)
    if encoder.pitch is not None:
        # atanh(2 p - 1), the latent that a tanh bottleneck squashes back to the position p
        odds = g.op("Div", extra[1], g.op("Sub", g.const(1.0), extra[1]))
        pitch_latent = g.op("Mul", g.op("Log", odds), g.const(0.5))
        latents = g.concat(1, g.slice(latents, 0, -1, 1), pitch_latent)
    dims = encoder.out.out_features
    g.output(g.op("Reshape", latents, g.batched(audio, dims)), "latents", ("batch", "frames", dims))
    state.close()


def _features(g: Graph, encoder: Encoder, audio: str, before: str) -> tuple[str, str, str]:
    """Log band powers and flattened MDCT, both in rows of stem frames, and the state of the transform."""
    bins = encoder.bins
    whole = g.concat(1, before, audio)
    windows = g.reshape(g.frames_of(whole, bins), -1, 2 * bins)
    spectrum = g.op("MatMul", windows, g.weight("encoder.analysis.weight"))
    # Power is that of both halves of the spectrum: the pooling twice below itself adds them up.
    pooling = 0.5 * np.concatenate([encoder.pooling.numpy()] * 2)
    power = g.op("MatMul", g.op("Mul", spectrum, spectrum), g.const(pooling))
    envelope = g.op("Log", g.op("Add", power, g.const(POWER_FLOOR)))
    flattening = g.op("Exp", g.op("MatMul", envelope, g.const(-0.5 * encoder.spreading.numpy())))
    shape = g.op("Mul", g.slice(spectrum, 0, bins, 1), flattening)
    return envelope, shape, g.last(whole, bins, 1)


def _stem_in(g: Graph, encoder: Encoder, envelope: str, shape: str) -> str:
    """``stem_in`` of ``(envelope - mean) / 2`` and the spectrum, mean and half folded into the weights."""
    bands, stack = encoder.pooling.shape[1], encoder.stack
    weight = g.op("Transpose", g.weight("encoder.stem_in.weight"), perm=[1, 0])
    of_envelope = g.op("Mul", g.slice(weight, 0, bands, 0), g.const(0.5))
    means = g.reshape(g.slice(g.weight("encoder.envelope_mean"), 0, stack * bands, 0), stack, bands)
    mean = g.op("ReduceMean", means, g.ints(0), keepdims=1)
    bias = g.op("Sub", g.weight("encoder.stem_in.bias"), g.op("MatMul", mean, of_envelope))
    return g.op("Gemm", shape, g.slice(weight, bands, g.END, 0), g.op("Gemm", envelope, of_envelope, bias))
