"""Gradient methods against a known solution, dense algebra, their own theorems and each other."""

import deepinv
import pytest
import torch

from algorithms.driver import Until, last, solve
from algorithms.proximal import fista, gd, pgd
from algorithms.state import State, Status
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import Huber, LeastSquares, PoissonKL
from imaging.masks import Identity
from imaging.testing import dense
from priors import L1, Tikhonov

SIZE = (1, 8, 7)
METHODS = {
    "pgd": lambda f, g, **k: pgd(f, g, **k),
    "fista": lambda f, g, **k: fista(f, g, **k),
    "fista without restart": lambda f, g, **k: fista(f, g, restart=False, **k),
}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def problem(psf, small):
    op = CircularBlur(psf, SIZE)
    y = op.A(small) + 0.02 * torch.randn(small.shape, dtype=small.dtype)
    return LeastSquares(op, y), L1(0.01)


@pytest.mark.parametrize(("name", "budget"), [("pgd", 230), ("fista", 65), ("fista without restart", 195)])
def test_lasso_is_solved_within_its_budget_and_the_start_is_kept(name, budget, lasso):
    x0 = torch.zeros(1, 1, 1, 5, dtype=torch.float64)
    run = solve(METHODS[name](lasso.f, lasso.g, x0=x0), Until(tol=1e-8, max_iter=budget)).require()
    torch.testing.assert_close(run.x, lasso.solution, rtol=0, atol=1e-6)
    assert not x0.any() and not x0.requires_grad


class Shrink:
    """The soft threshold with a weight that may be learned."""

    def __init__(self, weight):
        self.weight = weight

    def prox(self, x, *, gamma):
        return x - x.clamp(-gamma * self.weight, gamma * self.weight)


@every
def test_the_limit_is_optimal(method, gentle, small):
    f, g = problem(gentle, small)
    x = last(method(f, g, x0=f.y), 700).x
    force = -f.grad(x)
    zero = x == 0
    torch.testing.assert_close(force[~zero], g.lam * x[~zero].sign(), rtol=0, atol=1e-9)
    assert bool((force[zero].abs() <= g.lam).all())
    assert float((f.grad(small) + g.lam).abs().max()) > 1e-3  # the test would see another point


def test_gradient_descent_against_the_normal_equations(gentle, small):
    f, _ = problem(gentle, small)
    A = dense(f.op.A, SIZE, 1)[0]
    run = solve(gd(f, x0=f.y), Until(tol=1e-13, max_iter=9000)).require()
    torch.testing.assert_close(run.x.flatten(), torch.linalg.solve(A, f.y.flatten()), rtol=0, atol=1e-8)


def test_gradient_descent_on_a_sum(gentle, small):
    f, _ = problem(gentle, small)
    g = Tikhonov(0.3)
    both = dense(lambda x: f.op.A_adjoint(f.op.A(x)) + g.grad(x), SIZE, 1)[0]
    found = last(gd(f, g, step=1 / (f.lipschitz() + 8 * g.lam), x0=f.y), 700).x
    wanted = torch.linalg.solve(both, f.op.A_adjoint(f.y).flatten())
    torch.testing.assert_close(found.flatten(), wanted, rtol=0, atol=1e-9)


def test_steps_not_given_are_the_proven_bound(gentle, small):
    f, g = problem(gentle, small)
    step = 1 / f.lipschitz()
    for method in (pgd, fista, gd):
        with_g = () if method is gd else (g,)
        assert torch.equal(
            last(method(f, *with_g, x0=f.y), 4).x, last(method(f, *with_g, step=step, x0=f.y), 4).x
        )
    huber = Huber(f.op, f.y, 0.1)
    assert torch.equal(next(gd(f, huber, x0=f.y)).x, next(gd(f, huber, step=step / 2, x0=f.y)).x)


def test_fista_without_momentum_is_pgd(gentle, small):
    f, g = problem(gentle, small)
    plain = fista(f, g, x0=f.y, momentum=torch.ones_like)
    for n, (a, b) in enumerate(zip(pgd(f, g, x0=f.y), plain, strict=False)):
        assert torch.equal(a.x, b.x) and a.residual == b.residual
        if n == 20:
            break
    moved = last(fista(f, g, x0=f.y), 20).x
    assert not torch.allclose(moved, last(pgd(f, g, x0=f.y), 20).x, atol=1e-6)


def test_objectives_obey_the_theorems(psf, small):
    """Monotone for pgd; |x0 - x*|^2 / (2 step n) and 2 |x0 - x*|^2 / (step (n + 1)^2) above the minimum."""
    f, g = problem(psf, small)
    step, best = 1 / f.lipschitz(), last(fista(f, g, x0=f.y), 800).x
    low, far = float(f.value(best) + g.value(best)), float((f.y - best).square().sum())
    value = lambda s: float(f.value(s.x) + g.value(s.x)) - low  # noqa: E731
    before = float("inf")
    for n, (slow, fast) in enumerate(
        zip(pgd(f, g, x0=f.y), fista(f, g, restart=False, x0=f.y), strict=False), 1
    ):
        assert value(slow) <= before + 1e-15
        assert (
            value(slow) <= far / (2 * step * n) + 1e-12
            and value(fast) <= 2 * far / (step * (n + 1) ** 2) + 1e-12
        )
        before = value(slow)
        if n == 40:
            break


def test_restart_brings_the_linear_rate_back(small, gentle):
    f, _ = problem(gentle, small)
    g = L1(1e-4)
    until = Until(tol=1e-10, max_iter=5000)
    with_, without, plain = (
        solve(states, until).n_iter
        for states in (fista(f, g, x0=f.y), fista(f, g, restart=False, x0=f.y), pgd(f, g, x0=f.y))
    )
    assert with_ < 0.5 * without and with_ < 0.5 * plain


def test_restart_is_decided_sample_by_sample(gentle, small):
    f, g = problem(gentle, small)
    y = torch.cat([f.y, 3 * f.y.flip(-1), torch.zeros_like(f.y)])
    together = last(fista(LeastSquares(f.op, y), g, x0=y), 60).x
    singles = [last(fista(LeastSquares(f.op, v[None]), g, x0=v[None]), 60).x for v in y]
    torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-13)


@every
def test_resuming_is_not_stopping(method, gentle, small):
    f, g = problem(gentle, small)
    whole = last(method(f, g, x0=f.y), 25)
    resumed = last(method(f, g, x0=last(method(f, g, x0=f.y), 10)), 15)
    assert torch.equal(whole.x, resumed.x) and whole.residual == resumed.residual


def test_gradient_descent_resumes_and_pure_calls(gentle, small):
    f, _ = problem(gentle, small)
    y, random = f.y.clone(), torch.get_rng_state()
    tenth = last(gd(f, x0=f.y), 10)
    kept = tenth.x.clone()
    assert torch.equal(last(gd(f, x0=tenth), 15).x, last(gd(f, x0=f.y), 25).x)
    assert torch.equal(f.y, y) and torch.equal(tenth.x, kept) and torch.equal(torch.get_rng_state(), random)


def test_a_state_of_another_solver_is_refused(gentle, small):
    f, g = problem(gentle, small)
    tenth = last(fista(f, g, x0=f.y), 10)
    with pytest.raises(ValueError, match="has 2 parts, this solver's have 0: give its x"):
        next(pgd(f, g, x0=tenth))
    with pytest.raises(ValueError, match="has 0 parts, this solver's have 2"):
        next(fista(f, g, x0=State(f.y, 0.0)))


def test_too_large_a_step_diverges_and_says_so(gentle, small):
    f, g = problem(gentle, small)
    run = solve(pgd(f, g, step=2.6 / f.lipschitz(), x0=f.y), Until(tol=1e-9, max_iter=9000))
    assert run.status is Status.diverged


def test_steps_are_checked_at_the_call(gentle, small):
    f, g = problem(gentle, small)
    with pytest.raises(ValueError, match=r"step is -1\.0, wanted a positive finite number"):
        pgd(f, g, step=-1.0, x0=f.y)
    with pytest.raises(
        TypeError, match="PoissonKL has no proven Lipschitz constant of its gradient: give the step"
    ):
        pgd(PoissonKL(f.op, f.y.abs(), 9.0), g, x0=f.y)
    with pytest.raises(TypeError, match="Tikhonov has no proven Lipschitz"):
        gd(f, Tikhonov(1.0), x0=f.y) if not hasattr(Tikhonov, "lipschitz") else gd(f, g, x0=f.y)
    theirs = deepinv.physics.BlurFFT(img_size=SIZE, filter=torch.ones(1, 1, 3, 3) / 9)
    with pytest.raises(TypeError, match="BlurFFT has no proven bound of its norm: give the step"):
        pgd(LeastSquares(theirs, f.y), g, x0=f.y)


@pytest.mark.parametrize("method", [pgd, fista], ids=["pgd", "fista"])
def test_steps_and_weights_are_learned_through_the_iterations(method, gentle, small):
    f, _ = problem(gentle, small)

    def end(step, threshold):
        return last(method(f, Shrink(threshold), step=step, x0=f.y), 4).x

    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.02)]
    assert torch.autograd.gradcheck(end, values)
    parameter = torch.nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    state = last(method(f, L1(0.02), step=parameter, x0=f.y), 4)
    assert isinstance(state.residual, float) and state.x.requires_grad
    torch.testing.assert_close(state.x, last(method(f, L1(0.02), step=0.7, x0=f.y), 4).x, rtol=0, atol=1e-14)


def test_a_step_for_each_sample(gentle, small):
    f, g = problem(gentle, small)
    y = torch.cat([f.y, f.y.flip(-1)])
    steps = torch.tensor([0.3, 0.9], dtype=torch.float64)
    together = last(pgd(LeastSquares(f.op, y), g, step=steps, x0=y), 5).x
    for v, s, x in zip(y, steps, together, strict=True):
        alone = last(pgd(LeastSquares(f.op, v[None]), g, step=float(s), x0=v[None]), 5).x
        torch.testing.assert_close(x[None], alone, rtol=0, atol=1e-14)


def test_an_unknown_border_takes_the_same_call(gentle, small):
    op = WindowedBlur(gentle, (1, 5, 4))
    f = LeastSquares(op, small[..., 1:6, 1:5])
    run = solve(fista(f, L1(1e-3), x0=op.embed(f.y)), Until(tol=1e-8, max_iter=3000)).require()
    assert float(f.value(run.x)) < 1e-4


def test_a_flat_objective_ends_at_once():
    f = LeastSquares(Identity(SIZE), torch.zeros(1, *SIZE))
    assert solve(pgd(f, L1(1.0), x0=f.y), Until(tol=1e-9, max_iter=5)).n_iter == 1
