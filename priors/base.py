"""What a prior is: a module called as m(x, sigma); the shipped ones; and how solvers call one as a prox."""

from __future__ import annotations

import copy
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from priors.checkpoint import load_network
from priors.claims import Claims, claims_of
from priors.precision import check_precision

WEIGHTS = Path(__file__).parent / "weights"
DenoiserCall = Callable[[Tensor, "float | Tensor"], Tensor]


def available() -> tuple[str, ...]:
    """Names of the priors that ship with the package, for `load`.

    >>> isinstance(available(), tuple)
    True
    """
    return tuple(sorted(f.stem for f in WEIGHTS.glob("*.safetensors")))


def load(name_or_path: str | Path, *, precision: str = "auto") -> nn.Module:
    """The network of a shipped name or of a safetensors file, frozen, in evaluation mode, on the CPU in
    float32.

    It is called as m(x, sigma), x (B, C, H, W) on [0, 1], sigma a float or one level a sample.
    `precision="fp32"` keeps bfloat16 away where the processor has it. Raises ValueError for an unknown name
    or a file that is no checkpoint, FileNotFoundError for a missing file.
    """
    network: Any = load_network(find(name_or_path))
    if hasattr(network, "precision"):
        network.precision = check_precision(precision)
    return network


def find(name_or_path: str | Path) -> Path:
    """The file of a shipped name, or the path where it ends in .safetensors; ValueError for neither."""
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix == ".safetensors":
        return path
    if name not in available():
        raise ValueError(_unknown(name))
    return WEIGHTS / f"{name}.safetensors"


def _unknown(name: str) -> str:
    names = available()
    if not names:
        return (
            f"there is no prior {name!r}: no weights ship with this version. Train one with `proxlab train`, "
            "and give its .safetensors file."
        )
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    shipped = ", ".join(names) or "none"
    return f"unknown prior {name!r}: {hint}Shipped are {shipped}; a file's name ends in .safetensors."


class DenoiserPrior(nn.Module):
    """Any denoiser(x, sigma) in the place of a prox: prox(x) = denoiser(x, sigma), ours, deepinv's or a
    user's.

    The strength is sigma alone. A bare denoiser is the prox of nothing known, so `gamma` has no meaning for
    it and is not looked at, and there is no value: watch the residual. `explicit_prior = False` says so to
    deepinv's solvers, which accept this object.

    >>> shrink = DenoiserPrior(lambda x, sigma: x / (1 + sigma), sigma=0.25)
    >>> shrink.prox(torch.ones(1, 1, 1, 1), gamma=3.0).item()
    0.800000011920929
    """

    explicit_prior = False

    def __init__(self, denoiser: DenoiserCall, sigma: float | None = None):
        super().__init__()
        if not callable(denoiser):
            message = (
                f"the denoiser is {type(denoiser).__name__}: give something called as denoiser(x, sigma)."
            )
            raise TypeError(message)
        self.denoiser, self.sigma = denoiser, sigma

    def prox(self, x: Tensor, sigma: float | Tensor | None = None, *, gamma: float | Tensor) -> Tensor:
        """denoiser(x, sigma), at the level given here or else at construction."""
        level = self.sigma if sigma is None else sigma
        if level is None:
            message = "no noise level: give sigma to prox, or to DenoiserPrior for all calls."
            raise ValueError(message)
        return self.denoiser(x, level)

    def forward(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Refused: a denoiser prior has no value."""
        message = "a denoiser prior has no value; watch the residual, not the objective."
        raise NotImplementedError(message)


class Fixed(nn.Module):
    """A learned proximal operator bound to one noise level and to the one gamma for which it is a prox.

    If f(., sigma) is the prox of R_sigma, it is the prox of gamma R with R = R_sigma / gamma, for this gamma
    and for no other: the prox of another multiple of R is another map. So `prox` raises ValueError at any
    other gamma. `value(x)` is R(x) = R_sigma(x) / gamma where the network can read its R.

    >>> half = Fixed(lambda x, sigma: x / 2, sigma=0.1, gamma=1.0)
    >>> half.prox(torch.ones(1, 1, 1, 1), gamma=2.0)
    Traceback (most recent call last):
    ...
    ValueError: this prior is bound to gamma = 1.0 and was asked for 2.0: ...
    """

    def __init__(self, network: DenoiserCall, sigma: float, gamma: float):
        super().__init__()
        self.network: Any = network
        self.sigma, self.gamma = sigma, gamma
        self.explicit_prior = hasattr(network, "value")

    def prox(self, x: Tensor, sigma: float | Tensor | None = None, *, gamma: float | Tensor) -> Tensor:
        """f(x, sigma) at the bound level; raises ValueError at any other gamma."""
        asked = torch.as_tensor(gamma, dtype=torch.float64)
        if not torch.allclose(asked, torch.full_like(asked, self.gamma), rtol=1e-9, atol=0.0):
            message = (
                f"this prior is bound to gamma = {self.gamma} and was asked for {float(asked.flatten()[0])}: "
                "bind another one with Fixed(prior, sigma, gamma)."
            )
            raise ValueError(message)
        return self.network(x, self.sigma)

    @property
    def fixed_gamma(self) -> float:
        """The only gamma there is: a solver that wants to try other steps must not take this prior."""
        return self.gamma

    @property
    def claims(self) -> Claims:
        """What the network claims of itself."""
        return claims_of(self.network)

    @torch.no_grad()
    def value_at_output(self, z: Tensor, x: Tensor) -> Tensor:
        """R(x) for x = prox(z), (B,) in float64, without inversion; needs the network's `potential` psi.

        gamma R(x) = <z, x> - |x|^2 / 2 - psi(z), psi read in float64: an error e of x as f(z), such as
        rounding, changes that by at most |e|^2 / (2 a), a the convexity of psi (see `priors.potential`).
        """
        twin = copy.deepcopy(self.network)  # each time: the weights may have changed or moved since
        twin = twin.double() if hasattr(twin, "double") else twin
        z, x = z.double(), x.double()
        value: Tensor = (z * x - x.square() / 2).flatten(1).sum(1) - twin.potential(z, self.sigma)
        return value / self.gamma

    def value(self, x: Tensor) -> Tensor:
        """R(x), shape (B,); raises NotImplementedError where the network has no readable R."""
        if not self.explicit_prior:
            message = f"{type(self.network).__name__} has no value to read: use a learned proximal network."
            raise NotImplementedError(message)
        return self.network.value(x, self.sigma) / self.gamma

    def forward(self, x: Tensor, sigma: float | None = None) -> Tensor:
        """R(x), by deepinv's convention for priors."""
        return self.value(x)
