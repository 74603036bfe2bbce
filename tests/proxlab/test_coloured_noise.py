"""Noise that lost its high frequencies to JPEG must not lead the rules that trust whiteness."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.signal import fftconvolve
from skimage import data

from imaging.metrics import psnr
from imaging.noise_level import NoiseLook
from imaging.psf.text import parse_psf
from proxlab.front import request_of
from proxlab.methods import load_method
from proxlab.pipeline import prepare, run

PSF = parse_psf("gaussian:1.6")


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return data.camera()[60:260, 120:320] / 255.0


def photograph(truth: np.ndarray, quality: int | None) -> np.ndarray:
    margin = PSF.shape[0] // 2
    blurred = fftconvolve(np.pad(truth, margin, mode="reflect"), PSF, "valid")
    noisy = blurred + 0.006 * np.random.default_rng(0).standard_normal(truth.shape)
    pixels = (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)
    if quality is None:
        return pixels
    store = io.BytesIO()
    Image.fromarray(pixels).save(store, "JPEG", quality=quality)
    return np.array(Image.open(store))


def test_jpeg_is_told_from_white_noise(truth):
    white = prepare(request_of({"method": "tikhonov"}), photograph(truth, None), PSF, None)
    jpeg = prepare(request_of({"method": "tikhonov"}), photograph(truth, 85), PSF, None)
    assert white.white and white.job.sigma_rule == "estimated"
    assert not jpeg.white and "not white" in jpeg.job.sigma_rule
    assert any("JPEG or resizing" in text for text in jpeg.job.warnings)


@pytest.mark.parametrize("name", ["tikhonov", "wiener", "tv", "richardson-lucy"])
def test_jpeg_pictures_get_better(truth, name):
    image = photograph(truth, 85)
    result, _ = run(prepare(request_of({"method": name}), image, PSF, None), None)
    assert psnr(result / 255.0, truth) > psnr(image / 255.0, truth) + 0.3


def test_without_the_veto_tikhonov_would_amplify_the_blocks(truth):
    """The control: the same picture with the noise declared white and cross-validation alone."""
    from algorithms.choose import gcv_weight
    from algorithms.classical import tikhonov

    prepared = prepare(request_of({"method": "tikhonov"}), photograph(truth, 85), PSF, None)
    lam = gcv_weight(prepared.op, prepared.y, seed=0).value
    x = prepared.op.window(tikhonov(prepared.op, prepared.y, lam=lam))
    assert psnr(x[0, 0].numpy(), truth) < psnr(prepared.y[0, 0].numpy(), truth)


def test_a_method_told_that_noise_is_white_still_refuses_a_tiny_weight(truth):
    """Cross-validation far below the evidence is itself a symptom."""
    prepared = prepare(request_of({"method": "tikhonov"}), photograph(truth, 85), PSF, None)
    result, job = run(replace(prepared, white=True), None)
    assert "misleads" in str(job.info()["lam_rule"])
    assert load_method("tikhonov").name == "tikhonov" and result.dtype == np.uint8


@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_other_borders_do_not_fall_back_on_cross_validation(truth, boundary):
    request = request_of({"method": "tikhonov", "boundary": boundary})
    _, job = run(prepare(request, photograph(truth, 85), PSF, None), None)
    assert "gcv" not in str(job.info()["lam_rule"]) and float(job.info()["lam"]) > 1e-3


def test_a_grid_of_psfs_errs_to_the_smooth_side(truth):
    image = photograph(truth, 85)[:96, :96]
    _, job = run(prepare(request_of({"method": "wiener", "sigma": 0.01}), image, [[PSF, PSF]], None), None)
    assert job.info()["lam"] > 0


def test_a_flat_page_is_not_called_compressed():
    page = np.full((96, 96), 128, np.uint8)
    result, job = run(prepare(request_of({"method": "tv"}), page, PSF, None), None)
    assert job.info()["status"] == "converged" and not job.warnings
    assert (result == 128).all()


@pytest.mark.parametrize(("options", "roughly"), [({}, False), ({"sigma": 0.01}, True)])
def test_noise_is_looked_at_once_and_roughly_where_the_level_is_given(truth, monkeypatch, options, roughly):
    looks = []

    class Look(NoiseLook):
        def __init__(self, *args, **kwargs):
            looks.append(kwargs["roughly"])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("imaging.noise_level.NoiseLook", Look)
    prepared = prepare(request_of({"method": "wiener", **options}), photograph(truth, 85), PSF, None)
    assert looks == [roughly] and not prepared.white  # compressed noise is seen either way
