import pytest
import torch

from priors.networks.layers import extended, freeze_statistics, multiply_adds, to_multiple
from priors.networks.ssnet import SSNet, SSNetConfig


def trained_a_little(net, steps=3):
    """A network whose batch normalisation has seen pictures and whose scales are not 1."""
    rate = torch.optim.SGD(net.parameters(), lr=0.05)
    for k in range(steps):
        rate.zero_grad()
        x = torch.rand(2, net.config.channels, 12, 12, generator=torch.Generator().manual_seed(k))
        net.train()(x.to(next(net.parameters()))).square().mean().backward()
        rate.step()
    return net


def test_the_paper_s_counts():
    net = SSNet(SSNetConfig())
    assert sum(p.numel() for p in net.parameters()) == 568_705
    buffers = sum(b.numel() for name, b in net.named_buffers() if "num_batches" not in name)
    assert 568_705 + buffers == 569_473
    assert multiply_adds(net) == 81 * 128 + 25 * 128**2 + 9 * 128**2 + 128


def test_folding_the_normalisation_changes_nothing():
    net = trained_a_little(SSNet(SSNetConfig(width=6)).double())
    x = torch.rand(2, 1, 9, 11, dtype=torch.float64)
    h = x
    for layer in net.eval().layers:
        reach = layer.conv.kernel_size[0] // 2
        h = torch.relu(layer.norm(layer.conv(torch.nn.functional.pad(h, (reach,) * 4, mode="circular"))))
    assert torch.allclose(net(x), torch.relu(net.mix(h)), atol=1e-12)
    assert not torch.allclose(net.train()(x), net.eval()(x), atol=1e-3)  # batch statistics are others


def test_frozen_statistics_make_training_and_evaluation_one_function():
    net = trained_a_little(SSNet(SSNetConfig(width=6)).double()).train()
    freeze_statistics(net)
    x = torch.rand(2, 1, 9, 11, dtype=torch.float64)
    before = [b.clone() for b in net.buffers()]
    first = net(x)
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))
    assert torch.equal(first, net.eval()(x)) and net.layers[0].conv.weight.requires_grad


def test_with_a_skip_it_begins_near_its_input():
    x = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with_skip, without = (SSNet(SSNetConfig(width=16, skip=skip)).train()(x) for skip in (True, False))
    assert (with_skip - x).square().mean().sqrt() < 0.15 < (without - x).square().mean().sqrt()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 8)])
@pytest.mark.parametrize("border", ["circular", "edge"])
def test_pictures_of_any_size_grey_and_colour(size, border):
    for channels in (1, 3):
        net = SSNet(SSNetConfig(channels=channels, width=4, border=border)).eval()
        x = torch.rand(2, channels, *size)
        assert net(x).shape == x.shape
        assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-6)


def test_periodic_borders_know_no_corner():
    net = trained_a_little(SSNet(SSNetConfig(width=4)).double()).eval()
    x = torch.rand(1, 1, 10, 7, dtype=torch.float64)
    assert torch.allclose(net(x.roll((3, 2), (-2, -1))), net(x).roll((3, 2), (-2, -1)), atol=1e-12)
    with_edges = SSNet(SSNetConfig(width=4, border="edge")).double().eval()
    with_edges.load_state_dict(net.state_dict())
    moved = with_edges(x.roll((3, 2), (-2, -1)))
    assert not torch.allclose(moved, with_edges(x).roll((3, 2), (-2, -1)), atol=1e-3)


def test_it_is_not_linear_and_opens_at_the_start():
    net = SSNet(SSNetConfig(width=8)).double().eval()
    x, z = torch.rand(2, 1, 1, 9, 9, dtype=torch.float64)
    zero = net(torch.zeros_like(x))
    assert (net(x + z) - net(x) - net(z) + zero).abs().max() > 1e-3
    assert (net(x) > 0).float().mean() > 0.5


def test_the_skip_ends_without_a_ceiling_at_zero():
    net = SSNet(SSNetConfig(width=4, skip=True)).eval()
    with torch.no_grad():
        net.mix.weight.zero_(), net.mix.bias.zero_()
    x = torch.rand(1, 1, 6, 6) - 0.5
    assert torch.equal(net(x), x)


def test_extension_repeats_as_often_as_needed():
    x = torch.arange(3.0).view(1, 1, 1, 3)
    assert extended(x, 4, "circular")[0, 0, 4].tolist() == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert to_multiple(x, 8, "circular")[0, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kernels": (4,)}, "kernels are \\(4,\\): give odd sides"),
        ({"width": 0}, "width is 0: give a whole number from 1"),
        ({"border": "torus"}, "border is 'torus': choose one of circular, edge"),
    ],
)
def test_impossible_shapes_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        SSNetConfig(**fields)


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 3, 8, 8\): this network wants \(B, 1, H, W\)"):
        SSNet(SSNetConfig(width=2))(torch.rand(1, 3, 8, 8))
