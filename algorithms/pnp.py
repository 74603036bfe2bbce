"""Plug-and-play: the schedule of levels as data, and data steps that need no inner solver run to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from algorithms.unseen import FilledLeastSquares, observed
from imaging.blur import CircularBlur
from imaging.fft import half_weights, irfft2, power_of, rfft2
from imaging.fidelity import LeastSquares
from imaging.linsolve import inner
from imaging.masks import Identity
from imaging.operator import Factored, column, embed, factored, window

Schedule = tuple[tuple[float, float], ...]  # (level for the denoiser, gamma of the data step), a pair a step
Apply = Callable[[Tensor], Tensor]
Denoise = Callable[[Tensor, Any], Tensor]
# The eight ways to lay a picture: which directions are mirrored, and whether rows then become columns.
TURNS: tuple[tuple[tuple[int, ...], bool], ...] = (
    ((), False), ((3,), False), ((3,), True), ((2, 3), True),
    ((2, 3), False), ((2,), False), ((2,), True), ((), True),
)  # fmt: skip


def geometric(noise: float, *, start: float, n: int, weight: float) -> Schedule:
    """n pairs (sigma, gamma): sigma falls from start to noise by equal factors, gamma = sigma^2 / (weight
    noise^2).

    The data step (I + gamma A^T A)^-1 lets through at most noise sqrt(gamma) / 2 = sigma / (2 sqrt(weight))
    of the noise in the data, reached where |otf|^2 = 1 / gamma: with weight 1/4 that is the level which the
    denoiser is told, at any smaller weight more. Zhang, Li, Zuo, Zhang, Van Gool and Timofte (2022), who take
    0.23. Raises ValueError unless noise, start and weight are positive and n at least 1. Where start is below
    noise, sigma is the noise throughout.

    >>> [(round(s, 3), round(g, 1)) for s, g in geometric(0.01, start=0.16, n=3, weight=0.25)]
    [(0.16, 1024.0), (0.04, 64.0), (0.01, 4.0)]
    """
    if not (noise > 0 and start > 0 and weight > 0 and n >= 1):
        message = f"noise {noise}, start {start}, weight {weight}, {n} steps: all must be positive."
        raise ValueError(message)
    start = max(start, noise)
    ratio = (noise / start) ** (1 / max(n - 1, 1))
    levels = [noise] if n == 1 else [start * ratio**k for k in range(n)]
    return tuple((sigma, sigma**2 / (weight * noise**2)) for sigma in levels)


def in_turn(denoise: Denoise, schedule: Sequence[tuple[Any, Any]]) -> Denoise:
    """The denoiser with a picture turned or mirrored differently at each level of the schedule, and back.

    Levels that are tensors are told apart by being the same objects.

    A network is not quite indifferent to orientation; what it leaves is then not left eight times alike.
    Zhang et al. (2022), whose "periodical geometric self-ensemble" costs nothing beside the turning.

    >>> lean = lambda x, sigma: x + torch.tensor([0.0, 1.0])
    >>> turned = in_turn(lean, ((0.4, 1.0), (0.2, 1.0)))
    >>> [turned(torch.zeros(1, 1, 1, 2), sigma).flatten().tolist() for sigma in (0.4, 0.2)]
    [[0.0, 1.0], [1.0, 0.0]]
    """
    turns = {sigma: TURNS[k % 8] for k, (sigma, _) in reversed(list(enumerate(schedule)))}

    def denoised(x: Tensor, sigma: Any) -> Tensor:
        """denoise between the turn of this level and its inverse."""
        mirrors, across = turns.get(sigma, TURNS[0])
        z = x.flip(mirrors) if mirrors else x
        z = denoise(z.transpose(2, 3).contiguous() if across else z, sigma)
        z = z.transpose(2, 3).contiguous() if across else z
        return z.flip(mirrors) if mirrors else z

    return denoised


@dataclass(frozen=True, eq=False)
class ShortLeastSquares:
    """f(x) = sum w (A x - y)^2 / 2 whose prox is a few conjugate gradients from the point given.

    They end when the relative residual |b - M x| / |b - M z|, M = I + gamma A^T w A, of every sample is at
    most enough, and after `steps` of them anyway; enough 0 takes them all, and is differentiable. For A = S K
    (`Factored`: unknown borders, masks, decimation) a step costs two FFTs and what the preconditioner
    (1 + gamma mean(w S) |otf|^2)^-1 does not undo is what was not seen, so a few suffice between two
    denoisings; other operators go through A and A^T. Where A^T A is diagonal in frequency and w = 1,
    `LeastSquares` is exact and faster. weigh, if given, maps A z at the point of the prox to the weights
    w >= 0 (data-shaped): the inverse variance of counts. The residual that each prox left is appended to
    `left`, the number of its steps to `taken`.

    >>> from imaging.blur import WindowedBlur
    >>> op, y = WindowedBlur(torch.ones(1, 1, 3, 3) / 9, (1, 14, 14)), torch.rand(1, 1, 14, 14)
    >>> f = ShortLeastSquares(op, y, steps=40, enough=1e-6)
    >>> z = op.embed(y)
    >>> torch.allclose(f.prox(z, gamma=9.0), op.prox_l2(z, y, 9.0), atol=1e-4)
    True
    """

    op: Any
    y: Tensor
    steps: int
    enough: float = 0.0
    weigh: Apply | None = None
    left: list[float] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", observed(self.op, self.y, steps=self.steps))

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """About argmin of gamma f(x) + |x - z|^2 / 2, nearer to it than z in the norm of the problem."""
        gamma = column(gamma, z)
        structure = factored(self.op)
        if structure is None:
            return self._in_plane(z, gamma)
        return self._in_frequency(structure, z, gamma)

    def _weights(self, blurred: Tensor) -> Tensor | None:
        return None if self.weigh is None else self.weigh(blurred)

    def _in_plane(self, z: Tensor, gamma: Tensor | float) -> Tensor:
        blurred = self.op.A(z)
        w = self._weights(blurred)

        def misfit(v: Tensor) -> Tensor:
            return self.op.A_adjoint(v if w is None else w * v)

        r = gamma * misfit(self.y - blurred)
        mean = 1.0 if w is None else float(w.mean())
        guess = self.op.precondition(gamma * mean) if hasattr(self.op, "precondition") else None
        change = self._descend(lambda v: v + gamma * misfit(self.op.A(v)), guess or _same, r, inner)
        return z + change

    def _in_frequency(self, structure: Factored, z: Tensor, gamma: Tensor | float) -> Tensor:
        otf, select, scatter = structure[:3]
        size, start = (z.shape[-2], z.shape[-1]), rfft2(z)
        blurred = select(irfft2(start * otf, size))
        w = self._weights(blurred)
        share = scatter(torch.ones_like(blurred) if w is None else w).mean((1, 2, 3), keepdim=True)
        inverse = 1 / (1 + gamma * share * power_of(otf))
        into = otf.conj() * gamma
        counts = half_weights(size[1], z).unsqueeze(-1)

        def back(v: Tensor) -> Tensor:
            return rfft2(scatter(v if w is None else w * v)).mul_(into)

        def product(u: Tensor, v: Tensor) -> Tensor:
            return inner(torch.view_as_real(u) * counts, torch.view_as_real(v)).squeeze(-1)

        change = self._descend(
            lambda v: back(select(irfft2(v * otf, size))).add_(v),
            lambda r: r * inverse,
            back(self.y - blurred),
            product,
        )
        return irfft2(start + change, size)

    def _descend(
        self, apply: Apply, guess: Apply, r: Tensor, product: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Preconditioned conjugate gradients for apply(x) = r, from 0; a finished sample stands still."""
        tiny = torch.finfo(r.dtype).tiny
        first = product(r, r).clamp_min(tiny)
        x, s = torch.zeros_like(r), guess(r)
        p, rs = s, product(r, s)
        for n in range(1, self.steps + 1):
            q = apply(p)
            step = torch.where(product(r, r) > self.enough**2 * first, rs / product(p, q).clamp_min(tiny), 0)
            x, r = x + step * p, r - step * q
            left = float((product(r, r) / first).detach().max().sqrt())
            if left <= self.enough or n == self.steps:
                break
            s = guess(r)
            rs, old = product(r, s), rs
            p = s + (rs / old.clamp_min(tiny)) * p
        self.left.append(left)
        self.taken.append(n)
        return x


def _same(x: Tensor) -> Tensor:
    return x


def weights_of_counts(peak: float, sigma: float, *, least: float) -> Apply:
    """A x -> sigma^2 / variance, the variance of counts / peak being max(A x, least) / peak.

    So least squares with these weights and the noise level sigma is the Gaussian approximation of the Poisson
    likelihood at the estimate, taken anew at each prox. least > 0 is the brightness below which pixels count
    no more.

    >>> weights_of_counts(100.0, 0.1, least=0.25)(torch.tensor([1.0, 0.5, 0.0]))
    tensor([1., 2., 4.])
    """
    return lambda blurred: sigma**2 * peak / blurred.clamp_min(least)


class SpectralLeastSquares(LeastSquares):
    """`LeastSquares` for a circular blur, whose prox keeps what only the data decide: two FFTs a step.

    The operator's own prox_l2 takes three, since it is told y anew each time.

    >>> op, y = CircularBlur(torch.ones(1, 1, 3, 3) / 9, (1, 8, 8)), torch.rand(1, 1, 8, 8)
    >>> z = torch.rand(1, 1, 8, 8)
    >>> x = SpectralLeastSquares(op, y).prox(z, gamma=9.0)
    >>> torch.allclose(x, op.prox_l2(z, y, 9.0), atol=1e-5)
    True
    """

    @cached_property
    def _data(self) -> Tensor:
        """A^T y in frequency."""
        return rfft2(self.y) * self.op.otf.conj()

    @cached_property
    def _power(self) -> Tensor:
        return power_of(self.op.otf)

    def prox(self, z: Tensor, *, gamma: Tensor | float) -> Tensor:
        """(I + gamma A^T A)^-1 (z + gamma A^T y)."""
        gamma, right = column(gamma, z), rfft2(z)
        if isinstance(gamma, Tensor):
            right = (right + gamma * self._data) / (1 + gamma * self._power)
        else:  # without another array
            right = right.add_(self._data, alpha=gamma).mul_(1 / (1 + gamma * self._power))
        return irfft2(right, (z.shape[-2], z.shape[-1]))


def data_term(
    op: Any,
    y: Tensor,
    *,
    steps: int,
    enough: float = 0.0,
    fill: int | None = None,
    weigh: Apply | None = None,
) -> Any:
    """Least squares with an exact prox where there is a closed form, otherwise with a short one.

    The short one is `FilledLeastSquares` behind windows and masks, of `fill` steps (as many as steps if it is
    None), and `ShortLeastSquares` of `steps` and `enough` for grids of psfs, decimation and weights.
    """
    if weigh is None and type(op) is CircularBlur:
        return SpectralLeastSquares(op, y)
    if weigh is None and (getattr(op, "exact_prox", False) or isinstance(op, Identity)):
        return LeastSquares(op, y)
    if weigh is None and factored(op) is not None and not _decimated(op, y):
        return FilledLeastSquares(op, y, steps if fill is None else fill)
    return ShortLeastSquares(op, y, steps, enough, weigh)


def _decimated(op: Any, y: Tensor) -> bool:
    """Whether most of the data of the circular blur were never sampled, which are too many to make up."""
    return window(op, embed(op, y)).shape[-2:] != y.shape[-2:]
