import pytest
import torch

from algorithms.driver import Until, solve
from algorithms.state import NotConvergedError
from priors.descent import Curvature, spectral


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
    states = spectral(slope, bounds, x0=start)
    for _, state in zip(range(60), states, strict=False):
        error = float((state.x - best).flatten(1).norm(dim=1).max()) / 12**0.5
        assert error <= state.residual + 1e-14
    assert bool((start == 0).all())


def nesterov(slope, bounds, *, x0, tol):
    """Iterations of Nesterov's method with the momentum for this condition number, to the same bound."""
    root = float(bounds.upper / bounds.lower) ** 0.5
    x = y = x0
    for n in range(1, 20_000):
        x, old = y - slope(y) / bounds.upper, x
        y = x + (root - 1) / (root + 1) * (x - old)
        if float(slope(x).flatten(1).norm(dim=1).max() / bounds.lower) / 12**0.5 <= tol:
            return n
    raise AssertionError


@pytest.mark.parametrize("pessimism", [1, 30])
def test_it_does_not_pay_for_bounds_that_are_too_wide(pessimism):
    """With a bound of the curvature thirty times too large Nesterov's method takes longer, this does not."""
    slope, bounds, best = quadratic(100)
    bounds = bounds._replace(upper=pessimism * bounds.upper)
    start = torch.zeros_like(best)
    run = solve(spectral(slope, bounds, x0=start), Until(tol=1e-8, max_iter=2000))
    assert torch.allclose(run.require().x, best, atol=1e-6)
    assert run.n_iter < nesterov(slope, bounds, x0=start, tol=1e-8) / (1 if pessimism == 1 else 3)


@pytest.mark.parametrize("seed", range(2, 5))
def test_it_finds_its_way_where_bare_secant_steps_cycle(seed):
    """Huber's function of 12 measurements plus |x|^2 / 20: without the short steps most never end."""
    torch.manual_seed(seed)
    A, b = torch.randn(12, 12, dtype=torch.float64), 2 * torch.randn(12, dtype=torch.float64)
    bounds = Curvature(torch.tensor(0.1), 10 * torch.linalg.matrix_norm(A, 2) ** 2 + 0.1)

    def slope(x):
        z = x.flatten(1)
        return ((10 * (z @ A.T - b)).clamp(-1, 1) @ A + 0.1 * z).view_as(x)

    start = 5 + torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    run = solve(spectral(slope, bounds, x0=start), Until(tol=1e-8, max_iter=8000))
    assert float(slope(run.require().x).abs().max()) < 1e-7


def test_a_missed_tolerance_is_an_error():
    slope, bounds, best = quadratic(1000)
    run = solve(spectral(slope, bounds, x0=torch.zeros_like(best)), Until(tol=1e-10, max_iter=5))
    with pytest.raises(NotConvergedError, match="stopped after 5 iterations"):
        run.require()


def test_samples_do_not_disturb_each_other():
    slope, bounds, best = quadratic(50, batch=1)
    both = torch.cat([torch.zeros_like(best), 5 + torch.zeros_like(best)])
    together = [s.x for _, s in zip(range(20), spectral(slope, bounds, x0=both), strict=False)]
    alone = [s.x for _, s in zip(range(20), spectral(slope, bounds, x0=both[1:]), strict=False)]
    assert all(torch.allclose(a[1:], b, atol=1e-13) for a, b in zip(together, alone, strict=True))
