"""Before a study: pictures read, gradients probed, baselines tuned, speeds measured, the plan settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError
from proxlab.trials.protocol import Protocol, Speed, fit, seconds, total

if TYPE_CHECKING:
    from proxlab.trials.scenes import Scene
    from proxlab.trials.subjects import Subject
    from proxlab.trials.units import Bench

SMALL = 64  # pixels a side of the trials that decide where gradients come from
TUNING_SIDE = 128
TRIED = 3  # iterations of the attack that is timed
SPARE = 0.9  # of the time that is left: measured studies took a tenth longer than planned


@dataclass(frozen=True)
class Study:
    """Everything settled before the work begins."""

    bench: Bench
    subjects: tuple[Subject, ...]
    read: tuple[Scene, ...]
    speeds: Mapping[str, Speed]
    cuts: tuple[str, ...]
    tuned_on: tuple[str, ...]
    asked: Protocol
    workers: int = 1

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The pictures that are tested: of those read, as many as the plan has kept."""
        return self.read[: self.bench.protocol.pictures]

    @property
    def seconds(self) -> float:
        """How long it should take."""
        return total(self.bench.protocol, self.speeds) / self.workers

    def plan(self) -> list[str]:
        """What will be run, in lines."""
        p = self.bench.protocol
        sides = sorted({scene.truth.shape for scene in self.scenes})
        shape = ", ".join(f"{h}x{w}" for h, w in sides)
        lines = [
            f"methods   {', '.join(s.name for s in self.subjects)}",
            f"pictures  {len(self.scenes)} of {shape}; weights of baselines "
            + (
                f"tuned on {', '.join(self.tuned_on)}"
                if self.tuned_on
                else "by rule, no picture left to tune on"
            ),
            f"noise     budgets {percent(p.levels)} of the data, {p.draws} draws each",
            f"worst     budgets {percent(p.attack_levels)}, {_pictures(p.attacked)}, "
            f"{p.iterations} iterations x {p.restarts}"
            + (f", l-infinity {', '.join(f'{b:g}/255' for b in p.boxes)}" if p.boxes else ""),
            f"also      departures from the model on {_pictures(p.shifted)}, inserted details on "
            f"{_pictures(p.detailed)}"
            + (f", local Lipschitz constants on {_pictures(min(2, p.attacked))}" if p.lipschitz else "")
            + (f", gains of linear methods to {100 * p.exact:g} %" if p.exact else ""),
        ]
        for subject in self.subjects:
            parts = seconds(p, self.speeds[subject.name], others=len(self.subjects) - 1)
            lines.append(f"time      {subject.name}: {clock(sum(parts.values()))}")
        shared = f" on {self.workers} workers" if self.workers > 1 else ""
        lines.append(f"total     about {clock(self.seconds)}{shared}")
        return lines + [f"cut       {text}" for text in self.cuts]


def prepare_study(
    methods: Any,
    images: Any,
    psf: Any,
    protocol: Protocol,
    setting: tuple[int, str | None, str, Any],
    workers: int | None = None,
) -> Study:
    """Read, probe, tune and time; setting is (seed, device, boundary, prior).

    workers of one thread, where there are any, share the work; then it is timed here in one thread, too.
    """
    from proxlab.model import choose_device
    from proxlab.trials.scenes import read_scenes
    from proxlab.trials.subjects import find_subjects, with_honest_gradient
    from proxlab.trials.units import Bench

    started = time.perf_counter()
    seed, device_name, boundary, prior = setting
    if boundary not in ("unknown", "circular"):
        message = f"boundary is {boundary!r}: a study knows 'unknown' and 'circular'."
        raise UsageError(message)
    device = str(choose_device(device_name))
    scenes, rest = read_scenes(images, grey_kernel(psf, seed), count=protocol.pictures, side=protocol.side)
    subjects = find_subjects(methods, device=device, seed=seed, prior=prior)
    unable = [s.name for s in subjects if boundary not in s.boundaries]
    if unable:
        message = f"{', '.join(unable)} cannot work with {boundary} borders: leave out, or change boundary."
        raise UsageError(message)
    bench = Bench(protocol, seed, device, boundary, {})
    small = scenes[0].crop(SMALL)
    op, y, truth = bench.problem(small)
    sigma = bench.sigma(small, protocol.middle or 0.01)
    subjects = [with_honest_gradient(subject, op, y, truth, sigma) for subject in subjects]
    bench = replace(bench, weights=tune(bench, subjects, [scene.crop(TUNING_SIDE) for scene in rest]))
    with _threads(None if workers is None else 1):
        speeds = {subject.name: speed_of(bench, subject, scenes[0]) for subject in subjects}
    spent = time.perf_counter() - started
    limit = None if protocol.minutes is None else max(1.0, SPARE * (60 * protocol.minutes - spent))
    if limit is not None:
        limit *= workers or 1
    asked = replace(protocol, pictures=len(scenes))
    for name in ("attacked", "shifted", "detailed"):
        asked = replace(asked, **{name: min(getattr(asked, name), len(scenes))})
    fitted, cuts = fit(asked, speeds, limit)
    names = tuple(scene.name for scene in rest)
    kept = replace(bench, protocol=fitted)
    return Study(kept, tuple(subjects), tuple(scenes), speeds, tuple(cuts), names, asked, workers or 1)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch on so many threads inside; as it is for None."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tune(bench: Bench, subjects: Sequence[Subject], scenes: Sequence[Scene]) -> dict[str, dict[float, float]]:
    """For each tuned subject and level the factor of lam with the smallest mean error on other pictures."""
    import torch

    from algorithms.linearise import result
    from proxlab.trials.store import seed_of
    from proxlab.trials.units import white

    weights: dict[str, dict[float, float]] = {}
    for subject in subjects:
        if subject.tuned is None or not scenes:
            continue
        exponent, factors = subject.tuned
        weights[subject.name] = {}
        for level in bench.protocol.levels:
            errors = dict.fromkeys(factors, 0.0)
            for scene in scenes:
                op, y, truth = bench.problem(scene)
                sigma = bench.sigma(scene, level)
                noisy = y + sigma * white(y, seed_of(bench.seed, "tune", scene.name, level))
                for factor in factors:
                    with torch.no_grad():
                        bound = subject.at(sigma, factor * sigma**exponent)
                        x = result(bound.reconstruct, op, noisy)
                    errors[factor] += float((x - truth).norm())
            weights[subject.name][level] = min(errors, key=errors.__getitem__)
    return weights


def speed_of(bench: Bench, subject: Subject, scene: Scene) -> Speed:
    """Time calls on noisy data at the lowest, middle and highest level, and a short attack at the middle."""
    import torch

    from algorithms.attack import Effort, Threat, worst_case
    from proxlab.trials.exact import exact_product
    from proxlab.trials.units import white

    (op, y, truth), middle = bench.problem(scene), bench.protocol.middle
    levels, calls = bench.protocol.levels, {}
    noise = white(y, bench.seed)
    for level in sorted({levels[0], middle, levels[-1]}):
        bound, noisy = bench.bound(subject, scene, level), y + bench.sigma(scene, level) * noise
        calls[level] = _seconds(partial(bound.reconstruct, op, noisy))
    bound = bench.bound(subject, scene, middle)
    threat = Threat("l2", y.new_full((1,), max(middle, 1e-3) * float(y.norm())))
    at, short = bound.linearise(op), Effort(TRIED, 1, bench.seed)
    start = time.perf_counter()
    found = worst_case(at, y, truth, threat, short)
    step = (time.perf_counter() - start) / (TRIED + 1)  # and the clean data before
    with torch.no_grad():
        worse = _seconds(lambda: bound.reconstruct(op, y + found.perturbation))
    product = exact_product(bench, subject, scene)
    return Speed(calls, step, worse, 0.0 if product is None else _seconds(product))


def _seconds(work: Callable[[], Any]) -> float:
    import torch

    start = time.perf_counter()
    with torch.no_grad():
        work()
    return time.perf_counter() - start


def grey_kernel(psf: Any, seed: int) -> Any:
    """A single grey kernel (h, w) of sum 1."""
    import numpy as np

    from proxlab.blurs import Scene as Seen
    from proxlab.blurs import read_blur

    blur = read_blur(psf, Seen(np.zeros((1, 4096, 4096), np.float32), 1, seed), origin=None)
    if blur.varying or blur.kernels.shape[2] != 1:
        message = "a study needs one grey psf: give a text, a file or an array (h, w)."
        raise UsageError(message)
    kernel = blur.kernels[0, 0, 0]
    rows, columns = (max(o, n - 1 - o) for o, n in zip(blur.origin, kernel.shape, strict=True))
    canvas = np.zeros((2 * rows + 1, 2 * columns + 1))  # odd, so that the centre is the centre for everybody
    top, left = rows - blur.origin[0], columns - blur.origin[1]
    canvas[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    return canvas / canvas.sum()


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def psf_text(psf: Any) -> str:
    return psf if isinstance(psf, str) else f"array {getattr(psf, 'shape', '')}"


def percent(levels: Sequence[float]) -> str:
    return ", ".join(f"{100 * level:g}" for level in levels) + " %"


def clock(time_s: float) -> str:
    """Seconds in words.

    >>> clock(7), clock(95), clock(7300)
    ('7 s', '1.6 min', '2.0 h')
    """
    if time_s < 60:
        return f"{time_s:.0f} s"
    return f"{time_s / 60:.1f} min" if time_s < 5400 else f"{time_s / 3600:.1f} h"
