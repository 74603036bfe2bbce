"""Alternating directions: the objective may rise, the right quantity does not; a denoiser promises none."""

from itertools import islice

import pytest
import torch

from algorithms.driver import Until, solve
from algorithms.exam_splitting import AugmentedLagrangianExam
from algorithms.examination import plain_certificate
from algorithms.splitting import admm, hqs
from imaging.blur import CircularBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Inpainting
from priors import LPN, Fixed, LPNConfig
from priors.analytic import Tikhonov


@pytest.fixture
def f(truth, gentle):
    x = truth[..., 4:16, 2:12]
    op = CircularBlur(gentle, tuple(x.shape[1:]))
    draw = torch.Generator().manual_seed(5)
    return LeastSquares(op, op.A(x) + 0.02 * torch.randn(x.shape, generator=draw, dtype=x.dtype))


def learned(gamma):
    torch.manual_seed(3)
    net = LPN(LPNConfig(side=3)).double().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return Fixed(net, 0.05, gamma)


def examined(first, last, gamma, x0, *, n=20):
    exam = AugmentedLagrangianExam(first, last, gamma=gamma)
    run = solve(exam.watch(admm(first, last, gamma=gamma, x0=x0), x0), Until(tol=0.0, max_iter=n))
    return exam, exam.certificate(), run


def test_two_convex_functions_converge_and_the_objective_may_rise(small):
    seen = (torch.arange(56).reshape(1, 1, 8, 7) % 3 == 0).double()
    f, g = LeastSquares(Inpainting(seen, (1, 8, 7)), seen * small), Tikhonov(0.5)
    _, certificate, _ = examined(f, g, 4.0, torch.zeros_like(small), n=30)
    assert certificate.clean and certificate.verdict.startswith("proven (Eckstein and Bertsekas")
    states = [s.x for s in islice(admm(f, g, gamma=4.0, x0=torch.zeros_like(small)), 30)]
    objective = torch.stack([f.value(x) + g.value(x) for x in states])
    assert float(objective.diff(dim=0).max()) > 1e-6  # so that claiming it would have been wrong


@pytest.mark.parametrize("rho", [1.05, 3.0])
def test_the_augmented_lagrangian_falls_for_large_rho(f, rho):
    gamma = 1 / (rho * f.lipschitz())
    exam, certificate, run = examined(learned(gamma), f, gamma, f.y)
    assert certificate.clean, certificate.conditions
    assert certificate.verdict.startswith("proven (Wang, Yin and Zeng 2019")
    assert exam.objective[0] > exam.objective[-1]
    v, u = run.state.memory
    direct = f.value(run.x) + learned(gamma).value(v)
    direct = direct + ((v - run.x + u).square().sum() - u.square().sum()) / (2 * gamma)
    assert exam.objective[-1] == pytest.approx(float(direct), rel=1e-6)


def test_a_small_rho_is_violated(f):
    gamma = 10 / f.lipschitz()
    _, certificate, _ = examined(learned(gamma), f, gamma, f.y)
    broken = [c.claim for c in certificate.conditions if c.kind == "violated"]
    assert "rho = 1 / gamma is above L" in broken
    assert certificate.verdict.startswith("no guarantee: it is not true that rho = 1 / gamma is above L (10")


def test_rho_at_the_bound_itself_is_not_above_it(f):
    gamma = 1 / f.lipschitz()
    _, certificate, _ = examined(learned(gamma), f, gamma, f.y, n=3)
    assert [c.claim for c in certificate.conditions if c.kind == "violated"] == ["rho = 1 / gamma is above L"]


def test_the_other_order_is_not_covered(f):
    gamma = 0.5
    _, certificate, _ = examined(f, learned(gamma), gamma, f.y)
    assert certificate.verdict.startswith("nothing is proven. Observed: the augmented Lagrangian")


def test_a_plain_denoiser_promises_nothing(f):
    def median(x, sigma):
        return x.clamp(0.2, 0.9)

    run = solve(hqs(f, median, [(0.1, 1.0), (0.05, 2.0)], x0=f.y), Until(tol=0.0, max_iter=2))
    certificate = plain_certificate(run.history["residual"], denoiser="median")
    assert certificate.verdict.startswith("nothing is proven. Observed: the last relative change of x")
    assert certificate.clean and certificate.conditions[0].value == run.history["residual"][-1]
