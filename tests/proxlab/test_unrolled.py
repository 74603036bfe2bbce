import numpy as np
import pytest
import torch

import proxlab
from imaging.blur import CircularBlur, WindowedBlur
from imaging.psf.text import parse_psf
from priors.checkpoint import build, save_network
from priors.deblurrer import DeblurrerConfig
from priors.denoiser import DenoiserConfig
from proxlab.errors import InputError, UsageError

INNER = DenoiserConfig(widths=(4, 6), blocks=(1, 1))


@pytest.fixture
def file(tmp_path):
    config = DeblurrerConfig(network=INNER.to_dict(), steps=2)
    save_network(tmp_path / "own.safetensors", build("unrolled", config, seed=1), {})
    return tmp_path / "own.safetensors"


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(0.2, 0.8, (40, 36)).astype(np.float32)


def run(picture, file, **more):
    psf = np.ones((3, 5)) / 15
    return proxlab.deblur(
        picture, psf, method="unrolled", prior=str(file), **{"sigma": 0.02, **more}, return_info=True
    )


@pytest.mark.parametrize("boundary", ["circular", "unknown", "reflect"])
def test_the_front_door_gives_what_the_network_gives(picture, file, boundary, monkeypatch):
    # bfloat16 would set apart what the last bit of the psf moves
    monkeypatch.setattr("priors.precision.has_bfloat16", lambda device: False)
    sharp, info = run(picture, file, boundary=boundary)
    assert sharp.shape == picture.shape and sharp.dtype == np.float32
    assert (info["method"], info["num_iter"], info["status"]) == ("unrolled", 2, "exact")
    if boundary == "reflect":
        return
    kind = CircularBlur if boundary == "circular" else WindowedBlur
    op, y = kind(torch.ones(1, 1, 3, 5) / 15, (1, 40, 36)), torch.from_numpy(picture)[None, None]
    x = op.window(proxlab.load_reconstructor(file)(op, y, 0.02))
    np.testing.assert_allclose(sharp, x[0, 0].numpy(), atol=1e-5)


def test_a_grey_network_takes_colour_pictures_channel_by_channel(picture, file):
    colour = np.stack([picture, picture[::-1], picture[:, ::-1]], axis=2)
    sharp, _ = run(colour, file, boundary="circular")
    plane, _ = run(np.ascontiguousarray(colour[..., 1]), file, boundary="circular")
    np.testing.assert_allclose(sharp[..., 1], plane, atol=1e-5)


def test_masked_pixels_do_not_count(picture, file):
    mask = np.ones(picture.shape, bool)
    mask[10:14, 10:14] = False
    hidden = np.where(mask, picture, 0.5).astype(np.float32)
    assert np.array_equal(run(picture, file, mask=mask)[0], run(hidden, file, mask=mask)[0])
    assert not np.array_equal(run(picture, file)[0], run(hidden, file)[0])


def test_counts_are_weighed_by_their_variance_and_twice_the_size_is_made(picture, file):
    counted, info = run(picture, file, noise="poisson:100", sigma=None)
    flat, _ = run(picture, file, sigma=info["sigma"])
    assert np.abs(counted - flat).max() > 1e-3 and np.isfinite(counted).all()
    assert run(picture, file, scale=2)[0].shape == (80, 72)


def test_a_picture_is_denoised_by_denoisers_only(picture, file):
    with pytest.raises(UsageError, match="prior 'own' is no denoiser, it deblurs by itself: use it with met"):
        proxlab.denoise(picture, sigma=0.02, prior=str(file))


def test_noise_beyond_the_training_is_said(picture, file):
    assert not [w for w in run(picture, file)[1]["warnings"] if "was trained with noise up to" in w]
    warnings = run(picture, file, sigma=0.2)[1]["warnings"]
    assert any(
        "network 'own' was trained with noise up to 0.0588, the picture has 0.2" in w for w in warnings
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"lam": 0.1}, "method 'unrolled' cannot do a given lam"),
        ({"num_iter": 4}, "method 'unrolled' cannot do a given num_iter"),
    ],
)
def test_what_it_cannot_do_is_refused(picture, file, more, text):
    with pytest.raises(UsageError, match=text):
        run(picture, file, **more)


def test_without_weights_it_says_how_to_make_them(picture, monkeypatch):
    monkeypatch.setattr("priors.base.available", lambda: ())
    with pytest.raises(UsageError, match="none ships with this version: make one with `proxlab train unr"):
        proxlab.deblur(picture, np.ones((3, 3)) / 9, method="unrolled", sigma=0.02)
    with pytest.raises(UsageError, match="no reconstructor 'unrolled-gray': shipped are none"):
        proxlab.load_reconstructor("unrolled-gray")


def test_a_denoiser_is_no_unrolled_network(picture, tmp_path):
    path = tmp_path / "denoiser.safetensors"
    save_network(path, build("denoiser", INNER, seed=1), {})
    with pytest.raises(UsageError, match="prior 'denoiser' is no unrolled network"):
        run(picture, path)
    with pytest.raises(UsageError, match="holds a denoiser, which denoises"):
        proxlab.load_reconstructor(path)
    with pytest.raises(InputError, match="there is no checkpoint file"):
        proxlab.load_reconstructor(tmp_path / "none.safetensors")


def test_the_reconstructor_estimates_the_level(file):
    """With the level it would find anyway, given, the result is the same; with another it is not."""
    from proxlab.reconstructors import estimated_level

    draw = torch.Generator().manual_seed(0)
    smooth = torch.linspace(0.2, 0.8, 96).expand(1, 1, 96, 96)
    op = WindowedBlur(torch.from_numpy(parse_psf("gaussian:2")).float()[None, None], (1, 96, 96))
    y = smooth + 0.03 * torch.randn(1, 1, 96, 96, generator=draw)
    level = estimated_level(op, y)
    assert float(level) == pytest.approx(0.03, rel=0.15)
    reconstruct = proxlab.load_reconstructor(file)
    assert torch.equal(reconstruct(op, y), reconstruct(op, y, level))
    assert not torch.equal(reconstruct(op, y), reconstruct(op, y, 0.01))
