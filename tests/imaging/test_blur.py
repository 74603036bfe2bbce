"""Every blur against scipy with the corresponding border, and the shipped checks."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fft import good_size
from imaging.testing import operator_checks

SCIPY = {"circular": "wrap", "reflect": "mirror", "edge": "nearest", "zero": "constant"}
SHAPES = [(3, 4), (4, 3), (5, 5), (1, 6), (2, 2)]


def random_psf(shape, *, batch=1, channels=1, seed=0):
    return torch.rand(
        batch, channels, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def build(border, psf, size, origin=None):
    if border == "circular":
        return CircularBlur(psf, size, origin=origin)
    return PaddedBlur(psf, size, border, origin=origin)


def origins(shape):
    return [None, (0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, 0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("border", SCIPY)
def test_against_scipy_ndimage(border, shape):
    psf, x = random_psf(shape), torch.randn(2, 1, 9, 8, dtype=torch.float64)
    for origin in origins(shape):
        got = build(border, psf, (1, 9, 8), origin).A(x)
        shift = [0, 0] if origin is None else [o - n // 2 for o, n in zip(origin, shape, strict=True)]
        for sample, picture in zip(got[:, 0], x[:, 0].numpy(), strict=True):
            expected = ndimage.convolve(picture, psf[0, 0].numpy(), mode=SCIPY[border], origin=shift)
            assert np.allclose(sample, expected, atol=1e-12), (origin, shift)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("border", ["reflect", "edge", "zero"])
def test_against_numpy_pad_and_scipy_signal(border, shape):
    psf, x = random_psf(shape), torch.randn(1, 1, 9, 8, dtype=torch.float64)
    mode = "constant" if border == "zero" else border
    for origin in origins(shape):
        r, c = (shape[0] // 2, shape[1] // 2) if origin is None else origin
        wide = np.pad(x[0, 0].numpy(), ((shape[0] - 1 - r, r), (shape[1] - 1 - c, c)), mode=mode)
        expected = signal.convolve2d(wide, psf[0, 0].numpy(), mode="valid")
        assert np.allclose(build(border, psf, (1, 9, 8), origin).A(x)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("shape", [*SHAPES, (12, 11)])
def test_windowed_is_the_valid_part(shape):
    psf = random_psf(shape)
    for origin in origins(shape):
        op = WindowedBlur(psf, (1, 9, 8), origin=origin)
        x = torch.randn(1, *op.img_size, dtype=torch.float64)
        r, c = (shape[0] // 2, shape[1] // 2) if origin is None else origin
        full = signal.convolve2d(x[0, 0].numpy(), psf[0, 0].numpy(), mode="full")
        top, left = op.start[0] + r, op.start[1] + c
        assert np.allclose(op.A(x)[0, 0], full[top : top + 9, left : left + 8], atol=1e-12)
        assert torch.equal(op.window(op.embed(op.A(x))), op.A(x))


def test_the_window_sees_no_pixel_through_the_wrap():
    psf = random_psf((4, 5))
    op = WindowedBlur(psf, (1, 10, 9), origin=(3, 0))
    assert op.img_size == (1, good_size(13), good_size(13))
    seen = op.A_adjoint(torch.ones(1, 1, 10, 9, dtype=torch.float64)).abs()[0, 0] > 1e-12
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert len(rows) == 13 and int(rows[-1] - rows[0]) == 12  # one block: nothing came from the other side
    assert len(columns) == 13 and int(columns[-1] - columns[0]) == 12


def test_a_constant_stays_a_constant(psf):
    for op in (
        WindowedBlur(psf, (1, 9, 8)),
        PaddedBlur(psf, (1, 9, 8), "edge"),
        PaddedBlur(psf, (1, 9, 8), "reflect"),
    ):
        assert torch.allclose(
            op.A(torch.ones(1, *op.img_size, dtype=torch.float64)), torch.ones(1, 1, 9, 8).double()
        )


MAKERS = {
    "circular": lambda k, size: CircularBlur(k, size),
    "windowed": lambda k, size: WindowedBlur(k, size, origin=(2, 0)),
    "reflect": lambda k, size: PaddedBlur(k, size, "reflect"),
    "edge": lambda k, size: PaddedBlur(k, size, "edge", origin=(0, 3)),
    "zero": lambda k, size: PaddedBlur(k, size, "zero"),
}


@pytest.mark.parametrize("check", operator_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_conforms(make, check, psf):
    check(make(psf, (1, 9, 8)))


@pytest.mark.parametrize("check", operator_checks(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_conforms_in_colour_with_a_signed_psf_each(make, check):
    check(make(random_psf((3, 4), channels=2) - 0.3, (2, 5, 6)))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_psf_for_each_sample_and_channel(make):
    psfs = random_psf((3, 4), batch=2, channels=3) / 6
    op = make(psfs, (3, 9, 8))
    x, y = torch.randn(2, *op.img_size).double(), torch.randn(2, *op.data_size).double()
    for b in range(2):
        for c in range(3):
            one = make(psfs[b : b + 1, c : c + 1], (1, 9, 8))
            assert torch.allclose(op.A(x)[b, c], one.A(x[b : b + 1, c : c + 1])[0, 0], atol=1e-12)
            single = one.prox_l2(x[b : b + 1, c : c + 1], y[b : b + 1, c : c + 1], 2.0)[0, 0]
            assert torch.allclose(op.prox_l2(x, y, 2.0)[b, c], single, atol=1e-8)
    with pytest.raises(ValueError, match="holds 2 psfs or masks, one a sample, but x has 1 samples"):
        op.A(x[:1])


def test_circular_dagger_is_the_pseudo_inverse():
    psf = torch.ones(1, 1, 1, 2, dtype=torch.float64) / 2  # an exact zero at the highest column frequency
    op = CircularBlur(psf, (1, 3, 4))
    eye = torch.eye(12, dtype=torch.float64).reshape(12, 1, 3, 4)
    matrix = op.A(eye).reshape(12, 12).T
    assert torch.allclose(op.A_dagger(eye).reshape(12, 12).T, torch.linalg.pinv(matrix), atol=1e-12)


def test_the_bound_is_the_norm_for_a_signed_psf():
    psf = torch.tensor([[[[-1.0, 2.0, -1.0]]]], dtype=torch.float64)
    bound = CircularBlur(psf, (1, 4, 8)).norm_bound()
    assert 4.0 <= bound == pytest.approx(4.0, rel=1e-5)  # above, with room for the rounding of float32


@pytest.mark.parametrize(
    ("psf", "error", "text"),
    [
        (
            torch.ones(1, 1, 3, 3, dtype=torch.int64),
            TypeError,
            "psf has dtype torch.int64, wanted float32 or float64",
        ),
        (torch.ones(3, 3), ValueError, r"psf has shape \(3, 3\), wanted \(1 or B, 1 or 1, rows, columns\)"),
        (torch.ones(1, 2, 3, 3), ValueError, "wanted"),
        (torch.full((1, 1, 3, 3), torch.nan), ValueError, "psf has values that are not finite"),
        (
            torch.ones(1, 1, 10, 3),
            ValueError,
            "psf is 10x3 but the image is 9x8: crop the psf or pad the image",
        ),
    ],
)
def test_bad_psfs(psf, error, text):
    with pytest.raises(error, match=text):
        CircularBlur(psf, (1, 9, 8))


def test_bad_borders(psf):
    with pytest.raises(
        ValueError, match="border mode 'mirror' is unknown: choose one of 'reflect', 'edge', 'zero'"
    ):
        PaddedBlur(psf, (1, 9, 8), "mirror")
    with pytest.raises(
        ValueError, match="a reflected border of 2 pixels needs a picture larger than that, got 2"
    ):
        PaddedBlur(torch.ones(1, 1, 5, 5), (1, 2, 8), "reflect")


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_gradients_are_finite_differences(make, psf):
    op = make(psf, (1, 5, 4))
    sizes = [op.img_size, op.data_size, (1, 1, 1)]
    at = [torch.rand(1, *size, dtype=torch.float64).requires_grad_() for size in sizes]
    along = [torch.randn_like(v) for v in at]
    weight = torch.randn(1, *op.img_size, dtype=torch.float64)

    def value(x, y, gamma):
        return (weight * op.prox_l2(x, y, gamma, rtol=1e-12)).sum() + op.A(x).square().sum()

    slopes = torch.autograd.grad(value(*at), at)
    claimed = sum((g * d).sum() for g, d in zip(slopes, along, strict=True))
    with torch.no_grad():
        ahead, behind = (value(*[v + s * d for v, d in zip(at, along, strict=True)]) for s in (1e-5, -1e-5))
    assert claimed == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("origin", [None, (0, 3)])
def test_a_window_placed_on_a_part_of_the_field_sees_what_the_whole_sees_there(origin):
    psf = random_psf((3, 4))
    whole = WindowedBlur(psf, (1, 20, 17), origin=origin)
    row = 1 if origin is None else origin[0]
    x = torch.randn(1, *whole.img_size, dtype=torch.float64)
    part = WindowedBlur(psf, (1, 6, 5), origin=origin, place=((12, 10), (2, 2)))
    top, left = 4, 6  # of the part on the whole's field
    seen = whole.A(x)[..., top + 2 - whole.start[0] :, left + 2 - whole.start[1] :][..., :6, :5]
    assert torch.allclose(part.A(x[..., top : top + 12, left : left + 10]), seen)
    for check in operator_checks():
        check(WindowedBlur(psf, (1, 6, 5), origin=origin, place=((12, 10), (2, 2))))
    with pytest.raises(ValueError, match="sees around its end through a psf of"):
        WindowedBlur(psf, (1, 12 - row, 5), origin=origin, place=((12, 10), (2 - row, 4)))
