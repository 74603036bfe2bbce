"""Strips of rows against the whole, bit by bit where the map is exact; who owns what."""

import pytest
import torch

from priors import strips
from priors.denoiser import Denoiser, DenoiserConfig
from priors.strips import added_by_strips, by_strips

BLUR = torch.nn.AvgPool2d((5, 3), stride=1, padding=(2, 1))


@pytest.fixture
def narrow(monkeypatch):
    """Strips of four rows of 6."""
    monkeypatch.setattr(strips, "VALUES", 24)
    monkeypatch.setattr(strips, "LEAST", 2)


@pytest.mark.parametrize("height", [4, 5, 8, 11, 12, 13])
@pytest.mark.parametrize("over", [False, True])
def test_strips_give_what_the_whole_gives(narrow, height, over):
    x = torch.rand(1, 1, height, 6, dtype=torch.float64)
    whole, before = BLUR(x), x.clone()
    with torch.no_grad():
        assert torch.allclose(by_strips(BLUR, x, 2, over=over), whole, atol=1e-15)
    assert torch.equal(x, before) != (over and height > 4)


def test_too_short_a_reach_would_be_seen(narrow):
    x = torch.rand(1, 1, 12, 6)
    with torch.no_grad():
        assert not torch.allclose(by_strips(BLUR, x, 1), BLUR(x))


def test_with_gradients_the_map_is_called_once(narrow):
    calls = []
    by_strips(lambda x: calls.append(x.shape) or x, torch.rand(1, 1, 12, 6), 2)
    assert calls == [(1, 1, 12, 6)]


@pytest.mark.parametrize("height", [1, 3, 8])
def test_what_is_raised_is_added_by_strips_and_written_over_the_other(narrow, height):
    up = torch.nn.ConvTranspose2d(2, 1, 2, stride=2).double()
    z = torch.rand(1, 2, height, 3, dtype=torch.float64)
    skip = torch.rand(1, 1, 2 * height, 6, dtype=torch.float64)
    before = skip.clone()
    kept = added_by_strips(up, z, skip)
    assert kept.requires_grad and torch.equal(skip, before)
    with torch.no_grad():
        found = added_by_strips(up, z, skip)
    assert found is skip and torch.allclose(found, up(z) + before, atol=1e-15)


def test_a_denoiser_in_strips_is_the_denoiser(monkeypatch):
    net = Denoiser(DenoiserConfig(widths=(4, 6, 8), blocks=(2, 1, 1))).double()
    x = torch.rand(2, 1, 90, 40, dtype=torch.float64)
    with_gradients, before = net(x, 0.1).detach(), x.clone()
    with torch.no_grad():
        whole = net(x, 0.1)
        monkeypatch.setattr(strips, "VALUES", 8 * 4 * 20)
        monkeypatch.setattr(strips, "LEAST", 4)
        cut = net(x, 0.1)
    assert torch.allclose(whole, with_gradients, atol=1e-14)
    assert torch.allclose(cut, whole, atol=1e-14)
    assert torch.equal(x, before)
