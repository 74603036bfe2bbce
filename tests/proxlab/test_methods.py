"""The registry: names, and refusals computed from what methods declare."""

from dataclasses import replace

import pytest
import torch

from imaging.blur import CircularBlur
from proxlab.errors import UsageError
from proxlab.methods import METHODS, load_method, require
from proxlab.methods.base import Need, Noise, Task

PLAIN = Need(
    boundary="unknown", noise="gaussian", scale=1, mask=False, varying=False, lam=False, num_iter=False
)


def only(monkeypatch, *names):
    """Leave these methods in the registry."""
    for name in set(METHODS) - set(names):
        monkeypatch.delitem(METHODS, name)


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
    monkeypatch.setitem(METHODS, "other", METHODS["spy"])  # the same object under another name
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
