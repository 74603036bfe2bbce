"""Data terms against scipy's and torch's own losses, and the shipped checks."""

import deepinv
import numpy as np
import pytest
import torch
from scipy import optimize, special

from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import Huber, LeastAbsolute, LeastSquares, PoissonKL
from imaging.masks import Identity, Inpainting, Masked
from imaging.testing import function_checks

TERMS = {
    "least squares": LeastSquares,
    "poisson": lambda op, y: PoissonKL(op, y, 30.0),
    "least absolute": LeastAbsolute,
    "huber": lambda op, y: Huber(op, y, 0.1),
}


def operators(psf):
    mask = torch.rand(1, 1, 9, 8, generator=torch.Generator().manual_seed(1)) > 0.3
    return {
        "identity": Identity((1, 9, 8)),
        "circular": CircularBlur(psf, (1, 9, 8)),
        "masked window": Masked(WindowedBlur(psf, (1, 9, 8)), mask),
    }


@pytest.mark.parametrize("check", function_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("name", ["identity", "circular", "masked window"])
def test_conforms(check, term, name, psf):
    op = operators(psf)[name]
    y = torch.rand(2, *op.data_size, dtype=torch.float64)
    y[:, :, 2, 3] = 0  # a dark pixel, where logarithms hurt
    check(term(op, y), torch.rand(2, *op.img_size, dtype=torch.float64) + 0.2)


def test_values_against_scipy(psf):
    op = CircularBlur(psf, (1, 9, 8))
    x, y = torch.rand(2, 2, 1, 9, 8, dtype=torch.float64).unbind()
    u = op.A(x).numpy()
    sums = lambda loss: torch.as_tensor(loss.reshape(2, -1).sum(1))  # noqa: E731
    assert torch.allclose(PoissonKL(op, y, 5.0).value(x), 5 * sums(special.kl_div(y.numpy(), u)))
    assert torch.allclose(Huber(op, y, 0.2).value(x), sums(special.huber(0.2, u - y.numpy())))
    assert torch.allclose(LeastSquares(op, y).value(x), sums((u - y.numpy()) ** 2) / 2)
    assert torch.allclose(LeastAbsolute(op, y).value(x), sums(np.abs(u - y.numpy())))


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_prox_at_against_a_scalar_minimiser(term):
    z = np.linspace(-2, 2, 9)
    y = np.linspace(0, 1, 9)
    f = term(Identity((1, 1, 9)), torch.as_tensor(y).view(1, 1, 1, 9))
    got = f.prox_at(torch.as_tensor(z).view(1, 1, 1, 9), 0.7).flatten()
    for i in range(9):
        single = term(Identity((1, 1, 1)), torch.as_tensor(y[i]).view(1, 1, 1, 1))
        cost = lambda u: 0.7 * float(single.value_at(torch.tensor(u).view(1, 1, 1, 1))) + (u - z[i]) ** 2 / 2  # noqa
        best = optimize.minimize_scalar(
            cost, bounds=(0 if term is TERMS["poisson"] else -3, 3), method="bounded"
        )
        assert float(got[i]) == pytest.approx(best.x, abs=1e-4)


def test_poisson_prox_does_not_cancel():
    f = PoissonKL(Identity((1, 1, 1)), torch.full((1, 1, 1, 1), 1e-3), 1e6)
    u = f.prox_at(torch.full((1, 1, 1, 1), 0.1), 1.0)
    assert float(u) == pytest.approx(1e-3, rel=1e-3)  # in float32 the naive root would be 0 or 0.06


def test_outside_the_domain_is_not_silent():
    f = PoissonKL(Identity((1, 1, 2)), torch.tensor([[[[0.5, 0.0]]]]), 1.0)
    assert f.value_at(torch.tensor([[[[0.0, 1.0]]]])) == torch.inf
    assert f.value_at(torch.tensor([[[[1.0, -1.0]]]])) == torch.inf
    assert torch.isnan(f.grad_at(torch.tensor([[[[1.0, -1.0]]]])))[0, 0, 0, 1]


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_masked_data_do_not_count(term):
    mask = torch.tensor([[[[True, False]]]])
    op = Inpainting(mask, (1, 1, 2))
    clean, bad = torch.tensor([[[[0.5, 0.0]]]]), torch.tensor([[[[0.5, torch.nan]]]])
    u = torch.tensor([[[[0.4, 0.3]]]])
    assert torch.equal(term(op, bad).value_at(u), term(op, clean).value_at(u))
    assert torch.isfinite(term(op, bad).value_at(u)).all()
    assert term(op, bad).prox_at(u, 2.0)[0, 0, 0, 1] == u[0, 0, 0, 1]
    if hasattr(term(op, bad), "grad_at"):
        assert term(op, bad).grad_at(u)[0, 0, 0, 1] == 0


def test_prox_of_a_blurred_non_quadratic_is_refused(psf):
    op = CircularBlur(psf, (1, 9, 8))
    y = torch.rand(1, 1, 9, 8, dtype=torch.float64)
    for term in (PoissonKL(op, y, 5.0), Huber(op, y, 0.1), LeastAbsolute(op, y)):
        with pytest.raises(
            NotImplementedError, match="no closed-form prox through CircularBlur: use a solver that splits"
        ):
            term.prox(y, gamma=1.0)
    assert not hasattr(PoissonKL(op, y, 5.0), "lipschitz")  # unbounded curvature at 0
    assert not hasattr(LeastAbsolute(op, y), "grad")  # a kink is no slope


def test_lipschitz_bounds_the_gradient(psf):
    op = WindowedBlur(psf, (1, 9, 8))
    f = LeastSquares(op, torch.zeros(1, 1, 9, 8, dtype=torch.float64))
    a, b = torch.randn(2, 1, *op.img_size, dtype=torch.float64).unbind()
    assert (f.grad(a) - f.grad(b)).norm() <= f.lipschitz() * (a - b).norm()


def test_data_are_checked():
    y = torch.tensor([[[[0.5, -0.1]]]])
    with pytest.raises(ValueError, match=r"PoissonKL got data down to -0\.1: counts are not negative"):
        PoissonKL(Identity((1, 1, 2)), y, 1.0)
    with pytest.raises(ValueError, match="peak is 0, wanted a positive finite number"):
        PoissonKL(Identity((1, 1, 2)), y.abs(), 0)
    with pytest.raises(ValueError, match="delta is -1, wanted a positive"):
        Huber(Identity((1, 1, 2)), y, -1)
    with pytest.raises(ValueError, match="Identity got y of shape"):
        LeastSquares(Identity((1, 2, 1)), y)


def test_an_operator_of_deepinv_will_do(psf):
    theirs = deepinv.physics.BlurFFT(img_size=(1, 9, 8), filter=psf.flip(-1, -2).float()[..., :3])
    x, y = torch.rand(2, 1, 1, 9, 8).unbind()
    f = LeastSquares(theirs, y)
    expected = deepinv.optim.L2()(x, y, theirs)
    assert torch.allclose(f.value(x), expected, rtol=1e-5)
    assert torch.allclose(f.grad(x), deepinv.optim.L2().grad(x, y, theirs), atol=1e-6)
