"""The varying blur against explicit sums over pixels and psfs."""

import numpy as np
import pytest
import torch

from imaging.blur import WindowedBlur
from imaging.testing import operator_checks
from imaging.varying import VaryingBlur


def grid(rows, columns, shape=(3, 4), channels=1):
    g = torch.Generator().manual_seed(5)
    psfs = torch.rand(rows, columns, channels, *shape, generator=g, dtype=torch.float64)
    return psfs / psfs.sum((-2, -1), keepdim=True)


def by_definition(psfs, x, start, size, origin):
    """psf of each pixel by np.interp between centres, then the sum over its support, pixel by pixel."""
    rows, columns, _, h, w = psfs.shape
    out = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            r = np.clip((i + 0.5) * rows / size[0] - 0.5, 0, rows - 1)
            c = np.clip((j + 0.5) * columns / size[1] - 0.5, 0, columns - 1)
            psf = sum(
                max(0, 1 - abs(r - a)) * max(0, 1 - abs(c - b)) * psfs[a, b, 0].numpy()
                for a in range(rows)
                for b in range(columns)
            )
            for k in range(h):
                for m in range(w):
                    out[i, j] += psf[k, m] * x[start[0] + i + origin[0] - k, start[1] + j + origin[1] - m]
    return out


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (3, 2), (4, 1)])
@pytest.mark.parametrize("origin", [None, (0, 3)])
def test_every_pixel_sees_its_own_psf(counts, origin):
    psfs = grid(*counts)
    op = VaryingBlur(psfs, (1, 9, 8), origin=origin)
    x = torch.randn(1, *op.img_size, dtype=torch.float64)
    expected = by_definition(psfs, x[0, 0].numpy(), op.start, (9, 8), origin or (1, 2))
    assert np.allclose(op.A(x)[0, 0], expected, atol=1e-12)


def test_equal_psfs_are_one_windowed_blur(psf):
    op, one = VaryingBlur(psf.expand(3, 2, 1, 3, 4), (1, 11, 10)), WindowedBlur(psf, (1, 11, 10))
    x = torch.randn(2, *op.img_size, dtype=torch.float64)
    assert op.img_size == one.img_size and torch.allclose(op.A(x), one.A(x), atol=1e-13)
    assert torch.equal(op.embed(op.A(x)), one.embed(op.A(x)))


@pytest.mark.parametrize("check", operator_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("counts", [(2, 3), (3, 1)])
def test_conforms(check, counts):
    check(VaryingBlur(grid(*counts), (1, 9, 8)))


def test_colours_have_their_own_psfs():
    psfs = grid(2, 2, channels=3)
    op, x = VaryingBlur(psfs, (3, 9, 8)), torch.randn(1, 3, 14, 14, dtype=torch.float64)[..., :12, :12]
    for c in range(3):
        one = VaryingBlur(psfs[:, :, c : c + 1], (1, 9, 8))
        assert torch.allclose(op.A(x)[:, c : c + 1], one.A(x[:, c : c + 1]), atol=1e-13)


def test_mistakes_are_named():
    with pytest.raises(
        ValueError, match=r"psfs have shape \(1, 1, 3, 3\), wanted \(rows, columns, 1 or 1, h, w\)"
    ):
        VaryingBlur(torch.ones(1, 1, 3, 3), (1, 9, 8))
    with pytest.raises(
        ValueError, match="20 psfs over 9 pixels: some would never be used, give a coarser grid"
    ):
        VaryingBlur(torch.ones(20, 1, 1, 3, 3), (1, 9, 8))
