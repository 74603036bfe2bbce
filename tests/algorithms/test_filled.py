import pytest
import torch

from algorithms.filled import Filled, cheap_data_term
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Masked


@pytest.fixture
def windowed(psf):
    op = WindowedBlur(psf, (1, 9, 8))
    return op, torch.rand(2, 1, 9, 8, dtype=torch.float64)


def test_without_rounds_it_minimises_the_majoriser(windowed):
    """d = S^T y + (1 - S^T S) K z, then the dense solution of (I + gamma K^T K) x = z + gamma K^T d."""
    op, y = windowed
    _, H, W = op.img_size
    z, gamma = torch.rand(2, *op.img_size, dtype=torch.float64), 3.0
    basis = torch.eye(H * W, dtype=torch.float64).view(-1, 1, H, W)
    K = torch.fft.irfft2(torch.fft.rfft2(basis) * op.otf, s=(H, W)).flatten(1).T
    d = torch.zeros(2, 1, H, W, dtype=torch.float64)
    (top, left), blurred = op.start, (z.flatten(1) @ K.T).view_as(z)
    d[:] = blurred
    d[..., top : top + 9, left : left + 8] = y
    system = torch.eye(H * W, dtype=torch.float64) + gamma * K.T @ K
    wanted = torch.linalg.solve(system, (z.flatten(1) + gamma * d.flatten(1) @ K).T).T.view_as(z)
    torch.testing.assert_close(Filled(op, y, 0).prox(z, gamma=gamma), wanted)


def test_many_rounds_are_the_exact_prox(windowed):
    op, y = windowed
    z, gamma = torch.rand(2, *op.img_size, dtype=torch.float64), torch.tensor([3.0, 300.0])
    exact = LeastSquares(op, y).prox(z, gamma=gamma)
    errors = [float((Filled(op, y, n).prox(z, gamma=gamma) - exact).norm()) for n in (0, 2, 60)]
    assert errors[0] > errors[1] > 1e3 * errors[2]
    assert errors[2] < 1e-7


def test_masked_data_do_not_count(psf):
    mask = torch.rand(1, 1, 9, 8) > 0.3
    op = Masked(CircularBlur(psf, (1, 9, 8)), mask)
    y, z = torch.rand(2, 1, 9, 8, dtype=torch.float64), torch.rand(2, 1, 9, 8, dtype=torch.float64)
    hidden = y.masked_fill(~mask, torch.nan)
    torch.testing.assert_close(
        Filled(op, hidden, 80).prox(z, gamma=5.0), LeastSquares(op, y).prox(z, gamma=5.0)
    )


def test_value_and_gradient_are_those_of_least_squares(windowed):
    op, y = windowed
    f, exact, x = Filled(op, y, 1), LeastSquares(op, y), op.embed(y)
    assert torch.equal(f.value(x), exact.value(x)) and torch.equal(f.grad(x), exact.grad(x))
    assert f.lipschitz() == exact.lipschitz()


def test_the_prox_can_be_differentiated(windowed):
    op, y = windowed
    z = torch.rand(1, *op.img_size, dtype=torch.float64, requires_grad=True)
    gamma = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)

    def total(z, gamma):
        return Filled(op, y[:1], 2).prox(z, gamma=gamma).square().sum()

    assert torch.autograd.gradcheck(total, (z, gamma), fast_mode=True)


def test_the_cheapest_term_for_each_operator(psf, windowed):
    y = torch.rand(1, 1, 9, 8, dtype=torch.float64)
    assert isinstance(cheap_data_term(CircularBlur(psf, (1, 9, 8)), y, rounds=1), LeastSquares)
    assert isinstance(cheap_data_term(*windowed, rounds=1), Filled)
    padded = PaddedBlur(psf, (1, 9, 8), "zero")
    assert isinstance(cheap_data_term(padded, y, rounds=1), LeastSquares)
    with pytest.raises(TypeError, match="PaddedBlur is no selection after a circular blur"):
        Filled(padded, y, 1)
