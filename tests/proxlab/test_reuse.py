"""What pictures share: made once, given up when old, never mixed up, never handed out twice to be changed."""

import numpy as np
import pytest
import torch

import proxlab
from imaging.psf.files import write_psf
from proxlab import blurs, denoising, model
from proxlab.blurs import Scene, read_blur
from proxlab.denoising import choose_prior
from proxlab.reuse import Recent


def deblur(*arrays, **options):
    """Without what it would warn of."""
    return proxlab.deblur(*arrays, return_info=True, **options)[0]


def test_the_oldest_is_given_up_and_what_fails_is_not_kept():
    made = []

    def make(n):
        made.append(n)
        return n

    recent = Recent(2)
    for n in (1, 2, 1, 3, 1, 2):
        assert recent.get(n, lambda n=n: make(n)) == n
    assert made == [1, 2, 3, 2] and len(recent) == 2
    with pytest.raises(ZeroDivisionError):
        recent.get(9, lambda: 1 / 0)
    assert recent.get(9, lambda: 4) == 4


def test_a_folder_makes_the_blur_once(monkeypatch, grey):
    calls = []
    monkeypatch.setattr(model, "_OPERATORS", Recent(2))
    blur = model._blur
    monkeypatch.setattr(model, "_blur", lambda *a: calls.append(a[2]) or blur(*a))
    options = {"sigma": 0.0165, "method": "wiener"}
    first = deblur(grey, "disk:2", **options)
    again = deblur(grey[::-1], "disk:2", **options)
    assert calls == [(1, 24, 30)]
    assert np.array_equal(deblur(grey, "disk:2", **options), first) and not np.array_equal(first, again)
    for other in ({"psf": "disk:3"}, {"boundary": "circular"}, {"origin": (1, 1)}):
        deblur(grey, other.pop("psf", "disk:2"), **options, **other)
    deblur(grey / 255.0, "disk:2", **options)
    deblur(grey[:20], "disk:2", **options)
    assert len(calls) == 6 and len(model._OPERATORS) == 2


def test_a_kept_operator_is_not_the_one_with_a_mask(grey):
    mask = np.ones(grey.shape, bool)
    mask[8:14, 8:14] = False
    options = {"sigma": 0.0165, "method": "tv", "num_iter": 5, "lam": 0.001}
    plain = deblur(grey, "disk:1", **options)
    masked = deblur(grey, "disk:1", mask=mask, **options)
    assert not np.array_equal(plain, masked)
    assert np.array_equal(deblur(grey, "disk:1", **options), plain)


def test_a_psf_file_that_changes_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(blurs, "_BLURS", Recent(2))
    path, scene = str(tmp_path / "k.npy"), Scene(np.zeros((1, 30, 30), np.float32), 1, 0)
    write_psf(path, np.ones((3, 3)) / 9)
    first = read_blur(path, scene, origin=None)
    assert read_blur(path, scene, origin=None) is first
    write_psf(path, np.ones((5, 5)) / 25, overwrite=True)
    assert read_blur(path, scene, origin=None).size == (5, 5)
    assert read_blur("shake:1", scene, origin=None) is not read_blur("shake:2", scene, origin=None)


def test_a_network_is_read_once_and_handed_out_as_a_copy(monkeypatch):
    import priors.base

    loads, load = [], priors.base.load
    monkeypatch.setattr(denoising, "_NETWORKS", Recent(2))
    monkeypatch.setattr(priors.base, "load", lambda path: loads.append(path) or load(path))
    one, other = choose_prior("denoiser-gray", 1), choose_prior("denoiser-gray", 1)
    assert len(loads) == 1 and one.digest == other.digest
    one.network.double()
    assert {p.dtype for p in other.network.parameters()} == {torch.float32}
    assert {p.dtype for p in choose_prior("denoiser-gray", 1).network.parameters()} == {torch.float32}
