"""Filters between the pixels of a frame are those of the whole field, and steps behind a window use them."""

import pytest
import torch
from torch.testing import assert_close

from algorithms.unseen import FilledLeastSquares
from imaging import operator as operators
from imaging.blur import WindowedBlur
from imaging.fft import convolve, irfft2, power_of, rfft2
from imaging.frame import Frame
from imaging.psf.generators import disk, gaussian

PSFS = {
    "disk": disk(3),
    "wide": torch.ones(3, 31, dtype=torch.float64).numpy() / 93,
    "row": torch.ones(1, 31, dtype=torch.float64).numpy() / 31,
    "point": torch.ones(1, 1, dtype=torch.float64).numpy(),
}


def windowed(psf, size=(1, 300, 420)):
    return WindowedBlur(torch.as_tensor(psf, dtype=torch.float64)[None, None], size)


def through(op, gamma):
    power = gamma * power_of(op.otf)
    return power / (1 + power)


@pytest.fixture
def scene():
    torch.manual_seed(0)
    op = windowed(disk(3))
    x = torch.rand(1, *op.img_size, dtype=torch.float64).cumsum(-1) % 1
    return op, op.A(x), x


@pytest.mark.parametrize("name", PSFS)
def test_what_is_taken_is_put_back(name):
    op = windowed(PSFS[name])
    frame, x = op.factored().frame, torch.rand(2, *op.img_size, dtype=torch.float64)
    u = frame.take(x)
    hidden = x.numel() // 2 - op.data_size[1] * op.data_size[2]
    assert u.shape == (2, 1, 1, hidden)
    assert torch.equal(frame.take(frame.put(u)), u)
    assert float(frame.put(u).count_nonzero()) == 2 * hidden
    assert torch.equal(frame.put(u, into=op._scatter(op.window(x))), x)


@pytest.mark.parametrize("name", [name for name in PSFS if name != "point"])
@pytest.mark.parametrize("gamma", [0.5, 5.0])
def test_filtering_the_frame_is_filtering_the_field(name, gamma):
    op = windowed(PSFS[name], (2, 400, 640))
    frame = op.factored().frame
    u = torch.rand(3, 2, 1, frame.take(torch.zeros(1, 1, *op.img_size[1:])).shape[-1], dtype=torch.float64)
    between = frame.between(through(op, gamma), miss=1e-5)
    assert between is not None
    wanted = frame.take(convolve(frame.put(u), through(op, gamma)))
    assert_close(between(u), wanted, rtol=0, atol=1e-5)
    if min(frame.bands) > 0:  # what is missed is there, and in the right place
        rough = frame.between(through(op, gamma), miss=0.5)
        assert 1e-5 < float((rough(u) - wanted).abs().max()) < 0.5


def test_each_sample_has_its_own_filter():
    op = windowed(disk(3))
    frame, gammas = op.factored().frame, torch.tensor([0.5, 20.0], dtype=torch.float64).view(2, 1, 1, 1)
    u = torch.rand(2, 1, 1, frame.take(torch.zeros(1, 1, *op.img_size[1:])).shape[-1], dtype=torch.float64)
    together = frame.between(through(op, gammas), miss=1e-6)(u)
    for k in (0, 1):
        alone = frame.between(through(op, gammas[k : k + 1]), miss=1e-6)(u[k : k + 1])
        assert_close(together[k : k + 1], alone, rtol=0, atol=1e-6)


def test_nothing_is_offered_where_nothing_is_saved():
    op = windowed(disk(3), (1, 96, 96))
    assert op.factored().frame.between(through(op, 1e4), miss=1e-4) is None  # reaches across
    wide = Frame((128, 128), (32, 32), (64, 64))
    spectrum = torch.ones(1, 1, 128, 65, dtype=torch.float64)
    assert wide.between(spectrum, miss=1e-4) is None  # is mostly frame
    big = windowed(disk(3))
    assert big.factored().frame.between(through(big, 20.0), miss=1e-4, worth=0.05) is None


@pytest.mark.parametrize("gamma", [2.0, 40.0])
def test_unseen_data_are_made_up_alike_on_the_frame_and_on_the_field(scene, monkeypatch, gamma):
    op, y, x = scene
    z = x + 0.1 * torch.randn_like(x)
    on_frame = FilledLeastSquares(op, y, 12).prox(z, gamma=gamma)
    monkeypatch.setattr(Frame, "between", lambda *parts, **options: None)
    on_field = FilledLeastSquares(op, y, 12).prox(z, gamma=gamma)
    gap = (on_frame - on_field).abs()
    assert 0 < float(gap.max()) < 1e-3 and float(gap.square().mean().sqrt()) < 1e-5


def test_gradients_pass_through_the_frame(scene, monkeypatch):
    op, y, x = scene
    z = x + 0.1 * torch.randn_like(x)

    def gradients():
        inputs = [t.clone().requires_grad_() for t in (y, z, torch.tensor(10.0, dtype=torch.float64))]
        FilledLeastSquares(op, inputs[0], 8).prox(inputs[1], gamma=inputs[2]).square().sum().backward()
        return [t.grad for t in inputs]

    on_frame = gradients()
    monkeypatch.setattr(Frame, "between", lambda *parts, **options: None)
    for got, wanted in zip(on_frame, gradients(), strict=True):
        assert_close(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("psf", [disk(3), gaussian(2.0)], ids=["disk", "gaussian"])
def test_exact_steps_behind_a_window_take_few_transforms_of_the_field(monkeypatch, psf):
    torch.manual_seed(0)
    op = windowed(psf, (1, 700, 700)).float()
    y = op.A(torch.rand(1, *op.img_size))
    z, counted = op.embed(y), []
    for name, transform in (("rfft2", rfft2), ("irfft2", irfft2)):
        count = lambda *a, f=transform: counted.append(1) or f(*a)  # noqa: E731
        monkeypatch.setattr(operators, name, count)
    x = op.prox_l2(z, y, 20.0)
    few = len(counted)
    residual = z + 20 * op.A_adjoint(y - op.A(x)) - x
    assert float(residual.norm() / (z + 20 * op.A_adjoint(y)).norm()) < 2e-5
    assert few <= 12
    monkeypatch.setattr(operators, "_by_frame", lambda *parts: None)
    counted.clear()
    assert_close(op.prox_l2(z, y, 20.0), x, rtol=0, atol=1e-3)
    assert len(counted) > 2 * few


def test_where_the_frame_is_not_solved_the_field_is(scene, monkeypatch):
    op, y, x = scene
    monkeypatch.setattr(operators, "EFFORT", 0.5)
    solved = op.prox_l2(x, y, 20.0)
    residual = x + 20 * op.A_adjoint(y - op.A(solved)) - solved
    assert float(residual.norm()) < 1e-9 * float(x.norm())
