"""The contract with deepinv, the tripwire of an upgrade: our operators in their tools, and theirs in ours."""

import deepinv
import pytest
import torch

from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample
from imaging.varying import VaryingBlur

OPERATORS = {
    "circular": lambda k: CircularBlur(k, (1, 12, 10)),
    "windowed": lambda k: WindowedBlur(k, (1, 9, 8)),
    "reflect": lambda k: PaddedBlur(k, (1, 12, 10), "reflect"),
    "varying": lambda k: VaryingBlur(k.expand(2, 2, 1, 3, 4), (1, 9, 8)),
    "downsampled": lambda k: Downsample(CircularBlur(k, (1, 12, 10)), 2),
    "masked": lambda k: Masked(CircularBlur(k, (1, 12, 10)), torch.rand(1, 1, 12, 10) > 0.3),
    "inpainting": lambda k: Inpainting(torch.rand(1, 1, 12, 10) > 0.3, (1, 12, 10)),
    "identity": lambda k: Identity((1, 12, 10)),
}
every = pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)


def picture(op, batch=1):
    return torch.rand(batch, *op.img_size, dtype=torch.float64)


@every
def test_their_adjointness_test_accepts_ours(make, psf):
    op = make(psf)
    assert isinstance(op, deepinv.physics.LinearPhysics)
    assert float(op.adjointness_test(num_samples=5, dtype=torch.float64)) < 1e-12
    assert float(op.adjointness_test(u=picture(op))) < 1e-12


@every
def test_their_power_method_stays_below_our_bound(make, psf):
    op = make(psf)
    estimate = op.compute_sqnorm(picture(op), max_iter=2000, tol=1e-8, verbose=False)
    assert float(estimate) <= op.norm_bound() ** 2 * (1 + 1e-12)


@every
def test_their_call_is_our_a_and_their_noise_can_be_switched_on(make, psf):
    op = make(psf)
    x = picture(op)
    assert torch.equal(op(x), op.A(x))
    op.noise_model = deepinv.physics.GaussianNoise(0.1, rng=torch.Generator().manual_seed(0))
    assert 0.05 < float((op(x) - op.A(x)).std()) < 0.2


def test_their_clone_keeps_a_random_generator(psf):
    op = OPERATORS["circular"](psf)
    op.noise_model = deepinv.physics.GaussianNoise(0.1, rng=torch.Generator().manual_seed(0))
    x, twin = picture(op), op.clone()
    assert torch.equal(twin(x), op(x)) and twin.noise_model.rng is not op.noise_model.rng


def test_their_parameters_are_dropped_and_their_updates_refused(psf):
    op = OPERATORS["circular"](psf)
    x = picture(op)
    assert torch.equal(op.A(x, filter=psf), op.A(x)) and torch.equal(
        op.prox_l2(x, x, 1.0, tol=1), op.prox_l2(x, x, 1.0)
    )
    with pytest.raises(AttributeError, match="operators are frozen"):
        op.update_parameters(spectrum=torch.zeros(1))
    with pytest.raises(AttributeError, match="operators are frozen"):
        op.set_ls_solver("CG", max_iter=3)


@every
def test_their_gradient_descent_runs_on_ours(make, psf):
    op = make(psf)
    truth = picture(op)
    y, step, weight = op.A(truth), 1 / op.norm_bound() ** 2, 0.05
    start = op.A_adjoint(y)
    model = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.Tikhonov(),
        lambda_reg=weight,
        stepsize=step,
        max_iter=30,
        early_stop=False,
    )
    got = model(y, op, init=(start,))
    x = start
    for _ in range(30):
        x = (x - step * LeastSquares(op, y).grad(x)) / (1 + step * weight)
    assert torch.allclose(got, x, atol=1e-12)


@every
def test_their_half_quadratic_splitting_uses_our_prox(make, psf):
    op = make(psf)
    y, gamma, weight = op.A(picture(op)), 2.0, 0.1
    start = op.A_adjoint(y)
    model = deepinv.optim.HQS(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.Tikhonov(),
        lambda_reg=weight,
        stepsize=gamma,
        max_iter=8,
        early_stop=False,
    )
    got = model(y, op, init=(start,))
    x = start
    for _ in range(8):
        x = op.prox_l2(x, y, gamma) / (1 + gamma * weight)
    assert torch.allclose(got, x, atol=1e-8)


def test_compose_and_stack(psf):
    blur, mask = OPERATORS["circular"](psf), OPERATORS["inpainting"](psf)
    x = picture(blur)
    chain = mask * blur
    assert torch.allclose(chain.A(x), mask.A(blur.A(x)))
    assert float(chain.adjointness_test(u=x)) < 1e-12
    both = blur.stack(mask)
    y = both.A(x)
    assert (
        isinstance(both, deepinv.physics.LinearPhysics)
        and torch.equal(y[0], blur.A(x))
        and torch.equal(y[1], mask.A(x))
    )
    assert torch.allclose(both.A_adjoint(y), blur.A_adjoint(y[0]) + mask.A_adjoint(y[1]))


def test_our_circular_blur_is_their_fft_blur(psf):
    odd = torch.rand(1, 1, 3, 5)
    theirs = deepinv.physics.BlurFFT(img_size=(1, 12, 10), filter=odd)
    ours = CircularBlur(odd, (1, 12, 10))
    x = torch.rand(1, 1, 12, 10)
    assert torch.allclose(theirs.A(x), ours.A(x), atol=1e-6)
    assert torch.allclose(theirs.prox_l2(x, x, 2.0), ours.prox_l2(x, x, 2.0), atol=1e-6)


def hqs(op, y, steps, gamma):
    """What a solver of ours may ask of an operator: A, A_adjoint, prox_l2."""
    x = op.A_adjoint(y)
    for _ in range(steps):
        x = op.prox_l2(x.clamp(0, 1), y, gamma)
    return x


def test_their_operators_run_in_code_that_knows_three_methods():
    x = torch.rand(1, 1, 12, 12)
    for theirs in (
        deepinv.physics.BlurFFT(img_size=(1, 12, 12), filter=torch.ones(1, 1, 3, 3) / 9),
        deepinv.physics.Downsampling(img_size=(1, 12, 12), filter="gaussian", factor=2, padding="circular"),
    ):
        y = theirs.A(x)
        start, end = ((theirs.A(v) - y).norm() for v in (theirs.A_adjoint(y), hqs(theirs, y, 20, 5.0)))
        assert end < 0.2 * start
        f = LeastSquares(theirs, y)
        assert torch.equal(f.prox(x, gamma=2.0), theirs.prox_l2(x, y, 2.0)) and float(f.value(x)) < 1e-10
