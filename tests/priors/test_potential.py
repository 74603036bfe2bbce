"""Reading a learned regulariser, beside functions whose regulariser is known."""

import pytest
import torch
from torch import nn

from algorithms.state import NotConvergedError
from priors.base import Fixed
from priors.claims import Claims
from priors.lpn import LPN, LPNConfig
from priors.potential import inversion, read_value, value_at_output


class Quadratic(nn.Module):
    """f(y) = y / (1 + w): the prox of w |x|^2 / 2, w one a pixel."""

    claims = Claims(symmetric=True, convexity=0.2, proximal=True)

    def __init__(self, w):
        super().__init__()
        self.w = w

    def forward(self, y, sigma):
        return y / (1 + self.w)

    def potential(self, y, sigma):
        return (y.square() / (1 + self.w)).sum((1, 2, 3)) / 2


class Elastic(nn.Module):
    """f(y) = a y + (1 - a) soft(y, 1): its regulariser is (1 / a - 1) x^2 / 2 near 0, then
    (1 - a) |x| - (1 - a) a / 2.
    """

    claims = Claims(symmetric=True, convexity=0.1, proximal=True)

    def forward(self, y, sigma):
        return 0.1 * y + 0.9 * torch.sign(y) * (y.abs() - 1).clamp(min=0)

    def potential(self, y, sigma):
        return (0.1 * y**2 / 2 + 0.9 * (y.abs() - 1).clamp(min=0) ** 2 / 2).sum((1, 2, 3))


def picture(batch=2):
    return torch.randn(batch, 1, 5, 4, dtype=torch.float64)


def net():
    made = LPN(LPNConfig(side=4)).double().requires_grad_(False)
    for p in made.parameters():
        p.add_(0.3 * torch.randn_like(p))
    return made


def test_quadratic_is_read_exactly():
    w = 4 * torch.rand(5, 4, dtype=torch.float64)
    x = picture()
    reading = read_value(Quadratic(w), x, 0.1, rtol=1e-9, max_iter=500)
    exact = (w * x.square()).sum((1, 2, 3)) / 2
    assert torch.allclose(reading.value, exact, rtol=1e-12)
    assert bool((reading.residual <= 1e-9).all())
    assert torch.allclose(reading.y, (1 + w) * x, rtol=1e-7)


def test_elastic_is_read_exactly():
    x = picture()
    near = x.abs() <= 0.1
    exact = torch.where(near, 9 * x.square() / 2, 0.9 * x.abs() - 0.045).sum((1, 2, 3))
    assert torch.allclose(read_value(Elastic(), x, 0.1, rtol=1e-9, max_iter=999).value, exact, rtol=1e-9)


@pytest.mark.parametrize("rtol", [0.3, 1e-2, 1e-4])
def test_the_certificate_encloses_the_value(rtol):
    w = 4 * torch.rand(5, 4, dtype=torch.float64)
    x = picture(5)
    exact = (w * x.square()).sum((1, 2, 3)) / 2
    reading = read_value(Quadratic(w), x, 0.1, rtol=rtol, max_iter=500)
    assert bool((reading.residual <= rtol).all())
    assert bool((reading.value <= exact + 1e-12).all())
    assert bool((exact <= reading.value + reading.error + 1e-12).all())
    assert bool((reading.value < exact).any())  # there was something to enclose


def test_closed_form_and_inversion_agree():
    prior, y = net(), torch.rand(2, 1, 9, 8, dtype=torch.float64)
    closed = value_at_output(prior, y, 0.1)
    read = read_value(prior, prior(y, 0.1), 0.1, rtol=1e-8, max_iter=999)
    assert torch.allclose(closed, read.value, rtol=1e-8)
    assert torch.allclose(prior.value(prior(y, 0.1), 0.1), closed, rtol=1e-8)
    assert float(value_at_output(prior, torch.zeros_like(y), 0.1).abs().max()) == 0


def test_the_inverse_is_what_newton_finds():
    prior, x = net(), torch.rand(1, 1, 4, 4, dtype=torch.float64)
    y = x
    for _ in range(60):
        slope = torch.autograd.functional.jacobian(lambda v: prior(v, 0.1), y).reshape(16, 16)
        y = y - 0.7 * torch.linalg.solve(slope, (prior(y, 0.1) - x).reshape(16)).reshape_as(y)
    reading = read_value(prior, x, 0.1, rtol=1e-10, max_iter=2000)
    assert torch.allclose(reading.y, y, atol=1e-7)


def test_float32_reads_to_its_precision():
    prior, x = net(), torch.rand(2, 1, 9, 8, dtype=torch.float64)
    exact = prior.value(x, 0.1)
    assert torch.allclose(prior.float().value(x.float(), 0.1), exact, rtol=1e-4)


def test_noise_raises_the_value():
    prior, x = LPN(LPNConfig(side=4)).double(), torch.full((1, 1, 12, 12), 0.5, dtype=torch.float64)
    noisy = [x + s * torch.randn_like(x) for s in (0.0, 0.02, 0.05, 0.1)]
    values = [float(prior.value(v, 0.1)) for v in noisy]
    assert values == sorted(values)


def test_a_missed_tolerance_is_an_error():
    with pytest.raises(NotConvergedError, match="stopped after 3 iterations"):
        read_value(net(), torch.rand(1, 1, 9, 9, dtype=torch.float64), 0.1, rtol=1e-10, max_iter=3)


def test_without_a_potential_there_is_nothing_to_read():
    with pytest.raises(TypeError, match="Identity has no convex potential"):
        read_value(nn.Identity(), picture(), 0.1, rtol=1e-3, max_iter=9)


def test_states_are_fresh_and_the_argument_is_left_alone():
    x = picture()
    kept, states = x.clone(), inversion(Elastic(), x, 0.1, convexity=0.1)
    first, second = next(states), next(states)
    assert not torch.equal(first.x, second.x)
    assert second.residual < first.residual
    assert torch.equal(x, kept)


def test_fixed_binds_one_gamma():
    prior, y = net(), torch.rand(2, 1, 6, 6, dtype=torch.float64)
    bound = Fixed(prior, 0.1, gamma=2.0)
    assert bound.explicit_prior
    assert torch.equal(bound.prox(y, gamma=2.0), prior(y, 0.1))
    for gamma in (1.0, 2.0001, torch.tensor([2.0, 3.0])):
        with pytest.raises(ValueError, match=r"bound to gamma = 2\.0"):
            bound.prox(y, gamma=gamma)
    p = bound.prox(y, gamma=2.0)
    lowest = 2.0 * bound.value(p) + (p - y).square().sum((1, 2, 3)) / 2
    for step in (0.01, 0.3):
        q = p + step * torch.randn_like(p)
        assert bool((2.0 * bound.value(q) + (q - y).square().sum((1, 2, 3)) / 2 >= lowest - 1e-9).all())
