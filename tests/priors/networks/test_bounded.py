import pytest
import torch

from priors.networks.bounded import Bounded, BoundedConfig, Contraction

SIZES = [(1, 1), (3, 2), (6, 7)]


def dense(f, x):
    """The Jacobian of f at x as a matrix."""
    return torch.autograd.functional.jacobian(
        lambda v: f(v.view_as(x)).flatten(), x.flatten(), vectorize=True
    )


def largest_gain(net, size, seed=0):
    """The largest singular value of the Jacobian at random pictures."""
    generator = torch.Generator().manual_seed(seed)
    points = [
        scale * torch.randn(1, 1, *size, dtype=torch.float64, generator=generator) for scale in (0.1, 1, 10)
    ]
    return max(float(torch.linalg.svdvals(dense(net, x))[0]) for x in points)


def trained(net, steps, rate):
    """Steps that try to amplify as much as possible: the worst training there is."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for k in range(steps):
        generator = torch.Generator().manual_seed(k)
        x, z = torch.rand(2, 1, 1, 6, 5, dtype=torch.float64, generator=generator)
        optimizer.zero_grad()
        (-(net(x) - net(z)).norm() / (x - z).norm()).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("lipschitz", [1.0, 2.0, 4.0, 8.0])
def test_no_training_breaks_the_bound_at_any_size(lipschitz):
    net = Bounded(BoundedConfig(lipschitz=lipschitz, width=4, layers=3, kernel=3)).double()
    for steps in (0, 8):
        trained(net, steps, 0.4)
        assert all(largest_gain(net, size) <= net.lipschitz * (1 + 1e-10) for size in SIZES)


def test_training_comes_near_the_bound():
    """A bound that nothing reaches would prove nothing about the test above."""
    net = trained(Bounded(BoundedConfig(lipschitz=4.0, width=4, layers=2, kernel=3)).double(), 40, 0.2)
    assert 3.0 < largest_gain(net, (6, 7)) <= 4.0


def test_a_broken_contraction_is_seen():
    class TooBold(Contraction):
        def dominating(self):
            return super().dominating() / 40

    layer = TooBold(4, 3).double()
    assert largest_gain(lambda x: layer(x.expand(-1, 4, -1, -1)) / 2, (7, 8)) > 1


@pytest.mark.parametrize("size", SIZES)
def test_one_contraction_never_expands_and_its_transpose_is_right(size):
    layer = Contraction(2, 5).double()
    with torch.no_grad():
        layer.units.copy_(torch.tensor([1.5, -2.0]))
        layer.bias.copy_(torch.tensor([0.3, -0.1]))
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    jacobian = dense(layer, x)
    assert torch.allclose(jacobian, jacobian.T, atol=1e-12)  # W^T T^-1 D W is symmetric
    values = torch.linalg.eigvalsh(jacobian)
    assert values.min() >= -1 - 1e-12 and values.max() <= 1 + 1e-12


def test_flat_pictures_survive_the_start():
    for lipschitz in (2.0, 8.0):
        net = Bounded(BoundedConfig(lipschitz=lipschitz, width=4, layers=2, kernel=3)).eval()
        x = torch.full((1, 1, 6, 6), 0.5)
        assert (net(x) - x).abs().max() < 0.1 * lipschitz


def test_a_constant_below_one_is_refused():
    with pytest.raises(ValueError, match=r"lipschitz is 0\.5: give a number from 1"):
        BoundedConfig(lipschitz=0.5)
    with pytest.raises(ValueError, match="odd side"):
        BoundedConfig(kernel=4)
