"""Transforms against numpy's full FFT and explicit sums."""

import numpy as np
import pytest
import torch

from imaging import fft
from imaging.fft import centre_of, convolve, correlate, good_size, half_weights, irfft2, otf_of, rfft2


def test_good_size_is_the_smallest():
    smooth = {
        2**a * 3**b * 5**c * 7**d for a in range(1, 12) for b in range(7) for c in range(5) for d in range(5)
    }
    for n in range(1, 1500):
        assert good_size(n) == min(s for s in smooth if s >= n)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 4)])
def test_otf_is_the_transform_of_the_centred_psf(psf, size):
    field = np.zeros(size)
    for i in range(3):
        for j in range(4):
            field[(i - 1) % size[0], (j - 2) % size[1]] += float(psf[0, 0, i, j])
    expected = np.fft.fft2(field)[:, : size[1] // 2 + 1]
    assert np.allclose(otf_of(psf, size)[0, 0], expected, atol=1e-14)


def test_convolution_by_its_definition(psf):
    x = torch.randn(1, 1, 5, 6, dtype=torch.float64)
    got = convolve(x, otf_of(psf, (5, 6), (2, 0)))
    for r in range(5):
        for c in range(6):
            total = sum(
                psf[0, 0, i, j] * x[0, 0, (r + 2 - i) % 5, (c - j) % 6] for i in range(3) for j in range(4)
            )
            assert abs(total - got[0, 0, r, c]) < 1e-14


def test_correlate_is_the_transpose(psf):
    otf = otf_of(psf, (7, 6))
    x, y = torch.randn(2, 2, 1, 7, 6, dtype=torch.float64).unbind()
    assert torch.allclose((convolve(x, otf) * y).sum(), (x * correlate(y, otf)).sum(), atol=1e-12)


@pytest.mark.parametrize("width", [7, 8])
def test_half_weights_make_parseval_true(width):
    x = torch.randn(1, 1, 5, width, dtype=torch.float64)
    energy = (rfft2(x).abs().square() * half_weights(width, x)).sum() / (5 * width)
    assert torch.allclose(energy, x.square().sum())


def test_origin_must_be_inside(psf):
    assert centre_of(psf) == (1, 2)
    with pytest.raises(
        ValueError, match=r"origin \(3, 0\) is outside the psf of 3x4: give a row from 0 to 2"
    ):
        centre_of(psf, (3, 0))


def test_psf_larger_than_the_picture():
    with pytest.raises(
        ValueError, match="psf is 65x65 but the image is 32x32: crop the psf or pad the image"
    ):
        otf_of(torch.ones(1, 1, 65, 65), (32, 32))


@pytest.mark.parametrize("size", [(4, 3), (5, 8)])
@pytest.mark.parametrize("origin", [None, (0, 0), (3, 2)])
def test_the_centre_of_the_psf_comes_to_the_first_pixel(size, origin):
    """Odd and even sides, a psf as large as the picture, centres at corners: as padding and rolling do."""
    psf = torch.rand(2, 1, 4, 3, dtype=torch.float64)
    row, column = origin or (2, 1)
    field = torch.nn.functional.pad(psf, (0, size[1] - 3, 0, size[0] - 4)).roll((-row, -column), (-2, -1))
    assert torch.equal(otf_of(psf, size, origin), torch.fft.rfft2(field))


@pytest.mark.parametrize("size", [(1, 2), (2, 4), (7, 10), (8, 6), (31, 64), (64, 2)])
@pytest.mark.parametrize("part", [1, 64, 1 << 17])
def test_a_packed_inverse_is_the_inverse(monkeypatch, size, part):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    spectrum = rfft2(x)
    before, packed = spectrum.clone(), []
    monkeypatch.setattr(fft, "LARGE", 1)
    monkeypatch.setattr(fft, "PART", part)
    plain = fft._packed
    monkeypatch.setattr(fft, "_packed", lambda *a: packed.append(1) or plain(*a))
    got = irfft2(spectrum, size)
    assert packed and got.is_contiguous() and torch.equal(spectrum, before)
    assert torch.allclose(got, x, atol=1e-14)


def test_large_pictures_come_back_as_precisely_as_from_torch():
    x = torch.rand(1, 1, 2048, 2060)
    spectrum = rfft2(x)
    error = (irfft2(spectrum, (2048, 2060)) - x).abs().max()
    assert error <= 2 * (torch.fft.irfft2(spectrum, s=(2048, 2060)) - x).abs().max()


def test_gradients_and_odd_widths_go_through_torch(monkeypatch):
    monkeypatch.setattr(fft, "LARGE", 1)
    monkeypatch.setattr(fft, "_packed", None)
    x = torch.randn(1, 1, 6, 7, dtype=torch.float64)
    assert torch.allclose(irfft2(rfft2(x), (6, 7)), x)
    even = torch.randn(1, 1, 6, 8, dtype=torch.float64, requires_grad=True)
    irfft2(rfft2(even), (6, 8)).square().sum().backward()
    assert torch.allclose(even.grad, 2 * even)
