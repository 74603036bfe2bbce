"""Plug-and-play and RED through the front door, with a denoiser that anyone can compute."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import convolve
from skimage import data
from torch.nn.functional import conv2d, fold, pad, unfold

import proxlab
from priors.checkpoint import build, save_network
from priors.deblurrer import DeblurrerConfig
from priors.denoiser import DenoiserConfig
from proxlab import deblur
from proxlab.__main__ import main
from proxlab.denoising import Prior
from proxlab.errors import ConvergenceError, UsageError
from proxlab.methods import load_method
from proxlab.methods.base import BOUNDARIES
from proxlab.methods.pnp import LAST, WEIGHT
from proxlab.receipt import file_digest
from proxlab.request import same_treatment

METHODS = ("pnp", "red")
SIDE = 8
BOX = np.full((5, 5), 1 / 25)
UNEVEN = np.array([[0, 1, 2, 0], [3, 9, 4, 1], [1, 2, 0, 1.0]]) / 24
GRID = [[UNEVEN, UNEVEN[::-1]], [UNEVEN[:, ::-1], UNEVEN]]


def scene(size: int, sigma: float, psf: np.ndarray = BOX) -> tuple[np.ndarray, np.ndarray]:
    """A photograph seen through a window: truth and data, blurred by scipy on a larger field."""
    h, w = psf.shape
    field = data.camera()[90 : 90 + size + h - 1, 190 : 190 + size + w - 1] / 255.0
    y = convolve(field, psf, "valid") + sigma * np.random.default_rng(0).standard_normal((size, size))
    top, left = h - 1 - h // 2, w - 1 - w // 2
    return field[top : top + size, left : left + size], y


def psnr(x: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((x - truth) ** 2)))


def cosines() -> torch.Tensor:
    """The orthonormal cosine basis of 8x8 patches, (64, 64)."""
    n = torch.arange(SIDE, dtype=torch.float64)
    rows = torch.cos(torch.pi * (n[None] + 0.5) * n[:, None] / SIDE) * (2 / SIDE) ** 0.5
    rows[0] /= 2**0.5
    return torch.kron(rows, rows)


BASIS = cosines()


def shrink(x, sigma):
    """Keep the cosines of each 8x8 patch that exceed 2.7 sigma, average the patches: a real denoiser."""
    basis = BASIS.to(x)
    b, c, h, w = x.shape
    wide = pad(x.reshape(b * c, 1, h, w), (7, 7, 7, 7), mode="replicate")
    patches = basis @ unfold(wide, SIDE)
    kept = torch.where(patches.abs() > 2.7 * sigma, patches, 0)
    size = tuple(wide.shape[-2:])
    total = fold(basis.T @ kept, size, SIDE) / fold(torch.ones_like(patches), size, SIDE)
    return total[..., 7:-7, 7:-7].reshape(x.shape)


def soften(x, sigma):
    """A cheap smoothing that grows with the level."""
    kernel = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype) / 9
    smooth = conv2d(pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])
    return torch.lerp(x, smooth, min(1.0, 5 * float(sigma)))


@pytest.mark.parametrize("sigma", [0.005, 0.03])
@pytest.mark.parametrize("method", METHODS)
def test_a_real_denoiser_beats_the_input_at_unknown_borders(method, sigma):
    truth, y = scene(64, sigma)
    x, info = deblur(y, BOX, method=method, prior=shrink, sigma=sigma, return_info=True)
    assert psnr(x, truth) > psnr(y, truth) + 1.0
    assert info["status"] in ("stopped", "converged") and info["prior"] == "function"
    assert info["certificate"]["verdict"].startswith("nothing is proven")


def test_plug_and_play_with_it_is_as_good_as_total_variation():
    truth, y = scene(64, 0.01)
    learned = deblur(y, BOX, method="pnp", prior=shrink, sigma=0.01)
    classical = deblur(y, BOX, method="tv", sigma=0.01)
    assert psnr(learned, truth) > psnr(classical, truth) - 0.3


def declared(method: str, boundary: str):
    supports = load_method(method).supports
    assert supports.scale and supports.mask and supports.varying and supports.prior
    for noise in sorted(supports.noises):
        for scale in (1, 2):
            for mask in (False, True):
                for varying in (False, True) if boundary == "unknown" else (False,):
                    yield noise, scale, mask, varying


GIVEN = {"poisson": {"noise": "poisson:200"}, "gaussian": {"sigma": 0.02}}
HOLE = np.ones((16, 16), bool)
HOLE[5:8, 5:8] = False


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_declared_runs(method, boundary):
    y = scene(16, 0.02, UNEVEN)[1].clip(0).astype(np.float32)
    for noise, scale, mask, varying in declared(method, boundary):
        x, info = deblur(
            y,
            GRID if varying else UNEVEN,
            method=method,
            prior=soften,
            boundary=boundary,
            num_iter=3,
            return_info=True,
            **(GIVEN[noise] | ({"mask": HOLE} if mask else {})),
            scale=scale,
        )
        assert x.shape == (16 * scale, 16 * scale) and x.dtype == np.float32
        assert np.isfinite(x).all() and np.abs(x).max() < 2
        assert info["num_iter"] == 3 and info["stop_reason"] == "the given 3 iterations were done"


def test_masked_pixels_do_not_count_and_are_restored():
    truth, y = scene(48, 0.01)
    mask = np.ones(y.shape, bool)
    mask[20:24, 15:21] = False
    spoilt = np.where(mask, y, np.nan)
    given = {"method": "pnp", "prior": shrink, "sigma": 0.01, "mask": mask}
    x = deblur(spoilt, BOX, **given)
    np.testing.assert_array_equal(x, deblur(np.where(mask, y, 0.7), BOX, **given))
    assert psnr(x, truth) > psnr(y, truth) + 0.5


def test_superresolution_beats_bilinear_interpolation():
    truth, y = scene(64, 0.005)
    low = y[::2, ::2]
    x = deblur(low, BOX, method="pnp", prior=shrink, sigma=0.005, scale=2)
    plain = deblur(low, BOX, method="identity", sigma=0.005, scale=2)
    assert x.shape == truth.shape and psnr(x, truth) > psnr(plain, truth) + 1


def test_counts_are_weighed_by_their_variance():
    rng = np.random.default_rng(0)
    truth, clean = scene(64, 0.0)
    y = rng.poisson(clean.clip(0) * 100) / 100.0
    x, info = deblur(y, BOX, method="pnp", prior=shrink, noise="poisson:100", return_info=True)
    assert psnr(x, truth) > psnr(y, truth) + 3
    flat = deblur(y, BOX, method="pnp", prior=shrink, sigma=info["sigma"])
    assert np.abs(x - flat).max() > 1e-3


def test_a_given_level_is_obeyed_and_an_estimate_raised():
    _, y = scene(64, 0.02)
    run = {"method": "pnp", "prior": soften, "return_info": True}
    given = deblur(y, BOX, sigma=0.01, **run)[1]
    assert given["details"]["levels"][-1] == pytest.approx(LAST * 0.01)
    assert given["details"]["sigma_used"] == 0.01 and given["details"]["levels"][-2] > 0.01
    assert any("sigma is given as 0.01" in text for text in given["warnings"])
    found = deblur(y, BOX, **run)[1]
    assert found["sigma"] < found["details"]["sigma_used"] < 1.2 * found["sigma"]
    assert found["lam_rule"] == f"{WEIGHT} sigma^2, sigma raised to {found['details']['sigma_used']:.4g}"
    quiet = deblur(scene(64, 0.0)[1], BOX, **run)[1]
    assert quiet["sigma"] < 1 / 255 and quiet["details"]["levels"][-1] == pytest.approx(LAST / 255)


def test_a_larger_weight_is_smoother_and_the_default_is_said():
    _, y = scene(48, 0.02)
    run = {"method": "pnp", "prior": soften, "sigma": 0.02, "return_info": True}
    plain, info = deblur(y, BOX, **run)
    assert info["lam"] == pytest.approx(WEIGHT * 0.02**2) and info["lam_rule"] == f"{WEIGHT} sigma^2"
    again, given = deblur(y, BOX, lam=info["lam"], **run)
    np.testing.assert_allclose(again, plain, atol=1e-12)
    assert given["lam_rule"] == "given"
    smoother = deblur(y, BOX, lam=30 * info["lam"], **run)[0]
    assert np.abs(np.diff(smoother)).sum() < 0.9 * np.abs(np.diff(plain)).sum()


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_the_same_treatment_of_the_same_picture_is_the_same_picture(noise):
    y = scene(64, 0.02)[1].clip(0)
    run = {"method": "pnp", "prior": soften, "return_info": True}
    first, info = deblur(y, BOX, noise=noise, **run)
    assert info["details"]["sigma_used"] > info["sigma"]
    again, _ = deblur(y, BOX, **(run | same_treatment(info)))
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_a_given_weight_is_obeyed_at_an_estimated_level():
    info = deblur(scene(64, 0.02)[1], BOX, method="pnp", prior=soften, lam=1e-3, return_info=True)[1]
    details = info["details"]
    assert info["lam"] == pytest.approx(1e-3) == details["sigma_used"] ** 2 / details["gammas"][-1]


def test_each_step_is_reported():
    _, y = scene(24, 0.02)
    seen = []
    deblur(y, BOX, method="pnp", prior=soften, sigma=0.02, callback=seen.append)
    assert [(u.iteration, u.total) for u in seen] == [(n, 8) for n in range(1, 9)]
    assert seen[3].image.shape == y.shape and seen[3].residual > 0


def test_the_same_run_gives_the_same_bits_and_keeps_the_type():
    y = scene(24, 0.02)[1].astype(np.float32)
    run = {"method": "pnp", "prior": soften, "sigma": 0.02}
    first = deblur(y, BOX, **run)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, deblur(y, BOX, **run))


@pytest.mark.parametrize("method", METHODS)
def test_channels_go_through_a_grey_prior_one_by_one(method, weights):
    y = scene(24, 0.02)[1]
    colour = np.stack([y, 1 - y, y[::-1]], axis=-1)
    file = str(weights / "denoiser-gray.safetensors")
    run = {"method": method, "prior": file, "sigma": 0.02, "boundary": "circular", "num_iter": 4}
    x, info = deblur(colour, BOX, return_info=True, **run)
    apart = [deblur(colour[..., c], BOX, return_info=True, **run)[0] for c in range(3)]
    np.testing.assert_allclose(x, np.stack(apart, -1), atol=1e-10)
    assert info["prior"] == "denoiser-gray" and len(info["hashes"]["prior"]) == 64


def test_the_shipped_denoiser_is_found_by_colour(weights):
    y = scene(24, 0.02)[1].astype(np.float32)
    run = {"method": "pnp", "sigma": 0.02, "num_iter": 2, "return_info": True}
    assert deblur(y, BOX, **run)[1]["prior"] == "denoiser-gray"
    assert deblur(np.stack([y] * 3, -1), BOX, **run)[1]["prior"] == "denoiser-color"
    assert deblur(y, BOX, prior="denoiser-color", **run)[1]["prior"] == "denoiser-color"


def test_without_weights_the_method_says_what_to_give(nothing_ships):
    y = scene(24, 0.02)[1]
    with pytest.raises(UsageError, match=r"method 'pnp' needs a prior and no denoiser ships .* give prior="):
        deblur(y, BOX, method="pnp", sigma=0.02)
    with pytest.raises(UsageError, match="method 'tv' cannot do a prior: use 'pnp'"):
        deblur(y, BOX, method="tv", sigma=0.02, prior=soften)


def test_a_prior_that_gives_no_picture_is_refused():
    with pytest.raises(UsageError, match=r"the prior function gave NoneType: .* must give a tensor"):
        deblur(scene(24, 0.02)[1], BOX, method="red", sigma=0.02, prior=lambda x, sigma: None)
    with pytest.raises(UsageError, match="it must keep the picture's shape"):
        deblur(scene(24, 0.02)[1], BOX, method="pnp", sigma=0.02, prior=lambda x, sigma: x[..., 1:])


def test_a_denoiser_that_gives_nothing_finite_is_a_failure_to_converge():
    y = scene(24, 0.02)[1]
    with pytest.raises(ConvergenceError, match="'pnp' gave no usable picture: the solver gave no finite"):
        deblur(y, BOX, method="pnp", sigma=0.02, prior=lambda x, sigma: x * float("nan"))


@pytest.mark.parametrize("method", ["pnp", "red", "certified", "auto"])
def test_a_network_that_deblurs_by_itself_is_no_prior(method):
    whole = build("unrolled", DeblurrerConfig(network={"widths": (4, 8), "blocks": (1, 1)}, steps=1), seed=1)
    with pytest.raises(UsageError, match="'Deblurrer' is no denoiser, it deblurs by itself: use it with me"):
        deblur(scene(24, 0.02)[1], BOX, method=method, sigma=0.02, prior=whole)


def test_the_command_takes_a_prior_and_its_receipt_replays(folder, weights, capsys):
    file = weights / "denoiser-gray.safetensors"
    args = ["deblur", "a.png", "-p", "box:3", "--sigma", "0.02", "--method", "pnp"]
    assert main([*args, "--prior", str(file), "-o", "out/b.png"]) == 0
    receipt = json.loads(Path("out/b.json").read_text())
    assert receipt["info"]["prior"] == "denoiser-gray" and "prior" not in receipt["options"]
    assert receipt["prior"] == "../weights/denoiser-gray.safetensors"
    assert main(["replay", "out/b.json"]) == 0
    assert main([*args, "-o", "shipped.png"]) == 0
    assert main(["replay", "shipped.json"]) == 0
    assert json.loads(Path("shipped.json").read_text())["info"]["hashes"]["prior"] == file_digest(file)
    capsys.readouterr()
    save_network(file, build("denoiser", DenoiserConfig(widths=(4, 8), blocks=(1, 1)), seed=2), {})
    assert main(["replay", "shipped.json"]) == 1  # other weights by the same name
    assert "the weights of denoiser-gray were" in capsys.readouterr().err
    assert main([*args, "--prior", "denoiser-gary", "-o", "c.png"]) == 2
    assert "did you mean 'denoiser-gray'" in capsys.readouterr().err
    assert main([*args, "--prior", "gone.safetensors", "-o", "c.png"]) == 3
    assert main([*args, "--dry-run", "-o", "c.png"]) == 0
    assert "prior     denoiser-gray" in capsys.readouterr().out


def test_the_networks_memory_counts(weights):
    y = scene(300, 0.02)[1].astype(np.float32)  # on small pictures estimating the noise takes most
    options = {"method": "pnp", "sigma": 0.02, "num_iter": 1, "return_info": True}
    small = deblur(y, BOX, prior="denoiser-gray", **options)[1]
    large = deblur(y, BOX, prior=soften, **options)[1]
    planes = (large["memory_estimate"] - small["memory_estimate"]) / (4 * y.size)
    assert planes > 10  # a network of unknown width is taken for a wide one
    y = y[:64, :64]
    with pytest.raises(proxlab.MemoryLimitError):
        deblur(y, BOX, method="pnp", prior=soften, max_memory="1M")


def test_a_grey_prior_that_takes_all_channels_at_once_needs_as_much_memory():
    from proxlab.networks import network_memory

    chosen = Prior(soften, "soften", None, 1)
    one = network_memory(chosen, load_method("certified"), (1, 64, 64))
    assert network_memory(chosen, load_method("certified"), (3, 64, 64)) == 3 * one
    assert network_memory(chosen, load_method("pnp"), (3, 64, 64)) == one  # one after the other
