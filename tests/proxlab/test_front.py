"""deblur(): what reaches a method, what comes back, what is said."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import convolve
from scipy.signal import convolve2d

import proxlab
from imaging.operator import window

PSF = np.array([[0.0, 1, 2, 0], [3, 9, 4, 1], [1, 2, 0, 1]])
CENTRED = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])


def quietly(image, psf, **options):
    """deblur with its record; nothing may be issued as a Python warning then."""
    return proxlab.deblur(image, psf, return_info=True, **options)


@pytest.mark.parametrize("shape", [(14, 11), (14, 11, 1), (14, 11, 3), (14, 11, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_identity_gives_the_input_back(shape, dtype):
    rng = np.random.default_rng(1)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = (rng.random(shape) * top).astype(dtype)
    before = image.copy()
    result, info = quietly(image, PSF, method="identity", sigma=0.3)
    np.testing.assert_array_equal(result, image)
    np.testing.assert_array_equal(image, before)
    assert result.dtype == image.dtype
    assert info["status"] == "exact"


@pytest.mark.parametrize(
    ("boundary", "mode"),
    [("circular", "wrap"), ("reflect", "mirror"), ("edge", "nearest"), ("zero", "constant")],
)
def test_the_operator_blurs_as_scipy_does(spy, boundary, mode):
    y = np.random.default_rng(2).random((12, 15))
    quietly(y, PSF, method="spy", sigma=0.3, boundary=boundary)
    op = spy.tasks[0].op
    x = np.random.default_rng(3).random((12, 15))
    import torch

    got = op.A(torch.from_numpy(x)[None, None])[0, 0].numpy()
    # padded to odd sizes, so that everybody agrees where the centre is
    odd = np.pad(PSF / PSF.sum(), ((0, 0), (0, 1)))
    np.testing.assert_allclose(got, convolve(x, odd, mode=mode), atol=1e-12)


def test_unknown_borders_see_only_what_the_sensor_saw(spy):
    y = np.random.default_rng(2).random((12, 15))
    quietly(y, PSF, method="spy", sigma=0.3)
    import torch

    op = spy.tasks[0].op
    field = torch.rand(1, *op.img_size, dtype=torch.float64)
    got, inside = op.A(field)[0, 0].numpy(), window(op, field)[0, 0].numpy()
    odd = np.pad(PSF / PSF.sum(), ((0, 0), (0, 1)))
    valid = convolve2d(inside, odd, mode="valid")
    np.testing.assert_allclose(got[1:-1, 2:-2], valid, atol=1e-12)


def test_origin_moves_the_psf(spy):
    y = np.random.default_rng(2).random((12, 15))
    quietly(y, PSF, method="spy", sigma=0.3, boundary="circular", origin=(0, 1))
    import torch

    x = torch.zeros(1, 1, 12, 15, dtype=torch.float64)
    x[0, 0, 6, 6] = 1
    got = spy.tasks[0].op.A(x)[0, 0].numpy()
    np.testing.assert_allclose(got[6:9, 5:9], PSF / PSF.sum(), atol=1e-12)


def test_a_psf_per_channel_and_a_grid(spy):
    y = np.random.default_rng(2).random((12, 15, 3))
    colours = np.stack([PSF, PSF[::-1], PSF[:, ::-1]], axis=-1)
    import torch

    quietly(y, colours, method="spy", sigma=0.3, boundary="circular")
    x = torch.zeros(1, 3, 12, 15, dtype=torch.float64)
    x[:, :, 6, 6] = 1
    got = spy.tasks[0].op.A(x)[0, :, 5:8, 4:8].numpy()
    np.testing.assert_allclose(got, np.moveaxis(colours, -1, 0) / PSF.sum(), atol=1e-12)
    _, info = quietly(y, [[PSF, np.ones((5, 5))]], method="spy", sigma=0.3)
    assert info["psf"] == "grid 1x2 of 3x4" and "varying blur by 5x5" in info["operator"]


def test_scale_samples_rows_and_columns_0_2_4(spy):
    y = np.random.default_rng(2).random((6, 8))
    result, _ = quietly(y, PSF, method="spy", sigma=0.3, scale=2, boundary="circular")
    assert result.shape == (12, 16)
    import torch

    x = np.random.default_rng(3).random((12, 16))
    got = spy.tasks[0].op.A(torch.from_numpy(x)[None, None])[0, 0].numpy()
    odd = np.pad(PSF / PSF.sum(), ((0, 0), (0, 1)))
    np.testing.assert_allclose(got, convolve(x, odd, mode="wrap")[::2, ::2], atol=1e-12)


def test_a_mask_reaches_the_operator_and_is_counted(spy):
    y = np.random.default_rng(2).random((12, 15))
    mask = np.ones((12, 15), bool)
    mask[3, 4:7] = False
    _, info = quietly(y, CENTRED, method="spy", sigma=0.3, mask=mask)
    import torch

    op = spy.tasks[0].op
    assert info["masked"] == 3
    seen = op.A(torch.ones(1, *op.img_size, dtype=torch.float64))[0, 0].numpy()
    np.testing.assert_array_equal(seen != 0, mask)


def test_clipped_areas_are_masked_said_and_can_be_kept(spy, grey):
    grey[4:8, 4:8] = 255
    _, info = quietly(grey, CENTRED, method="spy", sigma=0.02)
    assert info["masked"] == 16
    assert "16 pixels are clipped at white (2.22 %): masked near others." in info["warnings"]
    _, info = quietly(grey, CENTRED, method="spy", sigma=0.02, mask=False)
    assert info["masked"] == 0
    _, info = quietly(grey / 255, CENTRED, method="spy", sigma=0.02)
    assert info["masked"] == 0  # floats have no end to run into


def test_the_middle_of_a_clipped_area_is_data(spy, grey):
    grey[4:14, 4:14] = 255
    grey[18:20, 4:14] = 0
    mask = np.ones(grey.shape, bool)
    mask[8, 8] = False
    _, info = quietly(grey, np.ones((3, 3)) / 9, method="spy", sigma=0.02, mask=mask)
    assert (
        info["masked"] == (100 - 36) + 20 + 9 + 16
    )  # not where the caller's hole is seen, two pixels around
    assert "of the clipped pixels see no others through the psf" in " ".join(info["notes"])


def test_an_overexposed_sky_stays_white():
    from scipy.signal import convolve2d
    from skimage import data
    from skimage.metrics import peak_signal_noise_ratio as psnr

    clean = data.camera()[40:200, 150:310] / 255.0
    clean[:60] = 1.1
    psf = np.ones((5, 5)) / 25
    y = convolve2d(clean, psf, mode="valid") + 0.02 * np.random.default_rng(0).standard_normal((156, 156))
    picture = np.round(255 * y.clip(0, 1)).astype(np.uint8)
    x, info = proxlab.deblur(picture, psf, method="pnp", sigma=0.02, return_info=True)
    assert info["masked"] > 300 and x[:45].min() > 240
    truth = clean[2:-2, 2:-2].clip(0, 1)
    assert psnr(truth, x / 255, data_range=1) > psnr(truth, picture / 255, data_range=1) + 0.5


def test_a_method_without_masks_uses_clipped_pixels_and_says_so(spy, grey):
    grey[4:9, 4:9] = 255
    spy.supports = replace(spy.supports, mask=False)
    _, info = quietly(grey, CENTRED, method="spy", sigma=0.02)
    assert info["masked"] == 0
    assert "clipped pixels are used as they are: method 'spy' cannot leave pixels out." in info["warnings"]
    with pytest.raises(proxlab.UsageError, match="method 'spy' cannot do a mask: use "):
        quietly(grey, CENTRED, method="spy", sigma=0.02, mask=grey < 255)


def test_the_record_has_the_fields_of_the_contract(spy, grey):
    _, info = quietly(grey, CENTRED, method="spy", sigma=0.02, lam=0.25, num_iter=3, seed=5)
    names = "method sigma sigma_rule lam lam_rule num_iter stop_reason status residual objective certificate "
    names += "warnings seconds peak_memory seed device versions hashes"
    assert set(names.split()) <= set(info)
    task = spy.tasks[0]
    assert (task.sigma, task.lam, task.num_iter, task.seed) == (0.02, 0.25, 3, 5)
    assert info["method"] == "spy" and info["sigma_rule"] == "given" and info["seed"] == 5
    assert info["lam"] == 0.25 and info["objective"] == [2.0, 1.0] and info["residual"] == 0.5
    assert info["certificate"] == {"verdict": "none", "conditions": ["a test"]}
    assert set(info["hashes"]) == {"image", "psf", "result"}
    assert info["versions"]["torch"] and info["device"] and info["peak_memory"] > 1e6


def test_the_method_that_ran_is_named_where_another_was_asked(spy, grey):
    spy.chosen = "tv"
    _, info = quietly(grey, CENTRED, method="spy", sigma=0.02)
    assert info["method"] == "tv"


def test_a_given_sigma_is_obeyed_and_a_wrong_one_warned_about(spy):
    noisy = 0.5 + 0.05 * np.random.default_rng(4).standard_normal((64, 64))
    _, right = quietly(noisy, CENTRED, method="spy", sigma=0.05)
    _, wrong = quietly(noisy, CENTRED, method="spy", sigma=0.01)
    assert right["warnings"] == []
    assert "sigma is given as 0.01 but the picture looks like 0.0" in wrong["warnings"][0]
    assert spy.tasks[1].sigma == 0.01


def test_an_estimate_is_close_and_never_below_rounding(spy):
    noisy = 0.5 + 0.05 * np.random.default_rng(4).standard_normal((96, 96))
    _, info = quietly(noisy, CENTRED, method="spy")
    assert info["sigma_rule"].startswith("estimated")
    assert info["sigma"] == pytest.approx(0.05, rel=0.15)
    assert proxlab.estimate_noise(noisy, CENTRED) == pytest.approx(info["sigma"])
    flat = np.full((64, 64), 100, np.uint8)
    _, info = quietly(flat, CENTRED, method="spy")
    assert info["sigma"] >= 1 / 255 / 12**0.5 * 0.999


def test_poisson_levels(spy):
    y = np.full((32, 32), 0.25)
    _, info = quietly(y, CENTRED, method="spy", noise="poisson:100")
    assert info["sigma"] == pytest.approx(0.05) and spy.tasks[0].noise.peak == 100
    _, info = quietly(y, CENTRED, method="spy", noise="poisson", sigma=0.05)
    assert spy.tasks[1].noise.peak == pytest.approx(100) and info["noise"] == "poisson:100"
    counts = np.random.default_rng(5).poisson(200 * np.linspace(0.2, 0.8, 128)[None].repeat(128, 0)) / 200
    _, info = quietly(counts, CENTRED, method="spy", noise="poisson")
    assert spy.tasks[2].noise.peak == pytest.approx(200, rel=0.25) and "estimated" in info["sigma_rule"]


def test_float64_stays_and_the_rest_is_worked_on_in_float32(spy, grey):
    quietly(grey, CENTRED, method="spy", sigma=0.02)
    quietly(grey / 255, CENTRED, method="spy", sigma=0.02)
    assert [str(task.y.dtype) for task in spy.tasks] == ["torch.float32", "torch.float64"]


def test_warnings_are_issued_when_nobody_asked_for_the_record(spy, grey):
    spy.status = "max_iter"
    with pytest.warns(proxlab.ProxlabWarning, match="max iter: the test said so"):
        proxlab.deblur(grey, CENTRED, method="spy", sigma=0.011)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = quietly(grey, CENTRED, method="spy", sigma=0.011)
    assert info["status"] == "max_iter"


def test_nan_results_are_an_error(spy, grey):
    spy.answer = lambda task: task.op.embed(task.y) * float("nan")
    with pytest.raises(proxlab.ConvergenceError, match="spy ended in NaN after 3 iterations") as caught:
        quietly(grey, CENTRED, method="spy", sigma=0.02)
    assert caught.value.exit_code == 5


def test_running_out_of_memory_is_said_in_one_way(spy, grey):
    def hungry(task):
        message = "CUDA out of memory. Tried to allocate"
        raise RuntimeError(message)

    spy.answer = hungry
    with pytest.raises(proxlab.MemoryLimitError, match="not enough memory"):
        quietly(grey, CENTRED, method="spy", sigma=0.02)


def test_max_memory_is_compared_with_what_the_method_says(spy, grey):
    spy.need = 5 * 10**10
    with pytest.raises(proxlab.MemoryLimitError, match=r"needs about 5.* GB but max_memory is 40 GB"):
        quietly(grey, CENTRED, method="spy", sigma=0.02, max_memory="40G")
    quietly(grey, CENTRED, method="spy", sigma=0.02, max_memory="80G")


def test_a_callback_sees_every_iteration_and_the_picture(spy, grey):
    seen = []
    quietly(grey, CENTRED, method="spy", sigma=0.02, callback=seen.append)
    assert [(u.iteration, u.total, u.cost, u.residual) for u in seen] == [
        (1, 3, 1.0, 0.5),
        (2, 3, 0.5, 0.5),
        (3, 3, 1 / 3, 0.5),
    ]
    np.testing.assert_array_equal(seen[0].image, grey)


def test_linear_light_reaches_the_method_and_goes_back(spy, grey):
    result, _ = quietly(grey, CENTRED, method="spy", sigma=0.02, linear=True)
    np.testing.assert_array_equal(result, grey)
    srgb = float(grey[3, 4]) / 255
    assert float(spy.tasks[0].y[0, 0, 3, 4]) == pytest.approx(((srgb + 0.055) / 1.055) ** 2.4, rel=1e-5)


@pytest.mark.parametrize(
    ("psf", "kind", "message"),
    [
        (np.ones((40, 3)), proxlab.InputError, "psf is 40x3 but the image is 24x30"),
        (np.zeros((3, 3)), proxlab.InputError, "psf sums to zero"),
        (np.full((3, 3), np.nan), proxlab.InputError, "psf has 9 values that are NaN"),
        (np.ones((3, 3)) * 1j, ValueError, "psf"),
        (np.ones((3, 3, 3)), ValueError, r"the psf has shape \(3, 3, 3\): wanted \(h, w\)"),
        ([[PSF, PSF], [PSF]], proxlab.InputError, r"rows of \[2, 1\] psfs: give rows of equal length"),
        ("gausian:2", proxlab.InputError, "did you mean gaussian"),
    ],
)
def test_bad_psfs_get_one_sentence(grey, psf, kind, message):
    with pytest.raises(kind, match=message):
        proxlab.deblur(grey, psf, method="identity", sigma=0.02)


def test_bad_pictures_get_one_sentence():
    with pytest.raises(proxlab.InputError, match="give data_range"):
        proxlab.deblur(np.full((9, 9), 200.0), PSF, method="identity")
    with pytest.raises(proxlab.InputError, match="a volume goes in slice by slice"):
        proxlab.deblur(np.zeros((9, 9, 7)), PSF, method="identity")


def test_large_tiled_and_lazy_pictures_get_the_same_errors(tmp_path):
    da = pytest.importorskip("dask.array")
    bright = np.full((200, 200), 200.0)
    with pytest.raises(proxlab.InputError, match="did you mean gaussian"):
        proxlab.deblur(np.zeros((1100, 1100), np.uint8), "gausian:2", sigma=0.02)
    for picture, more in ((bright, {"tile": 128}), (da.from_array(bright, chunks=100), {})):
        with pytest.raises(proxlab.InputError, match="give data_range"):
            proxlab.deblur(picture, PSF, method="wiener", **more)
    with pytest.raises(proxlab.InputError) as caught:
        proxlab.robustness("tv", str(tmp_path / "missing"), "gaussian:1")
    assert isinstance(caught.value, FileNotFoundError)


def test_an_unknown_device_is_refused(grey):
    with pytest.raises(proxlab.UsageError, match="device 'gpu9' is not available here: use 'cpu'"):
        proxlab.deblur(grey, PSF, method="identity", device="gpu9")


def test_the_same_call_gives_the_same_bits_and_leaves_the_generator_alone(grey):
    import torch

    state = torch.get_rng_state()
    first = quietly(grey, PSF, method="identity", sigma=0.02)[1]["hashes"]
    second = quietly(grey, PSF, method="identity", sigma=0.02)[1]["hashes"]
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)


def test_a_wrong_sigma_is_noticed_in_the_middle_of_a_large_picture(spy):
    noisy = (0.5 + 0.05 * np.random.default_rng(4).standard_normal((900, 60))).astype(np.float32)
    noisy[:60] = 0.5  # outside the part that is looked at
    _, info = quietly(noisy, CENTRED, method="spy", sigma=0.01)
    assert "but the picture looks like 0.0" in info["warnings"][0] and len(spy.tasks) == 1
