"""Splitting methods against a known solution, explicit matrices, each other's iterates and other roads."""

from itertools import pairwise

import pytest
import torch

from algorithms.driver import Until, last, solve
from algorithms.proximal import fista
from algorithms.splitting import LinearMap, admm, chambolle_pock, drs, hqs
from algorithms.variation import differences, differences_adjoint
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.fidelity import LeastAbsolute, LeastSquares
from imaging.masks import Identity, Masked
from imaging.sampling import Downsample
from priors import L1, Box

SIZE = (1, 8, 7)
GAMMA = 2.0
METHODS = {
    "drs": lambda f, g, **k: drs(f, g, gamma=GAMMA, **k),
    "over-relaxed drs": lambda f, g, **k: drs(f, g, gamma=GAMMA, relax=1.7, **k),
    "admm": lambda f, g, **k: admm(f, g, gamma=GAMMA, **k),
    "chambolle-pock": lambda f, g, **k: chambolle_pock(f, g, Identity(f.op.img_size), tau=GAMMA, **k),
    "chambolle-pock, dual data": lambda f, g, **k: chambolle_pock(g, data_alone(f), f.op, **k),
}
every = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def data_alone(f):
    """f as a function of u = A x."""
    return type(f)(Identity(f.op.data_size), f.y)


def problem(psf, small):
    op = CircularBlur(psf, SIZE)
    y = op.A(small) + 0.02 * torch.randn(small.shape, dtype=small.dtype)
    return LeastSquares(op, y), L1(0.01)


@pytest.mark.parametrize(
    ("name", "budget"),
    [
        *(("drs", 155), ("over-relaxed drs", 105), ("admm", 155)),
        *(("chambolle-pock", 155), ("chambolle-pock, dual data", 200)),
    ],
)
def test_lasso_is_solved_within_its_budget_and_the_start_is_kept(name, budget, lasso):
    x0 = torch.zeros(1, 1, 1, 5, dtype=torch.float64)
    run = solve(METHODS[name](lasso.f, lasso.g, x0=x0), Until(tol=1e-8, max_iter=budget)).require()
    torch.testing.assert_close(run.x, lasso.solution, rtol=0, atol=1e-6)
    assert not x0.any() and not x0.requires_grad


def operators(psf):
    mask = torch.ones(1, 1, 8, 7)
    mask[..., 3:5, 3:5] = 0
    return {
        "circular": CircularBlur(psf, SIZE),
        "reflect": PaddedBlur(psf, SIZE, "reflect"),
        "windowed": WindowedBlur(psf, (1, 5, 4)),
        "masked": Masked(CircularBlur(psf, SIZE), mask),
        "downsampled": Downsample(CircularBlur(psf, SIZE), 1),
    }


@pytest.mark.parametrize("name", ["circular", "reflect", "windowed", "masked", "downsampled"])
def test_all_roads_lead_to_one_minimiser(name, gentle, small):
    op, g = operators(gentle)[name], L1(0.02)
    y = op.A(torch.rand(1, *op.img_size, dtype=torch.float64))
    f, x0 = LeastSquares(op, y), op.embed(y)
    wanted = solve(fista(f, g, x0=x0), Until(tol=1e-11, max_iter=3000)).require().x
    for road in METHODS if op.exact_prox else ("chambolle-pock, dual data",):
        found = last(METHODS[road](f, g, x0=x0), 150 if op.exact_prox else 500).x
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    other = last(METHODS["chambolle-pock, dual data"](f, L1(0.021), x0=x0), 150).x
    assert float((other - wanted).abs().max()) > 1e-4  # the test would see another problem


def test_admm_is_douglas_rachford_with_the_roles_exchanged(gentle, small):
    f, g = problem(gentle, small)
    first = f.prox(f.y, gamma=GAMMA)
    other = drs(g, f, gamma=GAMMA, x0=first)
    states = admm(f, g, gamma=GAMMA, x0=f.y)
    before = next(states)
    torch.testing.assert_close(before.memory[0], first, rtol=0, atol=0)
    for _, state, twin in zip(range(15), states, other, strict=False):
        torch.testing.assert_close(state.memory[0], twin.x, rtol=0, atol=1e-13)


def test_chambolle_pock_of_the_identity_is_douglas_rachford(gentle, small):
    f, g = problem(gentle, small)
    states = chambolle_pock(f, g, Identity(SIZE), tau=GAMMA, sigma=1 / GAMMA, x0=f.y)
    first = next(states)
    w = f.y - GAMMA * first.memory[0]
    torch.testing.assert_close(first.x, f.prox(w, gamma=GAMMA), rtol=0, atol=1e-14)
    for _, state, twin in zip(range(15), states, drs(f, g, gamma=GAMMA, x0=w), strict=False):
        torch.testing.assert_close(state.x, f.prox(twin.memory[0], gamma=GAMMA), rtol=0, atol=1e-13)


def test_plain_douglas_rachford_is_the_general_one_at_1(gentle, small):
    f, g = problem(gentle, small)
    plain, general = drs(f, g, gamma=GAMMA, x0=f.y), drs(f, g, gamma=GAMMA, x0=f.y, relax=1.0)
    assert torch.equal(last(plain, 9).x, last(general, 9).x)
    assert not torch.equal(last(drs(f, g, gamma=GAMMA, x0=f.y, relax=1.1), 9).x, last(general, 1).x)


class Edges:
    """lam times the sum of the lengths of gradients (B, 2, C, H, W)."""

    def __init__(self, lam):
        self.lam = lam

    def prox(self, d, *, gamma):
        size = d.square().sum((1, 2), keepdim=True).sqrt()
        return d * (1 - gamma * self.lam / size.clamp_min(gamma * self.lam))


def test_total_variation_by_a_map_that_is_no_operator(gentle, small, dense_minimiser):
    f, _ = problem(gentle, small)
    slopes = LinearMap(differences, differences_adjoint, bound=8**0.5)
    found = last(chambolle_pock(f, Edges(0.02), slopes, tau=1.0, x0=f.y), 600).x
    wanted = dense_minimiser(f.op, f.y, 0.02, rho=0.7, n=1000)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_primal_dual_steps_come_from_the_bound(gentle, small):
    f, g = problem(gentle, small)
    op = CircularBlur(3 * gentle, SIZE)
    bound = op.norm_bound()
    given = {"both": {}, "tau": {"tau": 0.2}, "sigma": {"sigma": 0.2}}
    full = {
        "both": {"tau": 1 / bound, "sigma": 1 / bound},
        "tau": {"tau": 0.2, "sigma": 5 / bound**2},
        "sigma": {"tau": 5 / bound**2, "sigma": 0.2},
    }
    for name, steps in given.items():
        one, two = (last(chambolle_pock(g, f, op, x0=f.y, **k), 5).x for k in (steps, full[name]))
        torch.testing.assert_close(one, two, rtol=0, atol=1e-14)


def test_steps_beyond_the_bound_diverge(gentle, small):
    f, _ = problem(gentle, small)
    g = L1(100.0)  # so large that its dual ball does not stop the growth early
    slopes = LinearMap(differences, differences_adjoint, bound=8**0.5)
    far = last(chambolle_pock(Box(-1e9, 1e9), g, slopes, tau=2.0, sigma=2.0, x0=f.y), 30).x
    near = last(chambolle_pock(Box(-1e9, 1e9), g, slopes, tau=0.3, sigma=0.3, x0=f.y), 30).x
    assert float(far.abs().max()) > 100 > float(near.abs().max())


def test_half_quadratic_splitting_descends_its_own_objective(gentle, small):
    """f(v) + g(x) + |v - x|^2 / (2 gamma), alternately minimised when the denoiser is g's prox."""
    f, g = problem(gentle, small)
    values = [
        float(f.value(v) + g.value(s.x) + (v - s.x).square().sum() / (2 * GAMMA))
        for s in hqs(f, lambda x, _: g.prox(x, gamma=GAMMA), [(0.0, GAMMA)] * 30, x0=f.y)
        for v in s.memory
    ]
    assert all(b <= a + 1e-15 for a, b in pairwise(values)) and values[-1] < values[0]


def test_a_schedule_is_data_and_ends(gentle, small):
    f, _ = problem(gentle, small)
    pairs = [(0.3 / n, 10.0 * n) for n in range(1, 7)]
    shrink = lambda x, sigma: x / (1 + sigma)  # noqa: E731
    states = list(hqs(f, shrink, pairs, x0=f.y))
    assert len(states) == 6
    x = f.y
    for sigma, gamma in pairs:
        x = f.op.prox_l2(x, f.y, gamma) / (1 + sigma)
    torch.testing.assert_close(states[-1].x, x, rtol=0, atol=1e-14)
    rest = list(hqs(f, shrink, pairs[2:], x0=states[1]))
    assert all(torch.equal(a.x, b.x) for a, b in zip(rest, states[2:], strict=True))


@every
def test_resuming_is_not_stopping(method, gentle, small):
    f, g = problem(gentle, small)
    whole = last(method(f, g, x0=f.y), 25)
    tenth = last(method(f, g, x0=f.y), 10)
    kept = [part.clone() for part in tenth.memory]
    resumed = last(method(f, g, x0=tenth), 15)
    assert torch.equal(whole.x, resumed.x) and whole.residual == resumed.residual
    assert all(torch.equal(a, b) for a, b in zip(tenth.memory, kept, strict=True))
    restarted = last(method(f, g, x0=tenth.x), 15)
    assert not torch.equal(whole.x, restarted.x)  # so the memory mattered


@every
def test_a_batch_equals_its_singles_and_nothing_is_changed(method, gentle, small):
    f, g = problem(gentle, small)
    y = torch.cat([f.y, 2 * f.y.flip(-1)])
    kept, random = y.clone(), torch.get_rng_state()
    together = last(method(LeastSquares(f.op, y), g, x0=y), 20).x
    singles = [last(method(LeastSquares(f.op, v[None]), g, x0=v[None]), 20).x for v in y]
    torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-13)
    assert torch.equal(y, kept) and torch.equal(torch.get_rng_state(), random)


class Stacked:
    """data(u) + edges(d), as one function of (u, d) side by side."""

    def __init__(self, data, edges):
        self.data, self.edges = data, edges

    def prox(self, d, *, gamma):
        data = self.data.prox(d[:, 0], gamma=gamma)
        return torch.cat([data[:, None], self.edges.prox(d[:, 1:], gamma=gamma)], 1)


def test_absolute_deviations_forgive_impulses_that_least_squares_spreads(gentle, truth):
    op = CircularBlur(gentle, (1, 24, 20))
    y = op.A(truth)
    y[..., 3, 3] = y[..., 12, 2] = y[..., 21, 9] = 1.0
    y[..., 9, 7] = y[..., 16, 13] = 0.0
    slopes = LinearMap(differences, differences_adjoint, bound=8**0.5)
    both = LinearMap(
        lambda x: torch.cat([op.A(x)[:, None], slopes.A(x)], 1),
        lambda d: op.A_adjoint(d[:, 0]) + slopes.A_adjoint(d[:, 1:]),
        bound=3.0,
    )

    def error(term):
        g = Stacked(term(Identity(op.data_size), y), Edges(0.2))
        return float((last(chambolle_pock(Box(0.0, 1.0), g, both, sigma=3.0, x0=y), 200).x - truth).norm())

    assert error(LeastAbsolute) < 0.3 * error(LeastSquares)


@pytest.mark.parametrize("name", ["drs", "admm", "chambolle-pock"])
def test_weights_are_learned_through_the_iterations(name, gentle, small):
    f, _ = problem(gentle, small)
    methods = {
        "drs": lambda gamma, s: drs(f, f, gamma=gamma, relax=1.5, x0=s * f.y),
        "admm": lambda gamma, s: admm(f, f, gamma=gamma, x0=s * f.y),
        "chambolle-pock": lambda gamma, s: chambolle_pock(f, f, Identity(SIZE), tau=gamma, x0=s * f.y),
    }
    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 1.2)]
    assert torch.autograd.gradcheck(lambda gamma, s: last(methods[name](gamma, s), 3).x, values)
    pairs = [(0.1, torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))) for _ in range(3)]
    end = list(hqs(f, lambda x, sigma: x / (1 + sigma), pairs, x0=f.y))[-1]
    end.x.square().sum().backward()
    assert all(gamma.grad is not None for _, gamma in pairs) and isinstance(end.residual, float)


def test_steps_are_checked_at_the_call(gentle, small):
    f, g = problem(gentle, small)
    for relax in (0.0, 2.0):
        with pytest.raises(ValueError, match="wanted a number between 0 and 2, both excluded"):
            drs(f, g, gamma=1.0, x0=f.y, relax=relax)
    with pytest.raises(ValueError, match="gamma is 0, wanted a positive finite number"):
        admm(f, g, gamma=0, x0=f.y)
    with pytest.raises(ValueError, match="sigma is inf, wanted a positive"):
        chambolle_pock(f, g, Identity(SIZE), tau=1.0, sigma=float("inf"), x0=f.y)
    with pytest.raises(ValueError, match="gamma is -1, wanted a positive"):
        list(hqs(f, lambda x, _: x, [(0.1, -1)], x0=f.y))
    with pytest.raises(ValueError, match="has 1 parts, this solver's have 2"):
        next(admm(f, g, gamma=1.0, x0=next(drs(f, g, gamma=1.0, x0=f.y))))
