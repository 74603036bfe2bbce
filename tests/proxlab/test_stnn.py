import argparse
from dataclasses import asdict

import numpy as np
import pytest
import torch

import proxlab
from priors import base
from priors.checkpoint import read_provenance, save_network
from priors.deblurring import Deblurring
from proxlab.cli import train
from proxlab.errors import UsageError
from proxlab.recipes import optimizer_of

PSF = np.array([[0.0, 1, 2], [3, 9, 4], [1, 2, 0]]) / 22


def recipe(**fields):
    config = {"width": 3, "kernels": [3]}
    usual_net = {"kind": "deblur", "arch": "ssnet", "config": config}
    rows = tuple(tuple(float(v) for v in row) for row in PSF)
    usual = {"preprocess": "gaussian:1", "target": "truth", "noise": (0.0, 0.02), "inject": "before"}
    more = {"loss": "l2", "color": False, "batch": 2, "patch": 16, "seed": 0}
    return Deblurring(**{**usual_net, "psf": rows, **usual, **more, **fields})


def stored(path, made, **more):
    save_network(path, made.network(), {"recipe": asdict(made), **more})
    return str(path)


@pytest.fixture
def picture():
    return np.random.default_rng(0).random((20, 17)).astype(np.float32)


@pytest.mark.parametrize("boundary", ["unknown", "circular", "reflect", "edge", "zero"])
def test_a_network_of_ones_own_runs_with_every_border(boundary, picture, tmp_path):
    path = stored(tmp_path / "own.safetensors", recipe())
    x, info = proxlab.deblur(
        picture, PSF, method="stnn", prior=path, sigma=0.01, boundary=boundary, return_info=True
    )
    assert x.shape == picture.shape and np.isfinite(x).all() and x.dtype == np.float32
    assert info["method"] == "stnn" and info["certificate"]["conditions"][0]["kind"] == "observed"


def test_noise_is_read_off_data_that_are_continued_by_noise(tmp_path, monkeypatch):
    """Beside repeated border pixels, which have no noise, total variation would take it for detail."""
    smooth = np.outer(np.sin(np.arange(40) / 9), np.cos(np.arange(44) / 7)) / 3 + 0.5
    noisy = (smooth + 0.05 * np.random.default_rng(0).standard_normal(smooth.shape)).astype(np.float32)
    made = recipe(preprocess="tv", noise=(0.0, 0.05), config={"width": 3, "kernels": [3], "skip": True})
    network = made.network()
    torch.nn.init.zeros_(network.mix.weight)
    torch.nn.init.zeros_(network.mix.bias)
    save_network(tmp_path / "own.safetensors", network, {"recipe": asdict(made)})
    options = {
        "method": "stnn",
        "prior": str(tmp_path / "own.safetensors"),
        "sigma": 0.05,
        "return_info": True,
    }
    monkeypatch.setattr("priors.deblurring.told", lambda preprocess, sigma: preprocess)  # it has to read it
    limit = 0.85 * np.abs(noisy - smooth).mean()
    assert np.abs(proxlab.deblur(noisy, PSF, **options)[0] - smooth).mean() < limit
    monkeypatch.setattr("proxlab.methods.stnn.ESTIMATING", ())
    assert np.abs(proxlab.deblur(noisy, PSF, **options)[0] - smooth).mean() > limit


def test_a_given_level_is_obeyed_where_the_pre_processor_would_estimate_one(picture, tmp_path, monkeypatch):
    path = stored(tmp_path / "own.safetensors", recipe(preprocess="tv", noise=(0.0, 0.05)))
    options = {"method": "stnn", "prior": path, "boundary": "circular", "return_info": True}
    x = [proxlab.deblur(picture, PSF, sigma=level, **options)[0] for level in (0.01, 0.05)]
    chain = proxlab.load_reconstructor(path)  # is told nothing
    op, y = recipe().operator(20, 17), torch.from_numpy(picture)[None, None]
    assert not np.allclose(x[1], chain(op, y)[0, 0], atol=1e-3)
    for level, found in zip((0.01, 0.05), x, strict=True):
        monkeypatch.setattr("algorithms.stabilize.estimate_sigma", lambda y, mask, s=level: torch.tensor([s]))
        assert np.allclose(found, chain(op, y)[0, 0], atol=1e-5)


def test_periodic_pictures_get_exactly_the_chain(picture, tmp_path):
    from priors.deblurring import chain_of

    path = stored(tmp_path / "own.safetensors", recipe())
    x, _ = proxlab.deblur(
        picture, PSF, method="stnn", prior=path, sigma=0.01, boundary="circular", return_info=True
    )
    expected = chain_of(base.load(path))(recipe().operator(20, 17), torch.from_numpy(picture)[None, None])
    assert np.allclose(x, expected[0, 0], atol=1e-6)


def test_another_psf_is_refused_with_the_mismatch(picture, tmp_path):
    path = stored(tmp_path / "own.safetensors", recipe())
    with pytest.raises(UsageError, match=r"'own' was trained for another psf: the two differ by \d+\.\d% of"):
        proxlab.deblur(picture, PSF[::-1], method="stnn", prior=path, sigma=0.01)


def test_more_noise_than_in_training_is_said(picture, tmp_path):
    path = stored(tmp_path / "own.safetensors", recipe(noise=(0.0, 0.0)))
    _, info = proxlab.deblur(picture, PSF, method="stnn", prior=path, sigma=0.05, return_info=True)
    assert any("trained with noise up to 0, the picture has 0.05" in text for text in info["warnings"])


@pytest.mark.parametrize(
    ("front", "sigma", "said"),
    [("cgls:2", 0.012, False), ("cgls:2", 0.014, True), ("none", 0.0015, False), ("none", 0.012, True)],
)
def test_a_pre_processor_makes_up_for_a_little_noise(front, sigma, said, picture, tmp_path):
    path = stored(tmp_path / "own.safetensors", recipe(noise=(0.0, 0.0), preprocess=front))
    _, info = proxlab.deblur(picture, PSF, method="stnn", prior=path, sigma=sigma, return_info=True)
    assert any("it may amplify it" in text for text in info["warnings"]) == said


def test_the_shipped_one_that_fits_psf_and_noise_is_taken(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    with pytest.raises(UsageError, match="none ships with this version: make one with `proxlab train deblur"):
        proxlab.deblur(picture, PSF, method="stnn", sigma=0.01)
    other = recipe(psf=((0.5, 0.5),), noise=(0.0, 0.01))
    for name, made in {
        "quiet": recipe(noise=(0, 0)),
        "loud": recipe(noise=(0.03, 0.05)),
        "other": other,
    }.items():
        stored(tmp_path / f"{name}.safetensors", made)
    for sigma, name in ((0.005, "quiet"), (0.04, "loud")):
        _, info = proxlab.deblur(picture, PSF, method="stnn", sigma=sigma, return_info=True)
        assert info["details"]["network"] == name
        assert "with the noise nearest the picture's" in info["details"]["network_rule"]
        assert info["details"]["psf_mismatch"] < 1e-6


def test_a_range_of_noise_goes_before_a_single_level(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    levels = {"none": (0, 0), "single": (0.025, 0.025), "range": (0.01, 0.05)}
    for name, noise in levels.items():
        stored(tmp_path / f"{name}.safetensors", recipe(noise=noise, preprocess="cgls:2"))
    for sigma, name in ((0.004, "none"), (0.006, "range"), (0.025, "range"), (0.06, "range")):
        _, info = proxlab.deblur(picture, PSF, method="stnn", sigma=sigma, return_info=True)
        assert info["details"]["network"] == name


def test_of_equals_the_best_in_validation_is_taken(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    for name, reached in (("a", 25.0), ("b", 27.0), ("c", 26.0)):
        stored(tmp_path / f"{name}.safetensors", recipe(preprocess="cgls:2"), metrics={"psnr_0.01": reached})
    _, info = proxlab.deblur(picture, PSF, method="stnn", sigma=0.01, return_info=True)
    assert info["details"]["network"] == "b"


def test_what_estimates_the_noise_is_taken_below_its_range_too(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    stored(tmp_path / "none.safetensors", recipe(noise=(0, 0), preprocess="cgls:2"))
    stored(tmp_path / "adaptive.safetensors", recipe(noise=(0.01, 0.05), preprocess="tikhonov"))
    for boundary, name in (("circular", "adaptive"), ("unknown", "none")):
        _, info = proxlab.deblur(
            picture, PSF, method="stnn", sigma=0.001, boundary=boundary, return_info=True
        )
        assert info["details"]["network"] == name


def test_of_equal_noise_the_stabilised_one_is_taken_and_a_prior_chooses_another(
    picture, tmp_path, monkeypatch
):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    fronts = {"finn": "gaussian:1", "nn": "none", "stnn": "cgls:2"}
    for name, front in fronts.items():
        stored(tmp_path / f"ssnet-{name}.safetensors", recipe(preprocess=front))
    stored(tmp_path / "ssnet-a.safetensors", recipe(preprocess="cgls:2", target="tikhonov:1e-4"))
    _, info = proxlab.deblur(picture, PSF, method="stnn", sigma=0.01, return_info=True)
    assert info["details"]["network"] == "ssnet-stnn"
    _, info = proxlab.deblur(picture, PSF, method="stnn", prior="ssnet-nn", sigma=0.01, return_info=True)
    assert (info["details"]["network"], info["details"]["network_rule"]) == ("ssnet-nn", "given")
    with pytest.raises(UsageError, match=r"network 'ssnet-stnn' was trained for another psf: .*\d+\.\d% of"):
        proxlab.deblur(picture, PSF[::-1], method="stnn", sigma=0.01)
    chain = proxlab.load_reconstructor("ssnet-stnn")
    op, y = recipe().operator(20, 17), torch.from_numpy(picture)[None, None]
    assert chain(op, y).shape == y.shape
    with pytest.raises(ValueError, match="'ssnet-stnn' was trained for another psf"):
        chain(recipe(psf=((0.5, 0.5),)).operator(20, 17), y)


def test_grey_networks_take_colours_one_by_one_and_bounds_are_told(tmp_path):
    picture = np.random.default_rng(0).random((20, 17, 3)).astype(np.float32)
    made = recipe(arch="bounded", config={"width": 4, "layers": 1, "kernel": 3, "lipschitz": 4.0})
    path = stored(tmp_path / "own.safetensors", made)
    x, info = proxlab.deblur(picture, PSF, method="stnn", prior=path, sigma=0.01, return_info=True)
    grey = proxlab.deblur(picture[..., 1], PSF, method="stnn", prior=path, sigma=0.01, return_info=True)[0]
    assert np.allclose(x[..., 1], grey, atol=1e-5)
    assert "more than 4 times" in info["certificate"]["conditions"][1]["claim"]


def test_a_denoiser_is_refused(picture):
    with pytest.raises(UsageError, match="was not trained for one psf"):
        proxlab.deblur(picture, PSF, method="stnn", prior=lambda x, sigma: x, sigma=0.01)


@pytest.mark.parametrize("arch", ["ssnet", "bounded"])
def test_the_command_trains(arch, tmp_path, monkeypatch, capsys):
    import imageio.v3 as iio

    monkeypatch.setattr("priors.logbook.find_spec", lambda name: None)
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (30, 26), dtype=np.uint8)
        iio.imwrite(tmp_path / f"{i}.png", pixels)
    out = tmp_path / "net.safetensors"
    net = {"ssnet": '{"width": 4}', "bounded": '{"width": 4, "layers": 1, "kernel": 3}'}[arch]
    words = [
        "train",
        "deblur",
        "--arch",
        arch,
        "--psf",
        "gaussian:1",
        "--preprocess",
        "cgls:2",
        "--noise",
        "0:0.05",
    ]
    words += ["--net", net, "--images", str(tmp_path), "--out", str(out), "--steps", "4", "--batch", "2"]
    words += ["--patch", "16", "--quiet"]
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers(dest="verb"))
    args = parser.parse_args(words)
    assert args.run(args) == 0
    card = read_provenance(out)
    assert card["kind"] == arch and card["plan"]["optimizer"] == "muon"
    assert card["recipe"]["preprocess"] == "cgls:2" and card["recipe"]["noise"] == [0.0, 0.05]
    assert set(card["metrics"]) == {"psnr_0", "psnr_0.025", "psnr_0.05"}


def test_options_of_others_are_refused_and_the_psf_is_needed():
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers(dest="verb"))
    common = ["--images", "x", "--out", "y.safetensors", "--steps", "1"]
    with pytest.raises(UsageError, match="has no --psf: it belongs to deblur"):
        train.asked(parser.parse_args(["train", "denoiser", "--psf", "gaussian:1", *common]), "cpu")
    with pytest.raises(UsageError, match="say which blur the network is for"):
        train.asked(parser.parse_args(["train", "deblur", *common]), "cpu")
    with pytest.raises(UsageError, match="one grey psf that is known"):
        train.asked(parser.parse_args(["train", "deblur", "--psf", "motion:auto", *common]), "cpu")


def test_every_training_uses_the_optimizer_of_its_network():
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers(dest="verb"))
    common = ["--images", "x", "--out", "y.safetensors", "--steps", "1"]
    plans = {
        kind: train.asked(parser.parse_args(["train", kind, *common]), "cpu")[1]
        for kind in ("denoiser", "ridge")
    }
    assert plans["denoiser"].optimizer == "muon" and plans["ridge"].optimizer == "adam"
    given = parser.parse_args(["train", "denoiser", "--optimizer", "adam", *common])
    assert train.asked(given, "cpu")[1].optimizer == "adam" and optimizer_of(recipe()) == "muon"
