import copy
import pickle

import pytest
import torch

from algorithms.state import NotConvergedError
from priors import ridge
from priors.checkpoint import build, load_network, read_provenance, save_network
from priors.ridge import Ridge, RidgeConfig
from priors.testing import prior_checks, trained_briefly


def small(channels=1, **config):
    """A tiny prior with weights that make every part matter, non-convex profiles included."""
    torch.manual_seed(1)
    config = {"filters": 2, "widths": (3,), "kernels": (3, 3), "scales": (0.5, 2.0), "nodes": 3} | config
    net = Ridge(RidgeConfig(channels=channels, **config)).double().requires_grad_(False).eval()
    net.positive.normal_(0, 0.5)[:, 1:] -= 9.0  # the wide bumps keep their negative weights
    net.negative.normal_(2.0, 0.5)
    net.alpha.normal_(0, 0.3)
    net.amplitude.normal_(0, 0.3)
    return net


def picture(batch=1, channels=1, size=(5, 6)):
    return torch.rand(batch, channels, *size, dtype=torch.float64)


def objective(net, z, x, sigma, gamma):
    return gamma * net.value(z, sigma) + (z - x).square().flatten(1).sum(1) / 2


def hessian(net, x, sigma):
    """Dense second derivatives of the value, by automatic differentiation alone."""
    return torch.autograd.functional.hessian(lambda v: net.value(v.view_as(x), sigma).sum(), x.flatten())


@pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
def test_claims(check):
    net, x = small(), picture(2, 1, (5, 4))
    assert net.claims.proximal and 0 < net.claims.convexity <= 1 / (1 + net.curvature(0.1)[1])
    check(net, x, 0.1)
    check(trained_briefly(net, x, 0.1, steps=3, rate=0.3), x, 0.1)


def test_gradient_against_finite_differences():
    net, x, v = small(), picture(2), torch.randn(2, 1, 5, 6, dtype=torch.float64)
    step = 1e-6
    slope = (net.value(x + step * v, 0.1) - net.value(x - step * v, 0.1)) / (2 * step)
    assert torch.allclose((net.grad(x, 0.1) * v).flatten(1).sum(1), slope, rtol=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_weak_convexity_of_the_dense_hessian(channels, sigma):
    net = small(channels)
    low, high = net.curvature(sigma)
    assert 0.2 < low <= net.config.rho < 1
    worst = 0.0
    for seed in range(4):
        torch.manual_seed(seed)
        x = 0.5 + sigma * torch.randn(1, channels, 3, 4, dtype=torch.float64)
        values = torch.linalg.eigvalsh(hessian(net, x, sigma))
        assert -low - 1e-12 <= float(values.min()) and float(values.max()) <= high + 1e-12
        worst = min(worst, float(values.min()))
    assert worst < -0.02  # it is not convex: the bound is not there for nothing


def test_a_profile_beyond_its_bound_would_be_seen():
    """The negative control: weights outside the parametrisation break the claimed constant."""
    net, x = small(), 0.5 + 0.1 * torch.randn(1, 1, 3, 4, dtype=torch.float64)
    energy = net.energy(x, 0.1)
    wild = ridge.Energy(energy.bank, energy.width, energy.weight - 20)
    bends = torch.stack([wild.curve(x, u.view_as(x)).flatten() for u in torch.eye(12).double()])
    assert float(torch.linalg.eigvalsh(bends).min()) < -net.config.rho


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_prox_is_optimal_and_the_lowest_point(gamma):
    net, x = small(), picture(2)
    z = net.prox(x, 0.1, gamma=gamma)
    assert float((z - x + gamma * net.grad(z, 0.1)).abs().max()) < 1e-8
    best = objective(net, z, x, 0.1, gamma)
    for seed in range(20):
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
        for step in (1e-4, 1e-2, 0.3):
            assert bool((objective(net, z + step * noise, x, 0.1, gamma) >= best - 1e-13).all())


def test_brute_force_finds_nothing_lower():
    """A quasi-Newton minimiser that knows only the value, started at the prox and at the picture."""
    net, x = small(), picture(size=(4, 4))
    z = net.prox(x, 0.15, gamma=1.0)
    best = float(objective(net, z, x, 0.15, 1.0))
    for start in (z, x, torch.zeros_like(x)):
        probe = start.clone().requires_grad_()
        search = torch.optim.LBFGS([probe], max_iter=120, tolerance_change=0, line_search_fn="strong_wolfe")

        def closure(probe=probe, search=search):
            search.zero_grad()
            loss = objective(net, probe, x, 0.15, 1.0).sum()
            loss.backward()
            return loss

        search.step(closure)
        assert float(objective(net, probe.detach(), x, 0.15, 1.0)) >= best - 1e-12
        assert torch.allclose(probe.detach(), z, atol=1e-5)


def test_jacobian_is_that_of_a_gradient():
    net, x = small(), picture(size=(3, 4))
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v, 0.1), x).view(12, 12)
    assert torch.allclose(jacobian, jacobian.T, atol=1e-9)
    values = torch.linalg.eigvalsh(jacobian)
    low, high = net.curvature(0.1)
    assert 1 / (1 + high) - 1e-9 <= float(values.min()) and float(values.max()) <= 1 / (1 - low) + 1e-9
    inverse = torch.eye(12) + hessian(net, net(x, 0.1), 0.1)
    assert torch.allclose(torch.linalg.inv(inverse), jacobian, atol=1e-7)


def test_potential_is_what_the_prox_is_the_gradient_of():
    net, x, v = small(), picture(2), torch.randn(2, 1, 5, 6, dtype=torch.float64)
    step = 1e-4
    slope = (net.potential(x + step * v, 0.1) - net.potential(x - step * v, 0.1)) / (2 * step)
    assert torch.allclose((net(x, 0.1) * v).flatten(1).sum(1), slope, rtol=1e-5)


def test_implicit_gradients_in_the_weights():
    """Against differences of whole solves, one direction for each parameter."""
    net, x, target = small().requires_grad_(), picture(2), picture(2)

    def loss():
        return (net.prox(x, 0.1, gamma=1.0, tol=1e-11) - target).square().sum()

    slopes = torch.autograd.grad(loss(), list(net.parameters()))
    for parameter, slope in zip(net.parameters(), slopes, strict=True):
        direction = torch.randn_like(parameter)
        values = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                parameter += step * direction
                values.append(float(loss()))
        with torch.no_grad():
            parameter += 1e-5 * direction
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(
            float((slope * direction).sum()), rel=1e-4, abs=1e-8
        )


def test_levels():
    net, x = small(), picture(3)
    levels = torch.tensor([0.02, 0.1, 0.2], dtype=torch.float64)
    apart = torch.cat([net(x[i : i + 1], float(levels[i])) for i in range(3)])
    assert torch.allclose(net(x, levels), apart, atol=1e-7)
    assert torch.allclose(net(x, 0.0), x, atol=1e-8)
    top = net.config.sigma[1]  # above the trained range: sigma^2 R_1(x / sigma)
    assert torch.allclose(net.value(2 * x, 2 * top), 4 * net.value(x, top), rtol=1e-12)


def test_flips_of_the_picture_are_flips_of_the_result():
    net, x = small(), picture()
    for axes in ((-1,), (-2,), (-2, -1)):
        assert torch.allclose(net(x.flip(axes), 0.1), net(x, 0.1).flip(axes), atol=1e-8)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3)])
def test_any_size(size):
    x = picture(size=size)
    z = small()(x, 0.1)
    assert z.shape == x.shape
    assert float(z.mean()) == pytest.approx(float(x.mean()), abs=1e-8)  # filters of mean zero keep the mean


def test_pure_and_portable():
    net, x = small(), picture(2)
    before, kept = copy.deepcopy(net.state_dict()), x.clone()
    result = net(x, 0.1)
    assert torch.equal(x, kept) and not x.requires_grad
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(pickle.loads(pickle.dumps(net))(x, 0.1), result)
    assert torch.allclose(net.float()(x.float(), 0.1), result.float(), atol=2e-5)


def test_checkpoint_round_trip(tmp_path):
    config = RidgeConfig(channels=3, filters=2, widths=(3,), kernels=(3, 5), scales=(0.5, 2.0))
    net = build("ridge", config, seed=4)
    save_network(tmp_path / "r.safetensors", net, {"steps": 1})
    twin, x = load_network(tmp_path / "r.safetensors"), torch.rand(1, 3, 8, 7)
    assert twin.config == config and read_provenance(tmp_path / "r.safetensors")["kind"] == "ridge"
    assert torch.equal(twin(x, 0.1), net.eval().requires_grad_(False)(x, 0.1))


def test_a_few_training_steps_keep_the_claims():
    from priors.losses import l2, regression
    from priors.train import Learner, Plan, training

    torch.manual_seed(0)
    config = RidgeConfig(filters=2, widths=(), kernels=(3,), scales=(0.5, 2.0), nodes=3)
    learner = Learner(Ridge(config), Plan(steps=12, rate=3e-2, warmup=1))
    clean = torch.rand(4, 1, 1, 1).expand(4, 1, 10, 10)
    batch = clean + 0.1 * torch.randn(4, 1, 10, 10), clean, torch.full((4,), 0.1)
    losses = [step.loss for step in training(learner, lambda k: batch, regression(l2))]
    assert losses[-1] < 0.8 * losses[0]
    trained = learner.network.double().eval().requires_grad_(False)
    x = picture(size=(3, 4))
    values = torch.linalg.eigvalsh(hessian(trained, x, 0.1))
    assert float(values.min()) >= -trained.config.rho
    assert float(trained.grad(trained(x, 0.1), 0.1).add(trained(x, 0.1) - x).abs().max()) < 1e-7


def test_bfloat16_contexts_are_kept_out():
    net, x = small().float(), picture().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = net(x, 0.1)
    assert torch.equal(inside, net(x, 0.1)) and inside.dtype == torch.float32


def test_an_unmet_tolerance_is_an_error(monkeypatch):
    monkeypatch.setattr(ridge, "MAX_ITER", 2)
    with pytest.raises(NotConvergedError, match="stopped after 2 iterations"):
        small()(picture(), 0.1)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda net, x: net.prox(x, 0.1, gamma=1.2), ValueError, r"unique from 0 to below 1\.111"),
        (lambda net, x: net.prox(x, 0.1, gamma=-1.0), ValueError, r"gamma is -1\.0"),
        (lambda net, x: net(x[0], 0.1), ValueError, r"wants \(B, 1, H, W\)"),
        (lambda net, x: net(x.bfloat16(), 0.1), TypeError, r"needs float32 or float64"),
        (lambda net, x: net(x, -0.1), ValueError, r"sigma is -0\.1"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call(small(), picture())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kernels": (4, 3)}, "odd sides"),
        ({"kernels": (3,)}, "one more than widths"),
        ({"rho": 1.0}, "rho is 1"),
    ],
)
def test_impossible_shapes(change, text):
    with pytest.raises(ValueError, match=text):
        RidgeConfig(**{"widths": (3,), "kernels": (3, 3), **change})
