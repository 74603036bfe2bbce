"""The inner prox against another algorithm, a general minimiser, finite differences, and its own promise."""

import copy
import pickle

import deepinv
import numpy as np
import pytest
import torch
from scipy import optimize

from algorithms.driver import last
from algorithms.inner import CheckedProx
from algorithms.proximal import pgd
from algorithms.splitting import admm, chambolle_pock
from algorithms.state import NotConvergedError
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import Huber, LeastAbsolute, LeastSquares, PoissonKL
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample
from imaging.varying import VaryingBlur
from priors import Box

SIZE, GAMMA = (1, 8, 7), 0.7
TERMS = {
    "poisson": lambda op, y: PoissonKL(op, y, 30.0),
    "huber": lambda op, y: Huber(op, y, 0.1),
    "least absolute": LeastAbsolute,
}
OPERATORS = {
    "identity": lambda k: Identity(SIZE),
    "inpainting": lambda k: Inpainting(holes(), SIZE),
    "circular": lambda k: CircularBlur(k, SIZE),
    "windowed": lambda k: WindowedBlur(k, (1, 5, 4)),
    "downsampled": lambda k: Downsample(CircularBlur(k, SIZE), 2),
    "masked": lambda k: Masked(CircularBlur(k, SIZE), holes()),
    "reflect": lambda k: PaddedBlur(k, SIZE, "reflect"),
    "edge": lambda k: PaddedBlur(k, SIZE, "edge"),
    "zero": lambda k: PaddedBlur(k, SIZE, "zero"),
    "varying": lambda k: VaryingBlur(torch.stack([k, k.flip(-1)], 1), (1, 5, 4)),
    "masked varying": lambda k: Masked(VaryingBlur(k.expand(1, 2, 1, 3, 4), SIZE), holes()),
}
SLOW = [(t, o) for t in ("poisson", "least absolute") for o in list(OPERATORS)[6:]]
EVERY = [(t, o) for t in TERMS for o in OPERATORS if (t, o) not in SLOW]


def holes():
    mask = torch.ones(1, 1, 8, 7, dtype=torch.bool)
    mask[..., 3:5, 3:5] = False
    return mask


def made(term, operator, psf, *, rtol=1e-7, max_iter=2000, batch=1):
    """The term with data that hold a dark pixel, where logarithms hurt; and a point to start from."""
    op = OPERATORS[operator](psf)
    truth = torch.rand(batch, *op.img_size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = op.A(truth)
    y[..., 1, 2] = 0.0
    return CheckedProx(TERMS[term](op, y), rtol=rtol, max_iter=max_iter), truth.flip(-1)


class Alone:
    """gamma times the loss as a function of u = A x."""

    def __init__(self, f, gamma):
        self.f, self.gamma = f, gamma

    def prox(self, u, *, gamma):
        return self.f.prox_at(u, self.gamma * gamma)


@pytest.mark.parametrize(("term", "operator"), EVERY)
def test_against_another_algorithm(term, operator, psf):
    f, z = made(term, operator, psf)
    near = LeastSquares(Identity(f.op.img_size), z)  # |x - z|^2 / 2
    steps = {"tau": 0.3, "sigma": 1 / (0.3 * f.op.norm_bound() ** 2)}
    slow = last(chambolle_pock(near, Alone(f, GAMMA), f.op, **steps, x0=z), 300).x
    torch.testing.assert_close(f.prox(z, gamma=GAMMA), slow, rtol=0, atol=1e-3)
    assert float((slow - z).abs().max()) > 2e-2


@pytest.mark.slow
@pytest.mark.parametrize(("term", "operator"), SLOW)
def test_brute_force_finds_little_lower(term, operator, psf):
    """Where the other algorithm takes too long: to a looser tolerance, beside points around."""
    f, z = made(term, operator, psf, rtol=1e-4)
    x, draw = f.prox(z, gamma=GAMMA), torch.Generator().manual_seed(1)

    def objective(v):
        return float(GAMMA * f.value(v) + (v - z).square().sum() / 2)

    lowest = objective(x)
    for k in range(60):
        step = torch.randn(x.shape, generator=draw, dtype=x.dtype)
        lowest = min(lowest, objective(x + 10 ** (-1 - k % 4) * step / step.norm()))
    assert objective(x) - lowest < 5e-4 * objective(x)
    assert objective(z) - lowest > 5e-3 * objective(x)


def test_against_a_general_minimiser(psf):
    f, z = made("huber", "windowed", psf)

    def objective(x):
        v = torch.as_tensor(x).view_as(z)
        slope = GAMMA * f.grad(v) + v - z
        return float(GAMMA * f.value(v) + (v - z).square().sum() / 2), slope.flatten().numpy()

    found = optimize.minimize(
        objective, np.zeros(z.numel()), jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 1e-16}
    )
    torch.testing.assert_close(f.prox(z, gamma=GAMMA).flatten(), torch.as_tensor(found.x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("term", ["poisson", "huber"])
def test_the_slope_vanishes_at_strong_weights_too(term, psf):
    f, z = made(term, "windowed", psf)
    f.y[..., 1, 2] = 0.3  # no dark pixel: there the slope of counts need not vanish
    x = f.prox(z, gamma=50.0)
    slope = lambda v: 50 * f.grad(v) + v - z  # noqa: E731
    assert float(slope(x).norm()) < 1e-4 * float((50 * f.grad(z)).norm())


def test_the_promised_distance_is_kept(psf):
    """|x - prox| <= gamma^(1/2) rtol |u| / 2 for curvature 1, and a tighter tolerance comes closer."""
    exact, z = made("huber", "circular", psf, rtol=1e-12)
    wanted, before = exact.prox(z, gamma=4.0), float("inf")
    for rtol in (1e-2, 1e-4, 1e-6):
        f, _ = made("huber", "circular", psf, rtol=rtol)
        far = float((f.prox(z, gamma=4.0) - wanted).norm())
        assert far <= rtol * float(f.op.A(wanted).norm()) * 1.01 and far < before
        before = far


def test_a_missed_tolerance_is_an_exception(psf):
    f, z = made("poisson", "windowed", psf, max_iter=10)
    message = (
        r"the prox of PoissonKL through WindowedBlur stopped after 10 iterations at .* \(wanted 1.0e-07\)"
    )
    with pytest.raises(NotConvergedError, match=message):
        f.prox(z, gamma=GAMMA)


@pytest.mark.parametrize("operator", ["identity", "inpainting"])
def test_closed_forms_are_taken_where_there_are(operator, psf):
    f, z = made("poisson", operator, psf, max_iter=1)
    assert torch.equal(f.prox(z, gamma=GAMMA), f.term.prox_at(z, GAMMA))
    square = CheckedProx(LeastSquares(CircularBlur(psf, SIZE), z), rtol=1e-9, max_iter=1)
    assert torch.equal(square.prox(z, gamma=GAMMA), square.op.prox_l2(z, z, GAMMA))


def test_a_huber_that_never_bends_is_least_squares(psf):
    op = WindowedBlur(psf, (1, 5, 4))
    z, y = torch.rand(1, *op.img_size, dtype=torch.float64), torch.rand(1, 1, 5, 4, dtype=torch.float64)
    f = CheckedProx(Huber(op, y, 1e6), rtol=1e-9, max_iter=500)
    torch.testing.assert_close(f.prox(z, gamma=3.0), op.prox_l2(z, y, 3.0), rtol=0, atol=1e-7)


def test_a_batch_equals_its_singles_and_gammas_may_differ(psf):
    f, z = made("huber", "circular", psf, rtol=1e-9, batch=2)
    gammas = torch.tensor([0.3, 5.0], dtype=torch.float64)
    kept = z.clone()
    together = f.prox(z, gamma=gammas)
    for i, gamma in enumerate(gammas):
        single = CheckedProx(Huber(f.op, f.y[i : i + 1], 0.1), rtol=1e-9, max_iter=2000)
        alone = single.prox(z[i : i + 1], gamma=float(gamma))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-7)
    assert torch.equal(z, kept) and not together.requires_grad


def test_everything_else_is_the_terms_own(psf):
    f, z = made("huber", "circular", psf)
    assert torch.equal(f.grad(z), f.term.grad(z)) and f.lipschitz() == f.term.lipschitz()
    assert torch.equal(f.value(z), f.term.value(z)) and f.is_convex
    assert not hasattr(made("least absolute", "circular", psf)[0], "grad")
    for twin in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert torch.equal(twin.prox(z, gamma=GAMMA), f.prox(z, gamma=GAMMA))


@pytest.mark.parametrize("term", ["huber", "poisson"])
def test_derivatives_against_finite_differences(term, psf):
    f, z = made(term, "circular", psf, rtol=1e-11)
    f.y[..., 1, 2] = 0.3
    gamma, direction = torch.tensor(0.7, dtype=torch.float64), torch.rand_like(z)
    z, gamma = z.requires_grad_(), gamma.requires_grad_()
    by_z, by_gamma = torch.autograd.grad((f.prox(z, gamma=gamma) * direction).sum(), (z, gamma))
    h = 1e-4
    with torch.no_grad():
        value = lambda v, g: float((f.prox(v, gamma=g) * direction).sum())  # noqa: E731
        slope = (value(z, gamma + h) - value(z, gamma - h)) / (2 * h)
        assert float(by_gamma) == pytest.approx(slope, rel=1e-3, abs=1e-5)
        along = torch.randn_like(z)
        slope = (value(z + h * along, gamma) - value(z - h * along, gamma)) / (2 * h)
        assert float((by_z * along).sum()) == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_what_has_no_derivative_says_so(psf):
    f, z = made("least absolute", "circular", psf)
    with pytest.raises(NotImplementedError, match="LeastAbsolute is not smooth, so its prox is not differ"):
        f.prox(z.requires_grad_(), gamma=GAMMA)


def test_solvers_meet_behind_a_blur(gentle, small):
    op = CircularBlur(gentle, SIZE)
    f, g = CheckedProx(Huber(op, op.A(small), 0.05), rtol=1e-9, max_iter=500), Box(0.0, 0.7)
    one = last(admm(f, g, gamma=2.0, x0=f.y), 40).x
    two = last(pgd(f, g, x0=f.y), 300).x
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_an_operator_of_deepinv_will_do():
    theirs = deepinv.physics.BlurFFT(img_size=SIZE, filter=torch.ones(1, 1, 3, 3) / 9)
    ours = CircularBlur(torch.ones(1, 1, 3, 3) / 9, SIZE)
    y, z = torch.rand(2, 1, *SIZE).unbind()
    proxes = [
        CheckedProx(Huber(op, y, 0.1), rtol=1e-4, max_iter=500).prox(z, gamma=2.0) for op in (theirs, ours)
    ]
    torch.testing.assert_close(*proxes, rtol=0, atol=1e-3)
