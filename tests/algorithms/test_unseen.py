"""Data steps that make up what was not seen: dense matrices, batches, gradients, the same map in a part."""

import pytest
import torch

from algorithms.unseen import FilledLeastSquares
from imaging.blur import PaddedBlur, WindowedBlur
from imaging.masks import Masked
from imaging.testing import dense


@pytest.fixture
def psf():
    generator = torch.Generator().manual_seed(3)
    kernel = torch.rand(1, 1, 3, 4, dtype=torch.float64, generator=generator)
    return kernel / kernel.sum()


def operators(psf):
    window = WindowedBlur(psf, (1, 9, 8))
    mask = torch.ones(1, 1, 9, 8, dtype=torch.bool)
    mask[..., 1:3, 2:5] = False
    return {"window": window, "mask": Masked(window, mask)}


def drawn(op, batch=2):
    torch.manual_seed(1)
    return torch.rand(batch, *op.data_size).double(), torch.rand(batch, *op.img_size).double()


@pytest.mark.parametrize("name", ["window", "mask"])
def test_many_steps_solve_the_dense_normal_equations(psf, name):
    op = operators(psf)[name]
    y, z = drawn(op)
    f = FilledLeastSquares(op, y, 80, 1e-12)
    x = f.prox(z, gamma=3.0)
    A = dense(op.A, op.img_size, 1)[0]
    matrix = torch.eye(A.shape[1], dtype=A.dtype) + 3 * A.T @ A
    y = y if op.valid is None else y.masked_fill(~op.valid, 0)
    wanted = torch.linalg.solve(matrix, (z.flatten(1) + 3 * y.flatten(1) @ A).T).T
    assert torch.allclose(x.flatten(1), wanted, atol=1e-9) and f.left[0] < 1e-9


@pytest.mark.parametrize("name", ["window", "mask"])
def test_more_steps_come_nearer_and_say_so(psf, name):
    op = operators(psf)[name]
    y, z = drawn(op)
    exact, errors, left = op.prox_l2(z, y, 40.0), [(z - op.prox_l2(z, y, 40.0)).norm()], []
    for steps in (1, 3, 9):
        f = FilledLeastSquares(op, y, steps, 1e-3)
        errors.append((f.prox(z, gamma=40.0) - exact).norm())
        left += f.left
        assert f.taken == [steps]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.1 * errors[0]
    assert left == sorted(left, reverse=True)


def test_a_small_gamma_takes_fewer_steps(psf):
    op = operators(psf)["window"]
    y, z = drawn(op)
    f = FilledLeastSquares(op, y, 12)
    for gamma in (0.5, 1e4, torch.tensor([0.5, 1e4])):
        f.prox(z, gamma=gamma)
    assert f.taken[0] < 4 and f.taken[1:] == [12, 12]


def test_far_from_the_border_one_step_is_exact(psf):
    """Conjugate gradients of one step, whose length is chosen for the whole, are not."""
    from algorithms.pnp import ShortLeastSquares

    op = WindowedBlur(psf, (1, 60, 60))
    y, z = drawn(op, 1)
    middle = (..., slice(25, 35), slice(25, 35))
    exact, error = op.window(op.prox_l2(z, y, 2.0))[middle], {}
    for f in (FilledLeastSquares(op, y, 1), ShortLeastSquares(op, y, 1)):
        error[type(f).__name__] = (op.window(f.prox(z, gamma=2.0))[middle] - exact).abs().max()
    assert error["FilledLeastSquares"] < 1e-5 < 1e-3 < error["ShortLeastSquares"]


def test_a_part_gives_what_the_whole_gives_there_although_nothing_converged(psf):
    """Which conjugate gradients do not: their steps know of every pixel."""
    from algorithms.pnp import ShortLeastSquares

    whole = WindowedBlur(psf, (1, 128, 96))
    y, z = drawn(whole, 1)
    top, left = whole.start
    part = WindowedBlur(psf, (1, 80, 96), place=((top + 84, whole.img_size[2]), (top, left)))
    change, middle = {}, (..., slice(28, 48), slice(None))  # far from the cut, and from the field's end
    for term in (FilledLeastSquares, ShortLeastSquares):
        seen = whole.window(term(whole, y, 3).prox(z, gamma=9.0))[middle]
        again = term(part, y[..., :80, :], 3).prox(z[..., : part.img_size[1], :], gamma=9.0)
        change[term.__name__] = float((part.window(again)[middle] - seen).abs().max())
    assert change["FilledLeastSquares"] < 1e-5 < 1e-4 < change["ShortLeastSquares"]


def test_a_batch_equals_its_singles_and_takes_a_gamma_each(psf):
    op = operators(psf)["window"]
    y, z = drawn(op)
    gamma = torch.tensor([2.0, 30.0]).double()
    both = FilledLeastSquares(op, y, 12).prox(z, gamma=gamma)
    for n in range(2):
        one = FilledLeastSquares(op, y[n : n + 1], 12).prox(z[n : n + 1], gamma=float(gamma[n]))
        assert torch.allclose(both[n : n + 1], one, atol=1e-12)


def test_it_can_be_learned_through(psf):
    op = operators(psf)["mask"]
    y, z = drawn(op)
    gamma = torch.tensor([2.0, 30.0], dtype=torch.float64, requires_grad=True)
    f = FilledLeastSquares(op, y, 2)
    inputs = (z.requires_grad_(), gamma)
    assert torch.autograd.gradcheck(lambda v, g: f.prox(v, gamma=g), inputs, fast_mode=True)


def test_masked_data_may_hold_anything_and_z_is_left_alone(psf):
    op = operators(psf)["mask"]
    y, z = drawn(op)
    before = z.clone()
    clean = FilledLeastSquares(op, y, 3).prox(z, gamma=5.0)
    spoilt = torch.where(op.valid, y, torch.nan)
    assert torch.equal(FilledLeastSquares(op, spoilt, 3).prox(z, gamma=5.0), clean)
    assert torch.equal(z, before)


def test_what_it_cannot_do_is_refused(psf):
    op = PaddedBlur(psf, (1, 9, 8), "reflect")
    y, z = drawn(op)
    with pytest.raises(TypeError, match="PaddedBlur is no selection after a circular blur"):
        FilledLeastSquares(op, y, 3).prox(z, gamma=1.0)
    with pytest.raises(ValueError, match="steps is 0, wanted at least 1"):
        FilledLeastSquares(op, y, 0)
