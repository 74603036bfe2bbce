import numpy as np
import pytest
import torch

from imaging.blur import CircularBlur, WindowedBlur
from priors.blurry import BlurryPatches, operator_of, random_psf, seen, stacked
from priors.data import Pictures


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    pixels = tuple(rng.integers(0, 256, (1, 40, 44), dtype=np.uint8) for _ in range(2))
    return Pictures(pixels, ("a", "b"))


def patches(pictures, **change):
    return BlurryPatches(
        **{
            "pictures": pictures,
            "patch": 32,
            "batch": 3,
            "sigma": (0.0, 0.06),
            "reach": 11,
            "seed": 4,
            **change,
        }
    )


@pytest.mark.parametrize("reach", [9, 15, 27])
def test_random_psfs_are_psfs(reach):
    shapes = set()
    for seed in range(24):
        h = random_psf(np.random.default_rng(seed), reach)
        assert max(h.shape) <= reach and h.shape[0] % 2 == h.shape[1] % 2 == 1
        assert h.min() >= 0 and h.sum() == pytest.approx(1)
        shapes.add(h.shape)
    assert len(shapes) > 3


def test_the_same_draw_is_the_same_psf():
    one, two, other = (random_psf(np.random.default_rng(s), 15) for s in (3, 3, 4))
    assert np.array_equal(one, two)
    assert one.shape != other.shape or not np.allclose(one, other)


def test_stacking_keeps_the_centres():
    stack = stacked([np.full((1, 3), 1 / 3), np.ones((1, 1)), np.full((5, 1), 0.2)])
    assert stack.shape == (3, 1, 5, 5)
    assert stack[0, 0, 2].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
    assert float(stack[1, 0, 2, 2]) == 1
    assert stack[2, 0, :, 2].tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("circular", [True, False])
def test_data_are_what_the_operator_gives(circular):
    """Unknown borders: the operator's field is as large as the patch, so it must reproduce the data."""
    sharp = torch.rand(2, 1, 32, 32)
    psf = stacked([random_psf(np.random.default_rng(s), 9) for s in (0, 1)])
    blurred, truth = seen(sharp, psf, circular=circular)
    op = operator_of(psf, blurred, torch.tensor(circular))
    assert isinstance(op, CircularBlur if circular else WindowedBlur)
    assert op.img_size == (1, 32, 32)
    centre = sharp if circular else sharp.roll((op.start[0] - psf.shape[-1] // 2,) * 2, (-2, -1))
    torch.testing.assert_close(op.A(centre), blurred)
    torch.testing.assert_close(op.window(centre), truth)


def test_a_batch_depends_on_seed_step_and_rank_alone(pictures):
    batch = patches(pictures)(7)
    assert all(torch.equal(a, b) for a, b in zip(batch, patches(pictures)(7), strict=True))
    for other in (
        patches(pictures)(8),
        patches(pictures, seed=5)(7),
        patches(pictures, rank=1)(7),
    ):
        assert not torch.equal(batch[3], other[3])


def test_both_borders_appear_and_fit(pictures):
    borders = set()
    for step in range(12):
        y, truth, psf, sigma, circular = patches(pictures)(step)
        rim = 0 if circular else psf.shape[-1] - 1
        assert y.shape == truth.shape == (3, 1, 32 - rim, 32 - rim)
        assert psf.shape[:2] == (3, 1) and sigma.shape == (3,)
        assert 0 <= float(sigma.min()) and float(sigma.max()) <= 0.06
        borders.add(bool(circular))
    assert borders == {True, False}


def test_the_noise_has_the_level_it_says(pictures):
    for step in range(9):
        y, truth, psf, _, circular = patches(pictures, batch=8, sigma=(0.05, 0.05))(step)
        if circular:
            noise = y - CircularBlur(psf, (1, *truth.shape[-2:])).A(truth)
            assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
            return
    pytest.fail("no circular batch among nine")
