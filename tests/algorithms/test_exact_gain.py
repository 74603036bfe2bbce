"""The top gain of quadratic methods, beside singular values of whole matrices."""

import pytest
import torch

from algorithms.classical import tikhonov
from algorithms.exact_gain import lanczos_steps, quadratic_gain, top_eigenvalue
from algorithms.stability import tikhonov_gain
from imaging.blur import CircularBlur, WindowedBlur
from imaging.operator import window


def dense_gain(op, lam):
    """From the whole matrix of the method that users call, column by column."""
    size = op.data_size
    steps = torch.eye(size[-2] * size[-1], dtype=torch.float64).view(-1, *size)
    columns = window(op, tikhonov(op, steps, lam=lam, rtol=1e-10)).flatten(1)
    return float(torch.linalg.svdvals(columns)[0])


@pytest.mark.parametrize("lam", [1e-4, 1e-2])
@pytest.mark.parametrize("blur", [WindowedBlur, CircularBlur])
def test_the_gain_is_the_largest_singular_value(blur, lam, psf):
    op = blur(psf, (1, 11, 10))
    found, exact = quadratic_gain(op, lam=lam, tolerance=0.01, seed=0), dense_gain(op, lam)
    assert exact / 1.01 <= found.value <= exact * (1 + 1e-6)
    assert found.value == pytest.approx(exact, rel=1e-4)  # so few data are soon spanned
    if blur is CircularBlur:
        assert exact == pytest.approx(tikhonov_gain(op, lam=lam).worst, rel=1e-6)


def test_too_few_steps_fall_short_and_enough_do_not():
    """A spectrum without gaps, the hardest: the promise is about any."""
    values = torch.linspace(0, 1, 4000, dtype=torch.float64)
    like = torch.zeros(1, 4000, dtype=torch.float64)
    enough = lanczos_steps(4000, tolerance=0.005, failure=1e-3)
    tops = [top_eigenvalue(lambda v: values * v, like, steps=enough, seed=s) for s in range(5)]
    assert all(1 / 1.005**2 <= top <= 1 + 1e-12 for top in tops)
    assert top_eigenvalue(lambda v: values * v, like, steps=enough // 8, seed=0) < 1 / 1.005**2


def test_an_invariant_span_ends_the_search():
    like = torch.zeros(1, 50, dtype=torch.float64)
    assert top_eigenvalue(lambda v: 3 * v, like, steps=20, seed=0) == pytest.approx(3)
