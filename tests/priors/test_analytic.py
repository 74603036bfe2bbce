import pytest
import torch

from algorithms.primal_dual import primal_dual_variation
from algorithms.splitting_variation import Penalties
from algorithms.state import NotConvergedError
from algorithms.variation import TotalVariation as Function
from algorithms.variation import differences
from imaging.fidelity import LeastSquares
from imaging.masks import Identity
from imaging.testing import function_checks
from priors.analytic import L1, Box, Tikhonov, TotalVariation


def picture(batch=2, channels=1, size=(6, 5)):
    return torch.rand(batch, channels, *size, dtype=torch.float64) - 0.3


@pytest.mark.parametrize("check", function_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("prior", [L1(0.2), Box(-1.0, 1.0), Tikhonov(0.7)], ids=lambda p: type(p).__name__)
def test_functions(prior, check):
    check(prior, picture())


@pytest.mark.parametrize("gamma", [0.1, 3.0])
def test_tikhonov_is_a_linear_system(gamma):
    x = picture(1, 3, (4, 5))
    units = torch.eye(60, dtype=torch.float64).view(-1, 3, 4, 5)
    D = differences(units).flatten(1).T
    exact = torch.linalg.solve(torch.eye(60) + gamma * 0.7 * D.T @ D, x.flatten()).view_as(x)
    assert torch.allclose(Tikhonov(0.7).prox(x, gamma=gamma), exact, atol=1e-12)


def test_box_says_what_lies_outside():
    x = torch.tensor([0.2, 0.8, 1.2]).double().view(3, 1, 1, 1)
    assert Box(0.0, 1.0).value(x).tolist() == [0, 0, torch.inf]


def test_soft_threshold_by_hand():
    x = torch.tensor([-1.0, -0.1, 0.0, 0.3, 5.0]).double().view(1, 1, 1, 5)
    assert L1(0.5).prox(x, gamma=0.4).flatten().tolist() == pytest.approx([-0.8, 0, 0, 0.1, 4.8])


def total_variation_by_loops(x):
    total, (height, width) = 0.0, x.shape[2:]
    for row in range(height):
        for column in range(width):
            down = x[0, :, row + 1, column] - x[0, :, row, column] if row + 1 < height else 0 * x[0, :, 0, 0]
            right = (
                x[0, :, row, column + 1] - x[0, :, row, column] if column + 1 < width else 0 * x[0, :, 0, 0]
            )
            total += float((down.square().sum() + right.square().sum()).sqrt())
    return total


def test_total_variation_by_loops():
    x = picture(1, 3)
    assert float(TotalVariation(0.5, tol=1e-4).value(x)) == pytest.approx(0.5 * total_variation_by_loops(x))


def test_total_variation_of_a_step():
    """Two plateaus of n and m pixels move towards each other by gamma lam / n and gamma lam / m."""
    x = torch.tensor([0.0, 0, 0, 1, 1]).double().view(1, 1, 1, 5)
    z = TotalVariation(0.3, tol=1e-7).prox(x, gamma=0.5)
    assert z.flatten().tolist() == pytest.approx([0.05, 0.05, 0.05, 0.925, 0.925], abs=1e-7)


@pytest.mark.parametrize("joint", [True, False])
def test_total_variation_agrees_with_another_algorithm(joint):
    x, tol = picture(2, 3), 1e-5
    z = TotalVariation(0.4, tol=tol, joint=joint).prox(x, gamma=0.25)
    states = primal_dual_variation(
        LeastSquares(Identity((3, 6, 5)), x),
        Function(0.1, joint=(1, 2) if joint else (1,)),
        penalties=Penalties(1.0, 1.0),
        x0=x,
    )
    for _, state in zip(range(1200), states, strict=False):
        other = state.x
    assert float((z - other).flatten(1).norm(dim=1).max()) / 90**0.5 < 2 * tol


def test_total_variation_has_no_lower_point_nearby():
    prior, x = TotalVariation(0.2, tol=1e-6), picture(1)
    z = prior.prox(x, gamma=1.0)

    def objective(v):
        return float(prior.value(v) + (v - x).square().sum() / 2)

    for seed in range(30):
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
        for step in (1e-4, 1e-2):
            assert objective(z + step * noise) >= objective(z) - 1e-9


def test_total_variation_without_weight_is_the_identity():
    x = picture()
    z = TotalVariation(0.0, tol=1e-4).prox(x, gamma=1.0)
    assert torch.equal(z, x) and z is not x


def test_single_precision_in_and_out():
    x = picture().float()
    kept = x.clone()
    z = TotalVariation(0.1, tol=1e-5).prox(x, gamma=1.0)
    assert z.dtype == torch.float32 and torch.equal(x, kept)
    assert torch.allclose(z.double(), TotalVariation(0.1, tol=1e-5).prox(x.double(), gamma=1.0), atol=1e-6)


def test_an_unmet_tolerance_is_an_error():
    with pytest.raises(NotConvergedError, match="stopped after 10 iterations"):
        TotalVariation(0.2, tol=1e-9, max_iter=10).prox(picture(), gamma=1.0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L1(-1.0), r"lam is -1\.0"),
        (lambda: Tikhonov(float("nan")), "lam is nan"),
        (lambda: Box(1.0, 0.0), "the lower end comes first"),
        (lambda: TotalVariation(1.0, tol=0.0), r"tol is 0\.0"),
    ],
)
def test_impossible_weights(make, text):
    with pytest.raises(ValueError, match=text):
        make()
