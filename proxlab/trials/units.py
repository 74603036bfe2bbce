"""The units of work of a study: one subject on one picture, one question, a record of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.trials.protocol import Protocol
from proxlab.trials.scenes import Scene, tensor
from proxlab.trials.shifts import Shift
from proxlab.trials.store import seed_of
from proxlab.trials.subjects import Bound, Subject

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1 / 255 / 12**0.5  # noise-free data are told as rounded to 8 bits: nothing divides by zero
EITHER_WAY = ("random", "surrogate")  # flags about the method, not about one attack on it
PATCH = 16  # pixels a side of the local error
AMPLITUDE = 0.25  # of inserted details
NARROW = 0.1  # radius of the local Lipschitz constant, of the middle budget


@dataclass(frozen=True)
class Bench:
    """What all units of a study share; weights: name -> factor of sigma^exponent, for tuned subjects."""

    protocol: Protocol
    seed: int
    device: str
    boundary: str
    weights: Mapping[str, Mapping[float, float]]

    def sigma(self, scene: Scene, level: float) -> float:
        """The per-pixel standard deviation whose norm is `level` of the clean data's."""
        return max(level * float(np.sqrt(np.mean(scene.data() ** 2))), ROUNDING)

    def bound(self, subject: Subject, scene: Scene, level: float) -> Bound:
        """The subject told the level of this picture, its weight tuned on others."""
        sigma = self.sigma(scene, level)
        return subject.at(sigma, self.weight(subject, sigma, level))

    def weight(self, subject: Subject, sigma: float | None, level: float) -> float | None:
        """lam of a tuned subject at a level, None for any other."""
        factors = self.weights.get(subject.name)
        if subject.tuned is None or factors is None or sigma is None:
            return None
        nearest = min(factors, key=lambda known: abs(known - level))
        return factors[nearest] * sigma ** subject.tuned[0]

    def problem(self, scene: Scene) -> tuple[Any, Tensor, Tensor]:
        """Operator, clean data and truth on the device."""
        op = scene.operator(self.boundary).to(self.device)
        return op, tensor(scene.data(), self.device), tensor(scene.truth, self.device)


def figures(x: Tensor, truth: Tensor) -> dict[str, float]:
    """Error norms and figures of merit of one result against the truth."""
    from torch.nn.functional import avg_pool2d

    from imaging.metrics import psnr, ssim

    rest = (x - truth).double()
    local = avg_pool2d(rest.square(), min(PATCH, *rest.shape[-2:]), stride=PATCH // 2).max().sqrt()
    return {
        "error": float(rest.norm()),
        "relative": float(rest.norm() / truth.double().norm()),
        "psnr": psnr(x, truth),
        "ssim": ssim(x, truth),
        "patch": float(local),
    }


def noise_unit(bench: Bench, subject: Subject, scene: Scene, level: float) -> dict[str, Any]:
    """The clean error and the errors under white noise of exactly the budget's norm.

    A subject that is told the level meets the first draw once more with its own estimate instead.
    """
    import torch

    from algorithms.linearise import result

    op, y, truth = bench.problem(scene)
    bound = bench.bound(subject, scene, level)
    size = max(level, ROUNDING) * float(y.double().norm())
    with torch.no_grad():
        steady = result(bound.reconstruct, op, y)
        record: dict[str, Any] = {"clean": figures(steady, truth), "size": size, **bound.settings}
        draws = bench.protocol.draws if level > 0 else 0
        noisy, moved = [], []
        for draw in range(draws):
            seed = seed_of(bench.seed, "noise", scene.name, level, draw)  # the same noise for all subjects
            e = white(y, seed)
            x = result(bound.reconstruct, op, y + e * (size / e.double().norm()))
            noisy.append(figures(x, truth))
            moved.append(float((x - steady).double().norm()))
        if draws and subject.told:
            e = white(y, seed_of(bench.seed, "noise", scene.name, level, 0))
            own = subject.at(None).reconstruct
            record["estimated"] = figures(result(own, op, y + e * (size / e.double().norm())), truth)
    return {**record, "noisy": noisy, "moved": moved}


def worst_unit(bench: Bench, subject: Subject, scene: Scene) -> dict[str, Any]:
    """Worst-case perturbations for every budget, from the largest down, each a start for the next; flags."""
    from time import perf_counter

    import torch

    from algorithms.attack import Effort, Threat
    from algorithms.linearise import result

    begun, (op, y, truth) = perf_counter(), bench.problem(scene)
    p, seed = bench.protocol, seed_of(bench.seed, "worst", scene.name)
    effort = Effort(p.iterations, p.restarts, seed)
    levels, flags, pictures, start = {}, [], {}, None
    for level in sorted(p.attack_levels, reverse=True):
        bound = bench.bound(subject, scene, level)
        threat = Threat("l2", y.new_full((1,), level * float(y.double().norm())))
        found, raised = attack(bound, (op, y, truth), threat, effort, start)
        start = found.perturbation
        with torch.no_grad():  # evaluated once more, on the full method
            x = result(bound.reconstruct, op, y + found.perturbation)
            clean = result(bound.reconstruct, op, y)
        levels[f"{level:g}"] = {**figures(x, truth), **_search_record(found), "clean": figures(clean, truth)}
        flags += [{**flag, "budget": level} for flag in raised]
        if level == pictured_level(p):
            kept = {"truth": truth, "data": y, "clean": clean, "attacked": x, "perturbation": start}
            pictures = {name: part[0, 0].cpu().numpy() for name, part in kept.items()}
    bound = bench.bound(subject, scene, p.middle)
    boxes, more = _boxes(bound, (op, y, truth), p.boxes, effort)
    return {
        "levels": levels,
        "boxes": boxes,
        "flags": flags + more + _growth(levels, y),
        "gradient": bound.gradient,
        "seconds": perf_counter() - begun,
        "pictures": pictures,
    }


def _boxes(
    bound: Bound, problem: tuple[Any, Tensor, Tensor], boxes: Sequence[float], effort: Any
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    """Worst errors for budgets of 255 in l-infinity, the largest first, each a start for the next; flags."""
    from algorithms.attack import Threat

    _, y, truth = problem
    errors, flags, start = {}, [], None
    for box in sorted(boxes, reverse=True):
        threat = Threat("linf", y.new_full((1,), box / 255))
        found, raised = attack(bound, problem, threat, effort, start)
        start, errors[box] = found.perturbation, float(found.error)
        flags += [
            {
                **flag,
                "name": f"linf_{flag['name']}",
                "text": f"l-infinity: {flag['text']}",
                "budget": box / 255,
            }
            for flag in raised
            if flag["name"] not in EITHER_WAY
        ]
    size = float(truth.norm())
    return {f"{b:g}": {"error": errors[b], "relative": errors[b] / size} for b in boxes}, flags


def attack(
    bound: Bound, problem: tuple[Any, Tensor, Tensor], threat: Any, effort: Any, start: Tensor | None
) -> tuple[Any, list[dict[str, Any]]]:
    """The gradient attack, its rivals, and what is wrong with it; the worst of all is returned."""
    from dataclasses import asdict

    from algorithms import sanity
    from algorithms.attack import Effort, search, worst_case
    from algorithms.linearise import result

    op, y, truth = problem
    at = bound.linearise(op)

    def evaluate(v: Tensor) -> Tensor:
        return result(bound.reconstruct, op, v)

    repeats = sanity.check_repeats(evaluate, y)
    if repeats:
        effort = Effort(effort.iterations, effort.restarts, effort.seed, draws=4)
    found = worst_case(at, y, truth, threat, effort, start=start)
    cheap = Effort(max(4, min(16, effort.iterations // 3)), 1, effort.seed)
    rival = search(evaluate, y, truth, threat, cheap)
    checks = [
        repeats,
        sanity.note_surrogate(bound.gradient),
        sanity.check_gradient(at, y, truth),
        sanity.check_derivative(at, evaluate, y, truth) if "automatic" in bound.gradient else None,
        sanity.check_trace(found),
        sanity.check_budget(found, threat),
        *sanity.check_rivals(found, {"a search without gradients": rival.error}),
    ]
    return found.better(rival), [asdict(flag) for flag in checks if flag]


def transfer_unit(
    bench: Bench, subject: Subject, scene: Scene, known: Mapping[str, tuple[Any, float]]
) -> dict[str, Any]:
    """The subject under the worst perturbations of the others, name -> (perturbation, error); flags.

    pictures: of the one that did more than the subject's own, if any did.
    """
    from dataclasses import asdict

    import torch

    from algorithms.linearise import result
    from algorithms.sanity import check_transfer

    op, y, truth = bench.problem(scene)
    level = pictured_level(bench.protocol)
    bound, found, pictures = bench.bound(subject, scene, level), {}, {}
    own = top = known.get(subject.name, (None, 0.0))[1]
    with torch.no_grad():
        for name, (perturbation, _) in known.items():
            if name != subject.name:
                x = result(bound.reconstruct, op, y + tensor(perturbation, bench.device))
                found[name] = figures(x, truth)
                if found[name]["error"] > top:
                    top = found[name]["error"]
                    pictures = {"attacked": x[0, 0].cpu().numpy(), "perturbation": perturbation}
    flag = check_transfer(own, {name: values["error"] for name, values in found.items()})
    return {
        "level": f"{level:g}",
        "from": found,
        "flags": [{**asdict(flag), "budget": level}] if flag else [],
        "pictures": pictures,
    }


def pictured_level(p: Protocol) -> float:
    """The budget whose perturbations are kept."""
    return p.middle if p.middle in p.attack_levels or len(p.attack_levels) != 1 else p.attack_levels[0]


def lipschitz_unit(bench: Bench, subject: Subject, scene: Scene) -> dict[str, Any]:
    """The local Lipschitz constant at the clean data, from below."""
    from algorithms.attack import Effort
    from algorithms.lipschitz import local_lipschitz

    op, y, _ = bench.problem(scene)
    p = bench.protocol
    radius = y.new_full((1,), NARROW * p.middle * float(y.double().norm()))
    effort = Effort(p.lipschitz, 1, seed_of(bench.seed, "lipschitz", scene.name))
    found = local_lipschitz(
        bench.bound(subject, scene, p.middle).linearise(op), y, radius=radius, effort=effort
    )
    return {"value": float(found.value), "rise": float(found.rise), "radius": float(radius)}


def shift_unit(bench: Bench, subject: Subject, scene: Scene, shift: Shift) -> dict[str, Any]:
    """The error where the data are not as believed."""
    import torch

    from algorithms.linearise import result

    level = bench.protocol.middle
    sigma = bench.sigma(scene, level)
    told = None if shift.believed is None else shift.believed * sigma
    boundary = bench.boundary if shift.boundary == "unknown" else shift.boundary
    if boundary not in subject.boundaries:
        return {"missing": f"cannot work with {boundary} borders"}
    op = scene.operator(boundary).to(bench.device)
    seed = seed_of(bench.seed, "shift", scene.name)  # one draw for all departures, so that they compare
    y = tensor(shift.make(scene, sigma, seed), bench.device)
    bound = subject.at(told, bench.weight(subject, told, level))
    with torch.no_grad():
        x = result(bound.reconstruct, op, y)
    return figures(x, tensor(scene.truth, bench.device))


def detail_unit(bench: Bench, subject: Subject, scene: Scene) -> dict[str, Any]:
    """Inserted details: how much of them comes back, and the trade-off bound with what was measured."""
    import torch

    from algorithms.details import KINDS, detail_bounds, insert, pattern
    from algorithms.linearise import result

    op, y, truth = bench.problem(scene)
    bound = bench.bound(subject, scene, bench.protocol.middle)
    m, record = scene.margin, {}
    bounds = {b.kind: b for b in detail_bounds(op, truth, amplitude=AMPLITUDE)}
    with torch.no_grad():
        plain = result(bound.reconstruct, op, y)
        for kind in KINDS:
            d = insert(truth, pattern(kind, scene.truth.shape), AMPLITUDE)  # type: ignore[arg-type]
            wide = scene.wide.copy()
            wide[m:-m, m:-m] += d[0, 0].double().cpu().numpy()
            x = result(bound.reconstruct, op, tensor(scene.data(wide=wide), bench.device))
            eta = max(float((plain - truth).double().norm()), float((x - truth - d).double().norm()))
            constant = (float((x - truth).double().norm()) - eta) / bounds[kind].seen
            record[kind] = {
                "contrast": float(((x - plain) * d).double().sum() / d.double().square().sum()),
                "eta": eta,
                "constant": constant,
                "bound": bounds[kind].constant(eta),
                "size": bounds[kind].size,
                "seen": bounds[kind].seen,
                "unstable_below": bounds[kind].stable_above,
            }
    return {"details": record}


def white(y: Tensor, seed: int) -> Tensor:
    """White noise of unit variance, shaped like y."""
    from imaging.noise import gaussian

    return gaussian(y.new_zeros(y.shape), 1.0, seed)


def _search_record(found: Any) -> dict[str, Any]:
    trace = found.trace[:, 0].tolist()
    stride = max(1, len(trace) // 25)
    return {"trace": trace[::stride], "calls": found.tried, "how": found.how}


def _growth(levels: Mapping[str, Mapping[str, float]], y: Tensor) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from algorithms.sanity import check_growth

    flag = check_growth([float(k) for k in levels], [v["error"] for v in levels.values()])
    return [asdict(flag)] if flag else []
