"""Pre-processors (op, y) -> x that take noise away before a network meets it, and their gain on noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

from algorithms.choose import gcv_weight
from algorithms.classical import Penalty, penalty_spectrum, tikhonov
from algorithms.krylov import cgls
from algorithms.linearise import variation_pullback
from algorithms.splitting_variation import Penalties, sees_everything, split_variation
from algorithms.variation import TotalVariation
from imaging.fft import convolve, half_weights, power_of
from imaging.fidelity import LeastSquares
from imaging.masks import fill
from imaging.noise import gaussian
from imaging.noise_level import estimate_sigma
from imaging.operator import embed, factored

TRUNCATE = 4.0  # standard deviations of the Gaussian filter on every side
QUIET = 3e-4  # least noise level that total variation is set for: rounding to 10 bits


class Preprocess(Protocol):
    """x (B, *op.img_size) from data y (B, *op.data_size), each sample for itself."""

    def __call__(self, op: Any, y: Tensor) -> Tensor: ...

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """What it multiplies the spectrum of y by, a half spectrum; None where it is no such filter."""


@dataclass(frozen=True)
class Untouched:
    """The data themselves, in the operator's domain: no pre-processing.

    >>> from imaging.masks import Identity
    >>> Untouched()(Identity((1, 1, 2)), torch.ones(1, 1, 1, 2))
    tensor([[[[1., 1.]]]])
    """

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        return embed(op, y)

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """1 where every sample is observed."""
        if not sees_everything(op):
            return None
        return torch.fft.rfft2(torch.ones_like(y[0, 0, :1, :1]), s=y.shape[-2:])


@dataclass(frozen=True)
class GaussianFilter:
    """Data smoothed by a Gaussian of `width` pixels, cut at four of them.

    Periodic where the operator is, else the border pixels are repeated (scipy's "nearest"); unobserved pixels
    are filled first.
    """

    width: float

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        spectrum = self.response(op, y)
        if spectrum is not None:
            return convolve(y, spectrum)
        weights = self._weights(y)
        h = pad(_observed(op, y), (len(weights) // 2,) * 4, mode="replicate")
        down = weights.view(1, 1, -1, 1).expand(y.shape[1], -1, -1, -1)
        h = conv2d(conv2d(h, down, groups=len(down)), down.transpose(2, 3), groups=len(down))
        return embed(op, h)

    def _weights(self, like: Tensor) -> Tensor:
        reach = int(TRUNCATE * self.width + 0.5)
        place = torch.arange(-reach, reach + 1, dtype=torch.float64, device=like.device)
        bell = (-0.5 * (place / self.width).square()).exp()
        return (bell / bell.sum()).to(like.dtype)

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """The transform of the filter, wrapped around where the picture is smaller than it."""
        if not sees_everything(op):
            return None
        weights = self._weights(y)
        place = torch.arange(len(weights), device=y.device) - len(weights) // 2
        lines = [y.new_zeros(n).index_add_(0, place % n, weights) for n in y.shape[-2:]]
        return torch.fft.rfft2(lines[0][:, None] * lines[1])


@dataclass(frozen=True)
class ConjugateGradients:
    """`n_iter` steps of CGLS from zero on |A x - y|^2 / 2 + lam |x|^2 / 2: few steps hold noise back."""

    lam: float
    n_iter: int

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        return cgls(op, y, lam=self.lam, n_iter=self.n_iter)

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """None: the steps depend on the data."""
        return None


@dataclass(frozen=True)
class Quadratic:
    """argmin |A x - y|^2 / 2 + lam |L x|^2 / 2, converged; lam by cross-validation where it is None.

    `seed` draws the probe of the cross-validation where the operator has no spectrum. A given lam makes it a
    linear filter; the weight chosen for each picture does not.
    """

    lam: float | None
    penalty: Penalty
    seed: int

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        if self.lam is not None:
            return tikhonov(op, y, lam=self.lam, penalty=self.penalty)
        return torch.cat(
            [tikhonov(op, one, lam=self.weight(op, one), penalty=self.penalty) for one in y.split(1)]
        )

    def weight(self, op: Any, y: Tensor) -> float:
        """The weight for one picture."""
        if self.lam is not None:
            return self.lam
        return gcv_weight(op, y, penalty=self.penalty, seed=self.seed).value

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """conj(otf) / (|otf|^2 + lam |f|^2), for a weight that is given."""
        if self.lam is None or not sees_everything(op):
            return None
        structure = factored(op)
        assert structure is not None
        size = (y.shape[-2], y.shape[-1])
        penalty = penalty_spectrum(self.penalty, size, y)
        return structure.otf.conj() / (power_of(structure.otf) + self.lam * penalty)


@dataclass(frozen=True)
class Variation:
    """Total variation deblurring, `n_iter` steps; the weight factor * sigma^1.5 of the noise.

    sigma is estimated where it is None. Autograd is given the derivative at the fixed point, its weight held.
    Needs an operator that is a selection after a circular convolution
    (split_variation's TypeError else).
    """

    factor: float
    n_iter: int
    sigma: float | None = None

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        return torch.cat([self._one(op, one) for one in y.split(1)])

    def _one(self, op: Any, y: Tensor) -> Tensor:
        sigma = max(QUIET, float(_level(op, y.detach(), self.sigma)))
        x: Tensor = _FixedPoint.apply(y, op, self.factor * sigma**1.5, self.n_iter)
        return x

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """None: not linear."""
        return None


class _FixedPoint(torch.autograd.Function):
    """Total variation forwards, its implicit derivative backwards: no iteration is stored."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, op: Any, lam: float, n_iter: int) -> Tensor:
        tv, penalties = TotalVariation(lam), Penalties(0.05, 40 * lam)
        states = split_variation(LeastSquares(op, y), tv, penalties=penalties, x0=embed(op, y))
        x = next(islice(states, n_iter - 1, None)).x
        ctx.save_for_backward(x)
        ctx.problem = (op, lam)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor, None, None, None]:
        (x,), (op, lam) = ctx.saved_tensors, ctx.problem
        return variation_pullback(op, x, lam=lam)(u), None, None, None


@dataclass(frozen=True)
class Denoise:
    """The data denoised at the level estimated from them: no parameter. denoiser(x, sigma), grey or colour.

    A sigma that is given is taken instead. A denoiser of one channel (its config says so) denoises the
    channels one by one.
    """

    denoiser: Callable[[Tensor, Tensor], Tensor]
    sigma: float | None = None

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        seen, sigma = _observed(op, y), _level(op, y, self.sigma)
        known = getattr(getattr(self.denoiser, "config", None), "channels", y.shape[1])
        if known != y.shape[1]:
            seen, sigma = seen.reshape(-1, 1, *y.shape[-2:]), sigma.repeat_interleave(y.shape[1])
        weight = next(iter(getattr(self.denoiser, "parameters", lambda: ())()), seen)
        return embed(op, self.denoiser(seen.to(weight), sigma.to(weight)).to(y).view_as(y))

    def response(self, op: Any, y: Tensor) -> Tensor | None:
        """None: not linear."""
        return None


def told(preprocess: Preprocess, sigma: float | None) -> Preprocess:
    """The same pre-processor with this noise level instead of its own estimate, where it makes one.

    Estimates from the data alone fail where the noise is not white; None leaves them.

    >>> told(Variation(0.8, 30), 0.02), told(GaussianFilter(1.0), 0.02)
    (Variation(factor=0.8, n_iter=30, sigma=0.02), GaussianFilter(width=1.0))
    """
    if sigma is None or not isinstance(preprocess, Variation | Denoise):
        return preprocess
    return replace(preprocess, sigma=sigma)


@dataclass(frozen=True)
class Stabilised:
    """A reconstructor: network(preprocess(op, y)).

    NN, FiNN and StNN are this with `Untouched`, `GaussianFilter` and `ConjugateGradients` in front
    (Evangelista et al., 2023); it composes as well with any other function of a picture.
    """

    preprocess: Callable[[Any, Tensor], Tensor]
    network: Callable[[Tensor], Tensor]

    def __call__(self, op: Any, y: Tensor) -> Tensor:
        return self.network(self.preprocess(op, y))


@dataclass(frozen=True)
class Gain:
    """|phi(y + e) - phi(y)| / |e|: root mean square over white noise, the worst e, how that is known."""

    rms: float
    worst: float
    rule: str


def noise_gain(preprocess: Preprocess, op: Any, y: Tensor, *, sigma: float, seed: int) -> Gain:
    """What a pre-processor does to white noise added to y.

    Exact from the response where it is linear and shift-invariant: the root mean square and the maximum of
    its modulus over frequencies. Otherwise estimated from four draws of the level sigma; `worst` is then the
    largest ratio met, a lower bound of the truth.

    >>> from imaging.blur import CircularBlur
    >>> op = CircularBlur(torch.ones(1, 1, 3, 3) / 9, (1, 64, 64))
    >>> gain = noise_gain(GaussianFilter(1.0), op, torch.rand(1, 1, 64, 64), sigma=0.1, seed=0)
    >>> round(gain.rms, 3), round(gain.worst, 3), gain.rule
    (0.282, 1.0, 'exact')
    """
    response = preprocess.response(op, y)
    if response is not None:
        power = power_of(response).double()
        power = power if power.ndim == 2 else power.mean((0, 1))
        weights = half_weights(y.shape[-1], power).expand_as(power)
        rms = math.sqrt(float((weights * power).sum() / weights.sum()))
        return Gain(rms, math.sqrt(float(power.max())), "exact")
    still, ratios = preprocess(op, y), []
    for draw in range(4):
        moved = gaussian(y, sigma, seed + draw)
        ratios.append(float((preprocess(op, moved) - still).norm() / (moved - y).norm()))
    rms = math.sqrt(sum(r * r for r in ratios) / len(ratios))
    return Gain(rms, max(ratios), f"estimated from {len(ratios)} draws at sigma {sigma:g}")


def _level(op: Any, y: Tensor, sigma: float | None) -> Tensor:
    """The noise level of each sample (B,), the one given or an estimate."""
    return estimate_sigma(y, mask=op.valid) if sigma is None else y.new_full((len(y),), sigma)


def _observed(op: Any, y: Tensor) -> Tensor:
    """y with unobserved pixels filled from their neighbours."""
    valid = getattr(op, "valid", None)
    return y if valid is None else fill(y, valid)
