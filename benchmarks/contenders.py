"""The runners of speed.py: the same blur, data and stopping for this project, scikit-image and deepinv.

Every runner takes a Problem and does all that a call costs: its transfer function, its buffers, its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import deepinv
import numpy as np
import torch
from deepinv.optim import ADMM, L2, MLEM, PDCP, TVPrior
from deepinv.optim.prior import L12Prior
from skimage import restoration
from torch import Tensor

from algorithms.classical import wiener
from algorithms.driver import last
from algorithms.lucy import richardson_lucy
from algorithms.splitting_variation import Penalties, split_variation
from algorithms.state import State
from algorithms.variation import TotalVariation
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.operator import embed

SIGMA = 0.01
POWER = 0.01  # mean square of the differences of a photograph, per direction
LAM = 0.8 * SIGMA**1.5
RL_ITERATIONS = 10
TOLERANCE = 1e-4  # relative, above the best objective known
BUDGET = 600  # iterations after which a contender has not reached it


@dataclass(frozen=True)
class Problem:
    """A blurred picture (C, H, W) and its psf, in both worlds, on the same memory."""

    y: np.ndarray
    psf: np.ndarray

    @property
    def data(self) -> Tensor:
        return torch.from_numpy(self.y)[None]

    @property
    def kernel(self) -> Tensor:
        return torch.from_numpy(self.psf)[None, None]

    @property
    def circular(self) -> CircularBlur:
        return CircularBlur(self.kernel, self.y.shape)

    @property
    def windowed(self) -> WindowedBlur:
        return WindowedBlur(self.kernel, self.y.shape)

    @property
    def deepinv(self) -> Any:
        return deepinv.physics.BlurFFT(img_size=self.y.shape, filter=self.kernel)


def our_lucy(problem: Problem, op: Any) -> Tensor:
    return last(richardson_lucy(op, problem.data, tv=None, x0=embed(op, problem.data)), RL_ITERATIONS).x


def our_wiener(problem: Problem, op: Any) -> Tensor:
    return wiener(op, problem.data, sigma=SIGMA, c=POWER)


def by_channel(problem: Problem, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A call for grey pictures, on each channel: scikit-image's way with colour."""
    return np.stack([call(channel) for channel in problem.y])


Runner = Callable[[Problem], Any]
OURS, OURS_CIRCULAR = "proxlab, unknown border", "proxlab, circular"
TASKS: dict[str, dict[str, Runner]] = {
    f"Richardson-Lucy, {RL_ITERATIONS} iterations": {
        OURS: lambda p: our_lucy(p, p.windowed),
        OURS_CIRCULAR: lambda p: our_lucy(p, p.circular),
        "scikit-image richardson_lucy (zero border)": lambda p: by_channel(
            p, lambda y: restoration.richardson_lucy(y, p.psf, num_iter=RL_ITERATIONS)
        ),
        "deepinv MLEM, BlurFFT (circular)": lambda p: MLEM(max_iter=RL_ITERATIONS)(p.data, p.deepinv),
    },
    "Wiener": {
        OURS: lambda p: our_wiener(p, p.windowed),
        OURS_CIRCULAR: lambda p: our_wiener(p, p.circular),
        "scikit-image wiener (circular)": lambda p: by_channel(
            p, lambda y: restoration.wiener(y, p.psf, balance=SIGMA**2 / POWER)
        ),
        "deepinv BlurFFT.prox_l2 (circular)": lambda p: p.deepinv.prox_l2(
            torch.zeros_like(p.data), p.data, gamma=1 / SIGMA
        ),
    },
}


class Reached(Exception):  # noqa: N818 (no error: the way out of a loop that is not ours)
    """The objective is within tolerance."""


@dataclass
class Objective:
    """|A x - y|^2 / 2 + lam TV(x) in float64, each channel its own TV, and the least value known."""

    problem: Problem
    best: float = float("inf")

    def __call__(self, x: Tensor) -> float:
        double = Problem(self.problem.y.astype(np.float64), self.problem.psf.astype(np.float64))
        loss = LeastSquares(double.circular, double.data)
        x = x.double().reshape(double.data.shape)
        return float(loss.value(x) + variation().value(x))

    def reached(self, x: Tensor) -> bool:
        return self(x) <= self.best * (1 + TOLERANCE)


def variation() -> TotalVariation:
    """deepinv's: isotropic forward differences, the channels apart."""
    return TotalVariation(LAM, joint=(1,))


def our_states(problem: Problem) -> Iterator[State]:
    loss = LeastSquares(problem.circular, problem.data)
    return split_variation(loss, variation(), penalties=Penalties(0.05, 40 * LAM), x0=problem.data)


def our_count(problem: Problem, objective: Objective, every: int) -> int | None:
    states = islice(enumerate(our_states(problem), 1), BUDGET)
    return next((n for n, state in states if n % every == 0 and objective.reached(state.x)), None)


def pdcp(max_iter: int, **options: Any) -> Any:
    """Chambolle and Pock with an exact prox of the data term; 10 was the fastest step of 1 to 100 (256^2)."""
    prior = TVPrior()

    def start(y: Tensor, physics: Any) -> dict[str, Any]:
        return {"est": (y, y, torch.zeros_like(prior.nabla(y)))}

    return PDCP(
        K=prior.nabla,
        K_adjoint=prior.nabla_adjoint,
        data_fidelity=L2(),
        prior=L12Prior(l2_axis=-1),
        lambda_reg=LAM,
        stepsize=10.0,
        stepsize_dual=1 / 80.0,
        g_first=True,
        max_iter=max_iter,
        custom_init=start,
        **options,
    )


def admm(max_iter: int, **options: Any) -> Any:
    """ADMM with TVPrior, ten inner iterations, warm; 100 was the fastest step of 3 to 100 (256^2)."""
    return ADMM(
        data_fidelity=L2(),
        prior=TVPrior(def_crit=1e-5, n_it_max=10),
        lambda_reg=LAM,
        stepsize=100.0,
        max_iter=max_iter,
        custom_init=lambda y, physics: {"est": (y, y)},
        **options,
    )


DEEPINV_TV = {
    "deepinv PDCP, BlurFFT and L12Prior": pdcp,
    "deepinv ADMM, BlurFFT and TVPrior": admm,
}


def deepinv_count(make: Callable[..., Any], problem: Problem, objective: Objective, every: int) -> int | None:
    """Iterations until the objective is within tolerance, None when BUDGET is not enough."""
    count = 0

    def look(history: list[float], previous: Tensor, x: Tensor) -> float:
        nonlocal count
        count += 1
        if count % every == 0 and objective.reached(x):
            raise Reached
        return 0.0

    try:
        make(BUDGET, custom_metrics={"objective": look})(problem.data, problem.deepinv, compute_metrics=True)
    except Reached:
        return count
    return None


def tv_runners(problem: Problem, *, side: int) -> dict[str, Runner | None]:
    """TV solvers with just as many iterations as they need; None for one that BUDGET does not suffice for.

    The best objective known is that of a run of ours of five hundred iterations.
    """
    objective = Objective(problem)
    objective.best = objective(last(our_states(problem), 500).x)
    runners: dict[str, Runner | None] = {}
    n = our_count(problem, objective, every=5)
    name = f"{OURS_CIRCULAR} ({n} iterations)"
    runners[name] = None if n is None else lambda p, n=n: last(our_states(p), n).x
    for name, make in DEEPINV_TV.items():
        if make is admm and side > 256:
            continue  # slower than the other at every size tried
        n = deepinv_count(make, problem, objective, every=5)
        name = f"{name} ({n or f'over {BUDGET}'} iterations)"
        runners[name] = None if n is None else lambda p, n=n, make=make: make(n)(p.data, p.deepinv)
    return runners
