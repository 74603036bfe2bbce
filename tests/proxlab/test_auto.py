"""Which method auto takes, what it says of it, and that its receipt tells which network ran."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import convolve
from skimage import data
from skimage.restoration import denoise_tv_chambolle

from priors.checkpoint import build, save_network
from priors.deblurrer import DeblurrerConfig
from proxlab import deblur
from proxlab.__main__ import main
from proxlab.errors import UsageError

BOX = np.full((5, 5), 1 / 25)


def seen(size, sigma):
    """A part of a photograph through a box of 5x5, with noise."""
    field = data.camera()[90 : 94 + size, 190 : 194 + size] / 255.0
    return convolve(field, BOX, "valid") + sigma * np.random.default_rng(0).standard_normal((size, size))


def smooth(x, sigma):
    """Total variation, a real denoiser."""
    planes = [denoise_tv_chambolle(p.double().numpy(), weight=float(sigma)) for p in x.flatten(0, 1)]
    return torch.from_numpy(np.stack(planes)).to(x).view_as(x)


def test_auto_takes_total_variation_without_a_denoiser(nothing_ships):
    y = seen(32, 0.02)
    info = deblur(y, BOX, sigma=0.02, return_info=True)[1]
    assert info["method"] == "tv" and info["details"]["auto"] == "tv: no denoiser is at hand"


def test_auto_takes_plug_and_play_when_its_residual_is_that_of_the_noise():
    y = seen(48, 0.02)
    x, info = deblur(y, BOX, sigma=0.02, prior=smooth, return_info=True)
    assert info["method"] == "pnp" and info["details"]["auto"].startswith("pnp: it does better than tv")
    np.testing.assert_array_equal(x, deblur(y, BOX, sigma=0.02, prior=smooth, method="pnp"))
    with pytest.raises(UsageError, match=r"lam=0.001 with method 'auto' .* takes no prior: leave lam or"):
        deblur(y, BOX, sigma=0.02, prior=smooth, lam=1e-3)


def test_auto_drops_a_prior_that_does_not_explain_the_data():
    y = seen(48, 0.01)
    info = deblur(y, BOX, sigma=0.01, prior=lambda x, sigma: 0 * x + x.mean(), return_info=True)[1]
    assert info["method"] == "tv" and "plug-and-play explains the data worse" in info["details"]["auto"]


@pytest.fixture
def unrolled_ships(weights, monkeypatch):
    """Beside two denoisers an unrolled network, and a rule that takes what an untrained one gives."""
    shape = DeblurrerConfig(network={"widths": (4, 8), "blocks": (1, 1)}, steps=2, sigma=(0.0, 0.06))
    save_network(weights / "unrolled-gray.safetensors", build("unrolled", shape, seed=1), {})
    monkeypatch.setattr("proxlab.methods.auto.ROOM", 1e9)
    return weights


@pytest.mark.parametrize("boundary", ["unknown", "circular"])
def test_auto_takes_the_unrolled_network_in_stronger_noise(unrolled_ships, boundary):
    y = seen(48, 0.04)
    x, info = deblur(y, BOX, sigma=0.04, boundary=boundary, return_info=True)
    assert info["method"] == "unrolled" and info["details"]["auto"].startswith("unrolled: it does better")
    wanted, other = deblur(y, BOX, sigma=0.04, boundary=boundary, method="unrolled", return_info=True)
    np.testing.assert_array_equal(x, wanted)
    assert info["prior"] == "unrolled-gray" and info["hashes"] == other["hashes"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sigma": 0.006}, "-gray was not taken: below a level of 0.0078 plug-and-play does no worse"),
        ({"sigma": 0.08}, "it was trained for levels up to 0.06"),
        ({"num_iter": 2}, "its number of steps is fixed, and one was given"),
        ({"prior": smooth}, ""),
        ({"noise": "poisson:600", "sigma": None}, "it was trained on white noise"),
        ({"scale": 2}, "it was trained without a scale"),
        ({"boundary": "reflect"}, "it was trained for one psf at circular or unknown borders"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_auto_keeps_to_plug_and_play_elsewhere_and_says_why(unrolled_ships, options, why):
    options = {"sigma": 0.04, **options}
    info = deblur(seen(48, options["sigma"] or 0.04), BOX, return_info=True, **options)[1]
    assert info["method"] == "pnp" and info["prior"] in ("denoiser-gray", "function")
    assert info["details"]["auto"].endswith(why)
    assert ("was not taken" in info["details"]["auto"]) == bool(why)


def test_auto_takes_the_unrolled_network_behind_masks_too(unrolled_ships):
    mask = np.arange(48 * 48).reshape(48, 48) % 7 > 0
    assert deblur(seen(48, 0.04), BOX, sigma=0.04, mask=mask, return_info=True)[1]["method"] == "unrolled"


def test_auto_has_no_unrolled_network_for_other_channels(unrolled_ships):
    y = np.repeat(seen(48, 0.04)[..., None], 3, 2)
    info = deblur(y, BOX, sigma=0.04, return_info=True)[1]
    assert info["method"] == "pnp" and info["prior"] == "denoiser-color"


def test_a_trust_map_follows_the_network_that_auto_took(unrolled_ships):
    from proxlab import trust

    same = {"sigma": 0.04, "boundary": "circular", "draws": 2}
    y = seen(48, 0.04)
    found, wanted = trust(y, BOX, **same), trust(y, BOX, method="unrolled", **same)
    assert found.info["method"] == "unrolled" and np.array_equal(found.spread, wanted.spread)


def test_a_plan_of_auto_names_one_network(folder, unrolled_ships, capsys):
    assert main(["deblur", "a.png", "-p", "box:3", "--sigma", "0.04", "-o", "b.png", "--dry-run"]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert "unrolled-gray" in text and "denoiser-gray" not in text


def test_a_receipt_of_auto_names_the_weights_that_ran(folder, unrolled_ships, capsys):
    assert main(["deblur", "a.png", "-p", "box:3", "--sigma", "0.04", "-o", "b.png"]) == 0
    assert json.loads(Path("b.json").read_text())["info"]["prior"] == "unrolled-gray"
    assert main(["replay", "b.json"]) == 0
    shape = DeblurrerConfig(network={"widths": (4, 8), "blocks": (1, 1)}, steps=2, sigma=(0.0, 0.06))
    save_network(unrolled_ships / "unrolled-gray.safetensors", build("unrolled", shape, seed=2), {})
    assert main(["replay", "b.json"]) == 1
    assert "the weights of unrolled-gray were" in capsys.readouterr().err


def test_the_command_says_what_auto_took_and_why(folder, unrolled_ships, capsys):
    words = ["deblur", "a.png", "-p", "box:3", "--sigma", "0.04", "--overwrite", "--verbose"]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert ": unrolled (by auto), sigma 0.04" in told
    assert main([*words, "--dry-run"]) == 0
    assert "auto      unrolled with unrolled-gray first: it does better" in capsys.readouterr().out
    assert "  auto      unrolled: it does better than tv on photographs" in told
    assert main([*words, "--method", "unrolled"]) == 0
    assert "auto" not in capsys.readouterr().err
