"""The registry: names, and refusals computed from what methods declare."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import convolve
from skimage import data

from imaging.blur import CircularBlur
from imaging.files.picture import read_picture
from proxlab import deblur, methods
from proxlab.errors import ConvergenceError, UsageError
from proxlab.methods import METHODS, load_method, require
from proxlab.methods.base import BOUNDARIES, Need, Noise, Task

PLAIN = Need(
    boundary="unknown", noise="gaussian", scale=1, mask=False, varying=False, lam=False, num_iter=False
)


def only(monkeypatch, *names):
    """Leave these methods in the registry."""
    kept = {name: module for name, module in METHODS.items() if name in names}
    monkeypatch.setattr(
        "proxlab.methods.METHODS", kept
    )  # whole: put back entry by entry, the order would be lost


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_is_what_it_says(name):
    method = load_method(name)
    assert method.name == name
    assert method.summary and "\n" not in method.summary
    assert method.supports.boundaries <= {"unknown", "circular", "reflect", "edge", "zero"}
    assert method.supports.boundaries and method.supports.noises
    assert method.memory((3, 64, 64)) > method.memory((1, 64, 64)) > 64 * 64


@pytest.mark.parametrize(
    ("change", "supports", "message"),
    [
        ({"noise": "poisson"}, {"noises": frozenset({"gaussian"})}, "noise='poisson'"),
        ({"boundary": "edge"}, {"boundaries": frozenset({"unknown"})}, "boundary='edge'"),
        ({"scale": 2}, {"scale": False}, "scale=2"),
        ({"mask": True}, {"mask": False}, "a mask"),
        ({"varying": True}, {"varying": False}, "a grid of psfs"),
        ({"lam": True}, {"lam": False}, "a given lam"),
        ({"num_iter": True}, {"num_iter": False}, "a given num_iter"),
    ],
)
def test_each_lack_is_refused_by_name(spy, monkeypatch, change, supports, message):
    only(monkeypatch, "spy", "identity")
    need = replace(PLAIN, **change)
    assert require("spy", need) is spy
    spy.supports = replace(spy.supports, **supports)
    with pytest.raises(UsageError, match=f"^method 'spy' cannot do {message}: no method can"):
        require("spy", need)
    assert require("spy", PLAIN) is spy


def test_the_remedy_is_computed_from_the_registry(spy, monkeypatch):
    only(monkeypatch, "spy", "identity")
    monkeypatch.setitem(methods.METHODS, "other", METHODS["spy"])  # the same object under another name
    need = replace(PLAIN, lam=True, num_iter=True)
    with pytest.raises(
        UsageError,
        match="method 'identity' cannot do a given lam with a given num_iter: use 'spy' or 'other'",
    ):
        require("identity", need)


def test_identity_returns_the_data_and_the_true_residual():
    y = torch.rand(1, 1, 8, 9, dtype=torch.float64)
    psf = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    op = CircularBlur(psf, (1, 8, 9))
    task = Task(op, y, 0.01, "given", Noise("gaussian"), None, None, None, 0, lambda step: None)
    out = load_method("identity").run(task)
    assert torch.equal(out.x, y)
    mean = sum(torch.roll(y, (r, c), (2, 3)) for r in (-1, 0, 1) for c in (-1, 0, 1)) / 9
    assert out.residual == pytest.approx(float((mean - y).square().mean().sqrt()))


WORKING = ("wiener", "tikhonov", "tv", "richardson-lucy")
BOX = np.full((5, 5), 1 / 25)
UNEVEN = np.array([[0, 1, 2, 0], [3, 9, 4, 1], [1, 2, 0, 1.0]]) / 24


def scene(size: int, sigma: float, psf: np.ndarray = BOX) -> tuple[np.ndarray, np.ndarray]:
    """A photograph seen through a window: truth and data, blurred by scipy on a larger field."""
    h, w = psf.shape
    field = data.camera()[90 : 90 + size + h - 1, 190 : 190 + size + w - 1] / 255.0
    y = convolve(field, psf, "valid") + sigma * np.random.default_rng(0).standard_normal((size, size))
    top, left = h - 1 - h // 2, w - 1 - w // 2
    return field[top : top + size, left : left + size], y


def psnr(x: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((x - truth) ** 2)))


@pytest.mark.parametrize("sigma", [0.005, 0.03])
@pytest.mark.parametrize("method", [*WORKING, "auto"])
def test_every_method_beats_its_input_at_unknown_borders(method, sigma):
    truth, y = scene(64, sigma)
    x, info = deblur(y, BOX, method=method, sigma=sigma, return_info=True)
    assert psnr(x, truth) > psnr(y, truth) + 0.5
    assert info["status"] in ("exact", "converged", "stopped")


@pytest.mark.parametrize("method", [*WORKING, "auto"])
def test_off_centre_even_psfs_do_not_shift_the_picture(method):
    truth, y = scene(48, 0.003, UNEVEN)
    x, _ = deblur(y, UNEVEN, method=method, sigma=0.003, return_info=True)
    centre = psnr(x[4:-4, 4:-4], truth[4:-4, 4:-4])
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        assert centre > psnr(x[4:-4, 4:-4], np.roll(truth, shift, (0, 1))[4:-4, 4:-4]) + 1
    assert centre > psnr(y[4:-4, 4:-4], truth[4:-4, 4:-4]) + 1


def declared(method: str, boundary: str):
    """Every request within what the method declares, at this boundary."""
    supports = load_method(method).supports
    for noise in sorted(supports.noises):
        for scale in (1, 2) if supports.scale else (1,):
            for mask in (False, True) if supports.mask else (False,):
                for varying in (False, True) if supports.varying and boundary == "unknown" else (False,):
                    yield noise, scale, mask, varying


def options(noise: str, scale: int, mask: bool) -> dict:
    chosen = {"noise": "poisson:200"} if noise == "poisson" else {"noise": noise, "sigma": 0.02}
    if mask:
        chosen["mask"] = np.ones((16, 16), bool)
        chosen["mask"][5:8, 5:8] = False
    return {**chosen, "scale": scale}


GRID = [[UNEVEN, UNEVEN[::-1]], [UNEVEN[:, ::-1], UNEVEN]]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("method", WORKING)
def test_what_is_declared_runs(method, boundary):
    _, y = scene(16, 0.02, UNEVEN)
    y = y.clip(0).astype(np.float32)
    supports = load_method(method).supports
    given = {"num_iter": 4} if supports.num_iter else {}
    for noise, scale, mask, varying in declared(method, boundary):
        x, info = deblur(
            y,
            GRID if varying else UNEVEN,
            method=method,
            boundary=boundary,
            lam=0.002,
            return_info=True,
            **options(noise, scale, mask),
            **given,
        )
        assert x.shape == (16 * scale, 16 * scale) and x.dtype == np.float32
        assert np.isfinite(x).all() and np.abs(x).max() < 2
        assert info["lam"] == 0.002 and info["lam_rule"] == "given"
        assert info["num_iter"] == given.get("num_iter", 0)


@pytest.mark.parametrize("case", ["scale", "varying", "reflect", "mask", "scaled reflection"])
@pytest.mark.parametrize("method", WORKING)
def test_choices_of_their_own_work_beyond_plain_blurs(method, case):
    _, y = scene(16, 0.02, UNEVEN)
    y = y.astype(np.float32)
    chosen = options("gaussian", 2 if "scale" in case else 1, case == "mask")
    boundary = "reflect" if "refle" in case else "unknown"
    psf = GRID if case == "varying" else UNEVEN
    x, info = deblur(y, psf, method=method, boundary=boundary, return_info=True, **chosen)
    assert np.isfinite(x).all() and np.abs(x - y.mean()).max() < 1
    assert info["status"] in ("exact", "converged", "stopped")
    assert 0.25 * 0.02 < info["residual"] < 1.5 * 0.02


@pytest.mark.parametrize("method", ["tv", "richardson-lucy", "auto"])
def test_a_given_number_of_iterations_is_done_and_reported(method):
    _, y = scene(32, 0.02)
    seen = []
    _, info = deblur(
        y, BOX, method=method, sigma=0.02, lam=0.003, num_iter=7, callback=seen.append, return_info=True
    )
    assert info["num_iter"] == 7 and info["status"] == "stopped"
    assert info["stop_reason"] == "the given 7 iterations were done"
    assert [update.iteration for update in seen] == list(range(1, 8))
    assert {update.total for update in seen} == {7}


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("tikhonov", r"gcv \(criterion rises \+\d"),
        ("wiener", r"sigma\^2 / c, c by evidence \(criterion rises \+\d"),
        ("tv", r"sure \(criterion rises \+\d"),
    ],
)
def test_the_rule_of_the_weight_is_said_and_larger_is_smoother(method, rule):
    _, y = scene(64, 0.03)
    chosen, info = deblur(y, BOX, method=method, sigma=0.03, return_info=True)
    assert re.match(rule, info["lam_rule"])
    again, given = deblur(y, BOX, method=method, sigma=0.03, lam=info["lam"], return_info=True)
    assert given["lam_rule"] == "given"
    np.testing.assert_allclose(again, chosen, atol=1e-12)
    smoother = deblur(y, BOX, method=method, sigma=0.03, lam=10 * info["lam"])
    assert np.abs(np.diff(smoother)).sum() < 0.9 * np.abs(np.diff(chosen)).sum()


def test_richardson_lucy_stops_at_the_noise_and_says_so():
    _, y = scene(48, 0.03)
    _, info = deblur(y, BOX, method="richardson-lucy", sigma=0.03, return_info=True)
    assert info["stop_reason"] == "the residual reached the noise level (discrepancy principle)"
    assert info["residual"] <= 0.03 and info["lam"] is None
    _, weighted = deblur(y, BOX, method="richardson-lucy", sigma=0.03, lam=1e-3, return_info=True)
    assert weighted["lam"] == 1e-3


@pytest.mark.parametrize("boundary", ["unknown", "reflect"])
def test_total_variation_of_counts_converges_where_there_are_none(boundary):
    """On dark pixels the minimiser lies on the border of the model's domain, without a gradient there."""
    rng = np.random.default_rng(0)
    y = rng.poisson(np.maximum(scene(32, 0.0)[1] - 0.15, 0) * 50) / 50.0
    assert (y == 0).mean() > 0.1
    _, info = deblur(y, BOX, method="tv", noise="poisson:50", lam=0.01, boundary=boundary, return_info=True)
    assert info["status"] == "converged" and info["num_iter"] < 1000
    assert np.isfinite(info["objective"]).all()


def test_auto_names_the_method_and_doubts_a_residual_far_above_the_noise():
    _, y = scene(32, 0.03)
    _, info = deblur(y, BOX, sigma=0.03, return_info=True)
    assert info["method"] in ("tv", "pnp", "unrolled") and not info["warnings"]
    shifted = np.zeros((9, 9))
    shifted[0, 0] = 1.0
    doubtful = deblur(y, shifted, sigma=0.002, lam=0.5, return_info=True)[1]
    assert any("the psf may be wrong, or the noise is not white" in text for text in doubtful["warnings"])


def test_a_weight_too_weak_to_solve_for_is_one_sentence():
    image = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    with pytest.raises(ConvergenceError, match=r"'tikhonov' could not solve .* give a larger lam"):
        deblur(image, "gaussian:2", method="tikhonov", boundary="reflect", lam=1e-10, sigma=0.01)


def test_variation_too_strong_for_richardson_lucy_is_said():
    image = np.random.default_rng(0).random((24, 24))
    options = {"method": "richardson-lucy", "sigma": 0.01, "num_iter": 2, "return_info": True}
    _, strong = deblur(image, "box:3", lam=0.1, **options)
    _, weak = deblur(image, "box:3", lam=1e-3, **options)
    assert any("too strong" in text for text in strong["warnings"])
    assert not any("too strong" in text for text in weak["warnings"])


@pytest.mark.parametrize(
    ("psf", "wrong"), [("motion:15@30", False), ("motion:15@-30", True), ("motion:25@30", True)]
)
def test_a_wrong_psf_is_said(psf, wrong):
    image = read_picture(Path(__file__).parents[2] / "data" / "coffee_motion.png").pixels
    _, info = deblur(image, psf, method="tikhonov", return_info=True)
    assert any("rings of a wrong psf" in text for text in info["warnings"]) == wrong


def test_a_path_is_not_a_picture():
    with pytest.raises(UsageError, match=r"text 'a\.png', wanted an array: read the file first"):
        deblur("a.png", "box:3")


def test_a_number_is_not_a_text():
    with pytest.raises(UsageError, match=r"sigma is '0.1': give a number, not str"):
        deblur(np.zeros((8, 8)), "box:3", sigma="0.1")
