import pytest
import torch

from algorithms.driver import Until, solve
from algorithms.state import NotConvergedError
from priors.descent import Curvature, accelerated


def quadratic(condition, batch=2):
    """x^T Q x / 2 - <b, x> with eigenvalues from 1 to `condition`, and its minimiser."""
    basis = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64))[0]
    Q = basis * torch.linspace(1, condition, 12, dtype=torch.float64) @ basis.T
    best = torch.randn(batch, 1, 3, 4, dtype=torch.float64)

    def slope(x):
        return ((x - best).flatten(1) @ Q).view_as(x)

    return slope, Curvature(torch.tensor(1.0), torch.tensor(float(condition))), best


@pytest.mark.parametrize("condition", [1, 30, 1000])
def test_the_certificate_bounds_the_error(condition):
    slope, bounds, best = quadratic(condition)
    start = torch.zeros_like(best)
    states = accelerated(slope, bounds, x0=start)
    for _, state in zip(range(60), states, strict=False):
        error = float((state.x - best).flatten(1).norm(dim=1).max()) / 12**0.5
        assert error <= state.residual + 1e-14
    assert bool((start == 0).all())


def test_it_is_accelerated():
    """The iterations to ten digits grow like the root of the condition number, not like the number."""
    counts = []
    for condition in (100, 10_000):
        slope, bounds, best = quadratic(condition)
        run = solve(accelerated(slope, bounds, x0=torch.zeros_like(best)), Until(tol=1e-10, max_iter=20_000))
        assert torch.allclose(run.require().x, best, atol=1e-9)
        counts.append(run.n_iter)
    assert counts[1] < 20 * counts[0] and counts[0] < 400


def test_a_missed_tolerance_is_an_error():
    slope, bounds, best = quadratic(1000)
    run = solve(accelerated(slope, bounds, x0=torch.zeros_like(best)), Until(tol=1e-10, max_iter=5))
    with pytest.raises(NotConvergedError, match="stopped after 5 iterations"):
        run.require()


def test_samples_do_not_disturb_each_other():
    slope, bounds, best = quadratic(50, batch=1)
    both = torch.cat([torch.zeros_like(best), 5 + torch.zeros_like(best)])
    together = [s.x for _, s in zip(range(20), accelerated(slope, bounds, x0=both), strict=False)]
    alone = [s.x for _, s in zip(range(20), accelerated(slope, bounds, x0=both[1:]), strict=False)]
    assert all(torch.allclose(a[1:], b, atol=1e-13) for a, b in zip(together, alone, strict=True))
