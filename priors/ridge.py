"""Weakly convex ridge regulariser: a learned R in closed form, and its proximal operator solved to order."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms.driver import Until, solve
from imaging.linsolve import conjugate_gradient
from priors.claims import Claims
from priors.denoiser import noise_levels
from priors.descent import Curvature, spectral
from priors.energy import Energy, composed, with_flips

# Proven rms distance to the minimiser, pixels on [0, 1]. The bound divides the gradient by 1 - rho, so that
# rounding in float32 alone keeps it at some 2e-6.
TOL = {torch.float64: 1e-9, torch.float32: 1e-5}
# While training, of the prox and of the linear solve behind its gradients: these are then within 0.5 % of the
# exact ones for trained profiles, far below what batches differ by, and a step takes 3/4 of the time of 1e-3.
TRAINING_TOL, TRAINING_RTOL = 3e-3, 5e-2
MAX_ITER = 3000


@dataclass(frozen=True)
class RidgeConfig:
    """Shape of a `Ridge`: filters and profiles.

    `filters` are learned and joined by their mirror images (three each), each the composition of convolutions
    of the odd sides `kernels` through `widths` channels. A profile is a sum of bumps of the widths `scales`,
    relative to the noise. `rho` is the weak convexity, below 1. `nodes` levels on `sigma`, the range trained
    on, carry the conditioning.
    """

    channels: int = 1
    filters: int = 15
    widths: tuple[int, ...] = (4, 8)
    kernels: tuple[int, ...] = (3, 3, 5)
    scales: tuple[float, ...] = (0.5, 1.5, 4.0, 12.0)
    rho: float = 0.9
    nodes: int = 11
    sigma: tuple[float, float] = (0.0, 55 / 255)

    def __post_init__(self) -> None:
        for name in ("widths", "kernels", "scales", "sigma"):  # JSON brings lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.kernels) != len(self.widths) + 1 or not all(k % 2 for k in self.kernels):
            message = (
                f"kernels are {self.kernels} and widths {self.widths}: give odd sides, one more than widths."
            )
            raise ValueError(message)
        if not 0 <= self.rho < 1:
            message = f"rho is {self.rho}: the prox is well defined for a weak convexity from 0 to below 1."
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Ridge(nn.Module):
    """R(x) = sum over filters i and pixels of psi_i((W_i x)[pixel]), and its prox, a learned denoiser.

    The profile at level sigma is psi_i(t) = sum_j c_ij v_ij (sqrt(t^2 + v_ij^2) - v_ij), of curvature
    psi_i''(t) = sum_j c_ij (1 + t^2 / v_ij^2)^(-3/2), in [-rho, mu] whatever was learned: the positive part
    of the c_ij is free, mu their largest sum, the negative part is rho times a softmax with a spare entry.
    The widths v_ij = sigma s_j / alpha_i(sigma) make R_sigma(x) = sigma^2 R_1(x / sigma) wherever alpha and
    the amplitude of the c_ij, linear splines of sigma, are constant. With |W| <= 1 (see `priors.energy`):

        -rho |v|^2 <= <v, Hessian R(x) v> <= mu |v|^2,

    so R is rho-weakly convex, gamma R + |. - x|^2 / 2 is (1 - gamma rho)-strongly convex for
    gamma < 1 / rho, and the prox is unique. `m(x, sigma)` is the prox of R itself. It is the gradient of the
    convex `potential`, and 1 / (1 - rho)-Lipschitz with a Jacobian of at least 1 / (1 + mu). It is solved in
    float32 or float64 to a proven distance (`TOL`), with gradients by implicit differentiation.

    So it is a learned proximal operator as `LPN` is, from the other end: R and its prox for any gamma below
    1 / rho are explicit and the denoiser is an inner solve, where `LPN` evaluates the denoiser at once, for
    one gamma, and has to invert it for R, which may be far from weakly convex. `benchmarks/denoising.py` puts
    them side by side.

    Goujon, Neumayer and Unser, "Learning Weakly Convex Regularizers for Convergent Image-Reconstruction
    Algorithms" (2024).

    >>> net = Ridge(RidgeConfig(filters=2, widths=(), kernels=(3,))).requires_grad_(False)
    >>> net(torch.rand(2, 1, 9, 7), 0.1).shape, net.value(torch.rand(2, 1, 9, 7), 0.1).shape
    (torch.Size([2, 1, 9, 7]), torch.Size([2]))
    """

    kind: ClassVar[str] = "ridge"
    Config: ClassVar[type] = RidgeConfig
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    rate: ClassVar[float] = 1e-2  # a few thousand weights, each of which matters: 3e-3 learns more slowly
    explicit_prior = True

    def __init__(self, config: RidgeConfig):
        super().__init__()
        self.config = config
        widths = (config.channels, *config.widths, config.filters)
        self.stages = nn.ParameterList(
            torch.randn(b, a, k, k) / (k * math.sqrt(a))
            for a, b, k in zip(widths[:-1], widths[1:], config.kernels, strict=True)
        )
        shape = config.filters, len(config.scales)
        # Profiles that saturate, as edges want: a convex start was 0.1 dB behind after 120 steps.
        middle, number = len(config.scales) // 2, torch.arange(len(config.scales))
        self.positive = nn.Parameter(torch.where(number < middle, 1.0, -3.0).expand(shape).clone())
        self.negative = nn.Parameter(torch.where(number == middle, 1.0, -3.0).expand(shape).clone())
        # Of a frame of n filters together of norm 1 each sees about 1 / sqrt(n) of the noise.
        self.alpha = nn.Parameter(
            torch.full((config.nodes, config.filters), 0.5 * math.log(4 * config.filters))
        )
        self.amplitude = nn.Parameter(torch.zeros(config.nodes, config.filters))

    @property
    def feature_maps(self) -> float:
        """About how many planes of the size of the picture it holds at one time, in float32."""
        return 4.0 * (4 * self.config.filters) + 10

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The denoised x (B, C, H, W): the prox of R."""
        return self.prox(x, sigma, gamma=1.0)

    def prox(self, x: Tensor, sigma: float | Tensor, *, gamma: float, tol: float | None = None) -> Tensor:
        """argmin over z of gamma R(z) + |z - x|^2 / 2, within a root mean square distance of `tol`.

        Raises ValueError for gamma rho >= 1, where the minimiser need not be unique, and NotConvergedError if
        the tolerance is not met.
        """
        if not 0 <= gamma * self.config.rho < 1:
            message = (
                f"gamma is {gamma}: with a weak convexity of {self.config.rho} the prox is unique from 0 to "
                f"below {1 / max(self.config.rho, 1e-9):.4g} only."
            )
            raise ValueError(message)
        if tol is None:
            tol = TRAINING_TOL if self.training and x.dtype == torch.float32 else TOL.get(x.dtype, 0.0)
        with torch.autocast(x.device.type, enabled=False):
            energy = self.energy(x, sigma)
            if torch.is_grad_enabled() and (x.requires_grad or energy.learning):
                return _Implicit(energy, gamma, tol).prox(x)
            with torch.no_grad():
                return _minimise(energy, x, gamma, tol)

    def value(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """R(x), shape (B,), summed in float64."""
        return self.energy(x, sigma).value(x)

    def grad(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The gradient of R at x."""
        return self.energy(x, sigma).grad(x)

    def potential(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """psi(y) = max over x of <y, x> - |x|^2 / 2 - R(x), shape (B,): convex, of gradient m(y, sigma).

        Summed in float64.
        """
        x = self(y, sigma)
        return (y * x - x.square() / 2).flatten(1).sum(1, dtype=torch.float64) - self.value(x, sigma)

    @property
    def claims(self) -> Claims:
        """A proximal operator with R = value, of a Jacobian of at least 1 / (1 + mu), mu over all levels."""
        with torch.no_grad():
            positive = (self.positive + self.amplitude.amax(0)[:, None]).exp()
            mu = float((positive - self._negative()).clamp(min=0).sum(1).max())
        return Claims(symmetric=True, convexity=1 / (1 + mu), proximal=True, rtol=1e-7)

    def curvature(self, sigma: float) -> tuple[float, float]:
        """(a, b) with -a <= eigenvalues of the Hessian of R <= b at every picture, proven, a <= rho."""
        probe = self.stages[0].new_zeros(1, self.config.channels, 1, 1)
        with torch.no_grad():
            low, high = self.energy(probe, sigma).curvature()
        return float(low.max()), float(high.max())

    def energy(self, x: Tensor, sigma: float | Tensor) -> Energy:
        """R at these levels with everything bound in; ValueError or TypeError for what is no picture."""
        if x.ndim != 4 or x.shape[1] != self.config.channels:
            message = (
                f"the picture has shape {tuple(x.shape)}: this prior wants (B, {self.config.channels}, H, W)."
            )
            raise ValueError(message)
        if x.dtype not in TOL:
            message = f"the picture is {x.dtype}: a prox solved to a tolerance needs float32 or float64."
            raise TypeError(message)
        level = noise_levels(sigma, x).flatten(1)
        top, last = self.config.sigma[1], self.config.nodes - 1
        place = (level / top * last).clamp(max=last)
        hats = (1 - (place - torch.arange(last + 1, dtype=x.dtype, device=x.device)).abs()).clamp(min=0)
        scales = torch.tensor(self.config.scales, dtype=x.dtype, device=x.device)
        width = level.clamp(min=1e-9)[..., None] * scales * (-hats @ self.alpha).exp()[..., None]
        weight = (self.positive + (hats @ self.amplitude)[..., None]).exp() - self._negative()
        return Energy(with_flips(composed(list(self.stages))), width.repeat(1, 4, 1), weight.repeat(1, 4, 1))

    def _negative(self) -> Tensor:
        spare = torch.cat([torch.zeros_like(self.negative[:, :1]), self.negative], dim=1)
        return self.config.rho * spare.softmax(dim=1)[:, 1:]


def _minimise(energy: Energy, x: Tensor, gamma: float, tol: float) -> Tensor:
    low, high = energy.curvature()
    bounds = Curvature(1 - gamma * low, 1 + gamma * high)

    def slope(z: Tensor) -> Tensor:
        return z - x + gamma * energy.grad(z)

    return solve(spectral(slope, bounds, x0=x), Until(tol=tol, max_iter=MAX_ITER)).require().x


class _Implicit:
    """The prox with gradients in x and in the weights by the implicit function theorem.

    At the minimiser z, z - x + gamma grad R(z) = 0, so dz = H^-1 (dx - gamma d(grad R)(z)) with
    H = I + gamma Hessian R(z), symmetric positive definite: one linear solve, no unrolled iterations.
    """

    def __init__(self, energy: Energy, gamma: float, tol: float):
        self.energy, self.gamma, self.tol = energy, gamma, tol

    def prox(self, x: Tensor) -> Tensor:
        """The minimiser, carrying its gradients."""
        with torch.no_grad():
            fixed = self.energy.detach()
            z = _minimise(fixed, x, self.gamma, self.tol)
        left = z - x + self.gamma * self.energy.grad(z)  # zero up to tol, but with the gradients wanted

        @torch.no_grad()
        def solved(slope: Tensor) -> Tensor:
            """H^-1 slope."""
            curved = fixed.curved(z)
            rtol = TRAINING_RTOL if self.tol == TRAINING_TOL else max(self.tol, 1e-10)
            return conjugate_gradient(
                lambda v: v + self.gamma * curved(v), slope, rtol=rtol, max_iter=MAX_ITER
            )

        if left.requires_grad:
            left.register_hook(solved)
        return z - (left - left.detach())
