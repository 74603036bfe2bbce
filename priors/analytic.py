"""Priors with a formula: L1, a box, the squared gradient, total variation, each with its value and its prox.

They are functions in the sense of the solvers, value(x) -> (B,) and prox(x, sigma=None, *, gamma), and do not
look at sigma: the weight is theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms import variation
from algorithms.driver import Until, solve
from algorithms.splitting_variation import Penalties, laplacian_spectrum, split_variation
from algorithms.state import State
from imaging.blur import CircularBlur
from imaging.fft import irfft2, rfft2
from imaging.fidelity import LeastSquares
from priors.mirroring import mirror

Level = float | Tensor
PENALTY = 10.0  # of 0.3, 1, 3, 10, 30 and 100 proves most within 600 steps, for weak and strong noise


@dataclass(frozen=True)
class L1:
    """R(x) = lam sum |x|; its prox is the soft threshold.

    >>> L1(0.5).prox(torch.tensor([[[[-1.0, 0.2, 2.0]]]]), gamma=1.0)
    tensor([[[[-0.5000, 0.0000, 1.5000]]]])
    """

    lam: float
    is_convex = True

    def __post_init__(self) -> None:
        _check_weight(self.lam)

    def value(self, x: Tensor) -> Tensor:
        """R(x), (B,)."""
        return self.lam * x.abs().flatten(1).sum(1, dtype=torch.float64)

    def prox(self, x: Tensor, sigma: Level | None = None, *, gamma: float) -> Tensor:
        """x moved towards zero by gamma lam, and not beyond it."""
        return x - x.clamp(-gamma * self.lam, gamma * self.lam)


@dataclass(frozen=True)
class Box:
    """R(x) = 0 where low <= x <= high in every pixel, else infinite; its prox is the projection.

    >>> Box(0.0, 1.0).prox(torch.tensor([[[[-1.0, 0.2, 2.0]]]]), gamma=1.0)
    tensor([[[[0.0000, 0.2000, 1.0000]]]])
    """

    low: float
    high: float
    is_convex = True

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            message = f"the box goes from {self.low} to {self.high}: the lower end comes first."
            raise ValueError(message)

    def value(self, x: Tensor) -> Tensor:
        """0 or infinity, (B,)."""
        outside = ((x < self.low) | (x > self.high)).flatten(1).any(1)
        return torch.zeros(len(x), dtype=x.dtype, device=x.device).masked_fill(outside, math.inf)

    def prox(self, x: Tensor, sigma: Level | None = None, *, gamma: float) -> Tensor:
        """The nearest point of the box, for every gamma."""
        return x.clamp(self.low, self.high)


@dataclass(frozen=True)
class Tikhonov:
    """R(x) = lam |D x|^2 / 2, D the forward differences, none across the border.

    D^T D is diagonal for pictures continued by their mirror image, hence so is the prox.

    >>> Tikhonov(1.0).prox(torch.tensor([[[[0.0, 3.0]]]]), gamma=1.0)
    tensor([[[[1..., 2...]]]])
    """

    lam: float
    is_convex = True

    def __post_init__(self) -> None:
        _check_weight(self.lam)

    def value(self, x: Tensor) -> Tensor:
        """R(x), (B,)."""
        return self.lam * variation.differences(x).square().flatten(1).sum(1, dtype=torch.float64) / 2

    def grad(self, x: Tensor) -> Tensor:
        """lam D^T D x."""
        return self.lam * variation.differences_adjoint(variation.differences(x))

    def prox(self, x: Tensor, sigma: Level | None = None, *, gamma: float) -> Tensor:
        """(I + gamma lam D^T D)^-1 x, exactly, by the Fourier transform of the mirrored picture."""
        height, width = x.shape[2:]
        whole = mirror(mirror(x, 2, 0, height), 3, 0, width)
        size = (2 * height, 2 * width)
        divisor = 1 + gamma * self.lam * laplacian_spectrum(size, x)
        return irfft2(rfft2(whole) / divisor, size)[..., :height, :width].contiguous()


@dataclass(frozen=True)
class TotalVariation:
    """R(x) = lam sum over pixels |(D x)|, D the forward differences; `joint` couples the channels' edges.

    The prox is iterative. It ends when it is proven to lie within a root mean square distance `tol` of the
    true one, or raises NotConvergedError: for p with |p| <= gamma lam in each pixel, and the gap and the
    imbalance b of `algorithms.variation.Optimality`, strong convexity gives
    |x - x*| <= b + (b^2 + 2 gap)^(1/2).
    Rudin, Osher and Fatemi (1992); the solver is that of method "tv".

    >>> step = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]], dtype=torch.float64)
    >>> TotalVariation(0.2, tol=1e-6).prox(step, gamma=1.0).round(decimals=4)
    tensor([[[[0.1000, 0.1000, 0.9000, 0.9000]]]], dtype=torch.float64)
    """

    lam: float
    tol: float
    joint: bool = True
    max_iter: int = 20_000
    is_convex = True

    def __post_init__(self) -> None:
        _check_weight(self.lam)
        if not self.tol > 0:
            message = f"tol is {self.tol}: give a positive distance on the scale of the pixels, such as 1e-4."
            raise ValueError(message)

    def value(self, x: Tensor) -> Tensor:
        """R(x), (B,)."""
        return self._function(self.lam).value(x)

    def prox(self, x: Tensor, sigma: Level | None = None, *, gamma: float) -> Tensor:
        """argmin over z of gamma R(z) + |z - x|^2 / 2, within `tol`; without gradients."""
        tv = self._function(gamma * self.lam)
        if tv.lam == 0:
            return x.detach().clone()
        return self._solved(x.detach().double(), tv).to(x.dtype)  # float32 could prove 3e-4 at best

    def _solved(self, x: Tensor, tv: variation.TotalVariation) -> Tensor:
        loss = LeastSquares(CircularBlur(x.new_ones(1, 1, 1, 1), (x.shape[1], x.shape[2], x.shape[3])), x)
        pixels = x[0].numel() ** 0.5

        def distance(state: State) -> float:
            proof = variation.tv_optimality(loss, tv, state.x, state.memory[0])
            force = proof.imbalance
            return float((force + (force.square() + 2 * proof.gap).sqrt()).max()) / pixels

        states = split_variation(loss, tv, penalties=Penalties(1.0, PENALTY), x0=x)
        until = Until(tol=self.tol, max_iter=self.max_iter, measure=distance, period=5)
        return solve(states, until).require().x

    def _function(self, lam: float) -> variation.TotalVariation:
        return variation.TotalVariation(lam, joint=(1, 2) if self.joint else (1,))


def _check_weight(lam: float) -> None:
    if not (math.isfinite(lam) and lam >= 0):
        message = f"lam is {lam}: give zero or a positive number, larger is smoother."
        raise ValueError(message)
