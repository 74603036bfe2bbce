"""Learned proximal networks: the gradient of a potential that is convex, whatever the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from priors.claims import Claims
from priors.denoiser import noise_levels
from priors.mirroring import fold, mirror
from priors.shrinkage import Shape, Shrinkage

if TYPE_CHECKING:
    from priors.potential import Reading


@dataclass(frozen=True)
class LPNConfig:
    """Shape of an `LPN`.

    `convexity` is the constant a of strong convexity. There are side * side * channels filters of
    side x side on each of `scales` scales (1, 1/2, ...), splines with `knots` intervals of half a sigma.
    `levels` are the noise levels at which the splines have parameters of their own, linear in log sigma in
    between. `sigma` is the range trained on.
    """

    channels: int = 1
    side: int = 8
    scales: int = 1
    knots: int = 16
    convexity: float = 0.05
    levels: tuple[float, ...] = (7 / 255, 25 / 255, 55 / 255)
    sigma: tuple[float, float] = (0.0, 55 / 255)

    def __post_init__(self) -> None:
        for name in ("levels", "sigma"):  # JSON brings lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 < self.convexity < 1:
            message = f"convexity is {self.convexity}: give a number between 0 and 1, as 0.05."
            raise ValueError(message)
        if not self.levels or list(self.levels) != sorted(set(self.levels)) or self.levels[0] <= 0:
            message = f"levels are {self.levels}: give rising positive noise levels."
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class LPN(nn.Module):
    """f(y, sigma) = grad psi(., sigma) (y): a learned proximal operator, in closed form, without autograd.

    In units of the noise, z = y / s with s = sigma,
    psi(y, sigma) = s^2 [A |z|^2 / 2 + (1 - A) sum over scales of Phi_k(D^k z)],  A >= a = config.convexity,
    f(y, sigma) = A y + (1 - A) s sum over scales of D^k^T grad Phi_k(D^k z),
    with every Phi convex for any weights (`Shrinkage`) and D the average of 2x2 blocks times 2. The Jacobian
    is symmetric, also at the border, since each step is followed by its exact transpose, and its eigenvalues
    are at least a.

    f is therefore the prox of a function R_sigma (Gribonval and Nikolova 2020; Fang, Buchanan and Sulam 2024,
    proposition 3.1), R_sigma + |.|^2 / 2 being convex. All levels: if F = grad Psi then y -> s F(y / s) is
    the gradient of s^2 Psi(y / s), convex for each s > 0 that does not depend on y; and if F is the prox of
    R, then s F(./s) is the prox of s^2 R(./s), by the substitution x = s u in the minimised function. Here
    both are used: the picture is scaled to unit noise, since shrinkage thresholds are proportional to it,
    and the splines are interpolated between levels, since pictures are not the same at all contrasts; Psi is
    convex for each sigma, as the parameters do not depend on y. Below the first level, A rises to 1, so that
    f(y, 0) = y; above the last one the scaling alone goes on.

    `Ridge` is a learned proximal operator too, from the other end: there R is explicit and weakly convex, and
    f an inner solve to a tolerance; here f is explicit, needs no solver, and R is what must be solved for.

    y is (B, C, H, W) of any size on [0, 1] plus noise, sigma a float or one level a sample. Without
    gradients the windows are worked off in strips, which bounds the memory and changes nothing else.

    >>> net = LPN(LPNConfig(side=3))
    >>> net(torch.rand(2, 1, 9, 7), 0.1).shape
    torch.Size([2, 1, 9, 7])
    """

    kind: ClassVar[str] = "lpn"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)  # rounding would break the symmetry
    Config: ClassVar[type] = LPNConfig

    def __init__(self, config: LPNConfig):
        super().__init__()
        self.config = config
        shares = [1.0] + [0.02] * (config.scales - 1)
        self.terms = nn.ModuleList(Shrinkage(config, share) for share in shares)

    def scales(self) -> list[Shrinkage]:
        """The terms of the potential, the finest first."""
        return [term for term in self.terms if isinstance(term, Shrinkage)]

    @property
    def claims(self) -> Claims:
        """What `prior_checks` proves."""
        return Claims(symmetric=True, convexity=self.config.convexity, proximal=True)

    @property
    def feature_maps(self) -> float:
        """About how many planes of the size of the picture it holds at one time: strips of a fixed size.

        Measured at 512x512; less in larger pictures.
        """
        return 50.0 + 30 * self.config.channels

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """f(y, sigma), the denoised y."""
        z, own, scale, shapes = self._prepared(y, sigma)
        total = torch.zeros_like(z)
        for number, (term, shape) in enumerate(zip(self.scales(), shapes, strict=True)):
            total = total + _coarse_transpose(term.gradient(_coarse(z, number), shape), z, number)
        return own * y + (1 - own) * scale * total

    def potential(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """psi(y, sigma), shape (B,), zero at y = 0; summed in float64."""
        z, own, scale, shapes = self._prepared(y, sigma)
        pairs = zip(self.scales(), shapes, strict=True)
        phi = sum(term.potential(_coarse(z, k), shape) for k, (term, shape) in enumerate(pairs))
        squares = z.double().square().sum((1, 2, 3)) / 2
        share, square = own.double().flatten(), scale.double().flatten() ** 2
        return square * (share * squares + (1 - share) * phi)

    def value(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """R_sigma(x), shape (B,), by inverting f; NotConvergedError when that misses its tolerance."""
        rtol = 1e-7 if x.dtype == torch.float64 else 1e-4
        return self.read(x, sigma, rtol=rtol, max_iter=2000).value

    def read(self, x: Tensor, sigma: float | Tensor, *, rtol: float, max_iter: int) -> Reading:
        """R_sigma(x) with its certificate: see `priors.potential.read_value`."""
        from priors.potential import read_value

        return read_value(self, x, sigma, rtol=rtol, max_iter=max_iter)

    def _prepared(self, y: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, Tensor, list[Shape]]:
        channels = self.config.channels
        if y.ndim != 4 or y.shape[1] != channels:
            message = f"the picture has shape {tuple(y.shape)}: this network wants (B, {channels}, H, W)."
            raise ValueError(message)
        level = noise_levels(sigma, y)
        own, parts = self._parts(level)
        scale = level.clamp(min=1e-3 * self.config.levels[0])
        return y / scale, own, scale, [term.shape(parts) for term in self.scales()]

    def _parts(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """A (B or 1, 1, 1, 1), and the shares (B or 1, L) of the anchored levels, adding up to 1."""
        anchors = level.new_tensor(self.config.levels)
        own = 1 - (1 - self.config.convexity) * (level / anchors[0]).clamp(max=1.0)
        place = level.flatten().clamp(anchors[0], anchors[-1]).log()[:, None]
        logs = anchors.log()
        if len(logs) == 1:
            return own, torch.ones_like(place)
        width = logs.diff()
        rising = ((place - logs[:-1]) / width).clamp(0, 1)
        one = torch.ones_like(place)
        return own, torch.cat([one, rising], 1) - torch.cat([rising, torch.zeros_like(place)], 1)


def _coarse(z: Tensor, times: int) -> Tensor:
    for _ in range(times):
        z = mirror(mirror(z, 2, 0, z.shape[2] % 2), 3, 0, z.shape[3] % 2)
        z = 2 * functional.avg_pool2d(z, 2)
    return z


def _coarse_transpose(g: Tensor, fine: Tensor, times: int) -> Tensor:
    sizes = [fine.shape[2:]]
    for _ in range(times):
        sizes.append(torch.Size(-(-n // 2) for n in sizes[-1]))
    for height, width in reversed(sizes[:-1]):
        g = functional.interpolate(g, scale_factor=2, mode="nearest") / 2
        g = fold(fold(g, 3, width, 0), 2, height, 0)
    return g
