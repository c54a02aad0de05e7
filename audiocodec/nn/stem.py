"""The strided stem: waveform to frames and back, initialised as a lapped transform.

The analysis is a strided convolution of kernel ``2 * hop`` whose first ``hop`` channels start as the modified
discrete cosine transform (MDCT) and whose second ``hop`` channels start as its sine counterpart (MDST), so that the
network begins with a spectrum whose power does not depend on phase. The synthesis is the transposed convolution
that starts as the inverse MDCT: together they reconstruct perfectly before any training (Princen and Bradley 1986).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiocodec.nn.layers import State


def lapped_basis(hop: int, sine: bool = False) -> Tensor:
    """MDCT (or MDST) basis with a sine window, ``[2 * hop, hop]``, orthonormal under overlap-add."""
    n = torch.arange(2 * hop, dtype=torch.float64)[:, None]
    k = torch.arange(hop, dtype=torch.float64)[None, :]
    phase = math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)
    window = torch.sin(math.pi * (n + 0.5) / (2 * hop))
    basis = window * (torch.sin(phase) if sine else torch.cos(phase)) * math.sqrt(2.0 / hop)
    return basis.float()


class Analysis(nn.Module):
    """Waveform ``[batch, samples]`` to stem frames ``[batch, samples / hop, 2 * hop]``; windows reach one hop back."""

    def __init__(self, hop: int, learnt: bool = False) -> None:
        super().__init__()
        self.hop = hop
        basis = torch.cat([lapped_basis(hop), lapped_basis(hop, sine=True)], dim=1)
        self.weight = nn.Parameter(torch.randn_like(basis) * (2 * hop) ** -0.5 if learnt else basis)

    def initial_state(self, batch: int) -> State:
        """The last ``hop`` samples, zeros at first."""
        return (self.weight.new_zeros(batch, self.hop),)

    def forward(self, wave: Tensor) -> Tensor:
        """Samples must be a multiple of ``hop``."""
        return self._transform(F.pad(wave, (self.hop, 0)))

    def step(self, wave: Tensor, state: State) -> tuple[Tensor, State]:
        """One block of samples."""
        whole = torch.cat([state[0], wave], dim=1)
        return self._transform(whole), (whole[:, -self.hop :],)

    def _transform(self, padded: Tensor) -> Tensor:
        hops = padded.unflatten(1, (-1, self.hop))
        return torch.cat([hops[:, :-1], hops[:, 1:]], dim=-1) @ self.weight


class Synthesis(nn.Module):
    """Stem frames ``[batch, frames, hop]`` to a waveform one hop late, ``[batch, frames * hop]``."""

    def __init__(self, hop: int, learnt: bool = False) -> None:
        super().__init__()
        self.hop = hop
        basis = lapped_basis(hop).T.contiguous()
        self.weight = nn.Parameter(torch.randn_like(basis) * hop**-0.5 if learnt else basis)

    def initial_state(self, batch: int) -> State:
        """The tail that awaits its overlap, zeros at first."""
        return (self.weight.new_zeros(batch, self.hop),)

    def forward(self, frames: Tensor) -> Tensor:
        """Overlap-add from silence."""
        return self.step(frames, self.initial_state(frames.shape[0]))[0]

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """One block of frames."""
        parts = frames @ self.weight
        head, tail = parts[..., : self.hop], parts[..., self.hop :]
        carried = torch.cat([state[0][:, None], tail], dim=1)
        return (head + carried[:, :-1]).flatten(1), (carried[:, -1],)
