"""The attack must find what is known in closed form, and stay inside its budget."""

import pytest
import torch

from algorithms.attack import Effort, Threat, descending, search, worst_case
from algorithms.classical import tikhonov
from algorithms.linearise import (
    ROUGH,
    by_autograd,
    by_tikhonov,
    by_variation,
    result,
    solve_normal,
    straight_through,
    unwindow,
)
from algorithms.stability import tikhonov_gain
from algorithms.subspace import Subspace, on_sphere
from imaging.blur import CircularBlur, WindowedBlur
from imaging.linsolve import SolveError
from imaging.masks import Identity
from imaging.psf.generators import gaussian as gaussian_psf

SIZE = (1, 40, 36)


def circular(psf):
    return CircularBlur(psf, SIZE)


def linear(lam):
    return lambda op, y: tikhonov(op, y, lam=lam)


def radius(value, count=1):
    return torch.full((count,), value, dtype=torch.float64)


@pytest.fixture
def scene(psf):
    op = circular(psf)
    x = torch.rand(2, *SIZE, dtype=torch.float64)
    return op, x, op.A(x)


@pytest.mark.parametrize("lam", [1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("how", [by_autograd, lambda r, op: by_tikhonov(r, op, lam=0.0)])
def test_the_worst_gain_of_tikhonov_is_its_largest_singular_value(scene, lam, how):
    op, _, y = scene
    at = by_autograd(linear(lam), op) if how is by_autograd else by_tikhonov(linear(lam), op, lam=lam)
    steady = linear(lam)(op, y)
    found = worst_case(at, y, steady, Threat("l2", radius(0.3, 2)), Effort(50, 1, seed=1))
    exact = tikhonov_gain(op, lam=lam).worst
    assert (found.error / 0.3 > 0.99 * exact).all() and (found.error / 0.3 < exact * (1 + 1e-9)).all()
    assert torch.allclose(found.perturbation.flatten(1).norm(dim=1), radius(0.3, 2))


def test_a_weight_too_small_for_the_inner_solve_leaves_a_direction_of_ascent():
    op = WindowedBlur(torch.from_numpy(gaussian_psf(1.3)).float()[None, None], (1, 64, 64))
    y, u = op.A(torch.rand(1, *op.img_size)), torch.randn(1, 1, 64, 64)
    with pytest.raises(SolveError):
        solve_normal(op, unwindow(op, u), 1e-7, budget=ROUGH)
    _, pull = by_tikhonov(lambda op, y: op.window(op.embed(y)), op, lam=1e-7)(y)
    direction = pull(u)
    assert torch.isfinite(direction).all()
    assert float((op.window(tikhonov(op, direction, lam=1e-2)) * u).sum()) > 0


def test_against_the_truth_the_worst_error_equals_a_dense_trust_region_solution():
    """Small enough to write J as a matrix and solve max |J e + r| on the sphere by a grid of multipliers."""
    op = CircularBlur(torch.tensor([[[[0.2, 0.5, 0.3]]]], dtype=torch.float64), (1, 4, 5))
    x = torch.rand(1, 1, 4, 5, dtype=torch.float64)
    y = op.A(x)
    J = torch.stack([linear(0.1)(op, e.view_as(y)).flatten() for e in torch.eye(20, dtype=y.dtype)], 1)
    r = (linear(0.1)(op, y) - x).flatten()
    values, V = torch.linalg.eigh(J.T @ J)
    b = V.T @ (J.T @ r)
    low, high = values[-1] + 1e-14, values[-1] + b.norm() / 0.2 + 1
    for _ in range(200):
        mu = (low + high) / 2
        low, high = (mu, high) if (b / (mu - values)).norm() > 0.2 else (low, mu)
    e = V @ (b / (mu - values))
    exact = float((J @ e + r).norm())
    found = worst_case(by_autograd(linear(0.1), op), y, x, Threat("l2", radius(0.2)), Effort(40, 1, seed=0))
    assert abs(float(found.error) / exact - 1) < 1e-4


def test_the_worst_box_perturbation_of_a_diagonal_map_is_a_corner():
    scale = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    y = torch.zeros(1, 1, 1, 3, dtype=torch.float64)
    at = by_autograd(lambda op, v: v * scale, Identity((1, 1, 3)))
    found = worst_case(at, y, y, Threat("linf", radius(0.5)), Effort(20, 3, seed=0))
    assert abs(float(found.error) - 0.5 * 14**0.5) < 1e-9
    assert float(found.perturbation.abs().max()) <= 0.5


def test_a_curved_reconstructor_is_climbed_without_a_step_size():
    """(y + e)^3: the worst e is the whole budget on the largest pixel; the other pixels are local maxima."""
    y = torch.tensor([[[[0.1, 0.4, 0.2]]]], dtype=torch.float64)
    at = by_autograd(lambda op, v: v**3, Identity((1, 1, 3)))
    found = worst_case(at, y, y**3, Threat("l2", radius(2.0)), Effort(15, 6, seed=0))
    assert abs(float(found.error) - (2.4**3 - 0.4**3)) < 0.01 * 2.4**3


def test_batches_equal_singles(scene):
    op, x, y = scene
    at, effort = by_autograd(linear(0.01), op), Effort(15, 1, seed=3)
    both = worst_case(at, y, x, Threat("l2", torch.tensor([0.2, 0.7], dtype=y.dtype)), effort).error
    singles = [
        worst_case(at, y[i : i + 1], x[i : i + 1], Threat("l2", radius(b)), effort).error
        for i, b in enumerate((0.2, 0.7))
    ]
    assert torch.allclose(both, torch.cat(singles), rtol=1e-6)


def test_warm_starts_carry_a_large_budget_to_a_small_one(scene):
    op, x, y = scene
    at = by_autograd(linear(0.01), op)
    threats = [Threat("l2", radius(b, 2)) for b in (0.1, 1.0, 0.4)]
    found = descending(at, y, x, threats, Effort(8, 1, seed=0))
    cold = [worst_case(at, y, x, t, Effort(25, 1, seed=0)).error for t in threats]
    for f, c in zip(found, cold, strict=True):
        assert (f.error > 0.97 * c).all()
    assert (found[0].error < found[2].error).all() and (found[2].error < found[1].error).all()


def test_the_search_without_gradients_beats_chance_but_not_the_gradient(scene):
    op, x, y = scene
    R = linear(0.001)
    threat = Threat("l2", radius(0.5, 2))
    searched = search(lambda v: R(op, v), y, x, threat, Effort(150, 1, seed=0))
    climbed = worst_case(by_autograd(R, op), y, x, threat, Effort(30, 1, seed=0))
    noise = torch.randn(20, 1, *SIZE[1:], dtype=y.dtype)
    noise = 0.5 * noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    chance = torch.stack([(R(op, y + e) - x).flatten(1).norm(dim=1) for e in noise]).amax(0)
    assert (searched.error > chance).all() and (searched.error <= climbed.error).all()
    assert torch.allclose(searched.perturbation.flatten(1).norm(dim=1), radius(0.5, 2))


def test_a_random_reconstructor_is_averaged():
    y = torch.zeros(1, 1, 1, 2, dtype=torch.float64)

    def shaky(op, v):
        return v * torch.tensor([1.0, 2.0]) + 0.01 * torch.randn_like(v)

    effort = Effort(25, 1, seed=0, draws=8)
    found = worst_case(by_autograd(shaky, Identity((1, 1, 2))), y, y, Threat("l2", radius(1.0)), effort)
    assert abs(float(found.error) - 2) < 0.05 and found.tried == 200


def test_the_pullback_of_variation_is_the_transposed_jacobian_of_the_rounded_problem(psf):
    """In a region without edges the rounded problem is the quadratic one: lam / ROUND in front of |D x|^2."""
    op = WindowedBlur(psf, (1, 12, 14))
    flat = lambda op, y: torch.full((1, *op.img_size), 0.5, dtype=y.dtype)  # noqa: E731
    u = torch.randn(1, 1, 12, 14, dtype=torch.float64)
    y = torch.rand(1, 1, 12, 14, dtype=torch.float64)
    found = by_variation(flat, op, lam=0.01)(y)[1](u)
    b = unwindow(op, u)
    n = b.numel()
    eye = torch.eye(n, dtype=y.dtype).view(n, *op.img_size)
    from algorithms.variation import differences, differences_adjoint

    H = (op.A_adjoint(op.A(eye)) + differences_adjoint(differences(eye))).flatten(1)
    exact = op.A(torch.linalg.solve(H, b.flatten()).view_as(b))
    assert float((found - exact).norm() / exact.norm()) < 0.1


def test_surrogates_return_the_values_of_the_method_itself(scene):
    op, _, y = scene
    odd = lambda op, v: v.clamp(0.2, 0.8).round(decimals=1)  # noqa: E731
    for at in (by_tikhonov(odd, op, lam=0.1), straight_through(odd, op), by_variation(odd, op, lam=0.1)):
        assert torch.equal(at(y)[0], odd(op, y))


def test_results_on_the_field_and_on_the_window_are_both_understood(psf):
    op = WindowedBlur(psf, (1, 12, 14))
    y = torch.rand(1, 1, 12, 14, dtype=torch.float64)
    assert torch.equal(result(lambda op, v: op.embed(v), op, y), y)
    assert torch.equal(result(lambda op, v: v, op, y), y)
    with pytest.raises(ValueError, match="returned shape \\(1, 1, 3, 3\\), wanted"):
        result(lambda op, v: v[..., :3, :3], op, y)


def test_autograd_says_when_there_is_no_way():
    from algorithms.linearise import NotDifferentiableError

    at = by_autograd(lambda op, v: v.detach(), Identity((1, 2, 2)))
    with pytest.raises(NotDifferentiableError, match="carries no gradient"):
        at(torch.ones(1, 1, 2, 2))


def test_a_threat_without_budget_is_refused():
    with pytest.raises(ValueError, match="one positive number a sample"):
        Threat("l2", torch.zeros(1))


def test_the_sphere_problem_agrees_with_brute_force():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1, 2, 2, generator=generator, dtype=torch.float64)
    matrix, linear_part = matrix + matrix.mT, torch.tensor([[0.3, -0.1]], dtype=torch.float64)
    z = on_sphere(matrix, linear_part, radius(1.5))[0]
    angle = torch.linspace(0, 2 * torch.pi, 100001, dtype=torch.float64)
    circle = 1.5 * torch.stack([angle.cos(), angle.sin()])
    values = linear_part[0] @ circle + (circle * (matrix[0] @ circle)).sum(0) / 2
    assert float(linear_part[0] @ z + z @ matrix[0] @ z / 2) >= float(values.max()) - 1e-9
    assert abs(float(z.norm()) - 1.5) < 1e-12


def test_a_forgotten_span_hands_back_the_plain_slope():
    span = Subspace(torch.ones(1, 1, 1, 2), torch.ones(1))
    span.add(torch.ones(1, 1, 1, 2), torch.full((1, 1, 1, 2), 3.0))
    slope = torch.tensor([[[[5.0, 6.0]]]])
    assert torch.equal(span.gradient(slope, torch.tensor([False])), slope)
    assert not torch.equal(span.gradient(slope, torch.tensor([True])), slope)
