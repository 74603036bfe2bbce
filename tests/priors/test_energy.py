import math

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from priors.energy import Energy, composed, norm_bound_squared, with_flips

SIZES = [(1, 1), (2, 5), (4, 4), (9, 8)]


def energy(channels=1, side=5, batch=1):
    bank = with_flips(torch.randn(2, channels, side, side, dtype=torch.float64))
    width = 0.05 + torch.rand(batch, 8, 3, dtype=torch.float64)
    return Energy(bank, width, torch.randn(batch, 8, 3, dtype=torch.float64))


def picture(batch=1, channels=1, size=(7, 6)):
    return torch.rand(batch, channels, *size, dtype=torch.float64)


def dense(function, x):
    """The matrix of a linear map of pictures."""
    units = torch.eye(x[0].numel(), dtype=x.dtype).view(-1, *x.shape[1:])
    return function(units).flatten(1).T


def test_composition_is_one_filter_after_the_other():
    stages = [torch.randn(3, 2, 5, 5).double(), torch.randn(4, 3, 3, 3).double()]
    x = picture(2, 2, (12, 11))
    first = stages[0] - stages[0].mean((-1, -2), keepdim=True)
    assert torch.allclose(conv2d(x, composed(stages)), conv2d(conv2d(x, first), stages[1]), atol=1e-12)


def test_constant_pictures_cost_nothing():
    stages = [torch.randn(3, 1, 3, 3).double(), torch.randn(4, 3, 3, 3).double()]
    quiet = Energy(with_flips(composed(stages)), torch.ones(1, 16, 1).double(), torch.ones(1, 16, 1).double())
    assert float(quiet.value(torch.full((1, 1, 6, 7), 0.7).double())) < 1e-20


@pytest.mark.parametrize("channels", [1, 3])
def test_norm_is_at_most_one_at_every_size(channels):
    """Singular values of the dense matrix, borders included; one without flips would exceed the bound."""
    e = energy(channels)
    for size in SIZES:
        matrix = dense(e.answers, picture(1, channels, size))
        assert float(torch.linalg.matrix_norm(matrix, 2)) <= 1 + 1e-12


def test_norm_bound_is_near_the_norm():
    bank = torch.randn(3, 1, 5, 5, dtype=torch.float64)
    matrix = dense(lambda x: conv2d(x, bank, padding=4), picture(1, 1, (20, 20)))
    ratio = float(norm_bound_squared(bank)) / float(torch.linalg.matrix_norm(matrix, 2)) ** 2
    assert 1 <= ratio < 1.25


def test_without_the_flips_the_borders_would_break_the_bound():
    """The negative control: an edge filter whose answer grows where the mirror is close."""
    bank = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    bank[0, 0, 2, :2] = 1.0
    bank = bank / norm_bound_squared(bank).sqrt()
    alone = Energy(bank, torch.ones(1, 1, 1).double(), torch.ones(1, 1, 1).double())
    assert float(torch.linalg.matrix_norm(dense(alone.answers, picture(1, 1, (3, 4))), 2)) > 1.05
    closed = Energy(with_flips(bank), alone.width, alone.weight)
    assert float(torch.linalg.matrix_norm(dense(closed.answers, picture(1, 1, (3, 4))), 2)) <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_adjoint(channels):
    e, x = energy(channels), picture(1, channels)
    matrix = dense(e.answers, x)
    answers = e.answers(x)
    assert torch.allclose(dense(lambda t: e.adjoint(t, x), answers), matrix.T, atol=1e-13)


def test_value_by_hand():
    """The sum over filters, pixels and bumps, spelled out on a tiny picture."""
    e, x = energy(side=3), picture(size=(2, 3))
    padded, total = torch.from_numpy(np.pad(x[0, 0].numpy(), 1, mode="symmetric")), 0.0
    for f in range(8):
        for row in range(2):
            for column in range(3):
                t = float((padded[row : row + 3, column : column + 3] * e.bank[f, 0]).sum())
                for v, c in zip(e.width[0, f].tolist(), e.weight[0, f].tolist(), strict=True):
                    total += c * v * (math.sqrt(t * t + v * v) - v)
    assert float(e.value(x)) == pytest.approx(total, rel=1e-12)


def test_gradient_and_hessian():
    e, x, v = energy(batch=2), picture(2), torch.randn(2, 1, 7, 6, dtype=torch.float64)
    probe = x.clone().requires_grad_()
    slope = torch.autograd.grad(e.value(probe).sum(), probe)[0]
    assert torch.allclose(e.grad(x), slope, atol=1e-13)
    step = 1e-6
    bend = (e.grad(x + step * v) - e.grad(x - step * v)) / (2 * step)
    assert torch.allclose(e.curve(x, v), bend, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
def test_curvature_bounds_hold(channels):
    """Eigenvalues of the dense Hessian, at a flat picture where the bumps are steepest, and elsewhere."""
    for seed in range(3):
        torch.manual_seed(seed)
        e = energy(channels)
        low, high = (float(b) for b in e.curvature())
        for x in (picture(1, channels, (4, 4)), torch.full((1, channels, 4, 4), 0.5).double()):
            hessian = torch.stack(
                [e.curve(x, u[None])[0] for u in torch.eye(x.numel()).double().view(-1, *x.shape[1:])]
            )
            hessian = hessian.flatten(1)
            assert torch.allclose(hessian, hessian.T, atol=1e-12)
            values = torch.linalg.eigvalsh(hessian)
            assert -low - 1e-12 <= float(values.min()) and float(values.max()) <= high + 1e-12


def test_batch_is_its_singles():
    e, x = energy(batch=3), picture(3)
    for n in range(3):
        one = Energy(e.bank, e.width[n : n + 1], e.weight[n : n + 1])
        assert torch.allclose(e.grad(x)[n : n + 1], one.grad(x[n : n + 1]), atol=1e-14)
        assert torch.allclose(e.value(x)[n : n + 1], one.value(x[n : n + 1]), atol=1e-12)


def test_strips_are_the_whole_picture(monkeypatch):
    """Two rows at a time, and the last strip shorter: the same numbers as in one piece."""
    e, x, v = energy(batch=2), picture(2), torch.randn(2, 1, 7, 6, dtype=torch.float64)
    whole = e.value(x), e.grad(x), e.curve(x, v)
    monkeypatch.setattr("priors.energy.PIECE", 2 * 8 * 6)
    assert len(list(e._pieces(x))) == 2 * 4
    for a, b in zip(whole, (e.value(x), e.grad(x), e.curve(x, v)), strict=True):
        assert torch.allclose(a, b, atol=1e-13)


def test_memory_stays_small_whatever_the_size(monkeypatch):
    """No more answers than a piece holds exist at one time."""
    seen = []
    monkeypatch.setattr(Energy, "_slope", lambda self, t, sample: (seen.append(t.numel()), t)[1])
    monkeypatch.setattr("priors.energy.PIECE", 8 * 40 * 3)
    energy().grad(picture(size=(40, 40)))
    assert max(seen) <= 8 * 40 * 3 and sum(seen) == 8 * 40 * 40
