"""Each learned method on each sort of picture: it runs and beats its input, or is refused by name."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import convolve

import priors
from imaging.files.picture import read_picture
from imaging.psf.text import parse_psf
from priors.checkpoint import build
from priors.deblurrer import DeblurrerConfig
from proxlab import deblur
from proxlab.errors import UsageError

SHARP = Path(__file__).resolve().parents[2] / "data" / "sharp"
PSF = np.asarray(parse_psf("gaussian:1.3"))
SIGMA, HEIGHT, WIDTH = 0.01, 45, 50
METHODS = ("pnp", "red", "certified", "unrolled")
GREY, COLOUR = "camera_shake.png", "coffee_motion.png"
CASES = ("circular", "unknown", "reflect", "masked", "poisson", "scale", "own")
REFUSED = {
    ("certified", "poisson"): "method 'certified' cannot do noise='poisson'",
    ("certified", "a plain denoiser"): "has neither a value with a gradient nor a claim",
    ("unrolled", "a plain denoiser"): "is no unrolled network",
}


@cache
def truth(name):
    """A crop of a photograph with a rim as wide as the psf's half, on [0, 1]."""
    pixels = read_picture(SHARP / name).pixels / 255.0
    rim = PSF.shape[0] // 2
    return pixels[80 - rim : 80 + HEIGHT + rim, 100 - rim : 100 + WIDTH + rim]


def blurred(x, case):
    """(data, truth) of a field with its rim: seen through a window, or continued over its own border."""
    rim = PSF.shape[0] // 2
    inside = x[rim:-rim, rim:-rim]
    if case in ("circular", "reflect"):
        mode = {"circular": "wrap", "reflect": "reflect"}[case]
        x = np.pad(inside, ((rim, rim), (rim, rim), *[(0, 0)] * (x.ndim - 2)), mode=mode)
    kernel = PSF if x.ndim == 2 else PSF[..., None]
    return convolve(x, kernel, "valid"), inside


@cache
def own(kind, channels):
    """A network as a user would hand it over: an object."""
    name = f"{kind}-{'color' if channels == 3 else 'gray'}"
    return priors.load(name)


@cache
def unrolled(channels):
    """The shipped denoiser in an unrolled network that was not trained: plug-and-play, as it were."""
    inner = own("denoiser", channels)
    net = build("unrolled", DeblurrerConfig(network=inner.config.to_dict()), seed=0)
    net.start_from(inner)
    return net.requires_grad_(False)


def scene(name, case):
    """data, truth, the input to beat, options."""
    clean, x = blurred(truth(name), case)
    rng = np.random.default_rng(1)
    y = clean + SIGMA * rng.standard_normal(clean.shape)
    options = {"sigma": SIGMA, "boundary": case if case in ("circular", "reflect") else "unknown"}
    if case == "poisson":
        y = rng.poisson(clean.clip(0) * 200) / 200.0
        options |= {"noise": "poisson:200", "sigma": None}
    if case == "masked":
        mask = np.ones(y.shape[:2], bool)
        mask[20:24, 15:21] = False
        y = np.where(mask if y.ndim == 2 else mask[..., None], y, 0.0)
        options["mask"] = mask
    if case == "scale":
        y = y[: HEIGHT // 2 * 2 : 2, ::2]
        x = x[: 2 * y.shape[0]]
        options["scale"] = 2
    y = y.astype(np.float32)
    start = deblur(y, PSF, method="identity", **options) if case == "scale" else y
    return y, x, start, options


def chosen(method, case, channels):
    """The prior that is given, if any."""
    if method == "unrolled":
        return unrolled(channels)
    if case != "own":
        return None
    return own("gradient-step" if method == "certified" else "denoiser", channels)


def psnr(x, wanted):
    return float(-10 * np.log10(np.mean((x.clip(0, 1) - wanted) ** 2)))


@pytest.mark.parametrize("name", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_it_beats_its_input_or_is_refused_by_name(method, case, name):
    y, x, start, options = scene(name, case)
    prior = chosen(method, case, 3 if y.ndim == 3 else 1)
    budget = {"num_iter": 8} if method in ("red", "certified") else {}
    if (method, case) in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[method, case]):
            deblur(y, PSF, method=method, prior=prior, **options, **budget)
        return
    result, info = deblur(y, PSF, method=method, prior=prior, return_info=True, **options, **budget)
    assert result.shape == x.shape and result.dtype == np.float32
    assert psnr(result, x) > psnr(start, x) + 0.5, (psnr(start, x), psnr(result, x))
    verdict = info["certificate"]["verdict"]
    assert verdict.startswith("proven (" if method == "certified" else "nothing is proven"), verdict
    assert {c["kind"] for c in info["certificate"]["conditions"]} <= {"proven", "observed"}


@pytest.mark.parametrize("method", METHODS)
def test_a_users_own_function(method):
    """A denoiser of which nothing is known will do where nothing is to be proven."""
    y, x, _, options = scene(GREY, "unknown")
    net = own("denoiser", 1)

    def function(v, sigma):
        return net(v, sigma)

    if (method, "a plain denoiser") in REFUSED:
        with pytest.raises(UsageError, match=REFUSED[method, "a plain denoiser"]):
            deblur(y, PSF, method=method, prior=function, **options)
    else:
        result = deblur(y, PSF, method=method, prior=function, **options)
        assert psnr(result, x) > psnr(y, x) + 0.5
