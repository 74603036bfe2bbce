"""Proximal gradient runs: what is certified is true, and what is broken on purpose is found."""

from types import SimpleNamespace

import pytest
import torch

from algorithms.driver import Until, solve
from algorithms.exam_proximal import ProximalGradientExam
from algorithms.proximal import pgd
from imaging.blur import CircularBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity
from priors import L1, LPN, Fixed, LPNConfig
from priors.analytic import Tikhonov, TotalVariation
from priors.claims import Claims
from priors.potential import read_value


def noisy_blur(truth, psf):
    op = CircularBlur(psf, tuple(truth.shape[1:]))
    y = op.A(truth) + 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(3)).double()
    return LeastSquares(op, y)


@pytest.fixture
def f(truth, gentle):
    return noisy_blur(truth[..., 4:16, 2:12], gentle)


def network(channels=1, seed=0):
    torch.manual_seed(seed)
    net = LPN(LPNConfig(channels=channels, side=3)).double().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def examined(f, g, step, *, n=40):
    exam = ProximalGradientExam(f, g, step=step)
    run = solve(exam.watch(pgd(f, g, step=step, x0=f.y), f.y), Until(tol=0.0, max_iter=n))
    return exam, exam.certificate(), run


def kind_of(certificate, start):
    return next(c for c in certificate.conditions if c.claim.startswith(start)).kind


@pytest.mark.parametrize("g", [L1(1e-3), Tikhonov(0.05)], ids=["L1", "Tikhonov"])
def test_a_convex_run_is_proven_and_the_bound_holds(f, g):
    step = 0.9 / f.lipschitz()
    exam, certificate, run = examined(f, g, step)
    assert certificate.clean and certificate.verdict.startswith("proven (Beck and Teboulle 2009")
    assert kind_of(certificate, "each iterate is the lowest") == "observed"  # samples that did not refute
    assert kind_of(certificate, "the prox is firmly nonexpansive") == "observed"
    assert "as long as" not in certificate.verdict
    far = solve(pgd(f, g, step=step, x0=run.x), Until(tol=1e-13, max_iter=2000)).x  # nearly the minimiser
    lowest = float(f.value(far) + g.value(far))
    bound = float((f.y - far).square().sum()) / (2 * step * 40)
    assert 0 <= exam.objective[-1] - lowest <= bound
    assert exam.objective[-1] == pytest.approx(float(f.value(run.x) + g.value(run.x)), rel=1e-13)


def test_the_optimality_residual_vanishes_at_the_minimiser(f):
    _, short, _ = examined(f, Tikhonov(0.05), 1.0, n=3)
    _, long, _ = examined(f, Tikhonov(0.05), 1.0, n=300)
    sizes = [
        next(c.value for c in found.conditions if c.claim == "optimality residual") for found in (short, long)
    ]
    assert sizes[0] > 1e-4 and sizes[1] < 1e-8


def test_a_step_beyond_the_bound_is_violated_and_the_rise_seen(f):
    _, certificate, _ = examined(f, Tikhonov(0.0), 2.5 / f.lipschitz())
    assert kind_of(certificate, "the step is at most") == "violated"
    assert kind_of(certificate, "the objective never rises") == "violated"
    assert certificate.verdict.startswith("no guarantee: it is not true that the step is at most 1 / L (2.5")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_learned_proximal_network_lowers_the_objective(truth, gentle, channels):
    f = noisy_blur(truth[..., :12, :12].repeat(1, channels, 1, 1), gentle)
    step = 0.99 / f.lipschitz()
    net = network(channels)
    exam, certificate, run = examined(f, Fixed(net, 0.05, step), step)
    assert certificate.clean, certificate.conditions
    assert certificate.verdict.startswith("proven (Attouch") and "): the objective" in certificate.verdict
    assert exam.objective[0] > exam.objective[-1]
    read = read_value(net, run.x, 0.05, rtol=1e-10, max_iter=5000).value  # by inversion instead
    assert exam.objective[-1] == pytest.approx(float(f.value(run.x) + read / step), rel=1e-8)


def test_what_runs_away_still_falls_and_nothing_more_is_claimed(f):
    """R of a network need not be bounded below: residuals that tend to 0 are promised to bounded iterates."""
    step = 0.99 / f.lipschitz()
    exam, certificate, run = examined(f, Fixed(network(), 0.05, step), step)
    assert float(run.x.abs().max()) > 100 and run.history["residual"][-1] > 0.1
    assert certificate.clean and exam.objective == tuple(sorted(exam.objective, reverse=True))
    assert "as long as the iterates stay bounded, the fixed-point residual tends to 0" in certificate.verdict


def test_a_learned_proximal_network_in_float32(f):
    single = LeastSquares(f.op.to(torch.float32), f.y.float())
    _, certificate, _ = examined(single, Fixed(network().float(), 0.05, 0.99), 0.99, n=60)
    assert certificate.clean, certificate.conditions


def test_a_learned_proximal_network_at_too_long_a_step(f):
    step = 2.5 / f.lipschitz()
    _, certificate, _ = examined(f, Fixed(network(), 0.001, step), step)
    assert not certificate.clean and kind_of(certificate, "the step is below") == "violated"
    assert kind_of(certificate, "the objective never rises") == "violated"


def test_at_the_bound_itself_nothing_is_proven_without_convexity(f):
    step = 1 / f.lipschitz()
    _, certificate, _ = examined(f, Fixed(network(), 0.05, step), step, n=5)
    assert kind_of(certificate, "the step is below 1 / L") == "violated"
    assert kind_of(certificate, "the objective never rises") == "observed"
    _, certificate, _ = examined(f, Tikhonov(0.05), step, n=5)
    assert certificate.clean and kind_of(certificate, "the step is at most 1 / L") == "proven"


def test_the_network_at_another_step_is_another_objective(f):
    with pytest.raises(ValueError, match=r"bound to gamma = 0.5 and was asked for 0.9"):
        examined(f, Fixed(network(), 0.05, 0.5), 0.9)


class Impostor(torch.nn.Module):
    """A denoiser with an asymmetric Jacobian that claims to be a proximal network, potential included."""

    claims = Claims(symmetric=True, convexity=0.05, proximal=True)

    def __init__(self, net, shift):
        super().__init__()
        self.net, self.shift = net, shift

    def forward(self, x, sigma):
        out = self.net(x, sigma)
        return out + self.shift * (out - out.roll(1, -1))

    def potential(self, x, sigma):
        return self.net.potential(x, sigma)


def test_an_asymmetric_denoiser_posing_as_a_proximal_network_is_found(f):
    _, honest, _ = examined(f, Fixed(Impostor(network(), 0.0), 0.05, 0.9), 0.9)
    assert honest.clean and "as long as Impostor is a proximal operator" in honest.verdict
    holder = Impostor(network(), 0.0)
    holder.network = holder.net  # one of ours inside proves nothing of what a stranger makes of it
    _, honest, _ = examined(f, Fixed(holder, 0.05, 0.9), 0.9)
    assert kind_of(honest, "Impostor is a proximal operator") == "observed"
    _, certificate, _ = examined(f, Fixed(Impostor(network(), 0.2), 0.05, 0.9), 0.9)
    assert kind_of(certificate, "Impostor is a proximal operator") == "violated"
    assert kind_of(certificate, "each iterate is the lowest") == "violated"
    assert certificate.verdict.startswith("no guarantee")


def test_a_denoiser_that_claims_nothing_gets_no_theorem(f):
    class Plain(Impostor):
        claims = Claims()

    _, certificate, _ = examined(f, Fixed(Plain(network(), 0.2), 0.05, 0.9), 0.9)
    assert "Plain is a proximal operator" in certificate.verdict and not certificate.clean


class Hard:
    """lam times the number of pixels that are not 0: its prox is the hard threshold; it is not convex."""

    def __init__(self, lam, is_convex):
        self.lam, self.is_convex = lam, is_convex

    def value(self, x):
        return self.lam * (x != 0).flatten(1).sum(1).to(x.dtype)

    def prox(self, x, sigma=None, *, gamma):
        return torch.where(x.square() > 2 * gamma * self.lam, x, 0.0)


def test_a_false_claim_of_convexity_is_found():
    x = torch.linspace(0.0, 1.0, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    f = LeastSquares(Identity((1, 8, 8)), x)
    exam = ProximalGradientExam(f, Hard(0.1, True), step=0.3)
    start = torch.ones_like(x)
    solve(exam.watch(pgd(f, Hard(0.1, True), step=0.3, x0=start), start), Until(tol=0.0, max_iter=20))
    certificate = exam.certificate()
    assert kind_of(certificate, "the prox is firmly nonexpansive") == "violated"
    assert kind_of(certificate, "the objective never rises") == "observed"
    assert certificate.verdict.startswith("no guarantee")


def test_a_prox_that_is_solved_for_leaves_an_if(f):
    g = TotalVariation(1e-3, tol=1e-6)
    _, certificate, _ = examined(f, g, 0.5, n=3)
    assert certificate.clean and " as long as the proxes are exact: the objective" in certificate.verdict


def test_a_function_nobody_calls_convex_gets_no_theorem(f):
    _, certificate, _ = examined(f, Hard(1e-4, False), 0.9)
    assert certificate.verdict.startswith("nothing is proven. Observed: the objective never rises")


def test_a_data_term_without_a_proven_bound_leaves_an_if(f):
    unknown = SimpleNamespace(value=f.value, grad=f.grad, is_convex=True, y=f.y)
    _, certificate, _ = examined(unknown, L1(1e-3), 0.5)
    assert "as long as SimpleNamespace is convex and the step is at most 1 / L" in certificate.verdict


def test_a_bound_that_a_stranger_states_is_only_its_word(f):
    names = ("value", "grad", "prox", "lipschitz", "y")
    theirs = SimpleNamespace(is_convex=True, **{name: getattr(f, name) for name in names})
    _, certificate, _ = examined(theirs, L1(1e-3), 0.5)
    assert kind_of(certificate, "the step is at most 1 / L") == "observed"
    assert kind_of(certificate, "SimpleNamespace is convex") == "observed"


def test_nothing_watched_is_nothing_certified(f):
    with pytest.raises(ValueError, match="there is nothing to certify"):
        ProximalGradientExam(f, L1(1.0), step=0.5).certificate()
