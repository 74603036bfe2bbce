import json

import pytest
import torch

from priors.checkpoint import build, load_network, save_network
from priors.networks.nafnet import LayerNorm, NAFNet, NAFNetConfig
from priors.networks.unet import UNet, UNetConfig

SMALL = {
    "ssnet": {"width": 4},
    "unet": {"width": 2, "scales": 2},
    "nafnet": {"width": 4, "blocks": [1, 1], "middle": 1},
    "bounded": {"width": 4, "layers": 2, "kernel": 3},
}


def test_the_paper_s_counts():
    with torch.device("meta"):
        net = UNet(UNetConfig(width=64))
    assert sum(p.numel() for p in net.parameters()) == 34_523_969


@pytest.mark.parametrize("kind", sorted(SMALL))
@pytest.mark.parametrize("channels", [1, 3])
def test_files_rebuild_every_kind_and_any_size_works(kind, channels, tmp_path):
    from priors.checkpoint import network_class

    config = network_class(kind).Config(channels=channels, **SMALL[kind])
    assert network_class(kind).Config(**json.loads(json.dumps(config.to_dict()))) == config
    with torch.random.fork_rng():
        net = network_class(kind)(config)
    save_network(tmp_path / "n.safetensors", net, {"data": "none"})
    twin = load_network(tmp_path / "n.safetensors")
    for size in ((1, 1), (5, 9), (16, 12)):
        x = torch.rand(2, channels, *size)
        assert twin(x).shape == x.shape and torch.isfinite(twin(x)).all()
        assert torch.equal(twin(x), net.eval()(x))
    assert build(kind, config, seed=1).kind == kind


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_every_weight_learns_and_the_network_is_not_linear(kind):
    from priors.checkpoint import network_class

    net = build(kind, network_class(kind).Config(**SMALL[kind]), seed=0).double().train()
    rate = torch.optim.Adam(net.parameters(), lr=1e-2)
    x = torch.rand(4, 1, 12, 12, dtype=torch.float64)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    for _ in range(3):
        rate.zero_grad()
        (net(x) - x.square()).square().mean().backward()
        rate.step()
    still = {name for name, p in net.named_parameters() if torch.equal(p, start[name])}
    assert still == set()
    net.eval()
    a, b = x[:1], x[1:2]
    defect = net(a + b) - net(a) - net(b) + net(torch.zeros_like(a))
    assert defect.abs().max() > 1e-6


def test_the_residual_networks_start_near_the_identity():
    x = torch.rand(1, 1, 16, 16)
    for net in (UNet(UNetConfig(width=4, scales=2)), NAFNet(NAFNetConfig(width=4, blocks=(1,), middle=1))):
        assert (net.eval()(x) - x).square().mean().sqrt() < 0.25


def test_layer_norm_by_hand():
    x = torch.rand(2, 5, 3, 4, dtype=torch.float64)
    centred = x - x.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(LayerNorm(5).double()(x), expected)


def test_without_skip_the_unet_answers_alone():
    net = UNet(UNetConfig(width=2, scales=1, skip=False)).eval()
    with torch.no_grad():
        net.mix.weight.zero_(), net.mix.bias.zero_()
    assert net(torch.rand(1, 1, 8, 8)).abs().max() == 0


def test_impossible_shapes_are_refused():
    with pytest.raises(ValueError, match=r"blocks\[1\] is 0"):
        NAFNetConfig(blocks=(1, 0))
    with pytest.raises(ValueError, match="scales is 0"):
        UNetConfig(scales=0)
