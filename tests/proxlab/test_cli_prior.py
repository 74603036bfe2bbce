"""`proxlab prior value|plot|list`, and `proxlab train lpn`."""

import json
import re

import numpy as np
import pytest
import torch

from imaging.files.picture import read_picture, write_picture
from priors.checkpoint import load_network, read_provenance, save_network
from priors.denoiser import Denoiser, DenoiserConfig
from priors.lpn import LPN, LPNConfig
from priors.potential import read_value
from proxlab.__main__ import main
from proxlab.reading import paths_from, reader


@pytest.fixture
def lpn(folder):
    save_network("lpn.safetensors", LPN(LPNConfig(side=3)), {})
    return ["--prior", "lpn.safetensors", "--sigma", "0.1"]


def test_value_is_that_of_the_network(lpn, grey, capsys):
    assert main(["prior", "value", "a.png", *lpn, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    x = torch.from_numpy(grey / 255.0)[None, None]
    network = load_network("lpn.safetensors").double()
    exact = float(read_value(network, x, 0.1, rtol=1e-10, max_iter=2000).value)
    assert found["value"] == pytest.approx(exact, abs=found["error"] + 1e-6)
    assert 0 < found["residual"] <= 1e-6
    assert main(["prior", "value", "a.png", *lpn, "--crop", "8"]) == 0
    assert capsys.readouterr().out.startswith("a.png\t")


def test_a_colour_picture_is_made_grey(lpn, grey, capsys):
    write_picture("c.png", np.repeat(grey[..., None], 3, axis=2))
    assert main(["prior", "value", "a.png", "c.png", *lpn, "--json"]) == 0
    first, second = (json.loads(line)["value"] for line in capsys.readouterr().out.splitlines())
    assert first == pytest.approx(second, rel=1e-5)


def test_plot_draws_three_paths(lpn, capsys):
    words = ["prior", "plot", "a.png", *lpn, "--crop", "12", "-o", "r.png"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["noise", "blur", "mixing"]
    assert read_picture("r.png").size[0] > 100
    assert main(words) == 2  # it lies there already
    assert main([*words, "--overwrite", "--mix", "a.png", "--rtol", "1e-3"]) == 0


def test_paths_begin_at_the_picture_and_mixing_ends_at_the_other():
    x, other = torch.rand(2, 1, 1, 9, 8, dtype=torch.float64)
    paths = paths_from(x, other, seed=1)
    assert all(torch.equal(pictures[0], x) for _, pictures in paths.values())
    assert torch.equal(paths["mixing"][1][-1], other)
    spread = [float((p - x).std()) for p in paths["noise"][1]]
    assert spread == pytest.approx(paths["noise"][0], abs=0.03)
    with pytest.raises(ValueError, match="use --crop"):
        paths_from(x, other[..., :4], seed=1)


def test_refusals(lpn, folder, capsys):
    save_network("plain.safetensors", Denoiser(DenoiserConfig(widths=(4,), blocks=(1,))), {})
    assert main(["prior", "value", "a.png", "--prior", "plain.safetensors", "--sigma", "0.1"]) == 2
    assert "has no regulariser to read" in capsys.readouterr().err
    assert main(["prior", "value", "a.png", "--prior", "lpn.safetensors", "--sigma", "0"]) == 2
    assert main(["prior", "value", "a.png", "--prior", "gone.safetensors", "--sigma", "0.1"]) == 3
    assert main(["prior", "value", "a.png", *lpn, "--rtol", "1e-12", "--max-iter", "2"]) == 5
    assert "stopped after 2 iterations" in capsys.readouterr().err
    assert main(["prior"]) == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--sigma", "25"], "sigma is 25, more than the whole range: as a fraction of 255 it is 0.09804"),
        (["--rtol", "0"], "rtol is 0 and max_iter 2000: give 0 < rtol < 1"),
        (["--max-iter", "0"], "rtol is 1e-06 and max_iter 0: .* at least 1 step"),
        (["--crop", "0"], "crop is 0: give the side of the middle to use"),
        (["--crop", "-3"], "crop is -3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_numbers_are_not_taken_for_none(lpn, capsys, words, text):
    assert main(["prior", "value", "a.png", *lpn, *words]) == 2
    assert re.search(text, capsys.readouterr().err)


def test_a_plot_that_cannot_be_written_is_refused_before_the_work(lpn, capsys):
    assert main(["prior", "plot", "a.png", *lpn, "-o", "r.txt"]) == 2
    told = capsys.readouterr()
    assert not told.out and "r.txt: a plot is written as .png, .pdf or .svg." in told.err


def test_a_closed_form_is_read_without_inversion(folder, monkeypatch):
    from priors.ridge import Ridge, RidgeConfig

    save_network("ridge.safetensors", Ridge(RidgeConfig(filters=2, widths=(), kernels=(3,))), {})
    read = reader("ridge.safetensors", 0.1, rtol=None, max_iter=None)
    monkeypatch.setattr("priors.potential.read_value", None)
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    assert read.value(x) == (float(read.network.value(x, 0.1)), 0.0, 0.0)


def test_list_names_what_ships(folder, monkeypatch, capsys):
    monkeypatch.setattr("priors.base.WEIGHTS", folder)
    assert main(["prior", "list"]) == 0
    assert capsys.readouterr().out == ""
    save_network("tiny.safetensors", LPN(LPNConfig(side=2)), {"metrics": {"psnr_25": 20.0}})
    assert main(["prior", "list"]) == 0
    assert capsys.readouterr().out.startswith("tiny\tlpn\t1 channel\tsigma 0 to 0.216\tpsnr_25 20.00 dB\n")


def test_list_says_which_deblur(folder, monkeypatch, capsys):
    from priors.networks import SSNet, SSNetConfig

    monkeypatch.setattr("priors.base.WEIGHTS", folder)
    made = {"kind": "deblur", "noise": [0.0, 0.05], "preprocess": "cgls:3,0.01"}
    save_network("one.safetensors", SSNet(SSNetConfig(width=2)), {"recipe": made})
    assert main(["prior", "list"]) == 0
    line = capsys.readouterr().out
    assert line == (
        "one\tssnet\t1 channel\tsigma 0 to 0.05\tdeblurs one psf, cgls:3,0.01 in front: method 'stnn'\n"
    )
    made["noise"] = [0.025, 0.025]
    save_network("one.safetensors", SSNet(SSNetConfig(width=2)), {"recipe": made})
    assert main(["prior", "list"]) == 0
    assert "\tsigma 0.025\t" in capsys.readouterr().out


def test_list_has_the_channels_of_the_network_inside_an_unrolled_one(folder, monkeypatch, capsys):
    from priors.checkpoint import build
    from priors.deblurrer import DeblurrerConfig

    monkeypatch.setattr("priors.base.WEIGHTS", folder)
    shape = DeblurrerConfig(network={"channels": 3, "widths": (4,), "blocks": (1,)}, sigma=(0.0, 0.06))
    save_network("whole.safetensors", build("unrolled", shape, seed=1), {})
    assert main(["prior", "list"]) == 0
    line = capsys.readouterr().out
    assert line == "whole\tunrolled\t3 channels\tsigma 0 to 0.06\tdeblurs with any psf: method 'unrolled'\n"


@pytest.mark.parametrize("loss", ["l2", "pm"])
def test_train_lpn(folder, monkeypatch, loss):
    monkeypatch.setattr("priors.logbook.find_spec", lambda name: None)
    words = ["train", "lpn", "--images", ".", "--out", "net.safetensors", "--steps", "4", "--loss", loss]
    small = ["--net", '{"side": 3}', "--batch", "2", "--patch", "12", "--sigma", "0.05:0.1", "--quiet"]
    assert main([*words, *small]) == 0
    card = read_provenance("net.safetensors")
    assert card["kind"] == "lpn" and card["recipe"]["loss"] == loss
    network = load_network("net.safetensors").double()
    y = torch.rand(1, 1, 9, 8, dtype=torch.float64)
    assert network(y, 0.1).shape == y.shape
