"""Differences against loops, projections against the definition, the bound against a true minimum."""

import math

import pytest
import torch

from algorithms.driver import last
from algorithms.splitting_variation import Penalties, split_variation
from algorithms.variation import (
    TotalVariation,
    differences,
    differences_adjoint,
    split_optimality,
    tv_optimality,
)
from imaging.blur import CircularBlur
from imaging.fidelity import LeastSquares, PoissonKL
from imaging.testing import dense


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steps(x: torch.Tensor, r: int, c: int) -> tuple[float, float]:
    """Differences of one plane at one pixel, by the definition."""
    H, W = x.shape
    down = float(x[r + 1, c] - x[r, c]) if r + 1 < H else 0.0
    right = float(x[r, c + 1] - x[r, c]) if c + 1 < W else 0.0
    return down, right


def test_differences_by_loops():
    x = picture(2, 3, 5, 4)
    d = differences(x)
    assert d.shape == (2, 2, 3, 5, 4)
    for b in range(2):
        for ch in range(3):
            for r in range(5):
                for c in range(4):
                    assert tuple(d[b, :, ch, r, c].tolist()) == steps(x[b, ch], r, c)


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 3, 6), (1, 1, 4), (1, 4, 1), (1, 1, 1)])
def test_adjoint_is_the_dense_transpose(shape):
    D = dense(differences, shape, 1)[0]
    transposed = dense(lambda p: differences_adjoint(p.reshape(-1, 2, *shape)), (2, *shape), 1)[0]
    assert torch.equal(transposed, D.T)


def test_the_norm_of_differences_is_below_the_bound_that_solvers_use():
    D = dense(differences, (1, 9, 8), 1)[0]
    largest = float(torch.linalg.matrix_norm(D, 2)) ** 2
    assert 7.5 < largest < 8


@pytest.mark.parametrize("joint", [(1, 2), (1,)], ids=["vectorial", "per channel"])
def test_value_by_loops(joint):
    x, total = picture(2, 3, 4, 5), [0.0, 0.0]
    for b in range(2):
        for r in range(4):
            for c in range(5):
                channels = [steps(x[b, ch], r, c) for ch in range(3)]
                if joint == (1,):
                    total[b] += sum(math.hypot(*pair) for pair in channels)
                else:
                    total[b] += math.hypot(*[v for pair in channels for v in pair])
    found = TotalVariation(0.3, joint).value(x)
    torch.testing.assert_close(found, 0.3 * torch.tensor(total, dtype=torch.float64))


def test_a_shared_edge_costs_less_than_two_edges():
    edge = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    edge[..., 2:] = 1
    both = torch.cat([edge, edge], 1)
    assert float(TotalVariation(1.0).value(both)) == pytest.approx(4 * math.sqrt(2))
    assert float(TotalVariation(1.0, (1,)).value(both)) == pytest.approx(8)


@pytest.mark.parametrize("joint", [(1, 2), (1,)], ids=["vectorial", "per channel"])
@pytest.mark.parametrize("radius", [0.0, 0.7, 100.0])
def test_project_pixel_by_pixel(joint, radius):
    z = picture(2, 2, 3, 4, 5)
    found = TotalVariation(1.0, joint).project(z, radius)
    for b in range(2):
        for r in range(4):
            for c in range(5):
                alive = torch.tensor([float(r < 3), float(c < 4)], dtype=torch.float64)[:, None]
                v = z[b, :, :, r, c] * alive  # (2, channels), nothing across the border
                groups = [v] if joint == (1, 2) else [v[:, [ch]] for ch in range(3)]
                wanted = torch.cat([g * min(1.0, radius / max(float(g.norm()), 1e-300)) for g in groups], 1)
                torch.testing.assert_close(found[b, :, :, r, c], wanted, rtol=1e-12, atol=1e-14)


def test_what_the_projection_leaves_is_the_prox_of_the_norm():
    z, radius, tv = picture(1, 2, 2, 3, 4, seed=3), 0.6, TotalVariation(1.0)
    z[:, 0, :, -1], z[:, 1, ..., -1] = 0, 0
    prox = z - tv.project(z, radius)

    def cost(v: torch.Tensor) -> float:
        return float(radius * tv.magnitude(v).sum() + (v - z).square().sum() / 2)

    for seed in range(200):
        move = picture(*z.shape, seed=10 + seed) * 10.0 ** -(seed % 5)
        assert cost(prox + move) >= cost(prox)
    assert cost(prox) < cost(z) and cost(prox) < cost(torch.zeros_like(z))


def test_project_leaves_its_argument_alone():
    z = picture(1, 2, 1, 4, 4)
    before = z.clone()
    TotalVariation(1.0).project(z, 0.1)
    assert torch.equal(z, before)


@pytest.mark.parametrize("lam", [-0.1, float("nan")])
def test_a_weight_below_zero_is_refused(lam):
    with pytest.raises(ValueError, match=f"lam is {lam}, wanted 0 or more: larger is smoother"):
        TotalVariation(lam)


@pytest.fixture
def problem(gentle, small):
    """A loss, a prior and the state of their solver after n iterations, at 8x7."""
    op = CircularBlur(gentle, (1, 8, 7))
    loss = LeastSquares(op, op.A(small) + 0.02 * picture(1, 1, 8, 7, seed=5))
    tv = TotalVariation(0.02)
    return loss, tv, lambda n: last(split_variation(loss, tv, penalties=Penalties(1.0, 0.7), x0=loss.y), n)


def test_optimality_by_the_definition(problem):
    loss, tv, run = problem
    state = run(7)
    x, p = state.x, state.memory[0]
    found = tv_optimality(loss, tv, x, p)
    D, A = dense(differences, (1, 8, 7), 1)[0], dense(loss.op.A, (1, 8, 7), 1)[0]
    v, q, y = x.flatten(), p.flatten(), loss.y.flatten()
    misfit = A @ v - y
    norms = (D @ v).reshape(2, -1).norm(dim=0).sum()
    assert float(found.objective) == pytest.approx(float(misfit @ misfit / 2 + 0.02 * norms))
    assert float(found.gap) == pytest.approx(float(0.02 * norms - q @ (D @ v)))
    assert float(found.imbalance) == pytest.approx(float((A.T @ misfit + D.T @ q).norm()))
    bound = (found.gap + found.imbalance * 0.01 * x.norm()) / found.objective
    assert found.relative(x) == pytest.approx(float(bound))


def test_the_bound_holds_at_every_stage_and_vanishes_at_the_end(problem):
    loss, tv, run = problem
    end = run(600)
    best = end.x
    lowest = float(loss.value(best) + tv.value(best))
    bounds = []
    for n in (1, 2, 5, 10, 30, 100, 300):
        state = run(n)
        found = tv_optimality(loss, tv, state.x, state.memory[0])
        assert float(found.gap) >= 0
        bound = float(found.gap + found.imbalance * (state.x - best).norm())
        assert -1e-12 <= float(found.objective) - lowest <= bound + 1e-12
        bounds.append(bound)
    assert bounds[-1] < 1e-4 * bounds[0]
    assert tv_optimality(loss, tv, best, end.memory[0]).relative(best) < 1e-6


def test_a_dual_point_of_something_else_does_not_pass_for_a_proof(problem):
    loss, tv, run = problem
    end = run(600)
    assert tv_optimality(loss, tv, end.x, torch.zeros_like(end.memory[0])).relative(end.x) > 1e-2


def test_the_worst_sample_of_a_batch_counts(problem):
    loss, tv, run = problem
    good, bad = run(300), run(3)
    y = torch.cat([loss.y, loss.y])
    x, p = torch.cat([good.x, bad.x]), torch.cat([good.memory[0], bad.memory[0]])
    both = tv_optimality(LeastSquares(loss.op, y), tv, x, p).relative(x)
    alone = tv_optimality(loss, tv, bad.x, bad.memory[0]).relative(bad.x)
    assert both == pytest.approx(alone)


def test_split_optimality_by_the_definition(gentle, small):
    """u = prox(A x + gamma w) has the subgradient that the proof needs, here its gradient."""
    op, tv, peak, gamma = CircularBlur(gentle, (1, 8, 7)), TotalVariation(0.3), 20.0, 0.01
    loss = PoissonKL(op, op.A(small), peak)
    x, p = small + 0.02 * picture(1, 1, 8, 7), tv.project(picture(1, 2, 1, 8, 7, seed=1), 0.3)
    found = split_optimality(loss, tv, x, (p, picture(1, 1, 8, 7, seed=2)), gamma=gamma)
    z, y, g = op.A(x) + gamma * picture(1, 1, 8, 7, seed=2), loss.y, gamma * peak
    u = (z - g + ((z - g) ** 2 + 4 * g * y).sqrt()) / 2
    w = peak * (1 - y / u)
    force = (op.A_adjoint(w) + differences_adjoint(p)).norm()
    gap = tv.value(x) - (p * differences(x)).sum() + (w * (u - op.A(x))).sum().abs()
    assert float(found.imbalance) == pytest.approx(float(force))
    assert float(found.gap) == pytest.approx(float(gap))
    kl = peak * (u - y + y * (y / u).log()).sum()
    assert float(found.objective) == pytest.approx(float(kl + tv.value(x)))


def test_split_optimality_with_the_gradient_is_tv_optimality(problem):
    loss, tv, run = problem
    x, p = run(5).x, run(5).memory[0]
    split = split_optimality(loss, tv, x, (p, loss.op.A(x) - loss.y), gamma=0.7)
    plain = tv_optimality(loss, tv, x, p)
    torch.testing.assert_close(torch.cat(split), torch.cat(plain), rtol=1e-9, atol=1e-12)
