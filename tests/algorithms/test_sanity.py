"""Each flag is raised by a reconstructor made for it, and by none that is in order."""

import torch

from algorithms import sanity
from algorithms.attack import Effort, Found, Threat, search, worst_case
from algorithms.classical import tikhonov
from algorithms.linearise import by_autograd, straight_through
from imaging.blur import CircularBlur


def setting(psf):
    op = CircularBlur(psf, (1, 20, 18))
    x = torch.rand(1, 1, 20, 18, dtype=torch.float64)
    return op, x, op.A(x)


def honest(op, y):
    return tikhonov(op, y, lam=1e-3)


def masked(op, y):
    """Quantised output: its gradient is zero, its worst case is not."""
    return (honest(op, y) * 255).round() / 255


def shaky(op, y):
    return honest(op, y) + 0.01 * torch.randn_like(y)


def flags_of(reconstruct, op, x, y, effort=Effort(30, 1, seed=0)):  # noqa: B008 (frozen)
    at, evaluate = by_autograd(reconstruct, op), lambda v: reconstruct(op, v)
    threat = Threat("l2", torch.tensor([0.5], dtype=y.dtype))
    found = worst_case(at, y, x, threat, effort)
    rivals = {"search": search(evaluate, y, x, threat, Effort(60, 1, seed=0)).error}
    singles = [
        sanity.check_repeats(evaluate, y),
        sanity.check_gradient(at, y, x),
        sanity.check_derivative(at, evaluate, y, x),
        sanity.check_trace(found),
        sanity.check_budget(found, threat),
    ]
    return [flag.name for flag in [*singles, *sanity.check_rivals(found, rivals)] if flag]


def test_an_honest_reconstructor_raises_nothing(psf):
    assert flags_of(honest, *setting(psf)) == []


def test_a_masked_gradient_is_seen(psf):
    names = flags_of(masked, *setting(psf))
    assert "gradient_zero" in names and "beaten" in names


def test_a_masked_gradient_falls_to_a_surrogate(psf):
    op, x, y = setting(psf)
    threat = Threat("l2", torch.tensor([0.5], dtype=y.dtype))
    real = worst_case(by_autograd(honest, op), y, x, threat, Effort(40, 1, seed=0))
    through = worst_case(straight_through(masked, op), y, x, threat, Effort(40, 1, seed=0))
    blind = worst_case(by_autograd(masked, op), y, x, threat, Effort(40, 1, seed=0))
    assert float(through.error) > float(blind.error) and float(through.error) > 0.5 * float(real.error)


def test_a_random_answer_is_seen(psf):
    assert "random" in flags_of(shaky, *setting(psf))


def test_a_wrong_derivative_is_seen(psf):
    op, x, y = setting(psf)
    half = lambda op, v: honest(op, 0.5 * v + 0.5 * v.detach())  # noqa: E731
    assert sanity.check_derivative(by_autograd(half, op), lambda v: half(op, v), y, x).name == "derivative"


def test_a_gradient_that_is_not_finite_is_seen(psf):
    op, x, y = setting(psf)
    at = lambda v: (honest(op, v), lambda u: u * torch.nan)  # noqa: E731
    assert sanity.check_gradient(at, y, x).name == "gradient_nan"
    assert sanity.check_derivative(at, lambda v: honest(op, v), y, x) is None


def test_too_few_iterations_and_a_budget_left_over_are_seen():
    e = torch.full((1, 1, 1, 1), 0.5)
    rising = Found(e, torch.tensor([2.0]), torch.linspace(1, 2, 21)[:, None], torch.ones(1), 20)
    assert sanity.check_trace(rising).name == "rising"
    assert sanity.check_budget(rising, Threat("l2", torch.ones(1))).name == "unsaturated"
    level = Found(e, torch.tensor([2.0]), torch.full((21, 1), 2.0), torch.ones(1), 20)
    assert sanity.check_trace(level) is None
    assert sanity.check_budget(level, Threat("linf", torch.tensor([0.5]))) is None


def test_success_must_grow_with_the_budget():
    assert sanity.check_growth([0.01, 0.03], [2.0, 1.5]).name == "not_growing"
    assert sanity.check_growth([0.03, 0.01], [3.0, 2.0]) is None


def test_a_perturbation_made_for_another_method_must_not_do_more():
    assert (
        sanity.check_transfer(2.0, {"a": 1.9, "b": 2.005}) is None and sanity.check_transfer(2.0, {}) is None
    )
    weak, strong = (sanity.check_transfer(2.0, {"a": 1.0, "b": b}) for b in (2.06, 3.0))
    assert (weak.name, weak.level, strong.level) == ("beaten", "warning", "error")
    assert "made for b found an error 1.50 times" in strong.text


def test_a_surrogate_is_noted():
    assert sanity.note_surrogate("a quadratic surrogate").level == "note"
    assert sanity.note_surrogate("automatic differentiation") is None
