"""`proxlab.denoise` and `proxlab denoise`: any prior, every layout, receipts that replay."""

import json
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import proxlab
from imaging.files.picture import read_picture, write_picture
from priors import base
from priors.checkpoint import build, save_network
from priors.denoiser import Denoiser, DenoiserConfig
from priors.lpn import LPN, LPNConfig
from proxlab.__main__ import main
from proxlab.denoising import choose_prior, feature_maps
from proxlab.errors import InputError, ProxlabWarning, UsageError


def shrink(x, sigma):
    """A denoiser anyone can compute: towards the middle of the range."""
    return 0.5 + (x - 0.5) / (1 + sigma)


def network(path, channels=1, seed=1):
    save_network(path, build("denoiser", DenoiserConfig(channels, (4, 6), (1, 1)), seed=seed), {})
    return str(path)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of shipped weights, with a grey denoiser in it."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    network(shipped / "denoiser-gray.safetensors")
    monkeypatch.setattr(base, "WEIGHTS", shipped)
    return shipped


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 1), (9, 8, 3), (9, 8, 4)])
def test_shape_type_and_range_are_those_of_the_input(dtype, shape):
    unit = np.random.default_rng(0).uniform(0.2, 0.8, shape)
    top = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    image = (unit * top).astype(dtype)
    result, info = proxlab.denoise(image, sigma=0.25, prior=shrink, return_info=True)
    assert result.dtype == image.dtype and result.shape == image.shape
    colour = slice(0, 3) if shape[-1] == 4 else slice(None)
    wanted = shrink(image[..., colour].astype(float) / top, 0.25) * top
    np.testing.assert_allclose(result[..., colour].astype(float), wanted, atol=0.51 if top > 1 else 1e-6)
    if shape[-1] == 4:
        np.testing.assert_array_equal(result[..., 3], image[..., 3])
    assert info["method"] == "function" and info["sigma_rule"] == "given" and info["status"] == "exact"


def test_sigma_is_estimated_and_handed_on():
    rng = np.random.default_rng(0)
    image = np.clip(np.linspace(0.3, 0.7, 96)[None] + 0.05 * rng.standard_normal((96, 96)), 0, 1)
    seen = []
    _, info = proxlab.denoise(image, prior=lambda x, sigma: (seen.append(sigma), x)[1], return_info=True)
    assert seen == [info["sigma"]] and 0.045 < seen[0] < 0.055 and info["sigma_rule"] == "estimated"


def test_a_sigma_far_from_the_estimate_is_obeyed_with_a_warning():
    rng = np.random.default_rng(0)
    image = 0.5 + 0.05 * rng.standard_normal((96, 96))
    with pytest.warns(ProxlabWarning, match="sigma is given as 0.2 but the picture looks like"):
        result = proxlab.denoise(image, sigma=0.2, prior=shrink)
    np.testing.assert_allclose(result, shrink(image, 0.2), atol=1e-12)


def test_files_and_names(weights, tmp_path, grey):
    path = network(tmp_path / "mine.safetensors", seed=7)
    net = base.load(path)
    x = torch.from_numpy(grey.astype(np.float32) / 255)[None, None]
    expected = net(x, 0.1)[0, 0].numpy() * 255
    result, info = proxlab.denoise(grey, sigma=0.1, prior=path, return_info=True)
    np.testing.assert_allclose(result, expected.clip(0, 255), atol=0.51)
    assert info["method"] == "mine" and len(info["hashes"]["prior"]) == 64
    named, info = proxlab.denoise(grey, sigma=0.1, return_info=True)
    assert info["method"] == "denoiser-gray" and not np.array_equal(named, result)


def test_float64_stays_float64(tmp_path):
    path, image = network(tmp_path / "mine.safetensors"), np.random.default_rng(0).random((8, 8))
    result = proxlab.denoise(image, sigma=0.9, prior=path, return_info=True)[0]
    exact = base.load(path).double()(torch.from_numpy(image)[None, None], 0.9)[0, 0].numpy()
    np.testing.assert_allclose(result, exact, atol=1e-14)


def test_a_module_of_the_caller_is_left_as_it_is():
    mine = build("denoiser", DenoiserConfig(1, (4,), (1,)), seed=0)
    image = np.random.default_rng(0).random((8, 8))
    proxlab.denoise(image, sigma=0.9, prior=mine, return_info=True)
    assert {p.dtype for p in mine.parameters()} == {torch.float32} and mine.training


def test_a_grey_prior_on_colour_and_a_colour_prior_on_grey(tmp_path):
    grey, colour = network(tmp_path / "g.safetensors"), network(tmp_path / "c.safetensors", 3)
    image = np.random.default_rng(0).uniform(0.2, 0.8, (8, 9, 3))
    result, info = proxlab.denoise(image, sigma=0.3, prior=grey, return_info=True)
    apart = [proxlab.denoise(image[..., c], sigma=0.3, prior=grey, return_info=True)[0] for c in range(3)]
    np.testing.assert_allclose(result, np.stack(apart, -1), atol=1e-12)
    assert "for 1 channels: it denoised each channel alone" in info["notes"][0]
    one, info = proxlab.denoise(image[..., 0], sigma=0.3, prior=colour, return_info=True)
    level = 0.3 * 3**0.5  # of equal noise in three channels, along their mean
    three = proxlab.denoise(np.repeat(image[..., :1], 3, 2), sigma=level, prior=colour, return_info=True)[0]
    np.testing.assert_allclose(one, three.mean(-1), atol=1e-12)
    assert "the grey picture as a colour one" in info["notes"][0]


def test_the_colour_denoiser_that_ships_is_of_use_on_a_grey_picture():
    from skimage import data
    from skimage.metrics import peak_signal_noise_ratio as psnr

    clean = data.camera()[100:228, 180:308] / 255.0
    noisy = clean + 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
    grey, colour = (
        psnr(clean, proxlab.denoise(noisy, sigma=0.1, prior=f"denoiser-{name}").clip(0, 1), data_range=1)
        for name in ("gray", "color")
    )
    assert colour > grey - 1 > psnr(clean, noisy, data_range=1) + 6


@pytest.mark.parametrize(
    ("prior", "error", "text"),
    [
        (None, UsageError, "no denoiser ships with this version: train one with `proxlab train denoiser`"),
        ("denoiser-gray", UsageError, "there is no prior 'denoiser-gray': no weights ship with this version"),
        ("nowhere.safetensors", InputError, "there is no checkpoint file 'nowhere.safetensors'"),
        (3.0, UsageError, "prior is float: give a name, a file, or something called as"),
        (lambda x, sigma: x[..., :1], UsageError, "it must keep the picture's shape"),
        (lambda x, sigma: x.numpy(), UsageError, "the prior function gave ndarray: .* must give a tensor"),
    ],
)
def test_refusals(prior, error, text, tmp_path, monkeypatch, grey):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    with pytest.raises(error, match=text):
        proxlab.denoise(grey, sigma=0.1, prior=prior)


def test_an_unknown_name_gets_the_nearest(weights):
    with pytest.raises(UsageError, match="did you mean 'denoiser-gray'"):
        choose_prior("denoiser-grey", 1)


def test_foreign_files_and_little_memory(tmp_path, grey):
    (tmp_path / "no.safetensors").write_bytes(b"not one")
    with pytest.raises(InputError, match="no complete safetensors file"):
        proxlab.denoise(grey, sigma=0.1, prior=str(tmp_path / "no.safetensors"))
    with pytest.raises(proxlab.MemoryLimitError):
        proxlab.denoise(grey, sigma=0.1, prior=shrink, max_memory="1K")


def test_the_command_writes_a_result_and_a_receipt(folder, weights, capsys, grey):
    assert main(["denoise", "a.png", "--sigma", "0.05"]) == 0
    assert sorted(p.name for p in folder.glob("a*")) == ["a.png", "a_denoised.json", "a_denoised.png"]
    wanted = proxlab.denoise(grey, sigma=0.05, return_info=True)[0]
    np.testing.assert_array_equal(read_picture("a_denoised.png").pixels, wanted)
    assert capsys.readouterr().out == "a_denoised.png\n"
    receipt = json.loads(Path("a_denoised.json").read_text())
    assert receipt["verb"] == "denoise" and receipt["info"]["method"] == "denoiser-gray"
    assert main(["replay", "a_denoised.json"]) == 0
    assert main(["denoise", ".", "--sigma", "0.05", "--overwrite"]) == 0  # its own results are passed over
    assert not Path("a_denoised_denoised.png").exists()


def test_the_command_with_a_file_of_the_users_own(folder, capsys):
    network(folder / "mine.safetensors")
    assert main(["denoise", "a.png", "--sigma", "0.05", "--prior", "mine.safetensors", "-o", "out/"]) == 0
    receipt = json.loads(Path("out/a_denoised.json").read_text())
    assert receipt["prior"] == "../mine.safetensors" and len(receipt["files"]["prior"]) == 64
    assert main(["replay", "out/a_denoised.json"]) == 0
    network(folder / "mine.safetensors", seed=2)
    assert main(["replay", "out/a_denoised.json"]) == 1
    assert "../mine.safetensors is not the file it was" in capsys.readouterr().err


def average(x, sigma):
    """A denoiser that mixes neighbours: the middle of each 3x3 square."""
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def test_poisson_noise_is_white_where_the_prior_sees_it():
    """Flat steps of several brightnesses: one level between the transforms, and the right means after."""
    rng, peak = np.random.default_rng(0), 40.0
    clean = np.repeat([0.1, 0.3, 0.6, 0.9], 48)[None] * np.ones((192, 1))
    image = rng.poisson(peak * clean) / peak
    seen = []

    def flat(x, sigma):
        seen.append([float(part.std()) / sigma for part in x.split(48, dim=3)])
        return torch.cat([part.mean().expand_as(part) for part in x.split(48, dim=3)], dim=3)

    result, info = proxlab.denoise(image, prior=flat, noise="poisson:40", return_info=True)
    np.testing.assert_allclose(seen[0], 1.0, atol=0.06)
    np.testing.assert_allclose(result, clean, atol=0.006)
    assert info["noise"] == "poisson:40" and "given" in info["sigma_rule"]
    assert info["certificate"]["verdict"].endswith("between Anscombe's transform and its inverse")
    _, info = proxlab.denoise(image, prior=flat, noise="poisson", return_info=True)
    assert 33 < float(info["noise"].split(":")[1]) < 48


def test_masked_pixels_may_hold_anything_and_are_filled():
    clean = np.linspace(0.2, 0.8, 40)[None] * np.ones((40, 1))
    mask = np.ones((40, 40), bool)
    mask[10:13, 20:22] = mask[30, 5] = False
    image = np.where(mask, clean, np.nan)
    result, info = proxlab.denoise(image, sigma=0.01, prior=average, mask=mask, return_info=True)
    assert np.abs(result - clean)[1:-1, 1:-1].max() < 0.01
    assert info["masked"] == 7 and info["status"] == "converged" and info["num_iter"] > 1
    assert len(info["hashes"]["mask"]) == 64
    again = proxlab.denoise(
        np.where(mask, clean, 9.0), sigma=0.01, prior=average, mask=mask, return_info=True
    )[0]
    np.testing.assert_array_equal(again, result)
    whole = proxlab.denoise(clean, sigma=0.01, prior=average, mask=mask | True, return_info=True)
    assert whole[1]["num_iter"] == 0 or np.allclose(
        whole[0], average(torch.from_numpy(clean)[None, None], 0)[0, 0]
    )


def test_the_filled_picture_is_a_fixed_point_of_the_prior():
    """x = prior(mask image + (1 - mask) x): the condition of proximal gradient, checked from outside."""
    rng = np.random.default_rng(0)
    image, mask = rng.uniform(0.2, 0.8, (24, 24)), rng.random((24, 24)) > 0.2
    x = proxlab.denoise(image, sigma=0.1, prior=average, mask=mask, return_info=True)[0]
    mixed = torch.from_numpy(np.where(mask, image, x))[None, None]
    np.testing.assert_allclose(average(mixed, 0.1)[0, 0], x, atol=3e-4)


def test_counted_light_with_holes():
    rng, peak = np.random.default_rng(0), 60.0
    clean = np.linspace(0.2, 0.8, 48)[None] * np.ones((48, 1))
    image, mask = rng.poisson(peak * clean) / peak, np.ones((48, 48), bool)
    mask[20:23, 20:23], image[20:23, 20:23] = False, 0.0
    x, info = proxlab.denoise(image, prior=average, noise="poisson:60", mask=mask, return_info=True)
    assert np.abs(x - clean)[20:23, 20:23].max() < 0.1 and info["masked"] == 9


def test_a_fill_that_does_not_settle_is_said(monkeypatch):
    flips = []

    def restless(x, sigma):
        flips.append(1)
        return x * (0.5 if len(flips) % 2 else 2.0)

    mask = np.ones((9, 8), bool)
    mask[4, 4] = False
    monkeypatch.setattr("proxlab.application.BUDGET", 6)
    _, info = proxlab.denoise(np.full((9, 8), 0.5), sigma=0.1, prior=restless, mask=mask, return_info=True)
    assert info["status"] == "max_iter" and info["num_iter"] == 6


def test_clipping_is_noted_and_used(grey):
    grey[3:6, 3:6] = 255
    result, info = proxlab.denoise(grey, sigma=0.02, prior=lambda x, sigma: x, return_info=True)
    np.testing.assert_array_equal(result, grey)
    assert "9 clipped pixels are used as they are" in info["notes"][0] and info["masked"] == 0


def test_a_region_is_that_of_the_whole(folder, weights):
    rng = np.random.default_rng(0)
    write_picture("big.png", rng.integers(40, 200, (230, 250), dtype=np.uint8))
    assert main(["denoise", "big.png", "--sigma", "0.05", "-o", "whole.png"]) == 0
    assert main(["denoise", "big.png", "--sigma", "0.05", "--roi", "100:120,90:130", "-o", "part.png"]) == 0
    before, whole, part = (read_picture(f"{n}.png").pixels for n in ("big", "whole", "part"))
    inside = np.zeros(before.shape, bool)
    inside[100:120, 90:130] = True
    np.testing.assert_array_equal(part[~inside], before[~inside])
    np.testing.assert_array_equal(part[inside], whole[inside])
    assert main(["replay", "part.json"]) == 0


def test_the_command_with_mask_counts_and_strictness(folder, weights, monkeypatch, capsys, grey):
    mask = np.full(grey.shape, 255, np.uint8)
    mask[5:7, 5:9] = 0
    write_picture("m.png", mask)
    monkeypatch.setattr("proxlab.application.TOL", 0.01)  # the network is untrained, and never settles
    words = ["denoise", ".", "--mask", "m.png", "--noise", "poisson:900"]
    assert main([*words, "-o", "out/"]) == 0
    receipt = json.loads(Path("out/a_denoised.json").read_text())
    assert receipt["mask"] == "../m.png" and receipt["info"]["masked"] == 8
    assert sorted(p.name for p in Path("out").iterdir()) == ["a_denoised.json", "a_denoised.png"]
    assert main(["replay", "out/a_denoised.json"]) == 0
    assert main(["denoise", "a.png", "--mask", "m.png", "--dry-run"]) == 0
    assert "8 samples masked" in capsys.readouterr().out
    monkeypatch.setattr("proxlab.application.TOL", 0.0)
    monkeypatch.setattr("proxlab.application.BUDGET", 2)
    assert main([*words, "-o", "strict/", "--strict"]) == 5 and not Path("strict").exists()
    assert main([*words, "-o", "loose/"]) == 5 and Path("loose/a_denoised.png").exists()
    assert "still changed after 2 applications of the prior" in capsys.readouterr().err


def test_pages_alpha_and_the_plan(folder, weights, capsys):
    pages = np.random.default_rng(0).integers(9000, 40000, (2, 12, 14), dtype=np.uint16)
    write_picture("p.tif", pages)
    write_picture("t.png", np.random.default_rng(0).integers(40, 200, (12, 14, 2), dtype=np.uint8))
    assert main(["denoise", "p.tif", "t.png", "--sigma", "0.02"]) == 0
    assert read_picture("p_denoised.tif").pixels.shape == pages.shape
    before, after = (read_picture(n).pixels for n in ("t.png", "t_denoised.png"))
    np.testing.assert_array_equal(before[..., 1], after[..., 1])
    assert main(["denoise", "a.png", "--dry-run"]) == 0
    assert "method    denoiser-gray" in capsys.readouterr().out and not Path("a_denoised.png").exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--prior", "denoiser-gary"], 2, "did you mean 'denoiser-gray'"),
        (["--prior", "gone.safetensors"], 3, "there is no checkpoint file"),
        (["--sigma", "5"], 2, "more than the whole range"),
        (["--method", "tv"], 2, "unrecognized arguments: --method"),
        (["--noise", "poisson:0"], 2, "with PEAK counts at value 1"),
        (["--noise", "poisson:9", "--sigma", "0.1"], 2, "fixes the noise level already"),
        (["--roi", "5:5,0:9"], 2, "holds no pixel"),
        (["--mask", "gone.png"], 3, "gone.png"),
    ],
)
def test_mistakes_of_the_command(folder, weights, capsys, words, code, text):
    assert main(["denoise", "a.png", *words]) == code
    assert text in capsys.readouterr().err


class Live(TorchDispatchMode):
    """The most bytes that tensors made within held at one time; an allocator needs more."""

    def __init__(self):
        super().__init__()
        self.holders, self.sizes, self.peak = Counter(), {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                place = tensor.untyped_storage().data_ptr()
                self.holders[place] += 1
                self.sizes[place] = tensor.untyped_storage().nbytes()
                weakref.finalize(tensor, self.drop, place)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return out

    def drop(self, place):
        self.holders[place] -= 1
        if not self.holders[place]:
            self.sizes.pop(place, None)


@pytest.mark.parametrize("config", [LPNConfig(), LPNConfig(channels=3, side=4)], ids=str)
def test_the_memory_of_a_learned_proximal_network_is_foreseen(config):
    """The estimate covers its tensors, without being several times as much."""
    network, y = LPN(config).requires_grad_(False), torch.rand(1, config.channels, 512, 256)
    with torch.no_grad(), Live() as live:
        network(y, 0.1)
    planes = live.peak / (4 * 512 * 256)
    assert planes < feature_maps(network) < 4 * planes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("widths", [(16, 32, 64), (24, 48, 96)])
def test_the_memory_of_a_denoiser_follows_its_shape_and_its_precision(widths, precision, monkeypatch):
    """Of float32 and of float64 pictures, never worked on in bfloat16; in strips, as large ones are."""
    monkeypatch.setattr("priors.strips.VALUES", 1 << 15)
    network = Denoiser(DenoiserConfig(widths=widths, blocks=(1, 1, 1)), precision=precision)
    for working, dtype in ((4, torch.float32), (8, torch.float64)):
        with torch.no_grad(), Live() as live:
            network.to(dtype)(torch.rand(1, 1, 512, 512, dtype=dtype), 0.1)
        planes = live.peak / (working * 512 * 512)
        assert planes < 1.6 * feature_maps(network, working) < 3.2 * planes
