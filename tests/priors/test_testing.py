"""The checks of priors: what keeps its claims passes; what does not is caught by the check meant for it."""

import pytest
import torch
from torch import nn

from priors import testing
from priors.claims import Claims, claims_of
from priors.denoiser import Denoiser, DenoiserConfig
from priors.lpn import LPN, LPNConfig
from priors.testing import prior_checks, trained_briefly

SIGMA = 0.1
CONFIGS = {
    "grey": LPNConfig(side=4),
    "colour": LPNConfig(channels=3, side=2),
    "scales": LPNConfig(side=3, scales=2, convexity=0.2),
    "one level": LPNConfig(side=4, levels=(0.1,)),
}


def picture(channels=1):
    return torch.rand(2, channels, 5, 4, dtype=torch.float64)


def plain():
    return Denoiser(DenoiserConfig(widths=(4, 6), blocks=(1, 1))).double().requires_grad_(False)


@pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CONFIGS)
def test_learned_proximal_networks_keep_their_claims(name, check):
    check(LPN(CONFIGS[name]).double(), picture(CONFIGS[name].channels), SIGMA)


@pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "rate"), [("grey", 1.0), ("colour", 3.0)])
def test_after_careless_training_too(name, rate, check):
    """Training with a far too large rate: the claims hold for any weights.

    The rates are such that what comes out can still be inverted in the steps that `value` allows itself.
    """
    before = LPN(CONFIGS[name]).double()
    x = picture(CONFIGS[name].channels)
    after = trained_briefly(before, x, SIGMA, steps=5, rate=rate)
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    moved = max(float((p - q).detach().abs().max()) for p, q in pairs)
    assert moved > 0.1
    check(after, x, SIGMA)


@pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
def test_a_plain_denoiser_claims_nothing_and_passes(check):
    assert claims_of(plain()) == Claims()
    check(plain(), picture(), SIGMA)


class Pretender(nn.Module):
    """A map that claims to be a learned proximal operator."""

    claims = Claims(symmetric=True, convexity=0.05, proximal=True, descent=True)

    def __init__(self, inner, value=lambda x, sigma: x.square().sum((1, 2, 3))):
        super().__init__()
        self.inner, self.value = inner, value

    def forward(self, x, sigma):
        return self.inner(x, sigma)

    def potential(self, x, sigma):
        return (x * self.inner(x, sigma)).sum((1, 2, 3)) / 2


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (testing.check_symmetric, "asymmetric by"),
        (testing.check_potential, "finite differences"),
        (testing.check_lowest, "not the minimiser"),
        (testing.check_moreau, "not the conjugate|identity is missed"),
        (testing.check_descent, "x - m differs"),
    ],
)
def test_a_plain_denoiser_fails_the_claims(check, text):
    net = Pretender(plain())
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
    with pytest.raises(AssertionError, match=text):
        check(net, picture(), SIGMA)


def test_a_potential_that_is_not_convex_fails():
    concave = Pretender(lambda x, sigma: x - 0.3 * torch.sin(4 * x))
    testing.check_symmetric(concave, picture(), SIGMA)
    with pytest.raises(AssertionError, match="smallest eigenvalue of the Jacobian is -0"):
        testing.check_convexity(concave, picture(), SIGMA)


def test_ridge_regression_is_a_prox_and_a_tenth_off_is_not():
    """f(y) = y / 3 is the prox of |x|^2, and x - grad |x|^2 / 3 at 1/3."""
    right = Pretender(lambda x, sigma: x / 3)
    testing.check_lowest(right, picture(), SIGMA)
    testing.check_moreau(right, picture(), SIGMA)
    with pytest.raises(AssertionError, match="not the minimiser"):
        testing.check_lowest(Pretender(lambda x, sigma: x / 3.3), picture(), SIGMA)
    descent = Pretender(lambda x, sigma: x / 3, lambda x, sigma: x.square().sum((1, 2, 3)) / 3)
    testing.check_descent(descent, picture(), SIGMA)


class Careless(nn.Module):
    """Wrong in one way at a time."""

    def __init__(self, fault):
        super().__init__()
        self.fault, self.calls = fault, nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x, sigma):
        if self.fault == "argument":
            x += 1
        if self.fault == "weights":
            self.calls += 1
        if self.fault == "random":
            torch.rand(1)
        if self.fault == "batch":
            return x - x.mean()
        if self.fault == "levels":
            return x * torch.as_tensor(sigma).mean()
        return x.double() if self.fault == "dtype" else x.clone()


@pytest.mark.parametrize(
    ("fault", "check", "text"),
    [
        ("argument", testing.check_pure, "differ|argument was changed"),
        ("weights", testing.check_pure, "changed the weights"),
        ("random", testing.check_pure, "random state"),
        ("batch", testing.check_batch, "differs from its pictures"),
        ("levels", testing.check_levels, "differ from single calls"),
        ("dtype", testing.check_float32, "float32 is off"),
    ],
)
def test_carelessness_is_caught(fault, check, text):
    with pytest.raises(AssertionError, match=text):
        check(Careless(fault), picture(), SIGMA)
    check(Careless("none"), picture(), SIGMA)


def test_claims_must_be_claims():
    pretender = Pretender(plain())
    pretender.claims = {"symmetric": True}
    with pytest.raises(TypeError, match=r"state them as priors\.claims"):
        claims_of(pretender)
