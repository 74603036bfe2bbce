"""A small, well-conditioned problem: there, two roads meet in x and not only in the objective."""

from typing import NamedTuple

import pytest
import torch

from algorithms.variation import differences
from imaging.fidelity import LeastSquares
from imaging.operator import LinearOperator
from imaging.testing import dense
from priors import L1


@pytest.fixture
def gentle(psf):
    """The unsymmetric psf, half of it at its centre: |otf| >= 0.1 everywhere."""
    psf = psf / 2
    psf[..., 1, 2] += 0.5
    return psf


@pytest.fixture
def small():
    """Two boxes on 8x7, on [0, 1]."""
    x = torch.full((1, 1, 8, 7), 0.2, dtype=torch.float64)
    x[..., 2:6, 2:5] = 0.8
    x[..., 4:7, 3:6] += 0.1
    return x


def _dense_minimiser(op, y: torch.Tensor, lam: float, *, rho: float, n: int) -> torch.Tensor:
    """argmin |A x - y|^2 / 2 + lam TV(x) by plain alternating directions on explicit matrices."""
    A = dense(op.A, op.img_size, 1)[0]
    D = dense(differences, op.img_size, 1)[0]
    inverse = torch.linalg.inv(A.T @ A + rho * D.T @ D)
    data, v, b = A.T @ y.flatten(), torch.zeros(len(D), dtype=A.dtype), torch.zeros(len(D), dtype=A.dtype)
    for _ in range(n):
        x = inverse @ (data + rho * D.T @ (v - b))
        z = (D @ x + b).reshape(2, -1)
        size = z.square().sum(0).sqrt()
        v = (z * (1 - lam / rho / size.clamp_min(lam / rho))).flatten()
        b = z.flatten() - v
    return x.reshape(1, *op.img_size)


@pytest.fixture
def dense_minimiser():
    """The reference for every solver of total variation."""
    return _dense_minimiser


class Matrix(LinearOperator):
    """A small matrix as an operator on pictures of one row, its norm from the singular values."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__((1, 1, matrix.shape[1]), (1, 1, matrix.shape[0]), {"matrix": matrix})

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return x @ self.matrix.mT

    def A_adjoint(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return y @ self.matrix

    def norm_bound(self) -> float:
        return float(torch.linalg.matrix_norm(self.matrix, 2)) * (1 + 1e-12)


class Lasso(NamedTuple):
    """|A x - y|^2 / 2 + lam |x|_1 with A of 4x5, the least example with zeros in the solution."""

    f: LeastSquares
    g: L1
    solution: torch.Tensor


@pytest.fixture
def lasso():
    """The problem of ProximalAlgorithms.jl's tests, solved exactly: lam = |A^T y|_inf / 10."""
    rows = [[1.0, -2, 3, -4, 5], [2, -1, 0, -1, 3], [-1, 0, 4, -3, 2], [-1, -1, -1, 1, 3]]
    A, y = torch.tensor(rows, dtype=torch.float64), torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    lam, support, signs = 0.1 * float((A.T @ y).abs().max()), [0, 3, 4], torch.tensor([-1.0, 1, 1])
    part, x = A[:, support], torch.zeros(5, dtype=torch.float64)
    x[support] = torch.linalg.solve(part.T @ part, part.T @ y - lam * signs.double())
    published = [-0.3877278911564627, 0, 0, 0.02174149659863943, 0.6168435374149660]
    torch.testing.assert_close(x, torch.tensor(published, dtype=torch.float64), rtol=0, atol=1e-8)
    return Lasso(LeastSquares(Matrix(A), y[None, None, None]), L1(lam), x[None, None, None])
