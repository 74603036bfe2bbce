import copy

import pytest
import torch
from deepinv.models import MedianFilter

import priors
from priors import base
from priors.base import DenoiserPrior, Fixed
from priors.checkpoint import build, save_network
from priors.denoiser import DenoiserConfig
from priors.lpn import LPN, LPNConfig
from priors.weighted import PerChannel

CONFIG = DenoiserConfig(widths=(4, 6), blocks=(1, 1))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    save_network(tmp_path / "denoiser-gray.safetensors", build("denoiser", CONFIG, seed=0), {})
    return tmp_path


def test_every_public_name_resolves_twice():
    for name in priors.__all__:
        assert getattr(priors, name) is getattr(priors, name)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        priors.lod  # noqa: B018


def test_load_by_name_and_by_file(shelf):
    assert base.available() == ("denoiser-gray",)
    x = torch.rand(1, 1, 9, 9)
    by_name = base.load("denoiser-gray", precision="fp32")
    assert by_name.precision == "fp32"
    assert torch.equal(
        by_name(x, 0.1), base.load(shelf / "denoiser-gray.safetensors", precision="fp32")(x, 0.1)
    )


def test_unknown_name(shelf):
    with pytest.raises(ValueError, match="unknown prior 'denoiser-grey': did you mean 'denoiser-gray'"):
        base.load("denoiser-grey")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        base.load(shelf / "other.safetensors")
    with pytest.raises(ValueError, match="precision is 'half'"):
        base.load("denoiser-gray", precision="half")


def test_any_denoiser_is_a_prior():
    x = torch.rand(1, 1, 8, 8)
    theirs = MedianFilter(kernel_size=3)
    assert torch.equal(DenoiserPrior(theirs, 0.1).prox(x, gamma=5.0), theirs(x, 0.1))
    ours = build("denoiser", CONFIG, seed=0)
    assert torch.equal(DenoiserPrior(ours).prox(x, 0.2, gamma=1.0), ours(x, 0.2))
    assert torch.equal(DenoiserPrior(ours, 0.1).prox(x, 0.2, gamma=1.0), ours(x, 0.2))


def test_what_a_denoiser_prior_refuses():
    prior = DenoiserPrior(lambda x, sigma: x)
    with pytest.raises(ValueError, match="no noise level"):
        prior.prox(torch.zeros(1, 1, 2, 2), gamma=1.0)
    with pytest.raises(NotImplementedError, match="has no value"):
        prior(torch.zeros(1, 1, 2, 2))
    with pytest.raises(TypeError, match="the denoiser is str"):
        DenoiserPrior("drunet")
    assert not prior.explicit_prior


class HalfQuadratic:
    """R(x) = |x|^2 / (2 sigma), whose prox is x / (1 + 1 / sigma)."""

    def __call__(self, x, sigma):
        return x / (1 + 1 / sigma)

    def value(self, x, sigma):
        return x.square().flatten(1).sum(1) / (2 * sigma)


def test_fixed_is_the_prox_of_gamma_times_its_value():
    prior, y = Fixed(HalfQuadratic(), sigma=0.5, gamma=2.0), torch.rand(1, 1, 3, 3, dtype=torch.float64)
    best = prior.prox(y, gamma=2.0)
    cost = lambda x: float(2.0 * prior.value(x) + (x - y).square().sum() / 2)  # noqa: E731
    around = [best + 0.01 * torch.randn_like(y) for _ in range(20)]
    assert all(cost(best) < cost(x) for x in around)


def test_fixed_refuses_another_gamma_and_a_missing_value():
    with pytest.raises(ValueError, match=r"bound to gamma = 2\.0 and was asked for 1\.0"):
        Fixed(HalfQuadratic(), sigma=0.5, gamma=2.0).prox(torch.zeros(1, 1, 2, 2), gamma=1.0)
    bare = Fixed(lambda x, sigma: x, sigma=0.5, gamma=2.0)
    assert not bare.explicit_prior
    with pytest.raises(NotImplementedError, match="no value to read"):
        bare.value(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_values_at_outputs_are_read_in_float64_with_the_weights_of_now(channels):
    """In single precision, and for a grey network on the channels of a colour picture."""
    net = LPN(LPNConfig(side=3)).float().requires_grad_(False)
    prior = Fixed(net if channels == 1 else PerChannel(net), sigma=0.1, gamma=2.0)
    z = torch.rand(2, channels, 6, 5, dtype=torch.float32)
    for _ in range(2):
        exact = copy.deepcopy(net).double()
        y = z.double()
        x = exact(y.view(-1, 1, 6, 5), 0.1).view_as(y)
        terms = (y * x - x.square() / 2).sum((1, 2, 3))
        psi = exact.potential(y.view(-1, 1, 6, 5), 0.1).view(2, channels).sum(1)
        found = prior.value_at_output(z, prior.prox(z, gamma=2.0))
        assert found.dtype == torch.float64
        assert torch.allclose(found, (terms - psi) / 2, rtol=1e-6)
        assert next(net.parameters()).dtype == torch.float32
        for p in net.parameters():
            p.add_(0.1)
