"""Accuracy and stability of any reconstructor, from measured errors.

Definitions: Evangelista, Nagy, Morotti, Loli Piccolomini, "To be or not to be stable, that is the question"
(2025) and "Ambiguity in solving imaging inverse problems with deep learning based operators" (2023). With
Psi the reconstructor, K the operator, X the pictures tested: accuracy eta = sup |Psi(K x) - x|, stability
constant C = sup (|Psi(K x + e) - x| - eta) / |e|. A supremum taken over samples is a lower bound of the one
meant, and is labelled so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.classical import Penalty, penalty_spectrum
from algorithms.linearise import Reconstructor, result
from imaging.fft import half_weights, power_of

Kind = Literal["empirical lower bound", "estimate", "exact", "proven upper bound"]
LOWER: Kind = "empirical lower bound"


class Errors(NamedTuple):
    """Norms over whole pictures, N pictures and D draws of noise.

    clean (N,): |Psi(y) - x| without noise. noisy (N, D): |Psi(y + e) - x|. moved (N, D): |Psi(y + e) -
    Psi(y)|. size (N, D): |e|.
    """

    clean: Tensor
    noisy: Tensor
    moved: Tensor
    size: Tensor

    def rows(self, index: Tensor) -> Errors:
        """The same for these pictures."""
        return Errors(*(part[index] for part in self))


@dataclass(frozen=True)
class Estimate:
    """A number, its bootstrap interval over pictures where it has one, what it is and how it is defined."""

    value: float
    low: float | None
    high: float | None
    kind: Kind
    definition: str


@torch.no_grad()
def measure(
    reconstruct: Reconstructor, op: Any, truth: Tensor, y: Tensor, noises: Sequence[Tensor]
) -> Errors:
    """Errors of a batch: truth (N, ...) as op.window sees it, clean data y (N, *op.data_size), noises like y.

    Norms are taken in float64. The reconstructor is called 1 + len(noises) times, with the whole batch.

    >>> from imaging.masks import Identity
    >>> x = torch.ones(2, 1, 1, 1)
    >>> measure(lambda op, y: 2 * y, Identity((1, 1, 1)), x, x, [0.5 * x]).noisy.flatten().tolist()
    [2.0, 2.0]
    """
    steady = result(reconstruct, op, y)
    noisy, moved, size = [], [], []
    for e in noises:
        x = result(reconstruct, op, y + e)
        noisy.append(length(x - truth))
        moved.append(length(x - steady))
        size.append(length(e))
    return Errors(length(steady - truth), torch.stack(noisy, 1), torch.stack(moved, 1), torch.stack(size, 1))


def length(x: Tensor) -> Tensor:
    """The l2 norm of each sample, (B,), in float64."""
    return x.double().flatten(1).norm(dim=1)


def accuracy(errors: Errors) -> float:
    """eta = max over pictures of |Psi(K x) - x|; 1 / eta is the accuracy."""
    return float(errors.clean.max())


def worst_constant(errors: Errors) -> float:
    """C = max over pictures and draws of (|Psi(K x + e) - x| - eta) / |e|: unstable from 1 on."""
    return float(((errors.noisy - errors.clean.max()) / errors.size).max())


def worst_error_constant(errors: Errors) -> float:
    """(s - eta) / |e|, s the largest noisy error and e the noise that made it: the sister paper's estimator.

    At most worst_constant, which takes the largest quotient instead.
    """
    i = int(errors.noisy.argmax())
    return float((errors.noisy.flatten()[i] - errors.clean.max()) / errors.size.flatten()[i])


def average_constant(errors: Errors) -> float:
    """(mean noisy error - mean clean error) / mean |e|."""
    return float((errors.noisy.mean() - errors.clean.mean()) / errors.size.mean())


def ratios(errors: Errors) -> Tensor:
    """(|Psi(K x + e) - x| - |Psi(K x) - x|) / |e| of each picture and draw, its own clean error taken off."""
    return (errors.noisy - errors.clean[:, None]) / errors.size


def rms_gain(errors: Errors) -> float:
    """sqrt(mean (|Psi(K x + e) - Psi(K x)| / |e|)^2).

    For a linear Psi and white e it tends to |Psi|_F / sqrt(m), m the number of data.
    """
    return float((errors.moved / errors.size).square().mean().sqrt())


def error_gain(errors: Errors) -> float:
    """sqrt(mean (noisy^2 - clean^2) / |e|^2): the part of the squared error that the noise has added."""
    square = errors.noisy.square() - errors.clean[:, None].square()
    return float((square / errors.size.square()).mean().clamp_min(0).sqrt())


STATISTICS: dict[str, tuple[Callable[[Errors], float], Kind]] = {
    "accuracy": (accuracy, LOWER),
    "worst_constant": (worst_constant, LOWER),
    "worst_error_constant": (worst_error_constant, LOWER),
    "average_constant": (average_constant, "estimate"),
    "ratio_mean": (lambda e: float(ratios(e).mean()), "estimate"),
    "ratio_median": (lambda e: float(ratios(e).median()), "estimate"),
    "ratio_p95": (lambda e: float(ratios(e).flatten().quantile(0.95)), "estimate"),
    "ratio_max": (lambda e: float(ratios(e).max()), LOWER),
    "lipschitz_random": (lambda e: float((e.moved / e.size).max()), LOWER),
    "rms_gain": (rms_gain, "estimate"),
    "error_gain": (error_gain, "estimate"),
}
DEFINITIONS = {
    "accuracy": "eta, the largest |Psi(Kx) - x| over the pictures, without noise",
    "worst_constant": "C, the largest (|Psi(Kx+e) - x| - eta) / |e|; unstable from 1 on",
    "worst_error_constant": "(largest noisy error - eta) / its |e|",
    "average_constant": "(mean noisy error - mean clean error) / mean |e|",
    "ratio_mean": "mean of (noisy error - own clean error) / |e|",
    "ratio_median": "median of (noisy error - own clean error) / |e|",
    "ratio_p95": "95th percentile of (noisy error - own clean error) / |e|",
    "ratio_max": "largest (noisy error - own clean error) / |e|",
    "lipschitz_random": "largest |Psi(Kx+e) - Psi(Kx)| / |e| over random e",
    "rms_gain": "root mean square of |Psi(Kx+e) - Psi(Kx)| / |e|",
    "error_gain": "root mean of (noisy error^2 - clean error^2) / |e|^2",
}


def stability_table(errors: Errors, *, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every statistic with its 95 % bootstrap interval over pictures."""
    table = {}
    for name, (statistic, kind) in STATISTICS.items():
        low, high = bootstrap(errors, statistic, resamples=resamples, seed=seed)
        table[name] = Estimate(statistic(errors), low, high, kind, DEFINITIONS[name])
    return table


def bootstrap(
    errors: Errors, statistic: Callable[[Errors], float], *, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    """The 2.5 and 97.5 percentiles of the statistic over pictures drawn with replacement.

    None for fewer than two pictures. Of a maximum it says how much hangs on single pictures, not how far away
    the supremum is.
    """
    count = len(errors.clean)
    if count < 2:
        return None, None
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(count, (resamples, count), generator=generator)
    values = torch.tensor([statistic(errors.rows(row.to(errors.clean.device))) for row in draws])
    low, high = values.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def mean_interval(values: Tensor, *, resamples: int, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values (N,), all draws at once; the value itself for N = 1."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(values), (resamples, len(values)), generator=generator)
    means = values.double().cpu()[draws].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


class LinearGain(NamedTuple):
    """What a linear reconstructor does to perturbations, exactly: at worst, and rms for white noise."""

    worst: float
    rms: float


def tikhonov_gain(op: Any, *, lam: float, penalty: Penalty = "gradient") -> LinearGain:
    """Exact gains of algorithms.tikhonov for a circular blur: |H| / (|H|^2 + lam |f|^2) over frequencies.

    worst is the largest singular value, rms the root mean square of all of them: the gain under white noise.
    TypeError for operators that are not diagonal in frequency.

    >>> from imaging.blur import CircularBlur
    >>> delta = torch.ones(1, 1, 1, 1)
    >>> tikhonov_gain(CircularBlur(delta, (1, 4, 4)), lam=1.0, penalty="identity")
    LinearGain(worst=0.5, rms=0.5)
    """
    if not hasattr(op, "otf") or tuple(op.img_size) != tuple(op.data_size):
        message = f"{type(op).__name__} is not a circular blur: its gain has no closed form, measure it."
        raise TypeError(message)
    size = (op.img_size[-2], op.img_size[-1])
    power = power_of(op.otf).double()
    gain = power.sqrt() / (power + lam * penalty_spectrum(penalty, size, power))
    weights = half_weights(size[1], power).expand(size[0], -1)
    mean = (gain.square() * weights).mean((0, 1)).sum() / (size[0] * size[1])
    return LinearGain(float(gain.max()), float(mean.sqrt()))


VARIATIONAL_DATA_MAP = 1.0
"""Proven: y -> A x(y) of argmin |A x - y|^2 / 2 + g(x), g convex, is firmly non-expansive: constant 1.

It is what one can say of total variation: not about x itself, whose constant need not be finite.
"""
