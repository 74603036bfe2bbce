"""The contract with deepinv, the tripwire of an upgrade: our operators in their tools, and theirs in ours."""

import copy

import deepinv
import pytest
import torch

from algorithms.driver import last
from algorithms.interop import AsPrior, AsReconstructor, AtLevel
from algorithms.proximal import fista, gd, pgd
from algorithms.red import red_fixed_point, red_gradient
from algorithms.splitting import admm, chambolle_pock, drs, hqs
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity, Inpainting, Masked
from imaging.sampling import Downsample
from imaging.varying import VaryingBlur
from priors import (
    L1,
    LPN,
    Denoiser,
    DenoiserConfig,
    DenoiserPrior,
    Fixed,
    GradientStep,
    LPNConfig,
    ProximalMatching,
    Ridge,
    RidgeConfig,
)
from priors.losses import l1, l2

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


def alternating(op, y, steps, gamma):
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
        start, end = (
            (theirs.A(v) - y).norm() for v in (theirs.A_adjoint(y), alternating(theirs, y, 20, 5.0))
        )
        assert end < 0.2 * start
        f = LeastSquares(theirs, y)
        assert torch.equal(f.prox(x, gamma=2.0), theirs.prox_l2(x, y, 2.0)) and float(f.value(x)) < 1e-10


def network():
    """Their DnCNN, a small one with random weights; it takes no level."""
    return deepinv.models.DnCNN(1, 1, depth=3, nf=4, pretrained=None).double().eval()


DENOISERS = {
    "DnCNN": network,
    "MedianFilter": lambda: deepinv.models.MedianFilter(3),
    "TVDenoiser": lambda: deepinv.models.TVDenoiser(n_it_max=20),
    "DRUNet": lambda: told(deepinv.models.DRUNet, nc=(4, 4, 4, 4), nb=1),
}


def told(make, **shape):
    """Their network that is told the level, a small one with random weights."""
    torch.manual_seed(2)
    return make(1, 1, pretrained=None, **shape).double().eval()


def blurred(psf):
    op = CircularBlur(psf, (1, 12, 10))
    return LeastSquares(op, op.A(picture(op)))


@pytest.mark.parametrize("make", DENOISERS.values(), ids=DENOISERS)
@torch.no_grad()
def test_their_denoisers_run_in_our_solvers(make, psf):
    f, made = blurred(psf), make()
    twin = lambda: copy.deepcopy(made)  # noqa: E731  their total variation remembers its last call
    denoiser = twin()
    pairs = [(0.2, 1.0), (0.1, 4.0)]
    x = f.y
    for sigma, gamma in pairs:
        x = denoiser(f.op.prox_l2(x, f.y, gamma), sigma)
    torch.testing.assert_close(list(hqs(f, twin(), pairs, x0=f.y))[-1].x, x)
    step, level = 0.5, lambda v: twin()(v, 0.1)
    torch.testing.assert_close(
        next(pgd(f, DenoiserPrior(twin(), 0.1), step=step, x0=f.y)).x, level(f.y - step * f.grad(f.y))
    )
    slope = f.grad(f.y) + 0.3 * (f.y - level(f.y))
    torch.testing.assert_close(
        next(red_gradient(f, level, weight=0.3, step=step, x0=f.y)).x, f.y - step * slope
    )
    for states in (
        drs(f, DenoiserPrior(denoiser, 0.1), gamma=2.0, x0=f.y),
        admm(f, DenoiserPrior(denoiser, 0.1), gamma=2.0, x0=f.y),
        red_fixed_point(f, level, weight=0.3, x0=f.y),
    ):
        assert bool(torch.isfinite(last(states, 4).x).all())


def test_their_priors_run_in_our_solvers(psf):
    f = blurred(psf)
    theirs, ours = deepinv.optim.L1Prior(), L1(1.0)
    steps = {"x0": f.y}
    for method in (
        lambda g: pgd(f, g, step=0.1, **steps),
        lambda g: fista(f, g, step=0.1, **steps),
        lambda g: drs(f, g, gamma=0.1, **steps),
        lambda g: admm(f, g, gamma=0.1, **steps),
        lambda g: chambolle_pock(f, g, Identity(f.op.img_size), tau=0.1, **steps),
    ):
        torch.testing.assert_close(last(method(theirs), 5).x, last(method(ours), 5).x)
    ridge = deepinv.optim.Tikhonov()
    descent = last(gd(f, ridge, step=0.9, x0=f.y), 200).x
    torch.testing.assert_close(descent, f.prox(torch.zeros_like(f.y), gamma=1.0), rtol=0, atol=1e-9)
    torch.testing.assert_close(last(admm(f, ridge, gamma=1.0, x0=f.y), 100).x, descent, rtol=0, atol=1e-9)


@torch.no_grad()
def test_their_priors_with_a_level_are_bound_to_it(psf):
    f = blurred(psf)
    shrink = lambda x, sigma: x / (1 + sigma)  # noqa: E731
    plugged = AtLevel(deepinv.optim.PnP(shrink), 0.25)
    wanted = last(pgd(f, DenoiserPrior(shrink, 0.25), step=0.5, x0=f.y), 5).x
    assert torch.equal(last(pgd(f, plugged, step=0.5, x0=f.y), 5).x, wanted)
    slope = AtLevel(deepinv.optim.RED(shrink), 0.25)
    wanted = last(red_gradient(f, lambda x: shrink(x, 0.25), weight=1.0, step=0.5, x0=f.y), 5).x
    torch.testing.assert_close(last(gd(f, slope, step=0.5, x0=f.y), 5).x, wanted)
    value = AtLevel(deepinv.optim.L1Prior(), None).value(f.y)
    torch.testing.assert_close(value, f.y.abs().sum((1, 2, 3)))


def test_their_operators_run_in_our_solvers():
    for theirs in (
        deepinv.physics.BlurFFT(img_size=(1, 12, 12), filter=torch.ones(1, 1, 3, 3) / 9),
        deepinv.physics.Inpainting((1, 12, 12), mask=0.7),
        deepinv.physics.Downsampling(img_size=(1, 12, 12), filter="gaussian", factor=2, padding="circular"),
    ):
        y = theirs.A(torch.rand(1, 1, 12, 12))
        f, x0 = LeastSquares(theirs, y), theirs.A_adjoint(y)
        slow, fast = (
            last(states, n).x
            for states, n in (
                (fista(f, L1(1e-2), step=0.9, x0=x0), 150),
                (drs(f, L1(1e-2), gamma=5.0, x0=x0), 60),
            )
        )
        objective = lambda x: float(f.value(x) + L1(1e-2).value(x))  # noqa: E731, B023
        assert objective(fast) == pytest.approx(objective(slow), rel=0.03)
        assert objective(slow) < objective(x0)


OURS = {
    "PGD": lambda f, g, x0: pgd(f, g, step=0.5, x0=x0),
    "HQS": lambda f, g, x0: hqs(f, lambda v, _: g.prox(v, gamma=0.5), [(None, 0.5)] * 6, x0=x0),
    "ADMM": lambda f, g, x0: admm(f, g, gamma=0.5, x0=x0),
}


@pytest.mark.parametrize("name", OURS)
@torch.no_grad()
def test_our_priors_in_their_algorithms_are_our_algorithms(name, psf):
    f = blurred(psf)
    halve = lambda x, sigma: x / (1 + sigma)  # noqa: E731
    for prior, g, sigma in (
        (AsPrior(L1(0.1)), L1(0.1), None),
        (DenoiserPrior(network()), None, 0.1),
        (DenoiserPrior(halve), None, 0.3),
        (Fixed(halve, 0.3, 0.5), None, 0.3),
    ):
        torch.manual_seed(1)
        model = getattr(deepinv.optim, name)(
            data_fidelity=deepinv.optim.L2(),
            prior=prior,
            stepsize=0.5,
            g_param=sigma,
            max_iter=6,
            early_stop=False,
        )
        bound = g or AtLevel(prior, sigma)
        got = model(f.y, f.op, init=(f.y,) if name != "ADMM" else (f.y, torch.zeros_like(f.y)))
        torch.testing.assert_close(got, last(OURS[name](f, bound, f.y), 6).x, rtol=0, atol=1e-10)


OUR_NETWORKS = {
    "denoiser": lambda: Denoiser(DenoiserConfig(widths=(4, 8), blocks=(1, 1))),
    "lpn": lambda: LPN(LPNConfig(side=3)),
    "gradient-step": lambda: GradientStep(DenoiserConfig(widths=(4, 8), blocks=(1, 1))),
    "ridge": lambda: Ridge(RidgeConfig(filters=2, widths=(), kernels=(3,))),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("make", OUR_NETWORKS.values(), ids=OUR_NETWORKS)
@torch.no_grad()
def test_our_networks_are_denoisers_of_their_plug_and_play(make, name, psf):
    """As they are, without anything of ours around them."""
    f = blurred(psf)
    torch.manual_seed(5)
    net = make().double().eval().requires_grad_(False)
    options = {"stepsize": 0.5, "g_param": 0.1, "max_iter": 4, "early_stop": False}
    theirs = deepinv.optim.PnP(denoiser=net)
    model = getattr(deepinv.optim, name)(data_fidelity=deepinv.optim.L2(), prior=theirs, **options)
    got = model(f.y, f.op, init=(f.y,) if name != "ADMM" else (f.y, torch.zeros_like(f.y)))
    wanted = last(OURS[name](f, AtLevel(DenoiserPrior(net), 0.1), f.y), 4).x
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-9)
    assert float((got - f.y).norm() / f.y.norm()) > 1e-3


def test_our_prior_and_operator_are_unfolded_and_learned_by_them(psf):
    f = blurred(psf)
    model = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=DenoiserPrior(network()),
        stepsize=[0.5] * 3,
        g_param=[0.1] * 3,
        max_iter=3,
        unfold=True,
        trainable_params=["stepsize"],
    )
    model(f.y, f.op).square().sum().backward()
    learned = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert any("denoiser" in name for name in learned) and any("stepsize" in name for name in learned)
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in learned.values())


class Unrolled(torch.nn.Module):
    """Three proximal gradient steps with a learned step and threshold."""

    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.tensor(0.5))
        self.level = torch.nn.Parameter(torch.tensor(0.05))

    def forward(self, op, y):
        shrink = DenoiserPrior(lambda x, sigma: torch.nn.functional.relu(x - sigma), self.level)
        return last(pgd(LeastSquares(op, y), shrink, step=self.step, x0=y), 3).x


def loader(op):
    """Two pictures, in their way: a dataset of (truth, data) pairs."""
    x = torch.rand(2, *op.img_size)
    pairs = torch.utils.data.TensorDataset(x, op.A(x))
    return torch.utils.data.DataLoader(pairs, batch_size=2)


LOSSES = {"theirs": None, "l1": l1, "l2": l2, "proximal matching": ProximalMatching(gamma=2.0)}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_our_reconstruction_is_trained_by_their_trainer(psf, loss):
    """With their loss and with each of ours."""
    op = CircularBlur(psf.float(), (1, 12, 10))
    unrolled = Unrolled()
    before = [float(p.detach()) for p in unrolled.parameters()]
    model = AsReconstructor(unrolled)
    assert {name for name, _ in model.named_parameters()} == {"reconstruct.step", "reconstruct.level"}
    trainer = deepinv.Trainer(
        model,
        op,
        torch.optim.SGD(model.parameters(), lr=1e-2),
        loader(op),
        **({} if loss is None else {"losses": deepinv.loss.SupLoss(metric=loss)}),
        epochs=1,
        save_path=None,
        verbose=False,
        show_progress_bar=False,
        plot_images=False,
        non_blocking_transfers=False,
    )
    trainer.train()
    assert all(a != float(p.detach()) for a, p in zip(before, unrolled.parameters(), strict=True))


def test_our_reconstruction_is_measured_by_their_tools(psf):
    op = CircularBlur(psf.float(), (1, 12, 10))
    model = AsReconstructor(lambda op, y: last(pgd(LeastSquares(op, y), L1(1e-3), x0=y), 20).x)
    y = op.A(torch.rand(1, 1, 12, 10))
    assert torch.equal(model(y, op), last(pgd(LeastSquares(op, y), L1(1e-3), x0=y), 20).x)
    assert isinstance(model, deepinv.models.Reconstructor)
    quiet = {"plot_images": False, "verbose": False, "save_folder": None, "non_blocking_transfers": False}
    ours, nothing = (
        deepinv.test(m, loader(op), op, metrics=deepinv.metric.PSNR(), show_progress_bar=False, **quiet)
        for m in (model, AsReconstructor(lambda op, y: 0 * y))
    )
    assert ours["PSNR"] > nothing["PSNR"] + 3


def test_modules_inside_a_plain_function_are_named_to_be_learned():
    net = network()
    model = AsReconstructor(lambda op, y: net(op.A_adjoint(y), 0.1), net)
    assert len(list(model.parameters())) == len(list(net.parameters()))
    assert not list(AsReconstructor(lambda op, y: net(y, 0.1)).parameters())
