"""`proxlab.denoise` and `proxlab denoise`: any prior, every layout, receipts that replay."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import proxlab
from imaging.files.picture import read_picture, write_picture
from priors import base
from priors.checkpoint import build, save_network
from priors.denoiser import DenoiserConfig
from proxlab.__main__ import main
from proxlab.denoising import choose_prior
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
    three = proxlab.denoise(np.repeat(image[..., :1], 3, 2), sigma=0.3, prior=colour, return_info=True)[0]
    np.testing.assert_allclose(one, three.mean(-1), atol=1e-12)
    assert "the grey picture as a colour one" in info["notes"][0]


@pytest.mark.parametrize(
    ("prior", "error", "text"),
    [
        (None, UsageError, "no denoiser ships with this version: train one with `proxlab train denoiser`"),
        ("denoiser-gray", UsageError, "there is no prior 'denoiser-gray': no weights ship with this version"),
        ("nowhere.safetensors", InputError, "there is no checkpoint file 'nowhere.safetensors'"),
        (3.0, UsageError, "prior is float: give a name, a file, or something called as"),
        (lambda x, sigma: x[..., :1], UsageError, "it must keep the picture's shape"),
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
    ],
)
def test_mistakes_of_the_command(folder, weights, capsys, words, code, text):
    assert main(["denoise", "a.png", *words]) == code
    assert text in capsys.readouterr().err
