"""Descent by backtracking or by theorem: where it goes, that it resumes, what it refuses; its examiner."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from algorithms.backtracking import Rule, proximal_descent
from algorithms.driver import Until, last, solve
from algorithms.exam_descent import DescentExam
from algorithms.proximal import pgd
from algorithms.state import NotConvergedError
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from priors import L1, LPN, DenoiserConfig, Fixed, GradientStep, LPNConfig, Ridge, RidgeConfig
from priors.weighted import PerChannel, Weighted

BACKTRACKING, MOMENTUM, FIXED = Rule(0.5, False), Rule(0.5, True), Rule(None, False)


def noise(like, seed=5):
    return 0.02 * torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


@pytest.fixture
def f(truth, gentle):
    x = truth[..., 4:16, 2:12]
    op = CircularBlur(gentle, tuple(x.shape[1:]))
    return LeastSquares(op, op.A(x) + noise(x))


def gradient_step(channels=1, *, rough=1.0):
    torch.manual_seed(1)
    net = GradientStep(DenoiserConfig(channels=channels, widths=(4, 8), blocks=(1, 1)))
    net = net.double().requires_grad_(False)
    for parameter in net.parameters():
        parameter.mul_(rough)
    return net


def ridge(channels=1):
    torch.manual_seed(2)
    return (
        Ridge(RidgeConfig(channels=channels, filters=2, widths=(), kernels=(3,)))
        .double()
        .requires_grad_(False)
    )


def lpn(channels=1):
    torch.manual_seed(3)
    return LPN(LPNConfig(channels=channels, side=3)).double().requires_grad_(False)


def examined(smooth, simple, step, rule, x0, *, n=30):
    exam = DescentExam(smooth, simple, step=step, backtracking=rule.shrink is not None)
    states = proximal_descent(smooth, simple, step=step, x0=x0, rule=rule)
    run = solve(exam.watch(states), Until(tol=0.0, max_iter=n))
    return exam, exam.certificate(), run


def kind_of(certificate, start):
    return next(c for c in certificate.conditions if c.claim.startswith(start)).kind


@pytest.mark.parametrize("rule", [BACKTRACKING, MOMENTUM], ids=["plain", "momentum"])
def test_it_goes_where_a_general_minimiser_goes(f, rule):
    g = Weighted(ridge(), 0.1, weight=0.05)
    x = (
        solve(proximal_descent(g, f, step=10.0, x0=f.y, rule=rule), Until(tol=1e-11, max_iter=3000))
        .require()
        .x
    )

    def both(v):
        at = torch.from_numpy(v).view_as(f.y)
        return float(f.value(at) + g.value(at)), (f.grad(at) + g.grad(at)).flatten().numpy()

    start = f.y.flatten().numpy()
    found = minimize(
        both, start, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12, "maxiter": 5000}
    )
    assert float(f.value(x) + g.value(x)) == pytest.approx(found.fun, rel=1e-9)
    assert np.abs(x.flatten().numpy() - found.x).max() < 1e-5


def test_without_backtracking_and_momentum_it_is_proximal_gradient(f):
    g = Fixed(lpn(), 0.05, 0.9)
    ours = last(proximal_descent(f, g, step=0.9, x0=f.y, rule=FIXED), 7).x
    assert torch.equal(ours, last(pgd(f, g, step=0.9, x0=f.y), 7).x)


@pytest.mark.parametrize("rule", [BACKTRACKING, MOMENTUM], ids=["plain", "momentum"])
def test_resuming_equals_not_stopping(f, rule):
    g = Weighted(gradient_step(rough=3.0), 0.1, weight=0.3)
    whole = list(islice(proximal_descent(g, f, step=300.0, x0=f.y, rule=rule), 9))
    again = list(islice(proximal_descent(g, f, step=300.0, x0=whole[3], rule=rule), 5))
    assert float(whole[3].memory[1]) < 300.0  # there was backtracking before
    assert torch.equal(again[-1].x, whole[-1].x) and torch.equal(again[-1].memory[0], whole[-1].memory[0])


def test_momentum_needs_fewer_steps(truth, psf):
    op = CircularBlur(psf, tuple(truth.shape[1:]))
    f, g = LeastSquares(op, op.A(truth) + noise(truth)), L1(1e-4)

    def height(momentum, n):
        return float(last(proximal_descent(f, g, step=1.0, x0=f.y, rule=Rule(None, momentum)), n).memory[0])

    assert height(True, 60) - height(True, 300) < 0.5 * (height(False, 60) - height(True, 300))


def test_a_prior_of_one_step_allows_no_backtracking(f):
    with pytest.raises(ValueError, match=r"Fixed is the prox of one step only.*it allows no backtracking"):
        proximal_descent(f, Fixed(lpn(), 0.05, 0.9), step=0.9, x0=f.y, rule=BACKTRACKING)


def test_what_is_no_step_and_no_factor_is_refused(f):
    with pytest.raises(ValueError, match=r"shrink is 1.5: give a factor between 0 and 1"):
        proximal_descent(f, None, step=1.0, x0=f.y, rule=Rule(1.5, False))
    with pytest.raises(ValueError, match=r"step is 0.0: give a positive number"):
        proximal_descent(f, None, step=0.0, x0=f.y, rule=FIXED)
    state = next(pgd(f, Fixed(lpn(), 0.05, 0.9), step=0.9, x0=f.y))
    with pytest.raises(ValueError, match="has 0 parts, this solver's have 5"):
        proximal_descent(f, None, step=1.0, x0=state, rule=FIXED)


def test_a_gradient_of_another_function_ends_in_an_error(f):
    class Lying:
        def value(self, x):
            return f.value(x)

        def grad(self, x):
            return -f.grad(x)

    with pytest.raises(NotConvergedError, match="no step lowers the objective"):
        next(proximal_descent(Lying(), None, step=1.0, x0=f.y, rule=BACKTRACKING))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("momentum", [False, True])
def test_a_gradient_step_prior_with_backtracking_is_certified(truth, gentle, channels, momentum):
    x = truth[..., :12, :10].repeat(1, channels, 1, 1)
    op = WindowedBlur(gentle, tuple(x.shape[1:]))
    f = LeastSquares(op, op.A(op.embed(x)) + noise(x))
    net = gradient_step(channels, rough=2.0)
    exam, certificate, run = examined(
        Weighted(net, 0.1, weight=0.3), f, 300.0, Rule(0.5, momentum), op.embed(f.y)
    )
    assert certificate.clean, certificate.conditions
    assert certificate.verdict.startswith("proven (Hurault, Leclaire and Papadakis 2022")
    assert "as long as the iterates stay bounded" in certificate.verdict
    assert all(a >= b - 1e-12 for a, b in zip(exam.objective, exam.objective[1:], strict=False))
    direct = float(f.value(run.x)) + 0.3 * float((run.x - net.inner(run.x, 0.1)).square().sum()) / 2
    assert exam.objective[-1] == pytest.approx(direct, rel=1e-12)


def test_gradient_steps_alone_do_it_too(f):
    g = Weighted(gradient_step(), 0.1, weight=0.3)

    class Sum:
        def value(self, x):
            return f.value(x) + g.value(x)

        def grad(self, x):
            return f.grad(x) + g.grad(x)

    _, certificate, _ = examined(Sum(), None, 50.0, BACKTRACKING, f.y)
    assert kind_of(certificate, "the objective never rises") == "observed"
    assert certificate.verdict.startswith("nothing is proven")  # of a sum made by hand nothing is known


def test_a_steep_prior_without_backtracking_rises_and_is_reported(f):
    g = Weighted(gradient_step(rough=3.0), 0.1, weight=0.3)
    _, certificate, _ = examined(g, f, 300.0, FIXED, f.y, n=6)
    assert kind_of(certificate, "the objective never rises") == "violated"
    assert certificate.verdict.startswith("no guarantee")


def test_a_ridge_prior_is_proven_by_its_curvature(f):
    g = Weighted(ridge(), 0.1, weight=0.05)
    step = 0.99 / g.lipschitz()
    _, certificate, _ = examined(g, f, step, Rule(None, True), f.y)
    assert certificate.clean and certificate.verdict.startswith("proven (Beck 2017")
    assert "): the objective" in certificate.verdict  # no "if" on the whole of it
    _, certificate, _ = examined(g, f, 8 * step, Rule(0.5, True), f.y)
    assert certificate.clean and certificate.verdict.startswith("proven (Beck 2017")
    assert "): the objective" in certificate.verdict  # bounded curvature: backtracking ends anywhere
    _, certificate, _ = examined(g, f, 2.5 * step, Rule(None, False), f.y)
    assert kind_of(certificate, "the step is at most") == "violated" and not certificate.clean


@pytest.mark.parametrize("momentum", [False, True])
def test_a_learned_proximal_network_with_and_without_momentum(f, momentum):
    g = Fixed(lpn(), 0.05, 0.99)
    exam, certificate, run = examined(f, g, 0.99, Rule(None, momentum), f.y)
    assert certificate.clean and certificate.verdict.startswith("proven (Attouch")
    assert exam.objective[-1] == pytest.approx(float(f.value(run.x) + g.value(run.x)), rel=1e-6)


def test_a_state_that_is_no_output_of_the_network_is_found(f):
    g = Fixed(lpn(), 0.05, 0.99)
    exam = DescentExam(f, g, step=0.99, backtracking=False)
    states = (s._replace(x=0.9 * s.x) for s in proximal_descent(f, g, step=0.99, x0=f.y, rule=FIXED))
    solve(exam.watch(states), Until(tol=0.0, max_iter=5))
    assert kind_of(exam.certificate(), "the solver's last objective") == "violated"


def test_channels_one_by_one_are_one_function(truth):
    x = truth[..., :9, :8].repeat(1, 3, 1, 1) + noise(truth[..., :9, :8].repeat(1, 3, 1, 1))
    net = gradient_step()
    each = PerChannel(net)
    alone = [x[:, c : c + 1] for c in range(3)]
    assert torch.allclose(each(x, 0.1), torch.cat([net(v, 0.1) for v in alone], 1))
    assert float(each.value(x, 0.1)) == pytest.approx(sum(float(net.value(v, 0.1)) for v in alone))
    value, slope = each.value_and_grad(x, 0.1)
    assert torch.allclose(slope, torch.cat([net.grad(v, 0.1) for v in alone], 1)) and value.shape == (1,)
    assert not hasattr(PerChannel(lpn()), "grad") and PerChannel(lpn()).claims.proximal
    with pytest.raises(TypeError, match="LPN has no value and grad"):
        Weighted(lpn(), 0.1, weight=1.0)
