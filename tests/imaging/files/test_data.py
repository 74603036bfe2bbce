"""The pictures in data/: made again they are the same, and they are what the README there says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve

from imaging.files import read_picture, srgb_to_linear, to_float
from imaging.psf.text import parse_psf

DATA = Path(__file__).parents[3] / "data"
_SPEC = importlib.util.spec_from_file_location("data_make", DATA / "make.py")
make = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(make)


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make.make(folder)
    return folder


def stored():
    return sorted(
        p.relative_to(DATA) for p in DATA.rglob("*") if p.suffix in (".png", ".jpg", ".tif", ".npy")
    )


def test_the_same_files_are_made(again):
    assert sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file()) == stored()
    assert sum((DATA / name).stat().st_size for name in stored()) < 1.5e6


@pytest.mark.parametrize("name", stored(), ids=str)
def test_the_same_pixels_are_made(again, name):
    if name.parts[0] == "psfs":
        from imaging.psf.files import read_psf

        np.testing.assert_allclose(read_psf(again / name), read_psf(DATA / name), atol=1e-12)
        return
    ours, new = read_picture(DATA / name), read_picture(again / name)
    assert ours.dtype == new.dtype and ours.alpha == new.alpha
    difference = np.abs(ours.pixels.astype(int) - new.pixels)
    # Another libjpeg rounds differently by a level or two; everything else is exact.
    assert difference.max() <= (2 if name.suffix == ".jpg" else 0)


@pytest.mark.parametrize("shot", make.SHOTS, ids=lambda shot: shot.file)
def test_blur_and_noise_are_what_is_stated(shot):
    """Blur the whole photograph by another road (FFT, scipy's centre); what remains is the stated noise."""
    psf = parse_psf(shot.psf)
    np.testing.assert_allclose(np.load(DATA / "psfs" / f"{Path(shot.file).stem}.npy"), psf, atol=1e-15)
    x, y = make.photograph(shot.origin), to_float(read_picture(DATA / shot.file).pixels)[0].astype(float)
    if shot.electrons is not None:
        x, y = srgb_to_linear(x), srgb_to_linear(y)
    psf = psf.reshape(*psf.shape, *(1,) * (x.ndim - 2))
    top, left, height, width = shot.window
    window = np.s_[top : top + height, left : left + width]
    residual = y - fftconvolve(x, psf, mode="same", axes=(0, 1))[window]
    sigma = shot.sigma if shot.electrons is None else np.sqrt(y.clip(0).mean() / shot.electrons)
    if shot.file.endswith(".jpg"):  # compression takes some of the noise away
        assert 0.3 * sigma < residual.std() < 1.1 * sigma
    else:
        assert residual.std() == pytest.approx(sigma, rel=0.03)
    assert abs(residual.mean()) < 0.05 * sigma
    # The sharp truth is the same window of the photograph.
    truth = read_picture(DATA / "sharp" / f"{Path(shot.file).stem}.png").pixels
    np.testing.assert_array_equal(truth, np.rint(255 * make.photograph(shot.origin)[window]))


def test_the_readme_names_every_picture_and_its_licence():
    text = (DATA / "README.md").read_text()
    for shot in make.SHOTS:
        assert f"`{shot.file}`" in text and f"`{shot.psf}`" in text and f"`{Path(shot.origin).stem}`" in text
