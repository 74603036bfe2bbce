import math

import pytest
import torch
from torch import nn

from algorithms.driver import last
from algorithms.pnp import data_term
from algorithms.proximal import pgd
from algorithms.splitting import admm, hqs
from algorithms.unrolled import STEPS, AtPair, Schedule, Unrolled, unroll
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from priors import L1

CASES = [(family, border) for family in STEPS for border in ("circular", "unknown")]


class Smooth(nn.Module):
    """A small smooth denoiser with weights."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", dtype=torch.float64)

    def forward(self, x, sigma):
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
        return x - level * torch.tanh(self.conv(x))


def problem(psf, border, family="hqs"):
    y = torch.rand(2, 1, 9, 8, dtype=torch.float64)
    op = CircularBlur(psf, (1, 9, 8)) if border == "circular" else WindowedBlur(psf, (1, 9, 8))
    return op, y, LeastSquares(op, y) if family == "pgd" else data_term(op, y, steps=2)


def schedule(n, *, gamma=True):
    return Schedule(n, start=0.2, weight=0.25, floor=0.002, gamma=gamma)


def solver(family, f, denoise, pair, x0):
    sigma, gamma = pair
    if family == "hqs":
        return hqs(f, denoise, [pair] * 4, x0=x0)
    if family == "pgd":
        return pgd(f, AtPair(denoise, sigma), step=gamma, x0=x0)
    return admm(f, AtPair(denoise, sigma), gamma=gamma, x0=x0)


@pytest.mark.parametrize(("family", "border"), CASES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_equals_the_solver_at_equal_parameters(psf, family, border, checkpointing):
    op, y, f = problem(psf, border, family)
    denoise, pair, x0 = Smooth(), (0.1, 0.7), op.embed(y)
    run = unroll(f, denoise, [pair] * 4, x0=x0, step=STEPS[family], checkpointing=checkpointing)
    state = last(solver(family, f, denoise, pair, x0), 4)
    assert torch.equal(run.x, state.x)
    assert all(torch.equal(a, b) for a, b in zip(run.memory, state.memory, strict=True))


def test_a_schedule_of_pairs_is_hqs_with_that_schedule(psf):
    _, y, f = problem(psf, "circular")
    denoise, pairs = Smooth(), [(0.3, 5.0), (0.1, 2.0), (0.05, 1.0)]
    assert torch.equal(unroll(f, denoise, pairs, x0=y).x, last(hqs(f, denoise, pairs, x0=y), 3).x)


def test_going_on_from_a_state_equals_not_stopping(psf):
    _, y, f = problem(psf, "circular")
    denoise, pairs = Smooth(), [(0.3, 5.0), (0.1, 2.0), (0.05, 1.0)]
    half = unroll(f, denoise, pairs[:2], x0=y, step=STEPS["admm"])
    whole = unroll(f, denoise, pairs, x0=y, step=STEPS["admm"])
    assert torch.equal(unroll(f, denoise, pairs[2:], x0=half, step=STEPS["admm"]).x, whole.x)


def test_a_prox_with_a_value_keeps_its_solution(gentle):
    """Around an exact prox, many unrolled steps end where the solver of the convex problem does."""
    _, y, f = problem(gentle, "circular", "pgd")
    g = L1(0.01)
    run = unroll(f, lambda x, sigma: g.prox(x, gamma=1.0), [(0.0, 1.0)] * 500, x0=y, step=STEPS["pgd"])
    torch.testing.assert_close(run.x, last(admm(f, g, gamma=9.0, x0=y), 200).x, atol=1e-3, rtol=0)


def network(family, checkpointing=False):
    torch.manual_seed(3)
    return Unrolled(
        Smooth(),
        schedule(3, gamma=family != "pgd").double(),
        step=STEPS[family],
        checkpointing=checkpointing,
    )


def loss_of(net, op, y, f):
    noise = torch.tensor([0.02, 0.05], dtype=torch.float64)
    return (op.window(net(f, noise, op.embed(y))) - y).square().sum()


@pytest.mark.parametrize(("family", "border"), CASES)
def test_gradients_against_finite_differences(psf, family, border):
    op, y, f = problem(psf, border, family)
    net = network(family)
    loss_of(net, op, y, f).backward()
    parameters = dict(net.named_parameters())
    assert set(parameters) == {"schedule.change", "denoise.conv.weight", "denoise.conv.bias"}
    for parameter in parameters.values():
        direction, h = torch.randn_like(parameter), 1e-5
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * h * direction)
                ends.append(float(loss_of(net, op, y, f)))
                parameter.sub_(sign * h * direction)
        slope = float((parameter.grad * direction).sum())
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4, abs=1e-8)
        assert abs(slope) > 1e-7


@pytest.mark.parametrize(("family", "border"), CASES)
def test_checkpointing_gives_the_same_gradients(psf, family, border):
    op, y, f = problem(psf, border, family)
    plain, frugal = network(family), network(family, checkpointing=True)
    losses = [loss_of(net, op, y, f) for net in (plain, frugal)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    pairs = list(zip(plain.parameters(), frugal.parameters(), strict=True))
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


def test_checkpointing_computes_each_step_again(psf):
    """What saves the memory: the denoiser runs twice a step, and nothing but states was kept."""
    op, y, f = problem(psf, "circular")
    calls = []
    for checkpointing in (False, True):
        net, count = network("hqs", checkpointing), []
        net.denoise.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        loss_of(net, op, y, f).backward()
        calls.append(len(count))
    assert calls == [3, 6]


def test_the_schedule_begins_as_in_plug_and_play():
    noise = torch.tensor([0.01, 0.04, 0.0001])
    for k, (sigma, gamma) in enumerate(schedule(5).requires_grad_(False)(noise)):
        for i, s in enumerate((0.01, 0.04, 0.002)):  # the last one is the floor
            expected = 0.2 ** (1 - k / 4) * s ** (k / 4)
            assert float(sigma[i]) == pytest.approx(expected, rel=1e-5)
            assert float(gamma[i]) == pytest.approx(expected**2 / (0.25 * s**2), rel=1e-5)


def test_step_sizes_begin_at_one_and_one_step_is_possible():
    assert [
        float(step) for _, step in schedule(3, gamma=False).requires_grad_(False)(torch.tensor([0.05]))
    ] == [1, 1, 1]
    ((sigma, _),) = schedule(1).requires_grad_(False)(torch.tensor([0.05]))
    assert math.isclose(float(sigma), 0.2, rel_tol=1e-6)


def test_mistakes(psf):
    with pytest.raises(ValueError, match="no steps: unrolling needs at least one pair"):
        unroll(LeastSquares(CircularBlur(psf, (1, 9, 8)), torch.rand(1, 1, 9, 8).double()), None, [], x0=psf)
    with pytest.raises(ValueError, match=r"n is 0, start 0\.2"):
        schedule(0)
