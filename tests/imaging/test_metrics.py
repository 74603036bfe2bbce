"""Metrics: against hand-computed numbers, a second implementation, and signals of known colour."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from imaging.metrics import psnr, ssim, whiteness

RNG = np.random.default_rng(0)
A, B = RNG.random((24, 20, 3)), RNG.random((24, 20, 3))
WHITE = torch.from_numpy(RNG.standard_normal((1, 2, 120, 110)))


def test_psnr_by_hand():
    x, reference = np.array([[0.0, 0.5], [1.0, 2.0]]), np.array([[0.1, 0.5], [1.0, 0.9]])
    assert psnr(x, reference) == pytest.approx(
        -10 * math.log10((0.01 + 0 + 0 + 0.01) / 4)
    )  # 2.0 counts as 1.0
    assert psnr(x, x) == math.inf


def test_psnr_of_a_batch_is_the_mean_of_its_pictures():
    batch = torch.from_numpy(np.stack([A, B])).permute(0, 3, 1, 2)
    reference = torch.zeros_like(batch)
    singles = [psnr(A, np.zeros_like(A)), psnr(B, np.zeros_like(B))]
    assert psnr(batch, reference) == pytest.approx(np.mean(singles))
    assert psnr(batch[0], reference[0]) == pytest.approx(singles[0])


def test_ssim_by_its_formula():
    def mean(u):  # scikit-image cuts the window at 3.5 standard deviations and drops the border of 5 pixels
        return gaussian_filter(u, 1.5, truncate=3.5)

    values = []
    for a, b in zip(np.moveaxis(A, 2, 0), np.moveaxis(B, 2, 0), strict=True):
        va, vb, cov = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2, mean(a * b) - mean(a) * mean(b)
        c1, c2 = 0.01**2, 0.03**2
        field = (
            (2 * mean(a) * mean(b) + c1)
            * (2 * cov + c2)
            / ((mean(a) ** 2 + mean(b) ** 2 + c1) * (va + vb + c2))
        )
        values.append(field[5:-5, 5:-5].mean())
    assert ssim(A, B) == pytest.approx(np.mean(values), rel=1e-12)
    tensors = [torch.from_numpy(u).permute(2, 0, 1) for u in (A, B)]
    assert ssim(*tensors) == pytest.approx(ssim(A, B))


def test_white_noise_is_white_and_blurred_noise_is_not():
    assert whiteness(WHITE) < 4 / math.sqrt(WHITE.numel())
    blurred = torch.from_numpy(gaussian_filter(WHITE.numpy(), (0, 0, 1, 1)))
    assert whiteness(blurred) > 0.5


def test_whiteness_agrees_with_a_moving_average_worked_out_by_hand():
    n = WHITE[0, 0]
    moved = n[:, 2:] + 0.5 * n[:, :-2]  # correlation 0.5 / 1.25 at two columns apart, nothing elsewhere
    assert whiteness(moved) == pytest.approx(0.4, abs=0.03)


def test_whiteness_sees_no_masked_pixel():
    mask = torch.rand(120, 110) > 0.3
    spoiled = torch.where(mask, WHITE, 1e6)
    assert whiteness(spoiled, mask) < 6 / math.sqrt(WHITE.numel())
    assert whiteness(spoiled) > 0.1  # the control: without the mask the same residual is far from white
    hidden = torch.where(mask, WHITE, torch.nan)
    assert whiteness(hidden, mask) == whiteness(spoiled, mask)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: psnr(A, B[1:]), ValueError, r"shapes differ, \(24, 20, 3\) against \(23, 20, 3\)"),
        (lambda: psnr((A * 255).astype("uint8"), A), TypeError, "pixels of uint8, floating ones"),
        (lambda: psnr(np.zeros(3), np.zeros(3)), ValueError, r"got shape \(3,\)"),
        (lambda: ssim(A[:8], B[:8]), ValueError, "the picture is 8x20, SSIM needs 11 pixels a side"),
        (lambda: whiteness(torch.zeros(2, 9)), ValueError, "at least 3x3 pixels"),
        (lambda: whiteness(WHITE, torch.zeros(120, 110)), ValueError, "no two valid pixels"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()
