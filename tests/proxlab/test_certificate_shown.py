"""The certificate where a user meets it: in info, in the receipt, printed by --verbose."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from priors import Ridge, RidgeConfig, save_network
from proxlab import deblur
from proxlab.__main__ import main
from proxlab.cli.batch import certificate_lines

SHARP = ["deblur", "a.png", "-p", "gaussian:1", "--sigma", "0.02"]


def ridge():
    torch.manual_seed(2)
    return Ridge(RidgeConfig(filters=2, widths=(), kernels=(3,))).requires_grad_(False)


def test_info_holds_the_certificate_of_a_users_own_prior(grey):
    result, info = deblur(
        grey, np.ones((3, 3)), sigma=0.02, method="certified", prior=ridge(), num_iter=4, return_info=True
    )
    assert result.shape == grey.shape and info["method"] == "certified"
    assert info["certificate"]["verdict"].startswith("proven (Beck 2017")
    by_claim = {c["claim"]: c for c in info["certificate"]["conditions"]}
    assert by_claim["the objective never rises"]["kind"] == "observed"
    assert len(info["objective"]) == 4 and info["objective"][0] > info["objective"][-1]


def test_receipt_and_verbose_tell_the_same(folder, capsys):
    save_network("own.safetensors", ridge(), {})
    flags = ["--method", "certified", "--prior", "own.safetensors", "--iter", "3"]
    assert main([*SHARP, *flags, "--verbose"]) == 0
    receipt = json.loads(Path("a_deblurred.json").read_text())
    told = capsys.readouterr().err
    for line in certificate_lines(receipt["info"]["certificate"]):
        assert line in told
    assert "certified proven (Beck 2017" in told and "proven    Ridge is an explicit function" in told
    assert main([*SHARP, *flags, "--overwrite"]) == 0
    assert "certified proven" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "verdict", "condition"),
    [
        ("tikhonov", "the unique minimiser of a strictly convex quadratic", "observed  x solves the normal"),
        ("pnp", "nothing is proven. Observed:", "observed  the last relative change of x"),
        ("red", "nothing is proven. Observed:", "observed  the last relative change of x"),
        (
            "tv",
            "a minimiser of a convex objective, to the stated bound",
            "proven    the objective is at most",
        ),
        ("identity", "the input itself, unchanged", ""),
    ],
)
def test_every_method_has_one(folder, capsys, method, verdict, condition):
    assert main([*SHARP, "--method", method, "--verbose"]) == 0
    told = capsys.readouterr().err
    assert f"certified {verdict}" in told and condition in told
    assert json.loads(Path("a_deblurred.json").read_text())["info"]["certificate"]["verdict"].startswith(
        verdict
    )


def test_a_closed_form_is_proven_and_a_solver_checked(grey):
    for boundary, kind in (("circular", "proven"), ("unknown", "observed")):
        _, info = deblur(
            grey, np.ones((3, 3)), sigma=0.02, method="tikhonov", boundary=boundary, return_info=True
        )
        assert [c["kind"] for c in info["certificate"]["conditions"]] == [kind]
