"""AdamW, or Muon for matrices beside it; steps that are refused on the device where a gradient is not finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.train.distributed import average_gradients
from audiocodec.train.recipe import OptimiserConfig

# Quintic Newton-Schulz coefficients of K. Jordan's Muon (2024): steepest at zero, singular values end in 0.7 to 1.2.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (K. Jordan et al. 2024, "Muon"; scaling of arXiv 2502.16982).

    ``torch.optim.Muon`` takes matrices only; here a convolution's weight [out, in, kernel] counts as the matrix
    [out, in * kernel], and matrices of one shape are orthogonalised together. The update is scaled by
    ``0.2 * sqrt(max(rows, columns))``, the size of AdamW's, times the ratio of the two learning rates.
    """

    found_inf: Tensor | None = None

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; with ``found_inf`` = 1 weights and momentum stay as they are (the GradScaler protocol)."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.flatten(1).shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                self._step_together(shape, parameters, group)

    def _step_together(self, shape: torch.Size, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        refused = self.found_inf.bool() if self.found_inf is not None else None
        looks_ahead = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            if refused is not None:
                gradient = torch.where(refused, state["momentum"], gradient)  # leaves the momentum where it is
            state["momentum"].lerp_(gradient, 1.0 - group["momentum"])
            looks_ahead.append(gradient.lerp(state["momentum"], group["momentum"]).flatten(1))
        update = orthogonalise(torch.stack(looks_ahead)) * (0.2 * math.sqrt(max(shape)))
        keep = 1.0 if refused is None else 1.0 - refused.to(update.dtype)
        for parameter, delta in zip(parameters, update, strict=True):
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"] * keep)
            parameter.sub_(delta.view_as(parameter) * (group["lr"] * keep))


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Nearest (semi-)orthogonal matrices, roughly: singular values 0.7 to 1.2. matrices: [count, rows, columns]."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Optimisers:
    """The optimisers of one run behind the few calls that the loop makes."""

    def __init__(self, net: nn.Module, config: OptimiserConfig) -> None:
        parameters = [p for p in net.parameters() if p.requires_grad]
        self.parameters = parameters
        self.clip = config.clip
        matrices = _matrices(net) if config.kind == "muon" else []
        taken = {id(p) for p in matrices}
        rest = [p for p in parameters if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.members: list[torch.optim.Optimizer] = []
        self.top_rates: list[float] = []
        if rest:
            adam = torch.optim.AdamW(
                [g for g in groups if g["params"]], lr=config.learning_rate, betas=config.betas, fused=True
            )
            self._add(adam, config.learning_rate)
        if matrices:
            muon = Muon(matrices, config.muon_learning_rate, config.muon_momentum, config.weight_decay)
            self._add(muon, config.muon_learning_rate)

    def _add(self, optimiser: torch.optim.Optimizer, rate: float) -> None:
        self.members.append(optimiser)
        self.top_rates.append(rate)

    def step(self, loss: Tensor, rate_factor: float) -> tuple[Tensor, Tensor]:
        """Clip, then step unless loss or gradient is not finite. No synchronisation with the device.

        Both are first averaged over the processes that train together, so that all make or refuse the same step.
        Returns the gradient's norm before clipping and whether the step was refused (0. or 1.), both scalars.
        """
        loss = average_gradients(self.parameters, loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        refused = 1.0 - (torch.isfinite(norm) & torch.isfinite(loss)).float()
        for optimiser, rate in zip(self.members, self.top_rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * rate_factor
            # The protocol of torch.amp.GradScaler: AdamW's fused kernel does nothing where this is 1.
            optimiser.found_inf = refused  # type: ignore[attr-defined]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return norm, refused

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each member."""
        return [member.state_dict() for member in self.members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for member, state in zip(self.members, states, strict=True):
            member.load_state_dict(state)


def _matrices(net: nn.Module) -> list[nn.Parameter]:
    # Weights that mix channels. A depthwise kernel or a gain mixes none: nothing to orthogonalise.
    mixing = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv1d) and getattr(m, "groups", 1) == 1]
    weights = {id(m.weight): m.weight for m in mixing if isinstance(m.weight, nn.Parameter)}
    return [w for w in weights.values() if w.requires_grad and min(w.flatten(1).shape) > 1]
