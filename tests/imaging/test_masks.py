"""Masks against multiplication, and their indifference to what lies below them."""

import pytest
import torch

from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Identity, Inpainting, Masked, fill
from imaging.sampling import Downsample
from imaging.testing import operator_checks


def some(*size):
    return torch.rand(1, *size, generator=torch.Generator().manual_seed(3)) > 0.3


MAKERS = {
    "identity": lambda k: Identity((2, 5, 4)),
    "inpainting": lambda k: Inpainting(some(1, 9, 8), (1, 9, 8)),
    "inpainting, a mask for all colours": lambda k: Inpainting(some(1, 5, 4), (3, 5, 4)),
    "circular": lambda k: Masked(CircularBlur(k, (1, 9, 8)), some(1, 9, 8)),
    "windowed, colour": lambda k: Masked(WindowedBlur(k, (2, 5, 4)), some(2, 5, 4).double()),
    "padded": lambda k: Masked(PaddedBlur(k, (1, 9, 8), "zero"), some(1, 9, 8)),
    "downsampled": lambda k: Masked(Downsample(WindowedBlur(k, (1, 9, 8)), 2), some(1, 5, 4)),
    "twice": lambda k: Masked(Masked(CircularBlur(k, (1, 9, 8)), some(1, 9, 8)), some(1, 9, 8).flip(-1)),
}


@pytest.mark.parametrize("check", operator_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_conforms(make, check, psf):
    check(make(psf))


def test_masked_is_mask_times_blur(psf):
    blur, mask = CircularBlur(psf, (1, 9, 8)), some(1, 9, 8)
    x = torch.randn(2, 1, 9, 8, dtype=torch.float64)
    assert torch.equal(Masked(blur, mask).A(x), mask * blur.A(x))
    assert torch.equal(Masked(blur, mask).valid, mask)
    both = Masked(Masked(blur, mask), mask.flip(-1)).valid
    assert torch.equal(both, mask & mask.flip(-1))


@pytest.mark.parametrize("name", ["inpainting", "circular", "downsampled"])
def test_nan_below_the_mask_is_ignored(name, psf):
    op = MAKERS[name](psf)
    y = torch.rand(1, *op.data_size, dtype=torch.float64)
    bad = torch.where(op.valid, y, torch.nan)
    z = torch.rand(1, *op.img_size, dtype=torch.float64)
    assert torch.equal(op.A_adjoint(bad), op.A_adjoint(y))
    assert torch.allclose(op.prox_l2(z, bad, 2.0), op.prox_l2(z, y, 2.0), atol=1e-12)
    assert torch.isfinite(op.embed(bad)).all()


def test_a_mask_for_each_sample(psf):
    masks = torch.cat((some(1, 9, 8), some(1, 9, 8).flip(-1)))
    op, x = Masked(CircularBlur(psf, (1, 9, 8)), masks), torch.randn(2, 1, 9, 8, dtype=torch.float64)
    single = Masked(CircularBlur(psf, (1, 9, 8)), masks[1:])
    assert torch.allclose(op.A(x)[1:], single.A(x[1:]), atol=1e-14)
    with pytest.raises(ValueError, match="holds 2 psfs or masks, one a sample, but y has 1 samples"):
        op.A(x[:1])
    wide = Masked(WindowedBlur(psf, (1, 9, 8)), masks)
    with pytest.raises(ValueError, match="holds 2 psfs or masks, one a sample, but a field has 1 samples"):
        wide.factored().keep(torch.ones(1, *wide.img_size, dtype=torch.float64))


def test_identity_takes_any_dtype():
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert Identity((1, 2, 2)).A(torch.zeros(1, 1, 2, 2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (torch.ones(9, 8), r"mask has shape \(9, 8\), wanted \(1 or B, 1 or 1, 9, 8\)"),
        (torch.ones(1, 1, 8, 9), "one value a data pixel"),
        (torch.full((1, 1, 9, 8), 0.5), "values other than 0 and 1: a pixel is valid or it is not"),
        (
            torch.zeros(1, 1, 9, 8),
            r"leaves no valid pixel: 1 \(True\) means valid, did you mean the opposite",
        ),
    ],
)
def test_bad_masks(mask, text):
    with pytest.raises(ValueError, match=text):
        Inpainting(mask, (1, 9, 8))


def test_holes_are_filled_from_around_them():
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 13, 16).clone()
    valid = torch.ones(1, 1, 13, 16, dtype=torch.bool)
    valid[..., 4:8, 5:10] = False
    filled = fill(torch.where(valid, ramp, 0), valid)
    assert torch.equal(filled[valid], ramp[valid])
    assert (filled - ramp)[~valid].abs().max() < 0.1
    lonely = torch.zeros(1, 1, 13, 16, dtype=torch.bool)
    lonely[..., 12, 3] = True
    assert torch.allclose(fill(torch.full_like(ramp, 0.7) * lonely, lonely), torch.full_like(ramp, 0.7))
