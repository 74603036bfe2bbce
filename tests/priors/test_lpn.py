"""The learned proximal network itself; its claims are proved in test_testing.py."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from priors import lpn, shrinkage
from priors.lpn import LPN, LPNConfig
from priors.mirroring import fold, margin, mirror
from priors.shrinkage import Shrinkage, cosine_frame
from priors.spline import inverse_softplus, monotone, monotone_integral
from priors.testing import jacobian

CONFIG = LPNConfig(side=4)


def rough(config=CONFIG, size=0.3):
    """A network in float64 whose weights are nowhere near their start."""
    net = LPN(config).double().requires_grad_(False)
    for p in net.parameters():
        p.add_(size * torch.randn_like(p))
    return net


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 9), (7, 9), (16, 24), (3, 33)])
@pytest.mark.parametrize("scales", [1, 3])
def test_any_size(size, scales):
    x = torch.rand(2, 1, *size, dtype=torch.float64)
    net = LPN(LPNConfig(side=5, scales=scales)).double()
    assert net(x, 0.1).shape == x.shape
    assert bool(torch.isfinite(net(x, 0.1)).all())


@pytest.mark.parametrize("size", [(1, 3), (2, 2), (6, 5)])
def test_symmetric_at_every_border(size):
    """Pictures smaller than a window, and odd ones on two scales."""
    net = rough(LPNConfig(side=5, scales=2))
    matrix = jacobian(net, torch.rand(1, 1, *size, dtype=torch.float64), 0.1)[0]
    assert float((matrix - matrix.T).norm() / matrix.norm()) < 1e-14
    assert float(torch.linalg.eigvalsh(matrix).min()) >= 0.05


def test_the_closed_form_is_what_autograd_finds():
    net, y = rough(LPNConfig(side=4, scales=2)), torch.rand(2, 1, 9, 8, dtype=torch.float64)
    y.requires_grad_()
    energy = 0  # the potential once more, from its parts, so that autograd can differentiate it
    z, own, scale, shapes = net._prepared(y, 0.1)
    for number, (term, shape) in enumerate(zip(net.terms, shapes, strict=True)):
        coarse = lpn._coarse(z, number)
        frame = shrinkage._extend(coarse, 4)[0]
        t = functional.conv2d(frame, shape.filters)
        weights = next(term.strips(coarse, whole=True))[2]
        knots = torch.arange(16) * 0.5
        parts = (t.abs()[..., None] - knots).clamp(min=0)
        jumps = torch.diff(shape.slopes, dim=2, prepend=torch.zeros_like(shape.slopes[..., :1]))
        phi = (parts.square() / 2 * jumps[:, :, None, None]).sum(-1)
        energy = energy + (phi * weights).sum()
    total = (scale**2 * (own * z.square() / 2)).sum() + (scale**2 * (1 - own)).squeeze() * energy
    (slope,) = torch.autograd.grad(total, y)
    assert torch.allclose(net(y.detach(), 0.1), slope, atol=1e-12)


def test_a_tight_frame_without_shrinkage_is_the_identity():
    net = LPN(LPNConfig(channels=3, side=4)).double().requires_grad_(False)
    net.terms[0].raw_slopes.fill_(float(inverse_softplus(torch.ones(()).double())))
    y = torch.rand(1, 3, 6, 9, dtype=torch.float64)
    assert torch.allclose(net(y, 0.2), y, atol=1e-6)


def test_mirroring_is_that_of_a_doubled_picture():
    """Far from the rim of a picture tiled with its mirror images, one of them is the picture denoised."""
    net = LPN(CONFIG).double().requires_grad_(False)  # cosines are mirror images of themselves, up to sign
    y = torch.rand(1, 1, 8, 7, dtype=torch.float64)
    double = torch.cat([torch.cat([y, y.flip(3)], 3), torch.cat([y.flip(2), y.flip((2, 3))], 3)], 2)
    tiled = net(double.repeat(1, 1, 3, 3), 0.1)[:, :, 16:24, 14:21]
    assert torch.allclose(net(y, 0.1), tiled, atol=1e-12)


def test_strips_change_nothing(monkeypatch):
    net, y = rough(LPNConfig(side=4, scales=2)), torch.rand(2, 1, 75, 12, dtype=torch.float64)
    whole, energy = net(y, 0.1), net.potential(y, 0.1)
    monkeypatch.setattr(shrinkage, "STRIP", 1)
    assert len(list(net.terms[0].strips(y, whole=False))) > 1
    with torch.no_grad():
        assert torch.allclose(net(y, 0.1), whole, rtol=1e-13, atol=1e-13)
        assert torch.allclose(net.potential(y, 0.1), energy, rtol=1e-13)


def test_levels():
    """No noise: nothing changes; above the last level: s f(y / s)."""
    net, y = rough(), torch.rand(2, 1, 8, 9, dtype=torch.float64)
    assert torch.equal(net(y, 0.0), y)
    top = net.config.levels[-1]
    assert torch.allclose(net(y, 3 * top), 3 * net(y / 3, top), atol=1e-13)
    between = [net(y, float(s)) for s in (0.05, 0.05 + 1e-9)]
    assert float((between[0] - between[1]).abs().max()) < 1e-6
    single = rough(LPNConfig(side=4, levels=(0.1,)))
    assert torch.allclose(single(2 * y, 0.4), 2 * single(y, 0.2), atol=1e-13)


def test_every_parameter_learns():
    net = LPN(LPNConfig(side=3, scales=2))
    levels = torch.tensor([0.01, 0.06, 0.15])
    net(torch.rand(3, 1, 12, 12), levels).square().sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert idle == []


def test_a_graph_only_when_training():
    y = torch.rand(1, 1, 8, 8)
    assert LPN(CONFIG)(y, 0.1).requires_grad
    assert not LPN(CONFIG).requires_grad_(False)(y, 0.1).requires_grad
    assert not y.requires_grad


def test_copies_are_the_same_network():
    net, y = rough(), torch.rand(1, 1, 9, 8, dtype=torch.float64)
    assert torch.equal(pickle.loads(pickle.dumps(net))(y, 0.1), net(y, 0.1))
    assert torch.equal(copy.deepcopy(net)(y, 0.1), net(y, 0.1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LPNConfig(convexity=0.0), r"convexity is 0\.0"),
        (lambda: LPNConfig(levels=(0.2, 0.1)), "give rising positive noise levels"),
        (lambda: LPN(CONFIG)(torch.rand(1, 3, 8, 8), 0.1), r"wants \(B, 1, H, W\)"),
        (lambda: LPN(CONFIG)(torch.rand(1, 1, 8, 8), -0.1), r"sigma is -0\.1"),
    ],
)
def test_refusals(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize("side", [1, 3, 8])
def test_mirror_and_its_transpose(size, side):
    """fold is the transposed matrix of mirror; weighted windows cover every pixel `side` times."""
    before, after, weights = margin(size, side, torch.zeros((), dtype=torch.float64))
    matrix = mirror(torch.eye(size, dtype=torch.float64), 1, before, after)  # rows: images of unit vectors
    back = fold(torch.eye(matrix.shape[1], dtype=torch.float64), 1, size, before)
    assert torch.equal(matrix, back.T)
    windows = torch.stack([matrix[:, k : k + side] for k in range(len(weights))])
    assert torch.allclose(
        torch.einsum("k,kis,kjs->ij", weights, windows, windows), side * torch.eye(size).double()
    )


def test_spline_gradients_and_integral():
    t = torch.linspace(-3.3, 3.2, 24, dtype=torch.float64).view(1, 2, 3, 4).requires_grad_()
    slopes = torch.rand(1, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, s: monotone(t, s, 0.5), (t, slopes))
    (slope,) = torch.autograd.grad(monotone_integral(t, slopes, 0.5).sum(), t)
    assert torch.allclose(slope, monotone(t, slopes, 0.5))
    per_sample = monotone(t.repeat(2, 1, 1, 1), torch.cat([slopes, 2 * slopes]), 0.5)
    assert torch.allclose(per_sample[1:], 2 * per_sample[:1])


def test_spline_by_interpolation():
    t = torch.linspace(-2, 2, 12, dtype=torch.float64).view(1, 1, 3, 4)
    slopes = torch.tensor([[[0.2, 1.0, 0.0, 2.0]]], dtype=torch.float64)
    import numpy as np

    knots = np.interp(t.abs().numpy(), [0, 0.5, 1, 1.5, 2], [0, 0.1, 0.6, 0.6, 1.6])
    assert np.allclose(monotone(t, slopes, 0.5).numpy(), np.sign(t.numpy()) * knots)


def test_frame_is_orthonormal_for_colours_too():
    frame = cosine_frame(3, 4).flatten(1)
    assert torch.allclose(frame @ frame.T, torch.eye(48), atol=1e-6)
    assert isinstance(LPN(CONFIG).terms[0], Shrinkage)
