"""Negative controls: every shipped check rejects an object that is wrong in just the way it looks for."""

import deepinv
import pytest
import torch

from imaging import testing
from imaging.blur import CircularBlur, WindowedBlur
from imaging.fidelity import LeastSquares
from imaging.masks import Identity
from imaging.operator import Factored


class WrongAdjoint(CircularBlur):
    def A_adjoint(self, y, **_):
        return self.A(y)


class WrongProx(CircularBlur):
    def prox_l2(self, z, y, gamma, **_):
        return super().prox_l2(z, y, 1.01 * gamma)


class LooseProx(WindowedBlur):
    def prox_l2(self, z, y, gamma, **_):
        return super().prox_l2(z, y, gamma, rtol=1e-2)


class SmallBound(CircularBlur):
    def norm_bound(self):
        return 0.99 * super().norm_bound()


class HugeBound(CircularBlur):
    def norm_bound(self):
        return 1e6


class WrongFactor(WindowedBlur):
    def factored(self):
        right = super().factored()
        return Factored(right.otf.conj(), right.select, right.scatter)


class WrongScatter(WindowedBlur):
    def factored(self):
        right = super().factored()
        return Factored(right.otf, right.select, self.embed)


class WeightedSelect(WindowedBlur):
    def factored(self):
        right = super().factored()
        return Factored(right.otf / 2, lambda x: 2 * right.select(x), lambda y: 2 * right.scatter(y))


class WrongKeep(WindowedBlur):
    def factored(self):
        return super().factored()._replace(keep=lambda x: x)


class WrongEmbed(WindowedBlur):
    def embed(self, y):
        return y


class Overshoot(WindowedBlur):
    def embed(self, y):
        return 1.1 * super().embed(y)


class MixesSamples(Identity):
    def A(self, x, **_):
        return x - x.mean(0, keepdim=True) if len(x) > 1 else x


class WritesItsArgument(Identity):
    def A(self, x, **_):
        return x.mul_(1.5)


class Counts(Identity):
    def A(self, x, **_):
        self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
        return x


class Draws(Identity):
    def A(self, x, **_):
        torch.rand(1)
        return x


class Forgets(Identity):
    def __deepcopy__(self, memo):
        return CircularBlur(torch.full((1, 1, 1, 1), 0.5).double(), (1, 9, 8))


class ComplexBuffer(CircularBlur):
    """What rule 4 warns of: .to(float32) takes the imaginary part of a complex buffer away."""

    def __init__(self, psf, size):
        super().__init__(psf, size)
        self.register_buffer("cut", torch.view_as_complex(self.spectrum).clone())

    @property
    def otf(self):
        return self.cut


class Float64Only(Identity):
    def A(self, x, **_):
        return x.double()


class Mutable(Identity):
    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


class Broadcasts(Identity):
    def _expect(self, x, size, what):
        pass


def noisy(op):
    op.noise_model = deepinv.physics.GaussianNoise(0.1)
    return op


SIZE = (1, 9, 8)
WRONG_OPERATORS = {
    "adjoint": (testing.check_adjoint, lambda k: WrongAdjoint(k, SIZE), "differs from the transposed matrix"),
    "prox": (testing.check_prox, lambda k: WrongProx(k, SIZE), "prox_l2 is .* away from the dense solution"),
    "loose prox": (
        testing.check_prox,
        lambda k: LooseProx(k, SIZE),
        "prox_l2 is .* away from the dense solution",
    ),
    "bound": (testing.check_norm_bound, lambda k: SmallBound(k, SIZE), "the largest singular value is"),
    "huge bound": (testing.check_norm_bound, lambda k: HugeBound(k, SIZE), "more than ten times the norm"),
    "factor": (testing.check_factored, lambda k: WrongFactor(k, SIZE), "differs from A x"),
    "scatter": (
        testing.check_factored,
        lambda k: WrongScatter(k, SIZE),
        "scatter is not the transpose of select",
    ),
    "select": (testing.check_factored, lambda k: WeightedSelect(k, SIZE), "select does more than select"),
    "keep": (testing.check_factored, lambda k: WrongKeep(k, SIZE), "keep is not scatter after select"),
    "embed": (testing.check_window, lambda k: WrongEmbed(k, SIZE), "embed gives"),
    "overshoot": (testing.check_window, lambda k: Overshoot(k, SIZE), "embed overshoots"),
    "batch": (testing.check_batch, lambda k: MixesSamples(SIZE), "a batch of three differs"),
    "argument": (testing.check_pure, lambda k: WritesItsArgument(SIZE), "an argument was changed"),
    "state": (testing.check_pure, lambda k: Counts(SIZE), "a call changed .*calls"),
    "random state": (testing.check_pure, lambda k: Draws(SIZE), "a call changed the random state"),
    "noise": (testing.check_pure, lambda k: noisy(Identity(SIZE)), "noise is on"),
    "copy": (testing.check_travels, lambda k: Forgets(SIZE), "a copy of the operator is another operator"),
    "complex buffer": (testing.check_float32, lambda k: ComplexBuffer(k, SIZE), "A in float32 is off by"),
    "dtype": (testing.check_float32, lambda k: Float64Only(SIZE), "A in float32 is off by .*float64"),
    "mutable": (testing.check_frozen, lambda k: Mutable(SIZE), "it should be frozen"),
    "broadcast": (testing.check_refuses, lambda k: Broadcasts(SIZE), "A accepted a tensor of size"),
}


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
@pytest.mark.filterwarnings("ignore:Casting complex values to real:UserWarning")
@pytest.mark.parametrize("name", WRONG_OPERATORS)
def test_a_wrong_operator_is_rejected(name, psf):
    check, make, text = WRONG_OPERATORS[name]
    with pytest.raises(AssertionError, match=text):
        check(make(psf))


class Wrong:
    """A good function with one thing replaced."""

    def __init__(self, f, **replaced):
        self.f, self.replaced = f, replaced

    def __getattr__(self, name):
        if name in ("f", "replaced"):
            raise AttributeError(name)
        return self.replaced.get(name, getattr(self.f, name))


WRONG_FUNCTIONS = {
    "value": (
        testing.check_value,
        lambda f: {"value": lambda x: f.value(x).sum()},
        "wanted 2 finite numbers",
    ),
    "grad": (
        testing.check_grad,
        lambda f: {"grad": lambda x: 1.01 * f.grad(x)},
        "differs from finite differences",
    ),
    "prox": (
        testing.check_prox_is_argmin,
        lambda f: {"prox": lambda z, gamma: f.prox(z, gamma=1.1 * gamma)},
        "prox is not the minimiser",
    ),
    "prox_at": (
        testing.check_prox_at,
        lambda f: {"prox_at": lambda z, gamma: f.prox_at(z, 1.1 * gamma)},
        "prox_at is not the minimiser",
    ),
    "convex": (testing.check_convex, lambda f: {"value": lambda x: -f.value(x)}, "value is not convex"),
    "pure": (
        testing.check_function_pure,
        lambda f: {"grad": lambda x: x.add_(1)},
        "the argument was changed",
    ),
}


@pytest.mark.parametrize("name", WRONG_FUNCTIONS)
def test_a_wrong_function_is_rejected(name):
    check, replace, text = WRONG_FUNCTIONS[name]
    y = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    good = LeastSquares(Identity((1, 3, 4)), y)
    check(good, y + 0.1)
    with pytest.raises(AssertionError, match=text):
        check(Wrong(good, **replace(good)), y + 0.1)


def test_every_check_has_a_control():
    covered = {check for check, _, _ in (*WRONG_OPERATORS.values(), *WRONG_FUNCTIONS.values())}
    assert covered == set(testing.operator_checks()) | set(testing.function_checks())
