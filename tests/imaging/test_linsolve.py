"""Linear solves against dense ones, and what happens when they fail."""

import pytest
import torch

from imaging.linsolve import (
    PART,
    SolveError,
    conjugate_gradient,
    default_rtol,
    implicit_solve,
    inner,
    power_iteration,
)


def spd(n, seed, condition=1e3):
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    return (
        q
        @ torch.diag(torch.logspace(0, torch.tensor(condition).log10().item(), n, dtype=torch.float64))
        @ q.T
    )


@pytest.mark.parametrize("start", [None, 1.0])
@pytest.mark.parametrize("precondition", [False, True])
def test_matches_a_dense_solve_in_each_sample(start, precondition):
    matrix = spd(12, 0)
    b = torch.randn(3, 12, dtype=torch.float64)
    b[1] = 0  # a sample that is finished before it starts
    inverse = torch.linalg.inv(matrix + 0.5 * torch.eye(12))
    x = conjugate_gradient(
        lambda v: v @ matrix,
        b,
        x0=None if start is None else torch.full_like(b, start),
        precondition=(lambda r: r @ inverse) if precondition else None,
        rtol=1e-12,
        max_iter=200,
    )
    assert torch.allclose(x, torch.linalg.solve(matrix, b.T).T, atol=1e-9)


def test_the_true_residual_is_what_is_promised():
    matrix = spd(40, 1, 20).float()
    b = torch.randn(1, 40)
    x = conjugate_gradient(lambda v: v @ matrix, b, rtol=1e-5, max_iter=5000)
    assert (x.double() @ matrix.double() - b.double()).norm() <= 1.2e-5 * b.norm()


def test_batch_equals_singles_bit_for_bit():
    scale = torch.logspace(0, 3, 9, dtype=torch.float64)
    b = torch.randn(4, 9, dtype=torch.float64) * torch.tensor([[1e-3], [1.0], [1e3], [5.0]])
    together = conjugate_gradient(lambda v: scale * v, b, rtol=1e-8, max_iter=99)
    singles = [conjugate_gradient(lambda v: scale * v, s[None], rtol=1e-8, max_iter=99) for s in b]
    assert torch.allclose(together, torch.cat(singles), rtol=1e-14, atol=0)


def test_a_missed_tolerance_raises_with_advice():
    with pytest.raises(
        SolveError, match=r"stopped after 3 steps at relative residual .*: use float64, a smaller gamma"
    ):
        conjugate_gradient(
            lambda v: v @ spd(30, 2), torch.ones(1, 30, dtype=torch.float64), rtol=1e-10, max_iter=3
        )


def test_an_unreachable_tolerance_raises_too():
    matrix = spd(30, 2, 1e6).float()
    with pytest.raises(SolveError, match=r"wanted 1\.0e-09"):
        conjugate_gradient(lambda v: v @ matrix, torch.ones(1, 30), rtol=1e-9, max_iter=2000)


def test_nan_is_named():
    with pytest.raises(ValueError, match="not finite: look for NaN or inf"):
        conjugate_gradient(lambda v: v, torch.tensor([[torch.nan]]), rtol=1e-5, max_iter=3)


def test_nan_inside_is_a_miss_not_an_answer():
    for start, scale in ((torch.nan, 2.0), (0.0, torch.nan)):
        with pytest.raises(SolveError, match="at relative residual inf"):
            conjugate_gradient(
                lambda v, s=scale: s * v,
                torch.ones(1, 3),
                x0=torch.full((1, 3), start),
                rtol=1e-5,
                max_iter=9,
            )


def test_arguments_stay():
    b, x0 = torch.ones(1, 3), torch.zeros(1, 3)
    conjugate_gradient(lambda v: 2 * v, b, x0=x0, rtol=1e-5, max_iter=5)
    assert torch.equal(b, torch.ones(1, 3)) and torch.equal(x0, torch.zeros(1, 3))


def test_half_precision_is_refused():
    with pytest.raises(TypeError, match="cannot be held to a tolerance: use float32 or float64"):
        default_rtol(torch.float16)


def test_implicit_gradients_are_those_of_the_dense_solve():
    gram = spd(6, 3, 50)
    b = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    gamma = torch.tensor([[0.5], [2.0]], dtype=torch.float64, requires_grad=True)

    def solved(b, gamma):
        fixed = gamma.detach()
        return implicit_solve(
            b,
            gamma,
            lambda r, x0: conjugate_gradient(
                lambda v: v + fixed * (v @ gram), r, x0=x0, rtol=1e-13, max_iter=200
            ),
            lambda v: v @ gram,
            x0=None,
        )

    assert torch.autograd.gradcheck(solved, (b, gamma), eps=1e-6, atol=1e-6)


def test_power_iteration_estimates_from_below():
    matrix = spd(8, 4, 100)
    value = power_iteration(
        lambda v: v @ matrix, torch.ones(1, 8, dtype=torch.float64), rtol=1e-9, max_iter=999
    )
    assert 99.9 < value <= 100 + 1e-9
    with pytest.raises(SolveError, match="still moved after 2 steps"):
        power_iteration(lambda v: v @ matrix, torch.ones(1, 8, dtype=torch.float64), rtol=1e-9, max_iter=2)


def test_long_inner_products_are_those_of_float64():
    """Part by part, with an uneven end, each sample by itself, and differentiable like short ones."""
    u, v = torch.rand(2, 2, 1, 3, PART + 5)
    exact = (u.double() * v.double()).sum((1, 2, 3))
    found = inner(u, v)
    assert found.shape == (2, 1, 1, 1)
    assert torch.allclose(found.flatten().double(), exact, rtol=1e-6)
    u.requires_grad_()
    inner(u, v)[0].sum().backward()
    assert torch.equal(u.grad[0], v[0]) and not u.grad[1].any()
