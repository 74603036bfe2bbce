"""Certified: a learned prior whose run carries a theorem, and a certificate of what held in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from proxlab.errors import UsageError
from proxlab.methods.base import EVERYTHING, Outcome, Progress, Supports, Task
from proxlab.methods.common import bytes_of, finish, level, rms_residual
from proxlab.methods.drift import Drift

if TYPE_CHECKING:
    from torch import Tensor

    from algorithms.certificate import Certificate
    from algorithms.exam_descent import DescentExam
    from algorithms.state import State
    from proxlab.denoising import Prior


@dataclass(frozen=True)
class Setting:
    """What is chosen for a family of priors, given a noise level.

    lam = weight noise^2 is the weight of a negative log-density: R(., s) / s^2 is about one for a prior R
    trained to denoise at level s. level is s / noise (not used by a learned proximal network, whose level
    follows from lam). length is the first step in units of the safe one, ladder the number of plug-and-play
    steps before the certified phase, budget the most steps of that phase and tol its relative change of x.
    """

    weight: float
    level: float
    length: float
    momentum: bool
    ladder: int
    budget: int
    tol: float


# By what a prior is, see `family`. The first and last budgets end where photographs of BSDS500/val are best:
# further down the objective still falls while the picture gets worse. num_iter asks for more.
SETTINGS = {
    "gradient-step": Setting(0.32, 1.8, 1.0, False, 6, 12, 1e-3),  # weight and level: Hurault et al. 2022
    "curved": Setting(1.0, 1.0, 8.0, True, 0, 200, 1e-4),
    "proximal": Setting(1.0, 1.0, 0.99, False, 6, 4, 1e-4),
}
START, FLOOR = 49 / 255, 1 / 255  # the ladder's first level, and the least level of an explicit prior
SHRINK = 0.5
SHORT = 3  # conjugate gradients of a data step on the ladder, where it needs them


class Phase(NamedTuple):
    """The certified phase: where it starts, its exam, its states to come, and what it minimises."""

    start: Tensor
    exam: DescentExam
    states: Iterator[State]
    lam: float
    level: float
    step: float
    finish: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Certified:
    """argmin |Ax - y|^2 / 2 + lam R(x): towards a critical point, by steps that provably lower it."""

    name: str = "certified"
    summary: str = "a learned regulariser with a value: steps that provably lower the objective, and a proof"
    supports: Supports = replace(  # noqa: RUF009 (frozen)
        EVERYTHING,
        noises=frozenset({"gaussian"}),
        prior=True,
        family="gradient-step",
        needs_prior=True,
        together=True,
    )

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once; the network is counted by the front door."""
        return bytes_of(shape, 30)

    def run(self, task: Task) -> Outcome:
        """Down a ladder of levels to a good start, then the certified phase, which is all that counts."""
        import torch

        from algorithms.driver import Until, solve
        from imaging.fidelity import LeastSquares

        name = getattr(task.prior, "name", "given")
        prior = fitting(task.prior, task.op.img_size[0])
        kind = family(prior)
        setting = SETTINGS[kind]
        op, y = moved(task, prior)
        f = LeastSquares(op, y)
        with torch.no_grad():
            phase = prepared(task, f, prior, setting)
            budget = task.num_iter or setting.budget
            tol = 0.0 if task.num_iter else setting.tol
            watched = reported(phase.exam.watch(phase.states), task, budget)
            drift = Drift(task, phase.start, bounded=kind != "proximal")
            run = solve(watched, Until(tol=tol, max_iter=budget, rule=drift))
            certificate = phase.exam.certificate()
            picture = phase.finish(run.x)
            certificate = _said(certificate, phase, run.x, picture)
            x = picture.to(task.y.device, task.y.dtype)
        status, reason = finish(run)
        if status == "max_iter":
            status, reason = "stopped", f"the budget of {budget} steps was spent"
            if task.num_iter:
                reason = f"the given {budget} steps were done"
        elif status == "converged":
            reason = f"x changed by less than {tol:g} of itself"
        elif status == "stopped":
            status, reason = drift.ending()
        return Outcome(
            x=x,
            lam=phase.lam,
            lam_rule=_lam_rule(task, phase.lam, setting),
            num_iter=run.n_iter,
            stop_reason=reason,
            status=status,
            residual=rms_residual(task, x),
            objective=phase.exam.objective,
            certificate=certificate.as_dict(),
            warnings=_doubts(certificate, name),
            details={
                "prior_kind": kind,
                "prior_level": phase.level,
                "step": float(run.state.memory[1]),
                "ladder": setting.ladder,
            },
        )


def _said(certificate: Certificate, phase: Phase, last: Tensor, picture: Tensor) -> Certificate:
    """The certificate, and of what it does not speak: the picture, where that is not the last iterate."""
    if picture is last:
        return certificate
    from algorithms.certificate import OBSERVED, Condition, precise

    exam, far = phase.exam, float((picture - last).double().square().mean()) ** 0.5
    there = float((precise(exam.smooth, picture) + precise(exam.simple, picture)).sum())
    here = exam.objective[-1]
    claim = "the picture is D(x) of the last iterate x, one gradient step of the prior, and no iterate itself"
    detail = f"rms distance to x; the objective is {there:.6g} there and {here:.6g} at x"
    handed = Condition(claim, OBSERVED, detail, far)
    verdict = (
        f"{certificate.verdict} This is said of the iterates x; the picture is D(x), of which nothing is."
    )
    return replace(certificate, verdict=verdict, conditions=(*certificate.conditions, handed))


def _lam_rule(task: Task, lam: float, setting: Setting) -> str:
    if task.lam is not None:
        return "given"
    if lam < 0.999 * setting.weight * level(task) ** 2:
        return "the largest that the prior's levels allow"
    return f"{setting.weight:g} sigma^2"


def _doubts(certificate: Certificate, name: str) -> tuple[str, ...]:
    """Whoever asked for a certificate is told when there is none."""
    if not certificate.clean:
        return (f"the certificate does not hold: {certificate.verdict}",)
    if not certificate.proven:
        return (f"there is no theorem for this run, the prior {name} claims nothing: {certificate.verdict}",)
    return ()


def fitting(prior: Any, channels: int) -> Any:
    """The network for that many channels: a grey one takes them one by one, as a sum of regularisers."""
    from priors.weighted import PerChannel

    assert prior is not None  # supports.needs_prior
    given: Prior = prior
    if given.channels in (None, channels):
        return given.network
    if given.channels == 1:
        return PerChannel(given.network)
    message = (
        f"the prior {given.name} is for {given.channels} channels, the picture has {channels}, "
        "and a certificate needs one that fits: use a grey one, or method 'pnp'."
    )
    raise UsageError(message)


def family(prior: Any) -> str:
    """What the theorem rests on: a value with a bounded curvature, a value, or a proximal operator."""
    from priors.claims import claims_of

    if hasattr(prior, "value") and hasattr(prior, "grad"):
        return "curved" if hasattr(prior, "curvature") else "gradient-step"
    if claims_of(prior).proximal and hasattr(prior, "potential"):
        return "proximal"
    message = (
        f"the prior {type(prior).__name__} has neither a value with a gradient nor a claim to be a proximal "
        "operator, so nothing could be certified: use a gradient-step, ridge or lpn prior, or method 'pnp'."
    )
    raise UsageError(message)


def prepared(task: Task, f: Any, prior: Any, setting: Setting) -> Phase:
    """The certified phase: objective, step, start and examiner."""
    from algorithms.backtracking import Rule, proximal_descent
    from algorithms.exam_descent import DescentExam

    noise = level(task)
    lam = task.lam if task.lam is not None else setting.weight * noise**2
    if family(prior) == "proximal":
        from priors.base import Fixed

        step = setting.length / f.lipschitz()
        at = (lam * step) ** 0.5  # h + R_s / step with R_s about s^2 times a log-density
        if task.lam is not None and at > top(prior):
            message = (
                f"lam is {lam:g}, but a learned proximal network trained up to level {top(prior):.3g} has "
                f"lam at most {top(prior) ** 2 / step:.3g} here: give less, or use method 'tv'."
            )
            raise UsageError(message)
        at = min(at, top(prior))
        smooth, simple, rule = f, Fixed(prior, at, step), Rule(None, setting.momentum)
        lam = at**2 / step
    else:
        from priors.weighted import Weighted

        at = min(max(setting.level * noise, FLOOR), top(prior))
        smooth, simple, rule = Weighted(prior, at, weight=lam / at**2), f, Rule(SHRINK, setting.momentum)
        step = setting.length / (smooth.lipschitz() if hasattr(prior, "curvature") else smooth.weight)
    x0 = start(task, f, prior, at, setting.ladder)
    exam = DescentExam(smooth, simple, step=step, backtracking=rule.shrink is not None)
    states = proximal_descent(smooth, simple, step=step, x0=x0, rule=rule)
    return Phase(x0, exam, states, lam, at, step, _denoised(prior, at))


def _denoised(prior: Any, at: float) -> Callable[[Tensor], Tensor]:
    """What makes the picture of the last iterate: x = prox_f(D(x)) carries the noise that the data step lets
    through, D(x) does not, and either gives the other. Only a gradient step is D; a ridge's would be short.
    """
    if family(prior) != "gradient-step":
        return lambda x: x
    return lambda x: x - prior.grad(x, at)


def start(task: Task, f: Any, prior: Any, at: float, ladder: int) -> Tensor:
    """The data in the field, improved by a few plug-and-play steps with falling level where that is cheap.

    The objective has many critical points, and this decides which is near; the certificate begins after it.
    """
    from algorithms.driver import last
    from algorithms.pnp import data_term, geometric
    from algorithms.splitting import hqs
    from algorithms.unseen import FILL
    from imaging.operator import embed

    x0 = embed(f.op, f.y)
    if not ladder:
        return x0
    noise = level(task)
    pairs = geometric(noise, start=max(START, at), n=ladder, weight=0.25)
    pairs = tuple((max(sigma, at), gamma) for sigma, gamma in pairs)
    task.report(Progress(0, None, x0))  # iteration 0: the start is being made
    return last(hqs(data_term(f.op, f.y, steps=SHORT, fill=FILL), prior, pairs, x0=x0), len(pairs)).x


def moved(task: Task, prior: Any) -> tuple[Any, Tensor]:
    """Operator and data in the type and on the device of the prior's weights."""
    inner = getattr(prior, "prior", prior)
    weight = next(iter(getattr(inner, "parameters", lambda: ())()), None)
    if weight is None or (weight.dtype == task.y.dtype and weight.device == task.y.device):
        return task.op, task.y
    op = task.op.clone().to(weight.device, weight.dtype)
    return op, task.y.to(weight.device, weight.dtype)


def reported(states: Iterator[State], task: Task, total: int) -> Iterator[State]:
    """The same states, each told to the caller with its objective."""
    for n, state in enumerate(states, 1):
        cost = float(state.memory[0].sum())
        task.report(Progress(n, total, state.x, cost=cost, residual=state.residual))
        yield state


def top(prior: Any) -> float:
    """The highest level the prior was trained at."""
    found = getattr(getattr(prior, "config", None), "sigma", None)
    return float(found[1]) if found is not None else float("inf")


METHOD = Certified()
