"""Weights and stopping from the data alone: cross-validation, evidence, the discrepancy principle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from algorithms.classical import Penalty, penalty_spectrum, tikhonov
from algorithms.splitting_variation import sees_everything
from algorithms.state import State
from algorithms.variation import differences
from imaging.fft import half_weights, rfft2
from imaging.linsolve import SolveError
from imaging.masks import fill
from imaging.operator import factored

LOG_RANGE = (math.log(1e-7), math.log(10.0))  # weights tried: below, rounding rules; above, nothing is left
PROBE_BUDGET = (1e-4, 500)  # tolerance and steps of each solve tried: the criterion moves by less
NEVER = (
    99.0  # log criterion of a weight too weak to be solved for, finite for the parabolas of Brent's method
)


@dataclass(frozen=True)
class Choice:
    """A number chosen by a rule, and what the rule thinks of its neighbours.

    rise holds the relative increase of the criterion at half and at twice the value: both near 0 means that
    the choice hardly matters.
    """

    value: float
    rule: str
    rise: tuple[float, float]


@dataclass(frozen=True)
class Spectra:
    """What the rules read: power of the data (white noise reads its variance), |otf|^2, |f|^2, counts."""

    power: Tensor
    otf: Tensor
    penalty: Tensor
    count: Tensor

    def filtered(self, lam: Tensor | float) -> Tensor:
        """The share of each frequency that Tikhonov's estimate leaves unexplained."""
        return lam * self.penalty / (self.otf + lam * self.penalty).clamp_min(1e-300)


def spectra(op: Any, y: Tensor, penalty: Penalty = "gradient") -> Spectra | None:
    """Periodogram of the data on the operator's field, in float64; None unless op is a blur behind a window.

    Behind a window the data are tapered (Hann), since a border would pass for high frequencies; holes of a
    mask are filled. The power is divided by the taper's energy, so white noise of variance s^2 reads s^2.
    """
    structure = factored(op)
    if structure is None or decimates(op, y):
        return None
    y = y.double()
    size = (op.img_size[-2], op.img_size[-1])
    taper = torch.ones_like(y[:1, :1])
    if not sees_everything(op):
        rows, columns = (torch.hann_window(n, periodic=False, dtype=y.dtype) for n in y.shape[-2:])
        taper = (rows[:, None] * columns).to(y.device)[None, None]
        y = y if op.valid is None else fill(y, op.valid)
        y = (y - y.mean((-2, -1), keepdim=True)) * taper
    field = torch.nn.functional.pad(y, (0, size[1] - y.shape[-1], 0, size[0] - y.shape[-2]))
    power = rfft2(field).abs().square() / taper.square().sum()
    return Spectra(
        power.mean((0, 1)),
        structure.otf.to(torch.complex128).abs().square().mean((0, 1)),
        penalty_spectrum(penalty, size, y),
        half_weights(size[1], y).expand(size[0], -1),
    )


def decimates(op: Any, y: Tensor) -> bool:
    """Does the operator drop samples inside its window, so that the data have no spectrum of their own?"""
    return tuple(op.window(y.new_zeros(1, *op.img_size)).shape[1:]) != tuple(op.data_size)


def gcv_weight(op: Any, y: Tensor, *, penalty: Penalty = "gradient", seed: int) -> Choice:
    """The weight of tikhonov() by generalised cross-validation: no noise level is needed.

    Minimises |A x - y|^2 / trace(I - A A_lam)^2 (Golub, Heath, Wahba 1979), in closed form over frequencies
    for a blur (see spectra), else with the trace estimated by one random probe drawn from seed
    (Girard 1989) and a linear solve a try.
    """
    s = spectra(op, y, penalty)
    if s is not None:
        return _minimise(lambda t: float(gcv_score(s, t)), "gcv", coarse=40)
    generator = torch.Generator().manual_seed(seed)
    probe = torch.empty(y.shape, dtype=y.dtype).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
    pair = torch.cat([y, probe.to(y)])
    if op.valid is not None:
        pair = pair.masked_fill(~op.valid, 0)  # what was not observed is neither misfit nor counted

    def probed(log_lam: float) -> float:
        """The logarithm of the criterion, NEVER where its solve fails."""
        lam, (rtol, steps) = math.exp(log_lam), PROBE_BUDGET
        try:
            fit = op.A(tikhonov(op, pair, lam=lam, penalty=penalty, rtol=rtol, max_iter=steps))
        except SolveError:
            return NEVER
        residual, trace = (fit - pair)[: len(y)], (pair * (pair - fit))[len(y) :].sum()
        score = float((residual.double().square().sum() / trace.double() ** 2).log())
        return score if math.isfinite(score) else NEVER

    return _minimise(probed, "gcv with a random probe", coarse=6, low=math.log(1e-4))


def evidence_weight(op: Any, y: Tensor, *, sigma: float) -> Choice | None:
    """c of the signal spectrum c / |f|^2 that makes the data most likely, white noise sigma being known.

    Minimises sum of log(v) + power / v with v = c |otf|^2 / |f|^2 + sigma^2 (Whittle 1953), over the
    frequencies but the mean. None where the data have no spectrum (decimation, varying blur; see spectra).
    """
    s = spectra(op, y)
    if s is None:
        return None
    choice = _minimise(lambda t: float(evidence_score(s, t, sigma=sigma)), "evidence", coarse=40)
    return Choice(sigma**2 / choice.value, choice.rule, (choice.rise[1], choice.rise[0]))


def gcv_score(s: Spectra, log_lam: Tensor | float) -> Tensor:
    """The logarithm of the criterion of gcv_weight, a number that autograd follows."""
    left = s.filtered(_exp(log_lam))
    return ((s.count * left.square() * s.power).sum() / (s.count * left).sum() ** 2).log()


def evidence_score(s: Spectra, log_lam: Tensor | float, *, sigma: float) -> Tensor:
    """The criterion of evidence_weight over lam = sigma^2 / c, a number that autograd follows."""
    seen = s.penalty > 0
    gain, power, count = s.otf[seen] / s.penalty[seen], s.power[seen], s.count[seen]
    variance = sigma**2 * (1 + gain / _exp(log_lam))
    return (count * (variance.log() + power / variance)).sum() / count.sum()


def weight_slope(score: Callable[[Tensor, Tensor], Tensor], y: Tensor, lam: float) -> Tensor:
    """d lam / d y of the weight that minimises score(log lam, y): the implicit function theorem, y's shape.

    Zero where lam is no minimum inside, as at an end of the range tried: there it does not follow the data.

    >>> y = torch.tensor([2.0, 3.0])
    >>> weight_slope(lambda t, y: (t - y.sum().log()) ** 2, y, 5.0)  # lam = y_1 + y_2
    tensor([1., 1.])
    """
    with torch.enable_grad():
        data = y.detach().clone().requires_grad_()
        t = torch.tensor(math.log(lam), dtype=torch.float64, device=y.device, requires_grad=True)
        (first,) = torch.autograd.grad(score(t, data), t, create_graph=True)
        (second,) = torch.autograd.grad(first, t, retain_graph=True)
        (mixed,) = torch.autograd.grad(first, data)
    inside = math.exp(LOG_RANGE[0]) * 1.1 < lam < math.exp(LOG_RANGE[1]) / 1.1 and float(second) > 0
    return -lam * mixed / second.to(mixed) if inside else torch.zeros_like(y)


def _exp(log_lam: Tensor | float) -> Tensor | float:
    return log_lam.exp() if isinstance(log_lam, Tensor) else math.exp(log_lam)


def moment_weight(y: Tensor, *, sigma: float, valid: Tensor | None) -> Choice:
    """c as the mean square of the data's differences less the noise's share, for any operator.

    Too small by what the blur took from the edges, so the weight sigma^2 / c errs to the smooth side.
    """
    d = differences(y if valid is None else fill(y, valid)).double()
    c = float(d.square().sum(1).mean()) - 4 * sigma**2
    return Choice(max(c, sigma**2), "mean square difference of the data", (0.0, 0.0))


def noise_reached(y: Tensor, variance: Tensor | float, *, valid: Tensor | None) -> Callable[[State], bool]:
    """A stopping rule for solvers whose memory starts with A x: true once the residual is down to the noise.

    The discrepancy principle (Morozov 1966): mean of (A x - y)^2 / variance <= 1 over the observed pixels;
    variance is a number or a picture like y. Fitting closer than that would fit noise.
    """
    seen = torch.ones_like(y, dtype=torch.bool) if valid is None else valid.expand(y.shape)
    count = int(seen.sum())

    def reached(state: State) -> bool:
        misfit = (state.memory[0].detach() - y.detach()).square() / variance
        return float(torch.where(seen, misfit, 0).sum()) <= count

    return reached


def _minimise(
    score: Callable[[float], float], rule: str, *, coarse: int, low: float = LOG_RANGE[0]
) -> Choice:
    """The minimiser over log weights: a coarse grid, then Brent inside the best bracket."""
    grid = torch.linspace(low, LOG_RANGE[1], coarse, dtype=torch.float64).tolist()
    values = [score(t) for t in grid]
    best = min(range(coarse), key=values.__getitem__)
    bracket = (grid[max(0, best - 1)], grid[min(coarse - 1, best + 1)])
    found = minimize_scalar(score, bounds=bracket, method="bounded", options={"xatol": 0.02})
    t, value = (found.x, found.fun) if found.fun < values[best] else (grid[best], values[best])
    if best in (0, coarse - 1):
        return Choice(math.exp(t), f"{rule}, at the end of the range tried", (0.0, 0.0))
    below, above = (math.expm1(score(t + shift) - value) for shift in (-math.log(2), math.log(2)))
    return Choice(math.exp(t), rule, (below, above))
