import copy
import pickle

import pytest
import torch

from priors.checkpoint import build, load_network, save_network
from priors.denoiser import Denoiser, DenoiserConfig
from priors.gradient_step import GradientStep
from priors.testing import prior_checks, trained_briefly


def config(channels=1):
    return DenoiserConfig(channels=channels, widths=(4, 6), blocks=(1, 1))


def small(channels=1):
    torch.manual_seed(1)
    net = GradientStep(config(channels)).double().requires_grad_(False).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)  # so that the Jacobian of N matters
    return net


def picture(batch=1, channels=1, size=(5, 4)):
    return torch.rand(batch, channels, *size, dtype=torch.float64)


def jacobian_of_n(net, x, sigma):
    return torch.autograd.functional.jacobian(lambda v: net.inner(v, sigma), x).view(x.numel(), x.numel())


@pytest.mark.parametrize("check", prior_checks(), ids=lambda check: check.__name__)
def test_claims(check):
    net, x = small(), picture(2)
    check(net, x, 0.1)
    check(trained_briefly(net, x, 0.1, steps=3, rate=1e-3), x, 0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_against_the_formula_with_a_dense_jacobian(channels):
    """m = N + J^T (x - N), J built column by column."""
    net, x = small(channels), picture(1, channels)
    n = net.inner(x, 0.2)
    pulled = (jacobian_of_n(net, x, 0.2).T @ (x - n).flatten()).view_as(x)
    assert torch.allclose(net(x, 0.2), n + pulled, atol=1e-13)
    assert float(pulled.abs().max()) > 1e-3
    assert float(net.value(x, 0.2)) == pytest.approx(float((x - n).square().sum() / 2), rel=1e-13)


def test_gradient_against_finite_differences():
    net, x, v = small(), picture(2), torch.randn(2, 1, 5, 4, dtype=torch.float64)
    step = 1e-5
    slope = (net.value(x + step * v, 0.1) - net.value(x - step * v, 0.1)) / (2 * step)
    assert torch.allclose((net.grad(x, 0.1) * v).flatten(1).sum(1), slope, rtol=1e-7)


def test_the_plain_denoiser_has_no_symmetric_jacobian():
    """The negative control: what is proved above is not true of N itself."""
    jacobian = jacobian_of_n(small(), picture(), 0.2)
    assert float((jacobian - jacobian.T).norm() / jacobian.norm()) > 1e-3


def test_a_small_step_down_lowers_the_value():
    net, x = small(), picture()
    rate = 0.5 / net.lipschitz_estimate(x, 0.1, seed=0, rtol=1e-6, max_iter=2000)
    before, after = float(net.value(x, 0.1)), float(net.value(x - rate * net.grad(x, 0.1), 0.1))
    assert after < before


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_lipschitz_estimate_at_a_point(sigma):
    """At one picture the power iteration finds the norm of the dense Hessian, from below."""
    net, x = small(), picture()
    hessian = torch.autograd.functional.hessian(lambda v: net.value(v.view_as(x), sigma).sum(), x.flatten())
    exact = float(torch.linalg.matrix_norm(hessian, 2))
    found = net.lipschitz_estimate(x, sigma, seed=0, rtol=1e-10, max_iter=5000)
    assert exact * (1 - 1e-3) <= found <= exact * (1 + 1e-9)


def test_it_starts_from_a_denoiser():
    denoiser, net = Denoiser(config()), GradientStep(config())
    net.start_from(denoiser)
    x = torch.rand(1, 1, 6, 6)
    assert torch.allclose(
        net.value(x, 0.1).float(), (x - denoiser(x, 0.1)).square().sum((1, 2, 3)) / 2, rtol=1e-6
    )


def test_training_reaches_every_weight():
    """The gradient in the weights, second derivatives included, against finite differences."""
    net, x = small().requires_grad_(), picture()
    loss = net(x, 0.1).square().sum()
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    assert all(float(s.abs().max()) > 0 for s in slopes)
    for parameter, slope in zip(net.parameters(), slopes, strict=True):
        direction, values = torch.randn_like(parameter), []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                parameter += step * direction
            values.append(float(net(x, 0.1).detach().square().sum()))
        with torch.no_grad():
            parameter += 1e-6 * direction
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(
            float((slope * direction).sum()), rel=1e-4, abs=1e-6
        )


def test_a_graph_only_where_one_is_wanted():
    net, x = small(), picture()
    assert not net(x, 0.1).requires_grad
    assert net(x.clone().requires_grad_(), 0.1).requires_grad
    trainable = small().requires_grad_()
    assert trainable(x, 0.1).requires_grad
    with torch.no_grad():
        assert not trainable(x, 0.1).requires_grad
        assert torch.equal(trainable(x, 0.1), net(x, 0.1))


def test_bfloat16_is_refused_and_kept_out():
    net, x = small().float(), picture().float()
    with pytest.raises(TypeError, match=r"torch\.bfloat16: the gradient of a potential needs float32"):
        net.bfloat16()(x.bfloat16(), 0.1)
    net = small().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = net(x, 0.1)
    assert torch.equal(inside, net(x, 0.1)) and inside.dtype == torch.float32


def test_pure_and_portable(tmp_path):
    net, x = small(), picture(2)
    before, kept = copy.deepcopy(net.state_dict()), x.clone()
    result = net(x, 0.1)
    assert torch.equal(x, kept) and not x.requires_grad
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(pickle.loads(pickle.dumps(net))(x, 0.1), result)
    fresh = build("gradient-step", config(3), seed=2).eval().requires_grad_(False)
    save_network(tmp_path / "g.safetensors", fresh, {})
    y = torch.rand(1, 3, 7, 6)
    assert torch.equal(load_network(tmp_path / "g.safetensors")(y, 0.1), fresh(y, 0.1))


def test_a_few_training_steps():
    from priors.losses import l2, regression
    from priors.train import Learner, Plan, training

    clean = torch.rand(4, 1, 1, 1).expand(4, 1, 8, 8)
    batch = clean + 0.1 * torch.randn(4, 1, 8, 8), clean, torch.full((4,), 0.1)
    learner = Learner(GradientStep(config()), Plan(steps=30, rate=1e-2, warmup=1))
    losses = [step.loss for step in training(learner, lambda k: batch, regression(l2))]
    assert losses[-1] < 0.7 * losses[0]
    x = picture()
    jacobian = torch.autograd.functional.jacobian(lambda v: learner.mean.double()(v, 0.1), x).view(20, 20)
    assert torch.allclose(jacobian, jacobian.T, atol=1e-12)
