"""Tiled against untiled, method by method, and what is refused or said."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter

import proxlab
from imaging.psf.generators import disk
from priors.deblurrer import Deblurrer, DeblurrerConfig
from proxlab.methods.base import Noise

PSF = disk(2)


def soften(x, sigma):
    """A denoiser that sees nine pixels, much like one that was trained: smoother where told of more noise."""
    kernel = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype) / 9
    seen = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), kernel)
    return x + min(1.0, 8 * float(sigma)) * (seen - x)


class Softener(torch.nn.Module):
    """The same as a module, for the place of the denoiser in an unrolled network."""

    def forward(self, x, sigma):
        return soften(x, sigma.max())


def unrolled():
    net = Deblurrer(DeblurrerConfig(network={"widths": [4, 6], "blocks": [1, 1]}, steps=4))
    net.network = Softener()
    return net.requires_grad_(False)


def reach_everywhere(x, sigma):
    """A denoiser with global pooling: every pixel depends on the brightness of the whole."""
    return x * (1 - 0.5 * x.mean()) + 0.2


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    sharp = gaussian_filter(rng.standard_normal((164, 190)), 3)
    sharp = 0.5 + 0.25 * np.sign(sharp) + sharp
    blurred = convolve(sharp, PSF, mode="mirror") + rng.normal(0, 0.01, sharp.shape)
    return blurred[6:-6, 6:-6]


CASES = {
    "identity": {},
    "wiener": {"lam": 0.06},
    "tikhonov": {"lam": 0.03},
    "tv": {"lam": 1e-3, "num_iter": 15},
    "richardson-lucy": {"num_iter": 8},
    "pnp": {"prior": soften},
    "red": {"prior": soften, "num_iter": 3},
    "unrolled": {"prior": unrolled()},
}


@pytest.mark.parametrize("method", CASES)
def test_tiles_change_little(method, picture):
    options = {"method": method, "sigma": 0.01, "return_info": True, **CASES[method]}
    whole, _ = proxlab.deblur(picture, PSF, **options)
    tiled, info = proxlab.deblur(picture, PSF, tile=144, **options)
    assert np.prod(info["details"]["tiles"]) >= 4 and info["method"] == method
    change = tiled - whole
    assert np.sqrt((change**2).mean()) < 1e-3
    assert np.abs(change).max() < 1e-2
    assert info["hashes"]["result"] != info["hashes"]["image"] or method == "identity"


def test_tiles_that_overlap_too_little_would_be_seen(picture, monkeypatch):
    from proxlab.tiles import geometry, run
    from proxlab.tiles.tail import Tail

    monkeypatch.setattr(geometry, "STRIP", 0)
    monkeypatch.setattr(run, "measure_tail", lambda *a, **k: Tail(0, 0.0))
    options = {"method": "tikhonov", "sigma": 0.01, "lam": 0.03}
    whole = proxlab.deblur(picture, PSF, **options)
    assert np.abs(proxlab.deblur(picture, PSF, tile=90, **options) - whole).max() > 1e-2


def test_level_and_weight_are_those_of_the_whole_picture(picture):
    picture = picture.astype(np.float32) + np.random.default_rng(3).normal(0, 0.05, picture.shape)
    picture = picture.astype(np.float32)
    whole = proxlab.deblur(picture, PSF, method="tikhonov", return_info=True)[1]
    tiled = proxlab.deblur(picture, PSF, method="tikhonov", tile=160, return_info=True)[1]
    assert (tiled["sigma"], tiled["lam"], tiled["lam_rule"]) == (
        whole["sigma"],
        whole["lam"],
        whole["lam_rule"],
    )
    assert tiled["hashes"]["image"] == whole["hashes"]["image"]
    assert abs(tiled["residual"] / whole["residual"] - 1) < 0.05


def test_integers_colours_alpha_masks_and_clipping_come_through(picture):
    rng = np.random.default_rng(1)
    stored = (65535 * np.clip(0.8 * picture, 0, 1)).astype(np.uint16)
    colour = np.stack([stored, stored[::-1], stored[:, ::-1], rng.integers(0, 9, stored.shape)], -1)
    colour = colour.astype(np.uint16)
    colour[40:60, 100:130, :3] = 65535
    mask = np.ones(stored.shape, bool)
    mask[100:103, 20:60] = False
    options = {"method": "tikhonov", "sigma": 0.01, "lam": 0.03, "mask": mask, "return_info": True}
    whole, before = proxlab.deblur(colour, PSF, **options)
    tiled, info = proxlab.deblur(colour, PSF, tile=128, **options)
    assert tiled.dtype == np.uint16 and np.array_equal(tiled[..., 3], colour[..., 3])
    seen = mask.copy()  # inside holes float32 leaves the answer loose, in one piece or in tiles
    seen[36:64, 96:134] = seen[96:107, 16:64] = False
    assert np.abs(tiled / 65535 - whole / 65535)[seen].max() < 1e-2
    white = [text for text in before["warnings"] if "clipped at white" in text]
    assert white and white == [text for text in info["warnings"] if "clipped at white" in text]
    planes = proxlab.deblur(np.moveaxis(colour, 2, 0)[:3], PSF, channel_axis=0, tile=128, **options)[0]
    assert planes.shape == (3, *stored.shape)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"boundary": "reflect"}, "boundary='reflect' cannot be done in tiles: use boundary='unknown'"),
        ({"scale": 2}, "scale=2 cannot be done in tiles"),
        ({"method": "certified"}, "method 'certified' cannot be done in tiles"),
        ({"method": "richardson-lucy", "lam": 0.01}, "a given lam of Richardson-Lucy"),
        ({"tile": 66, "lam": 0.03}, "tiles of .* pixels are too small: the method's answer reaches"),
        ({"tile": 8}, "tile is 8: give the side of a tile in pixels, 64 or more"),
    ],
)
def test_what_cannot_be_done_in_tiles_is_refused_by_name(picture, options, text):
    with pytest.raises(proxlab.UsageError, match=text):
        proxlab.deblur(picture, PSF, **{"method": "tikhonov", "sigma": 0.01, "tile": 128, **options})


def test_a_grid_of_psfs_is_refused(picture):
    with pytest.raises(proxlab.UsageError, match="a grid of psfs cannot be done in tiles"):
        proxlab.deblur(picture, [[PSF, PSF]], method="tikhonov", sigma=0.01, tile=128)


def test_a_network_that_pools_globally_is_said_to_reach_too_far(picture):
    from proxlab.tiles.tail import FINE, measure_tail

    tail = measure_tail(setting_of(reach_everywhere), picture[None], None, stride=16)
    assert tail.worst > 2 * FINE and "answer of pnp with X reaches further" in tail.warning("pnp with X")
    assert measure_tail(setting_of(soften), picture[None], None, stride=16).warning("pnp") is None


def setting_of(denoise):
    from imaging.files.scaling import to_float
    from proxlab.denoising import Prior
    from proxlab.layout import Values
    from proxlab.tiles.piece import Setting

    return Setting(
        method="pnp",
        kernels=PSF[None],
        origin=(PSF.shape[0] // 2, PSF.shape[1] // 2),
        sigma=0.01,
        sigma_rule="given",
        noise=Noise("gaussian"),
        white=True,
        lam=None,
        num_iter=2,
        seed=0,
        values=Values(to_float(np.zeros(1))[1], False),
        content=None,
        prior=Prior(denoise, "made here", None, None),
        device="cpu",
        double=True,
    )


def test_too_little_memory_for_one_piece_cuts_it(picture, monkeypatch):
    from proxlab import engine

    monkeypatch.setattr(engine, "whole_memory", lambda *a, **k: 3e9)
    monkeypatch.setattr(engine, "SMALL", 0)
    monkeypatch.setattr(engine, "SIDES", range(192, 63, -64))
    need = {192: 9e9, 128: 0.5e9, 64: 0.1e9}
    monkeypatch.setattr(engine, "tiled_memory", lambda method, prior, extent, side: need[side])
    monkeypatch.setattr(engine, "resident", lambda: 1e9)
    monkeypatch.setattr(engine, "later", lambda: 6e7)
    options = {"method": "tikhonov", "sigma": 0.01, "lam": 0.03, "return_info": True}
    info = proxlab.deblur(picture, PSF, max_memory="2G", **options)[1]
    assert info["details"]["tiles"] != [1, 1] and info["details"]["tile"][0] <= 128
    with pytest.raises(proxlab.MemoryLimitError, match=r"not even tiles of 64 pixels fit: about 1\.16 GB"):
        proxlab.deblur(picture, PSF, max_memory="1G", **options)
    assert "tiles" not in proxlab.deblur(picture, PSF, max_memory="4G", **options)[1]["details"]


def test_the_middle_of_a_white_sky_is_data_in_tiles_too(picture):
    stored = np.round(65535 * picture.clip(0.01, 0.99)).astype(np.uint16)
    stored[10:80, 20:150] = 65535
    options = {"method": "tikhonov", "sigma": 0.01, "lam": 0.03}
    (whole, info), (tiled, other) = (
        proxlab.deblur(stored, PSF, return_info=True, **options, **more) for more in ({}, {"tile": 112})
    )
    gap = np.abs(tiled / 65535 - whole / 65535)
    assert float(whole[30:60, 40:130].min()) > 0.97 * 65535
    assert np.sqrt(np.mean(gap**2)) < 1e-3 and gap.max() < 1e-2
    assert other["masked"] == info["masked"] < 70 * 130
