"""The trust map from arrays and from the command; each map held to what must be in it."""

import json

import numpy as np
import pytest
from scipy.signal import fftconvolve

from imaging.files.picture import read_picture, write_picture
from proxlab import trust
from proxlab.__main__ import main
from proxlab.blurs import Blur
from proxlab.errors import UsageError
from proxlab.trust_maps import jittered

PSF = np.ones((5, 5)) / 25


@pytest.fixture
def scene():
    """A square blurred by a box, with noise of 1 %."""
    rng = np.random.default_rng(0)
    x = np.full((52, 60), 0.3)
    x[18:34, 20:40] = 0.7
    y = fftconvolve(x, PSF, mode="valid")
    return y + 0.01 * rng.standard_normal(y.shape)


def test_the_maps_of_a_right_model(scene):
    found = trust(scene, PSF, method="tikhonov", sigma=0.01, lam=0.01, draws=3)
    shapes = {m.shape for m in (found.residual, found.undetermined, found.noise_spread, found.psf_spread)}
    assert shapes == {scene.shape} == {found.result.shape} and found.info["method"] == "tikhonov"
    assert found.summary()["residual_beyond_3"] < 0.02
    assert 0 <= found.undetermined.min() and found.undetermined.max() <= 1
    # the psf matters where there are edges, the noise everywhere
    edge, flat = np.s_[13:20, 20:34], np.s_[2:8, 2:50]
    assert found.psf_spread[edge].mean() > 1.5 * found.psf_spread[flat].mean()
    assert found.noise_spread[edge].mean() < 2 * found.noise_spread[flat].mean()
    assert np.allclose(found.spread**2, found.noise_spread**2 + found.psf_spread**2)


def test_more_noise_scatters_more_and_leaves_more_undetermined(scene):
    quiet, loud = (trust(scene, PSF, method="wiener", sigma=s, lam=0.01, draws=2) for s in (0.01, 0.04))
    assert loud.noise_spread.mean() == pytest.approx(4 * quiet.noise_spread.mean(), rel=1e-3)


def test_a_result_that_does_not_explain_the_data_stands_out(scene, spy):
    blurred = trust(scene, PSF, method="spy", sigma=0.01, draws=2)  # y itself: blurred again it is no y
    edge, flat = np.s_[13:20, 20:34], np.s_[3:9, 3:50]
    assert np.abs(blurred.residual[edge]).mean() > 2 * np.abs(blurred.residual[flat]).mean()
    assert blurred.summary()["residual_beyond_3"] > 0.05


def test_the_same_seed_gives_the_same_maps(scene):
    first, second, third = (trust(scene, PSF, method="wiener", draws=2, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.spread, second.spread) and not np.array_equal(first.spread, third.spread)


def test_counted_light_colour_scale_and_masks_have_maps(scene):
    colour = np.stack([scene] * 3, 2).clip(0)
    counted = trust(colour, PSF, method="richardson-lucy", noise="poisson:500", num_iter=3, draws=2)
    assert counted.residual.shape == scene.shape and counted.noise_spread.min() > 0
    large = trust(scene, PSF, method="wiener", sigma=0.01, scale=2, draws=2)
    assert large.undetermined.shape == (96, 112) and large.residual.shape == (48, 56)
    mask = np.ones(scene.shape, bool)
    mask[10:20, 10:20] = False
    holed = trust(scene, PSF, method="tikhonov", sigma=0.01, lam=0.01, mask=mask, draws=2)
    assert np.isnan(holed.residual[15, 15]) and np.isfinite(holed.residual[mask]).all()
    assert holed.undetermined[15, 15] >= 0 and holed.summary()["residual_beyond_3"] is not None


def test_a_method_that_refuses_other_psfs_has_no_psf_spread(scene, spy):
    def once(task):
        if len(spy.tasks) > 3:
            message = "another psf"
            raise UsageError(message)
        return task.op.embed(task.y)

    spy.answer = once
    found = trust(scene, PSF, method="spy", sigma=0.01, draws=2)
    assert found.psf_spread is None and found.summary()["psf_spread"] is None
    assert np.array_equal(found.spread, found.noise_spread)


def test_a_jittered_psf_keeps_its_sum_and_moves_no_centre():
    kernel = np.zeros((1, 1, 1, 5, 7))
    kernel[..., 2, 1:6] = 0.2
    blur = Blur(kernel, (2, 3), "", (), (), "")
    wide = jittered(blur, zoom=1.2, angle=0)
    columns = np.arange(wide.size[1]) - wide.origin[1]
    k = wide.kernels[0, 0, 0]
    assert k.sum() == pytest.approx(1) and (k.sum(0) * columns).sum() == pytest.approx(0, abs=1e-9)
    spread = lambda p, c: (p.sum(0) * c**2).sum()  # noqa: E731
    assert spread(k, columns) > 1.2 * spread(kernel[0, 0, 0], np.arange(7) - 3)


def test_one_draw_is_no_spread(scene):
    with pytest.raises(UsageError, match="draws is 1: give 2 or more"):
        trust(scene, PSF, draws=1)


def test_the_command_writes_a_figure_or_arrays(folder, spy, capsys):
    line = ["deblur", "a.png", "-p", "gaussian:1", "--method", "spy"]
    assert main([*line, "--trust", "map.npz", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["trust"] == "map.npz" and 0 <= record["undetermined"] <= 1
    with np.load("map.npz") as maps:
        assert {m.shape for m in maps.values()} == {(24, 30)} and len(maps.files) == 4
    assert main([*line, "--trust", "map.png", "--overwrite"]) == 0
    assert "noise spread" in capsys.readouterr().err
    assert read_picture("map.png").pixels.shape[1] > 1000
    assert main([*line, "--trust", "map.png", "--overwrite", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--trust", "map.gif"], "is written as .png, .pdf, .svg, .npz"),
        (["b.png", "--trust", "map.png"], "one file but there are 2 inputs"),
        (["--trust", "map.png", "--roi", "0:9,0:9"], "leave --roi out"),
        (["--trust", "a_deblurred.png"], "would replace the result"),
        (["--trust", "here.png"], "exists"),
    ],
)
def test_what_has_no_map_is_refused_before_any_work(folder, spy, grey, capsys, more, text):
    for name in ("b.png", "here.png"):
        write_picture(name, grey)
    assert main(["deblur", "-p", "gaussian:1", "--method", "spy", "a.png", *more]) == 2
    assert text in capsys.readouterr().err and not spy.tasks
