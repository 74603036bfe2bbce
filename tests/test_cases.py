"""The cases that the quality tables are made of, held against other code for the same blur."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import convolve
from skimage import data

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(0)
PSF = RNG.random((5, 7)) / 20


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    kept = sys.modules.pop("common", None)
    import cases

    yield cases
    for name in ("cases", "common"):
        sys.modules.pop(name, None)
    if kept is not None:
        sys.modules["common"] = kept


@pytest.mark.parametrize("border", ["circular", "unknown"])
def test_what_is_blurred_is_what_scipy_blurs(cases, monkeypatch, border):
    monkeypatch.setattr(cases, "SIDE", 32)
    picture = RNG.random((61, 52))
    truth, clean = cases.blurred(picture, PSF, border)
    whole = convolve(truth, PSF, mode="wrap") if border == "circular" else convolve(picture, PSF)
    rows, columns = (slice((n - 32) // 2, (n - 32) // 2 + 32) for n in picture.shape)
    wanted = whole if border == "circular" else whole[rows, columns]
    assert np.array_equal(truth, picture[rows, columns])
    assert np.allclose(clean, wanted)
    assert not np.allclose(clean, truth, atol=1e-2)


def test_colour_is_blurred_channel_by_channel(cases):
    picture = data.astronaut()[100:170, 200:280] / 255
    truth, clean = cases.blurred(picture, PSF, "unknown")
    for channel in range(3):
        grey = cases.blurred(picture[..., channel], PSF, "unknown")
        assert np.array_equal(truth[..., channel], grey[0]) and np.array_equal(clean[..., channel], grey[1])


def test_a_wider_psf_has_the_centre_and_the_sum_of_the_true_one(cases):
    psf = np.outer(np.hanning(17), np.hanning(15))
    psf /= psf.sum()
    wide = cases.widened(psf, 1.1)
    assert wide.sum() == pytest.approx(1)

    def moments(k, axis):
        at = np.arange(k.shape[axis]) - k.shape[axis] // 2
        weight = k.sum(1 - axis)
        return (weight * at).sum(), (weight * at**2).sum() ** 0.5

    for axis in (0, 1):
        assert moments(wide, axis)[0] == pytest.approx(moments(psf, axis)[0], abs=1e-6)
        assert moments(wide, axis)[1] == pytest.approx(1.1 * moments(psf, axis)[1], rel=0.03)
    assert np.allclose(cases.widened(psf, 1.0), psf)


def test_rotating_takes_every_picture_once_and_counts_are_whole_numbers(cases, tmp_path):
    for n in range(3):
        np.save(tmp_path / f"k{n}.npy", np.ones((3, 2 * n + 1)))
    study = cases.Study(None, tmp_path, 4, (255.0, 64.0), "circular", rotating=True, counted=True)
    found = list(study.cases())
    pairs = [tuple(case.name.split()[:2]) for case in found]
    assert sorted(set(pairs)) == [("astronaut", "k0"), ("brick", "k1"), ("camera", "k2"), ("cat", "k0")]
    assert len(found) == 8 and study.name == "skimage_poisson_circular"
    counts = found[0].y.astype(np.float64) * found[0].level
    assert np.allclose(counts, counts.round(), atol=1e-3)
    assert found[0].y.dtype == np.float32
