"""Regularisation by denoising with a linear denoiser, where the answer is one dense solve."""

import pytest
import torch

from algorithms.driver import Until, last, solve
from algorithms.red import red_fixed_point, red_gradient
from algorithms.splitting import hqs
from algorithms.state import Status
from imaging.blur import CircularBlur
from imaging.fidelity import LeastSquares, PoissonKL
from imaging.testing import dense

SIZE = (1, 8, 7)
WEIGHT = 0.3


@pytest.fixture
def denoise():
    """A symmetric smoothing with eigenvalues in [0, 1]: twice a symmetric psf."""
    k = torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]], dtype=torch.float64)
    blur = CircularBlur((k / k.sum())[None, None], SIZE)
    return lambda x: blur.A(blur.A(x))


@pytest.fixture
def f(gentle, small):
    op = CircularBlur(gentle, SIZE)
    return LeastSquares(op, op.A(small) + 0.02 * torch.randn(small.shape, dtype=small.dtype))


METHODS = {"gradient": red_gradient, "fixed point": red_fixed_point}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@every
def test_a_linear_denoiser_leads_to_a_linear_solve(method, f, denoise):
    system = dense(lambda x: f.op.A_adjoint(f.op.A(x)) + WEIGHT * (x - denoise(x)), SIZE, 1)[0]
    wanted = torch.linalg.solve(system, f.op.A_adjoint(f.y).flatten())
    run = solve(method(f, denoise, weight=WEIGHT, x0=f.y), Until(tol=1e-12, max_iter=1500)).require()
    torch.testing.assert_close(run.x.flatten(), wanted, rtol=0, atol=1e-8)
    assert float((wanted - f.y.flatten()).abs().max()) > 1e-2


@every
def test_the_fixed_point_balances_a_nonlinear_denoiser(method, f):
    median = lambda x: torch.cat([x, x.roll(1, -1), x.roll(-1, -1)]).median(0, keepdim=True).values  # noqa: E731
    soft = lambda x: 0.5 * x + 0.5 * median(x)  # noqa: E731
    x = last(method(f, soft, weight=WEIGHT, x0=f.y), 400).x
    assert float((f.grad(x) + WEIGHT * (x - soft(x))).abs().max()) < 1e-9
    assert float((f.grad(f.y) + WEIGHT * (f.y - soft(f.y))).abs().max()) > 1e-3


def test_the_step_not_given_is_the_proven_one(f, denoise):
    step = 1 / (f.lipschitz() + 2 * WEIGHT)
    one, two = (last(red_gradient(f, denoise, weight=WEIGHT, x0=f.y, **k), 5).x for k in ({}, {"step": step}))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-15)
    with pytest.raises(TypeError, match="PoissonKL has no proven Lipschitz constant"):
        red_gradient(PoissonKL(f.op, f.y.abs(), 9.0), denoise, weight=WEIGHT, x0=f.y)


def test_the_fixed_point_form_is_half_quadratic_splitting_at_one_level(f, denoise):
    pairs = [(0.0, 1 / WEIGHT)] * 8
    other = list(hqs(f, lambda x, _: denoise(x), pairs, x0=f.y))
    states = red_fixed_point(f, denoise, weight=WEIGHT, x0=other[0].memory[0])
    for state, twin in zip(states, other[1:], strict=False):
        torch.testing.assert_close(state.x, twin.memory[0], rtol=0, atol=1e-14)


@every
def test_resuming_is_not_stopping_and_a_batch_equals_its_singles(method, f, denoise):
    whole = last(method(f, denoise, weight=WEIGHT, x0=f.y), 25).x
    tenth = last(method(f, denoise, weight=WEIGHT, x0=f.y), 10)
    assert torch.equal(last(method(f, denoise, weight=WEIGHT, x0=tenth), 15).x, whole)
    both = LeastSquares(f.op, torch.cat([f.y, f.y.flip(-1)]))
    together = last(method(both, denoise, weight=WEIGHT, x0=both.y), 25).x
    torch.testing.assert_close(together[:1], whole, rtol=0, atol=1e-13)


def test_an_expansive_denoiser_loses_the_guarantee(f):
    run = solve(red_gradient(f, lambda x: 6 * x, weight=1.0, x0=f.y), Until(tol=1e-9, max_iter=4000))
    assert run.status is Status.diverged


@every
def test_weights_are_learned_through_the_iterations(method, f, denoise):
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: last(method(f, denoise, weight=w, x0=f.y), 3).x, (weight,))


def test_numbers_are_checked_at_the_call(f, denoise):
    with pytest.raises(ValueError, match="weight is 0, wanted a positive finite number"):
        red_gradient(f, denoise, weight=0, x0=f.y)
    with pytest.raises(ValueError, match="step is nan, wanted a positive"):
        red_gradient(f, denoise, weight=1.0, step=float("nan"), x0=f.y)
