"""The units of work that ask quadratic methods for their largest singular value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from proxlab.trials.scenes import Scene
    from proxlab.trials.subjects import Subject
    from proxlab.trials.units import Bench


def exact_unit(bench: Bench, subject: Subject, scene: Scene) -> dict[str, Any]:
    """The largest singular value of a quadratic method at its weight, in float64 on the CPU."""
    from algorithms.exact_gain import quadratic_gain

    op, lam = _map(bench, subject, scene)
    found = quadratic_gain(op, lam=lam, tolerance=bench.protocol.exact, seed=bench.seed)
    return {**found._asdict(), "lam": lam}


def exact_product(bench: Bench, subject: Subject, scene: Scene) -> Callable[[], Tensor] | None:
    """One of the products that exact_unit takes, to be timed; None where there is nothing to ask."""
    if subject.weigh is None or not bench.protocol.exact:
        return None
    import torch

    from algorithms.exact_gain import squared_map
    from proxlab.trials.units import white

    op, lam = _map(bench, subject, scene)
    v = white(op.A(torch.zeros(1, *op.img_size, dtype=torch.float64)), bench.seed)
    return lambda: squared_map(op, lam)(v)


def _map(bench: Bench, subject: Subject, scene: Scene) -> tuple[Any, float]:
    """The operator in float64, and the weight that the method uses on the clean data at the middle level."""
    assert subject.weigh is not None  # asked of quadratic methods only
    op, y, _ = bench.problem(scene)
    middle = bench.protocol.middle
    sigma = bench.sigma(scene, middle)
    lam = bench.weight(subject, sigma, middle)
    weight = subject.weigh.lam(op, y, sigma) if lam is None else lam
    return scene.operator(bench.boundary).double(), weight
