"""Downsampling against slicing, and its closed form against dense solves (in the shipped checks)."""

import pytest
import torch

from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Masked
from imaging.sampling import Downsample
from imaging.testing import operator_checks

MAKERS = {
    "closed form, factor 2": lambda k: Downsample(CircularBlur(k, (1, 8, 6)), 2),
    "closed form, factor 3": lambda k: Downsample(CircularBlur(k, (1, 9, 6)), 3),
    "odd size": lambda k: Downsample(CircularBlur(k, (1, 9, 7)), 2),
    "windowed": lambda k: Downsample(WindowedBlur(k, (1, 9, 8)), 2),
    "padded": lambda k: Downsample(PaddedBlur(k, (1, 9, 8), "reflect"), 2),
    "factor 1": lambda k: Downsample(CircularBlur(k, (1, 7, 5)), 1),
    "twice": lambda k: Downsample(Downsample(WindowedBlur(k, (1, 9, 8)), 2), 2),
    "of a masked": lambda k: Downsample(Masked(WindowedBlur(k, (1, 7, 8)), torch.rand(1, 1, 7, 8) > 0.3), 2),
}


@pytest.mark.parametrize("check", operator_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_conforms(make, check, psf):
    check(make(psf))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_samples_are_rows_and_columns_0_f_2f(make, psf):
    op = make(psf)
    x = torch.randn(2, *op.img_size, dtype=torch.float64)
    assert torch.equal(op.A(x), op.op.A(x)[..., :: op.factor, :: op.factor])
    assert op.exact_prox == (isinstance(op.op, CircularBlur) and op.img_size[1] % op.factor == 0)


def test_closed_form_with_a_psf_for_each_sample_and_channel():
    psfs = torch.rand(2, 3, 3, 4, dtype=torch.float64)
    op = Downsample(CircularBlur(psfs, (3, 8, 6)), 2)
    z, y = torch.randn(2, 3, 8, 6).double(), torch.randn(2, 3, 4, 3).double()
    gamma = torch.tensor([0.5, 7.0]).double().view(2, 1, 1, 1)
    x = op.prox_l2(z, y, gamma)
    slope = gamma * op.A_adjoint(op.A(x) - y) + x - z
    assert slope.abs().max() < 1e-12
    assert torch.allclose(op.prox_l2(None, y, gamma), op.prox_l2(torch.zeros_like(z), y, gamma))


def test_embed_leaves_the_samples_where_they_are(psf):
    op = Downsample(WindowedBlur(psf, (1, 9, 8)), 2)
    y = torch.rand(1, 1, 5, 4, dtype=torch.float64)
    fine = op.window(op.embed(y))
    assert fine.shape == (1, 1, 9, 8) and torch.allclose(fine[..., ::2, ::2], y)
    assert torch.allclose(fine[..., 1, ::2], (y[..., 0, :] + y[..., 1, :]) / 2)


@pytest.mark.parametrize("factor", [0, 2.5, 10])
def test_factor_is_a_whole_number_that_fits(factor, psf):
    with pytest.raises(ValueError, match="wanted a whole number from 1 to 8, the data's smaller side"):
        Downsample(WindowedBlur(psf, (1, 9, 8)), factor)


def test_valid_is_sampled_too(psf):
    mask = torch.ones(1, 1, 9, 8, dtype=torch.bool)
    mask[..., 4, 2] = False
    op = Downsample(Masked(WindowedBlur(psf, (1, 9, 8)), mask), 2)
    assert int((~op.valid).sum()) == 1 and not bool(op.valid[0, 0, 2, 1])
    assert Downsample(WindowedBlur(psf, (1, 9, 8)), 2).valid is None
