"""Anscombe's transform against sums over the Poisson law itself."""

import pytest
import torch
from scipy.stats import poisson

from imaging.variance import ZERO, anscombe, inverse_anscombe

PEAK = 30.0


def moments(mean):
    """Mean and variance of the transform of counts of that mean, summed over the law."""
    counts = torch.arange(0, 400, dtype=torch.float64)
    weights = torch.from_numpy(poisson.pmf(counts.numpy(), mean))
    values = anscombe(counts / PEAK, PEAK)
    first = float((weights * values).sum())
    return first, float((weights * values.square()).sum()) - first**2


@pytest.mark.parametrize("mean", [5.0, 10.0, 40.0, 120.0])
def test_the_variance_is_one(mean):
    assert moments(mean)[1] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0, 10.0, 40.0, 120.0])
def test_the_inverse_undoes_the_mean_and_the_algebraic_one_does_not(mean):
    first = torch.tensor(moments(mean)[0], dtype=torch.float64)
    assert float(inverse_anscombe(first, PEAK)) * PEAK == pytest.approx(mean, abs=0.03)
    algebraic = float(first) ** 2 / 4 - 0.375
    assert algebraic < mean - 0.1


def test_the_ends():
    dark = torch.tensor([-1.0, 0.0, 0.5, ZERO], dtype=torch.float64)
    assert torch.allclose(inverse_anscombe(dark, PEAK), torch.zeros(4).double(), atol=1e-12)
    assert float(anscombe(torch.tensor(-0.2), PEAK)) == pytest.approx(ZERO)
    rising = inverse_anscombe(torch.linspace(ZERO, 20, 200, dtype=torch.float64), PEAK)
    assert bool((rising.diff() >= 0).all())


@pytest.mark.parametrize("peak", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_peaks(peak):
    with pytest.raises(ValueError, match="positive number of counts at value 1"):
        anscombe(torch.zeros(1), peak)
