"""The base class: frozen, strict, and silent about nothing."""

import copy

import deepinv
import pytest
import torch

from imaging import operator
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.linsolve import SolveError
from imaging.masks import Identity, Masked
from imaging.operator import LinearOperator
from imaging.sampling import Downsample
from imaging.varying import VaryingBlur


class Diagonal(LinearOperator):
    """Only what an author has to write, so that the inherited parts are tested."""

    def __init__(self, scale):
        size = tuple(scale.shape[1:])
        super().__init__(size, size, {"scale": scale})

    def A(self, x, **_):
        self._expect(x, self.img_size, "x")
        return self.scale * x

    def A_adjoint(self, y, **_):
        return self.A(y)


@pytest.fixture
def diagonal():
    return Diagonal(torch.linspace(0.1, 2, 12, dtype=torch.float64).reshape(1, 1, 3, 4))


def test_the_inherited_prox_is_exact_enough(diagonal):
    z, y = torch.randn(2, 2, 1, 3, 4, dtype=torch.float64).unbind()
    gamma = torch.tensor([0.5, 9.0], dtype=torch.float64)
    expected = (z + gamma.view(2, 1, 1, 1) * diagonal.scale * y) / (
        1 + gamma.view(2, 1, 1, 1) * diagonal.scale**2
    )
    assert torch.allclose(diagonal.prox_l2(z, y, gamma), expected, atol=1e-9)
    assert torch.allclose(
        diagonal.prox_l2(None, y, gamma), expected - z / (1 + gamma.view(2, 1, 1, 1) * diagonal.scale**2)
    )


def test_dagger_is_the_pseudo_inverse(diagonal):
    y = torch.randn(1, 1, 3, 4, dtype=torch.float64)
    assert torch.allclose(diagonal.A_dagger(y), y / diagonal.scale, atol=1e-7)


def test_gradients_through_the_inherited_prox(diagonal):
    z, y = torch.randn(2, 2, 1, 3, 4, dtype=torch.float64).requires_grad_().unbind()
    gamma = torch.tensor([[[[0.5]]], [[[3.0]]]], dtype=torch.float64, requires_grad=True)
    options = {"eps": 1e-6, "atol": 1e-5}
    inputs = [t.detach().requires_grad_() for t in (z, y)] + [gamma]
    assert torch.autograd.gradcheck(lambda *a: diagonal.prox_l2(*a, rtol=1e-12), inputs, **options)


def test_frozen(diagonal):
    with pytest.raises(
        AttributeError, match="cannot set 'scale' on Diagonal: operators are frozen, build another"
    ):
        diagonal.scale = torch.ones(1)
    diagonal.noise_model = deepinv.physics.GaussianNoise(0.1)
    diagonal.eval()
    assert isinstance(copy.deepcopy(diagonal).noise_model, deepinv.physics.GaussianNoise)


def test_shapes_dtypes_and_sizes_are_checked(diagonal):
    with pytest.raises(ValueError, match=r"Diagonal got x of shape \(1, 1, 4, 3\), wanted \(B, 1, 3, 4\)"):
        diagonal.A(torch.zeros(1, 1, 4, 3, dtype=torch.float64))
    with pytest.raises(
        TypeError, match=r"Diagonal is torch\.float64 on cpu but x is torch\.float32 on cpu: move one"
    ):
        diagonal.A(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="a size is"):
        Identity((3, 4))


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), float("inf")])
def test_gamma_is_positive(diagonal, gamma):
    y = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="wanted a positive finite number"):
        diagonal.prox_l2(y, y, gamma)


def test_a_missed_prox_raises(psf):
    op = WindowedBlur(psf, (1, 9, 8))
    z, y = torch.randn(1, *op.img_size, dtype=torch.float64), torch.randn(1, 1, 9, 8, dtype=torch.float64)
    with pytest.raises(SolveError, match="or pass prox_l2 a larger max_iter"):
        op.prox_l2(z, y, 1e4, max_iter=2)
    loose = op.prox_l2(z, y, 1e4, rtol=1e-2, max_iter=50)
    assert not torch.allclose(loose, op.prox_l2(z, y, 1e4), rtol=1e-9, atol=0)


def test_what_is_missing_is_an_exception():
    bare = LinearOperator((1, 2, 2), (1, 2, 2), {})
    for call in (bare.A, bare.A_adjoint):
        with pytest.raises(NotImplementedError, match="does not say what A"):
            call(torch.zeros(1, 1, 2, 2))
    with pytest.raises(NotImplementedError, match="no proven bound"):
        bare.norm_bound()


def test_the_functions_fall_back_for_deepinv(psf):
    theirs = deepinv.physics.BlurFFT(img_size=(1, 9, 8), filter=psf.float())
    x = torch.rand(1, 1, 9, 8)
    assert torch.equal(operator.embed(theirs, x), theirs.A_adjoint(x)) and operator.window(theirs, x) is x
    assert operator.factored(theirs) is None
    with pytest.raises(TypeError, match="BlurFFT has no proven bound of its norm"):
        operator.norm_bound(theirs)
    ours = CircularBlur(psf, (1, 9, 8))
    assert operator.norm_bound(ours) == ours.norm_bound() and operator.factored(ours) is not None
    assert operator.embed(ours, x) is x and operator.window(ours, x) is x


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_everything_follows_to_the_gpu(psf):
    mask = torch.rand(1, 1, 9, 8) > 0.3
    for op in (
        Masked(WindowedBlur(psf, (1, 9, 8)), mask),
        PaddedBlur(psf, (1, 9, 8), "reflect"),
        Downsample(CircularBlur(psf, (1, 8, 6)), 2),
        VaryingBlur(psf.expand(2, 2, 1, 3, 4), (1, 9, 8)),
    ):
        z, y = torch.rand(1, *op.img_size).double(), torch.rand(1, *op.data_size).double()
        there = copy.deepcopy(op).to("cuda")
        assert torch.allclose(there.prox_l2(z.cuda(), y.cuda(), 3.0).cpu(), op.prox_l2(z, y, 3.0), atol=1e-8)
        assert torch.allclose(there.A(z.cuda()).cpu(), op.A(z), atol=1e-12)
        with pytest.raises(TypeError, match=r"on cuda:0 but .* on cpu: move one of them"):
            there.A(z)
