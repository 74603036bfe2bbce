"""A small, well-conditioned problem: there, two roads meet in x and not only in the objective."""

import pytest
import torch

from algorithms.variation import differences
from imaging.testing import dense


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
