import pytest
import torch
from torch import nn

from algorithms.equilibrium import Equilibrium, fixed_point
from algorithms.state import NotConvergedError
from algorithms.unrolled import STEPS, Schedule, Unrolled
from imaging.blur import CircularBlur
from imaging.fidelity import LeastSquares


class Averaging(nn.Module):
    """x + level (tanh(weight x) - x): a contraction for 0 < weight < 1, 0 < level <= 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x, sigma):
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        return x + level * (torch.tanh(self.weight * x) - x)


class OnePair(nn.Module):
    """A fixed level for many steps, all sharing one learned pair."""

    def __init__(self, n, *, gamma=True):
        super().__init__()
        self.n, self.inner = n, Schedule(1, start=0.5, weight=0.5, floor=0.002, gamma=gamma).double()

    def forward(self, noise):
        return self.inner(noise) * self.n


@pytest.fixture
def problem(psf):
    y = torch.rand(2, 1, 8, 7, dtype=torch.float64)
    return LeastSquares(CircularBlur(psf, (1, 8, 7)), y), y


NOISE = torch.tensor([0.3, 0.4], dtype=torch.float64)


def gradients(net, f, y):
    net(f, NOISE, y).square().sum().backward()
    return [p.grad for p in net.parameters()]


@pytest.mark.parametrize("family", ["hqs", "pgd"])
def test_gradients_are_those_of_long_unrolling(problem, family):
    f, y = problem
    pair, step = {"gamma": family == "hqs"}, STEPS[family]
    fixed = Equilibrium(Averaging(), OnePair(1, **pair), step=step, tol=1e-13, max_iter=2000)
    long = Unrolled(Averaging(), OnePair(150, **pair), step=step)
    torch.testing.assert_close(fixed(f, NOISE, y), long(f, NOISE, y), rtol=0, atol=1e-9)
    for one, other in zip(gradients(fixed, f, y), gradients(long, f, y), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    short = gradients(Unrolled(Averaging(), OnePair(1, **pair), step=step), f, y)
    assert abs(float(short[0] - gradients(fixed, f, y)[0])) > 1e-3  # the negative control: one step is not


def test_gradients_against_finite_differences(problem):
    f, y = problem
    net = Equilibrium(Averaging(), OnePair(1), tol=1e-13, max_iter=2000)
    slope = gradients(net, f, y)[0]
    ends, h = [], 1e-4
    for sign in (1, -1):
        with torch.no_grad():
            net.denoise.weight.add_(sign * h)
            ends.append(float(net(f, NOISE, y).square().sum()))
            net.denoise.weight.sub_(sign * h)
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)


def test_gradients_of_a_linear_map():
    """x = M x + b has dx/db = (I - M)^-1, against a dense solve."""
    M = torch.tensor([[0.2, 0.5], [-0.3, 0.4]], dtype=torch.float64)
    b = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    x = fixed_point(lambda x: M @ x + b, torch.zeros_like(b), tol=1e-14, max_iter=500)
    inverse = torch.linalg.inv(torch.eye(2, dtype=torch.float64) - M)
    torch.testing.assert_close(x, inverse @ b)
    x[0].backward()
    torch.testing.assert_close(b.grad, inverse[0])


def test_without_gradients_nothing_is_kept():
    x = fixed_point(lambda x: x / 2 + 1, torch.zeros(3), tol=1e-6, max_iter=99)
    assert not x.requires_grad
    torch.testing.assert_close(x, torch.full((3,), 2.0))


def test_the_memory_does_not_grow_with_the_iterations(problem):
    """The graph holds two applications of the denoiser, whatever the number of iterations."""
    f, y = problem
    net = Equilibrium(Averaging(), OnePair(1), tol=1e-13, max_iter=2000)
    counts = []
    net.denoise.register_forward_hook(lambda m, a, out: counts.append(out.requires_grad))
    net(f, NOISE, y)
    assert counts.count(True) == 2 and counts.count(False) > 5


def test_the_tolerance_is_that_of_each_sample():
    """A sample that is large and at rest does not end the run for one that is small and on its way."""
    rates = torch.tensor([[0.0], [0.9]], dtype=torch.float64)
    push = torch.tensor([[1e6], [1.0]], dtype=torch.float64)
    x = fixed_point(lambda x: rates * x + push, torch.zeros_like(push), tol=1e-6, max_iter=500)
    assert float(x[1]) == pytest.approx(10.0, rel=1e-4)


def test_an_expansion_is_refused():
    with pytest.raises(NotConvergedError, match="stopped after"):
        fixed_point(lambda x: 2 * x + 1, torch.ones(3), tol=1e-6, max_iter=20)
