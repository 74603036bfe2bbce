"""Every examiner on photographs, grey and colour: clean when kept, found out when broken on purpose."""

from pathlib import Path

import pytest
import torch

from algorithms.backtracking import Rule, proximal_descent
from algorithms.driver import last
from algorithms.exam_descent import DescentExam
from algorithms.exam_proximal import ProximalGradientExam
from algorithms.exam_splitting import AugmentedLagrangianExam
from algorithms.proximal import pgd
from algorithms.splitting import admm
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.files.picture import read_picture
from priors import L1, LPN, DenoiserConfig, Fixed, GradientStep, LPNConfig, Ridge, RidgeConfig
from priors.weighted import Weighted

DATA = Path(__file__).resolve().parents[2] / "data" / "sharp"
STEPS = 12


@pytest.fixture(params=["grey", "colour"])
def f(request, psf):
    """A crop of a photograph, blurred, with noise of 0.02, in float64."""
    name = {"grey": "camera_shake.png", "colour": "coffee_motion.png"}[request.param]
    pixels = torch.from_numpy(read_picture(DATA / name).pixels.astype(float) / 255)[100:120, 90:112]
    x = (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))[None]
    op = CircularBlur(psf, tuple(x.shape[1:]))
    draw = torch.Generator().manual_seed(4)
    return LeastSquares(op, op.A(x) + 0.02 * torch.randn(x.shape, generator=draw, dtype=x.dtype))


def network(make, config, f, rough):
    torch.manual_seed(3)
    net = make(config(channels=f.y.shape[1])).double().requires_grad_(False)
    for parameter in net.parameters():
        parameter.mul_(rough)
    return net


def lpn(f):
    return network(LPN, lambda channels: LPNConfig(channels=channels, side=3), f, 1.0)


def gradient_step(f, rough=1.0):
    shape = {"widths": (4, 8), "blocks": (1, 1)}
    return network(GradientStep, lambda channels: DenoiserConfig(channels=channels, **shape), f, rough)


def proximal(f, g, step):
    exam = ProximalGradientExam(f, g, step=step)
    last(exam.watch(pgd(f, g, step=step, x0=f.y), f.y), STEPS)
    return exam.certificate()


def descent(smooth, simple, step, rule, x0):
    exam = DescentExam(smooth, simple, step=step, backtracking=rule.shrink is not None)
    last(exam.watch(proximal_descent(smooth, simple, step=step, x0=x0, rule=rule)), STEPS)
    return exam.certificate()


def splitting(first, second, gamma, x0):
    exam = AugmentedLagrangianExam(first, second, gamma=gamma)
    last(exam.watch(admm(first, second, gamma=gamma, x0=x0), x0), STEPS)
    return exam.certificate()


def broken(certificate):
    assert not certificate.clean and not certificate.proven and certificate.verdict.startswith("no guarantee")
    return " / ".join(c.claim for c in certificate.conditions if c.kind == "violated")


def test_proximal_gradient(f):
    step = 0.99 / f.lipschitz()
    assert proximal(f, Fixed(lpn(f), 0.05, step), step).proven
    assert proximal(f, L1(1e-3), step).proven
    far = 2.5 / f.lipschitz()
    assert broken(proximal(f, L1(1e-3), far)).startswith("the step is at most 1 / L")
    assert broken(proximal(f, Fixed(lpn(f), 0.01, far), far)).startswith("the step is below 1 / L")


def test_descent(f):
    g, plain = Weighted(gradient_step(f), 0.1, weight=0.3), Rule(0.5, False)
    assert descent(g, f, 3.0, plain, f.y).proven
    steep = Weighted(gradient_step(f, rough=3.0), 0.1, weight=0.3)
    assert descent(steep, f, 300.0, plain, f.y).proven
    assert "the objective never rises" in broken(descent(steep, f, 300.0, Rule(None, False), f.y))
    net = network(Ridge, lambda channels: RidgeConfig(channels, 2, widths=(), kernels=(3,)), f, 1.0)
    ridge = Weighted(net, 0.1, weight=0.05)
    long = descent(ridge, f, 2.5 / ridge.lipschitz(), Rule(None, False), f.y)
    assert broken(long).startswith("the step is at most 1 / L")
    far = 2.5 / f.lipschitz()
    assert "the step is below" in broken(descent(f, Fixed(lpn(f), 0.01, far), far, Rule(None, False), f.y))


def test_descent_with_a_data_step_that_is_solved_for_keeps_an_if(f, psf):
    op = WindowedBlur(psf, f.op.img_size)
    seen = LeastSquares(op, f.y)
    found = descent(Weighted(gradient_step(f), 0.1, weight=0.3), seen, 3.0, Rule(0.5, False), op.embed(f.y))
    assert found.proven and " as long as the proxes are exact: " in found.verdict


def test_alternating_directions(f):
    def run(gamma):
        return splitting(Fixed(lpn(f), 0.05, gamma), f, gamma, f.y)

    assert run(0.5 / f.lipschitz()).proven
    assert "rho = 1 / gamma is above L" in broken(run(10 / f.lipschitz()))
    assert splitting(L1(1e-3), f, 2.0, f.y).proven


def test_what_is_proven_holds_by_construction_or_by_a_bound(f):
    """Samples that did not refute something are observed, however many there were."""
    step = 0.9 / f.lipschitz()
    runs = [
        proximal(f, Fixed(lpn(f), 0.05, step), step),
        proximal(f, L1(1e-3), step),
        descent(Weighted(gradient_step(f), 0.1, weight=0.3), f, 3.0, Rule(0.5, True), f.y),
        splitting(Fixed(lpn(f), 0.05, step), f, step, f.y),
    ]
    proven = {c.claim.split(" is ", 1)[-1] for run in runs for c in run.conditions if c.kind == "proven"}
    assert proven == {
        *("convex", "below 1 / L", "at most 1 / L", "above L"),
        "a proximal operator, the gradient of a convex potential",
        "an explicit function with a gradient that is Lipschitz on bounded sets",
    }
