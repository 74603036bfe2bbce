"""Noise: moments against theory, seeds, purity, refusals."""

import math

import pytest
import torch

from imaging import noise

GREY = torch.full((2, 3, 90, 80), 0.25, dtype=torch.float64)
DRAWS = {
    "gaussian": lambda x, seed: noise.gaussian(x, 0.05, seed),
    "poisson": lambda x, seed: noise.poisson(x, 30.0, seed),
    "poisson_gaussian": lambda x, seed: noise.poisson_gaussian(x, (30.0, 0.05), seed),
    "impulse": lambda x, seed: noise.impulse(x, 0.1, seed),
    "uniform": lambda x, seed: noise.uniform(x, 0.2, seed),
}
VARIANCE = {
    "gaussian": 0.05**2,
    "poisson": 0.25 / 30,
    "poisson_gaussian": 0.25 / 30 + 0.05**2,
    "impulse": 0.9 * 0.25**2 + 0.1 * 0.5 - (0.9 * 0.25 + 0.05) ** 2,
    "uniform": 0.2**2 / 12,
}


@pytest.mark.parametrize("name", DRAWS)
def test_variance_is_the_textbook_one(name):
    y = DRAWS[name](GREY, 3)
    assert float(y.var()) == pytest.approx(VARIANCE[name], rel=0.03)


@pytest.mark.parametrize("name", DRAWS)
def test_seed_decides_and_global_state_does_not(name):
    torch.manual_seed(1)
    first, state = DRAWS[name](GREY, 3), torch.get_rng_state()
    torch.rand(5)
    assert torch.equal(first, DRAWS[name](GREY, 3))
    assert not torch.equal(first, DRAWS[name](GREY, 4))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", DRAWS)
def test_float32_is_the_same_draw_and_the_input_is_left_alone(name):
    before = GREY.clone()
    wide, narrow = DRAWS[name](GREY, 5), DRAWS[name](GREY.float(), 5)
    assert narrow.dtype == torch.float32 and wide.dtype == torch.float64
    assert torch.allclose(wide, narrow.double(), atol=1e-6)
    assert torch.equal(before, GREY)


def test_gaussian_is_white_and_centred():
    n = noise.gaussian(torch.zeros(1, 1, 200, 200, dtype=torch.float64), 1.0, 0)[0, 0]
    assert abs(float(n.mean())) < 4 / 200
    assert abs(float((n[1:] * n[:-1]).mean())) < 4 / 200
    assert float((n**4).mean()) == pytest.approx(3, abs=0.15)


def test_counts_and_amplifier_are_independent():
    counts = noise.poisson(GREY, 30.0, 7) - GREY
    amplifier = noise.poisson_gaussian(GREY, (30.0, 0.05), 7) - GREY - counts
    correlation = float((counts * amplifier).mean() / (counts.std() * amplifier.std()))
    assert abs(correlation) < 4 / math.sqrt(GREY.numel())


def test_quantise_is_numpy_rounding_of_clipped_values():
    x = torch.linspace(-0.3, 1.3, 1001, dtype=torch.float64)
    wanted = (x.numpy().clip(0, 1) * 255).round().astype("uint8")
    assert ((noise.quantise(x, 256).numpy() * 255).round().astype("uint8") == wanted).all()
    assert len(torch.unique(noise.quantise(x, 8))) == 8


def test_level_zero_changes_nothing():
    assert torch.equal(noise.gaussian(GREY, 0.0, 0), GREY)
    assert torch.equal(noise.impulse(GREY, 0.0, 0), GREY)
    assert torch.equal(noise.uniform(GREY, 0.0, 0), GREY)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: noise.gaussian(GREY, -1.0, 0),
            ValueError,
            "sigma is -1.0, a finite number, not negative",
        ),
        (lambda: noise.gaussian(GREY, math.nan, 0), ValueError, "sigma is nan"),
        (
            lambda: noise.gaussian(GREY.byte(), 0.1, 0),
            TypeError,
            "pixels of torch.uint8, floating ones on",
        ),
        (lambda: noise.poisson(GREY, 0.0, 0), ValueError, "peak is 0, a positive count"),
        (lambda: noise.impulse(GREY, 10.0, 0), ValueError, "divide percentages by 100"),
        (lambda: noise.quantise(GREY, 1), ValueError, "256 for 8 bits"),
    ],
)
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()
