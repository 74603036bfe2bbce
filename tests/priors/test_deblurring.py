import json
import math
import os
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve as ndi_convolve

from algorithms.classical import tikhonov
from algorithms.stabilize import ConjugateGradients, Quadratic, Stabilised, Untouched, cgls
from imaging.blur import CircularBlur, WindowedBlur
from imaging.psf.generators import gaussian as gaussian_psf
from priors.checkpoint import build, load_network, save_network
from priors.data import Pictures
from priors.deblurring import (
    FROZEN,
    PAPER,
    Deblurring,
    chain_of,
    log_mse,
    preprocess_of,
    psf_mismatch,
    recipe_behind,
)
from priors.denoiser import DenoiserConfig
from priors.recipe import recipe_from
from priors.train import Learner, Plan, training


def rows(array):
    return tuple(tuple(float(v) for v in row) for row in array / array.sum())


SKEW = np.array([[0.0, 1, 2], [3, 9, 4], [1, 2, 0]])
BASE = Deblurring(
    kind="deblur",
    arch="ssnet",
    config={"width": 4, "kernels": [3, 3]},
    psf=rows(SKEW),
    preprocess="none",
    target="truth",
    noise=(0.0, 0.05),
    inject="before",
    loss="ln-mse",
    color=False,
    batch=3,
    patch=16,
    seed=7,
)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (2, 1, 6, 7)), np.ones((5, 5))).astype(np.uint8)
    return Pictures(tuple(smooth), ("a", "b"))


def test_a_recipe_survives_being_written_down():
    recipe = recipe_from(json.loads(json.dumps(asdict(BASE))))
    assert recipe == BASE and isinstance(recipe.psf, tuple) and recipe.kernel().shape == (1, 1, 3, 3)


def test_batches_are_periodic_blur_plus_noise_of_the_levels_asked_for(pictures):
    seen, target = BASE.batches(pictures)(5)
    assert seen.shape == target.shape == (3, 1, 16, 16) and seen.dtype == torch.float32
    again = BASE.batches(pictures)(5)
    assert torch.equal(seen, again[0]) and not torch.equal(seen, BASE.batches(pictures)(6)[0])
    quiet = replace(BASE, noise=(0.0, 0.0)).batches(pictures)(5)
    assert torch.equal(quiet[1], target)
    kernel = SKEW / SKEW.sum()
    for one, clean in zip(quiet[0], target, strict=True):
        assert np.allclose(one[0], ndi_convolve(clean[0].numpy(), kernel, mode="wrap"), atol=1e-5)
    assert 0 < (seen - quiet[0]).std() < 0.05


def test_where_the_noise_comes_in(pictures):
    """Before the pre-processor it goes through it, after it it does not, and not at all is the clean case."""
    recipe = replace(BASE, preprocess="cgls:2,0.01")
    batch = {
        name: replace(recipe, inject=name).batches(pictures)(0)[0] for name in ("before", "after", "none")
    }
    noisy, clean = BASE.batches(pictures)(0)
    op = BASE.operator(16, 16)
    through = cgls(op, op.A(clean), lam=0.01, n_iter=2)
    assert torch.allclose(batch["none"], through, atol=1e-6)
    assert torch.allclose(batch["after"], through + noisy - op.A(clean), atol=1e-6)
    assert torch.allclose(batch["before"], cgls(op, noisy, lam=0.01, n_iter=2), atol=1e-5)
    assert not torch.allclose(batch["before"], batch["after"], atol=1e-3)


def test_targets(pictures):
    recipe = replace(BASE, target="tikhonov:0.02")
    clean, target = BASE.batches(pictures)(1)[1], recipe.batches(pictures)(1)[1]
    op = BASE.operator(16, 16)
    assert torch.allclose(target, tikhonov(op, op.A(clean), lam=0.02, penalty="identity"), atol=1e-6)
    assert not torch.allclose(target, clean, atol=1e-2)


def test_log_mse_by_hand_and_every_picture_alike():
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    errors = [float((x[i] - 0.5).square().mean()) for i in range(2)]
    expected = sum(math.log(e + 1e-8) for e in errors) / 2
    assert abs(float(log_mse(x, torch.full_like(x, 0.5))) - expected) < 1e-12
    assert torch.isfinite(log_mse(x, x))  # the small number is inside the logarithm


def test_statistics_stand_still_at_the_end(pictures):
    """From FROZEN on, what is trained is what is evaluated; and it learns."""
    plan = Plan(steps=40, rate=3e-3, warmup=1)
    learner = Learner(BASE.network(), plan)
    norm = learner.network.layers[0].norm
    seen, losses = [], []
    for step in training(learner, BASE.batches(pictures), BASE.objective()):
        seen.append(norm.running_mean.clone())
        losses.append(step.loss)
    first = math.ceil(FROZEN * 40)
    assert not torch.equal(seen[first - 2], seen[first - 1])
    assert all(torch.equal(s, seen[first - 1]) for s in seen[first:])
    assert not norm.training and np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    assert torch.equal(learner.mean.layers[0].norm.running_mean, seen[-1])


def test_figures_of_validation_are_those_of_the_chain(pictures):
    recipe = replace(BASE, preprocess="gaussian:1", noise=(0.02, 0.02))
    clean = [torch.from_numpy(p[:, :12, :10].copy()).float()[None] / 255 for p in pictures.pixels]
    figures = recipe.measure(lambda x: x, clean)
    assert list(figures) == ["psnr_0.02"]
    quiet = replace(recipe, inject="none").measure(lambda x: x, clean)
    op = recipe.operator(12, 10)
    errors = [
        -10
        * math.log10(
            float((preprocess_of("gaussian:1")(op, op.A(c)).clamp(0, 1) - c).double().square().mean())
        )
        for c in clean
    ]
    assert abs(quiet["psnr_0"] - np.mean(errors)) < 1e-3


def test_a_file_knows_its_chain(tmp_path):
    recipe = replace(BASE, preprocess="cgls:2,0.01")
    path = tmp_path / "n.safetensors"
    save_network(path, recipe.network(), {"recipe": asdict(recipe)})
    network = load_network(path)
    chain = chain_of(network)
    assert recipe_behind(network) == recipe and chain.preprocess == ConjugateGradients(0.01, 2)
    op, y = recipe.operator(9, 8), torch.rand(1, 1, 9, 8)
    assert torch.equal(chain(op, y), network(cgls(op, y, lam=0.01, n_iter=2)))
    colours, blur = torch.rand(2, 3, 9, 8), CircularBlur(recipe.kernel(), (3, 9, 8))
    assert torch.allclose(
        chain(blur, colours)[:, 1:2], network(cgls(blur, colours, lam=0.01, n_iter=2)[:, 1:2]), atol=1e-6
    )
    save_network(path, recipe.network(), {"recipe": {"kind": "ridge"}})
    with pytest.raises(ValueError, match="the network is a ssnet, trained for no blur"):
        chain_of(load_network(path))


def test_mismatch_is_the_relative_distance_of_the_psfs():
    narrow, wide = gaussian_psf(1.3), gaussian_psf(1.43)
    recipe = replace(BASE, psf=rows(narrow))
    canvas = np.zeros((2, 30, 30))
    for plane, psf in zip(canvas, (narrow, wide), strict=True):
        reach = psf.shape[0] // 2
        plane[15 - reach : 16 + reach, 15 - reach : 16 + reach] = psf
    expected = np.linalg.norm(canvas[1] - canvas[0]) / np.linalg.norm(canvas[0])
    for size in ((40, 31), (32, 32)):
        op = CircularBlur(torch.from_numpy(wide)[None, None], (1, *size))
        assert abs(psf_mismatch(recipe, op.otf, size) - expected) < 1e-6
    same = WindowedBlur(torch.from_numpy(narrow)[None, None], (1, 33, 30))
    assert psf_mismatch(recipe, same.otf, same.img_size[1:]) < 1e-6
    moved = CircularBlur(torch.from_numpy(narrow)[None, None], (1, 32, 32), origin=(6, 5))
    assert psf_mismatch(recipe, moved.otf, (32, 32)) > 0.3


def test_every_paper_s_method_has_its_parts():
    for preprocess, target in PAPER.values():
        replace(BASE, preprocess=preprocess, target=target)
    assert preprocess_of(PAPER["nn"][0]) == Untouched()
    assert preprocess_of("tikhonov") == Quadratic(None, "gradient", 0)
    assert isinstance(Stabilised(Untouched(), lambda x: x), Stabilised)


def test_a_denoiser_that_was_trained_on_is_read_again(tmp_path):
    file, shape = tmp_path / "own.safetensors", DenoiserConfig(widths=(4,), blocks=(1,))
    y, answers = torch.rand(1, 1, 8, 8), []
    for seed in (1, 2):
        save_network(file, build("denoiser", shape, seed=seed), {})
        os.utime(file, ns=(seed, seed))
        answers.append(preprocess_of(f"denoise:{file}").denoiser(y, 0.1))
    assert not torch.equal(*answers)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"preprocess": "median"}, "preprocess is 'median': give none, gaussian:WIDTH"),
        ({"preprocess": "cgls:two"}, "preprocess is 'cgls:two'"),
        ({"target": "wiener"}, "target is 'wiener': give truth or tikhonov:LAM"),
        ({"noise": (0.1, 0.0)}, r"noise is 0\.1:0\.0: give a range"),
        ({"noise": (0, 10)}, r"noise is 0:10, more than the whole range"),
        ({"inject": "during"}, "inject is 'during': choose one of before, after, none"),
        ({"arch": "resnet"}, "arch is 'resnet': choose one of ssnet"),
    ],
)
def test_impossible_recipes_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        replace(BASE, **fields)


def test_only_its_own_architecture_can_be_a_start():
    with pytest.raises(ValueError, match="a ssnet starts from ssnet only"):
        BASE.started_from({"kind": "unet", "config": {}})
    card = {"kind": "ssnet", "config": {"channels": 1, "width": 9}}
    assert replace(BASE, config={"channels": 1}).started_from(card).config["width"] == 9
    with pytest.raises(ValueError, match=r"of kind ssnet with width = 9, asked is width = 5: give --net"):
        replace(BASE, config={"width": 5}).started_from(card)
