"""Maps against closed forms: nulls of a blur, holes of a mask, the known scatter of a linear method."""

import pytest
import torch

from algorithms.classical import tikhonov
from algorithms.stability import tikhonov_gain
from algorithms.trust import residual_scores, scatter, undetermined_share
from imaging.blur import CircularBlur
from imaging.masks import Identity, Masked

SIZE = (1, 48, 48)
BOX = torch.full((1, 1, 1, 4), 0.25, dtype=torch.float64)  # removes a period of 4 pixels along the rows


def wave(period):
    columns = torch.arange(48, dtype=torch.float64)
    return 0.5 + 0.2 * torch.cos(2 * torch.pi * columns / period).expand(1, *SIZE)


def test_a_frequency_that_the_blur_removes_was_made_by_the_method():
    op = CircularBlur(BOX, SIZE)
    assert float(op.A(wave(4) - 0.5).abs().max()) < 1e-12
    gone, kept = (undetermined_share(op, wave(p), lam=1e-3, faint=0.01) for p in (4, 12))
    assert float(gone.min()) > 0.95 and float(kept.max()) < 0.05


def test_the_share_of_an_even_mixture_is_one_half():
    op = CircularBlur(BOX, SIZE)
    share = undetermined_share(op, wave(4) + wave(6), lam=1e-5, faint=1e-4)[..., 12:-12]
    assert float(share.mean()) == pytest.approx(0.5, abs=0.05)


def test_detail_in_a_hole_of_the_mask_was_made_by_the_method():
    valid = torch.ones(1, 1, 48, 48, dtype=torch.bool)
    valid[..., 12:36, 12:36] = False
    x = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = undetermined_share(Masked(Identity(SIZE), valid), x, lam=1e-4, faint=0.01)[0, 0]
    assert float(share[20:28, 20:28].min()) > 0.8 and float(share[:4].max()) < 0.05


def test_nothing_is_claimed_where_there_is_no_detail():
    flat = 0.5 + 1e-4 * wave(4)
    assert float(undetermined_share(CircularBlur(BOX, SIZE), flat, lam=1e-3, faint=0.01).max()) < 1e-3


def test_the_scatter_of_a_linear_method_is_its_gain_times_the_noise(psf):
    op = CircularBlur(psf, SIZE)
    generator = torch.Generator().manual_seed(0)
    results = [
        tikhonov(op, 0.02 * torch.randn(1, *SIZE, generator=generator, dtype=torch.float64), lam=0.01)
        for _ in range(12)
    ]
    rms = float(scatter(results).square().mean().sqrt())
    assert rms == pytest.approx(0.02 * tikhonov_gain(op, lam=0.01).rms, rel=0.03)
    with pytest.raises(ValueError, match="the scatter of 1 results was asked for"):
        scatter(results[:1])


def test_scores_of_the_truth_are_standard_normal_and_a_wrong_pixel_stands_out(psf):
    op = CircularBlur(psf, (3, 40, 40))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 40, 40, generator=generator, dtype=torch.float64)
    y = op.A(x) + 0.02 * torch.randn(1, 3, 40, 40, generator=generator, dtype=torch.float64)
    y[..., 5, 6] += 0.2
    scores = residual_scores(op, x, y, 0.02**2)
    assert scores.shape == (1, 1, 40, 40) and float(scores.std()) == pytest.approx(1, abs=0.12)
    assert divmod(int(scores.abs().argmax()), 40) == (5, 6)


def test_what_was_not_observed_has_no_score():
    valid = torch.tensor([[[[True, False]]]])
    op = Masked(Identity((1, 1, 2)), valid)
    scores = residual_scores(op, torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 1.0)
    assert scores[0, 0, 0, 0] == 1 and scores[0, 0, 0, 1].isnan()
