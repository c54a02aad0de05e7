"""What a network costs: parameters, and multiply-accumulates a second of audio."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from audiocodec.nn.model import CodecNet

_FRAMES = 16  # of a block that is counted: enough that its ends are nothing beside it


def count_parameters(net: CodecNet) -> dict[str, int]:
    """Of encoder and decoder."""
    parts = {"encoder": net.encoder, "decoder": net.decoder}
    return {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()}


@torch.inference_mode()
def macs_per_second(net: CodecNet) -> dict[str, float]:
    """Multiply-accumulates a second of audio of encoder and decoder, counted while they run one block.

    Matrix products count fully, elementwise products one for each element of the result.
    """

    def elementwise(*_shapes: Any, out_shape: Any = None, **_options: Any) -> int:
        return 2 * int(torch.Size(out_shape).numel())  # the counter counts two operations for a multiply-accumulate

    products = {torch.ops.aten.mul.Tensor: elementwise}
    config = net.config
    device = next(net.parameters()).device
    per_second = config.frame_rate / _FRAMES / 2
    detail = torch.full((1,), 4.0, device=device)
    levels = torch.tensor([config.levels(config.level_settings[-1])], device=device)
    wave = torch.zeros(1, _FRAMES * config.hop_samples, device=device)
    with FlopCounterMode(display=False, custom_mapping=products) as encoder:
        latents, _ = net.encoder.step(wave, detail, net.encoder.initial_state(1))
        indices = net.bottleneck.indices(latents, levels)
    with FlopCounterMode(display=False, custom_mapping=products) as decoder:
        seen = net.bottleneck.from_indices(indices, levels)
        net.decoder.step(seen, detail, net.decoder.initial_state(1))
    counters = {"encoder": encoder, "decoder": decoder}
    return {part: counter.get_total_flops() * per_second for part, counter in counters.items()}
