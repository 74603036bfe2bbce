import copy
import pickle

import pytest
import torch
from torch.nn import functional

from priors.denoiser import Block, Denoiser, DenoiserConfig, noise_levels, reflect_to_multiple


def small(channels=1, **config):
    return Denoiser(DenoiserConfig(channels=channels, widths=(4, 6, 8), blocks=(1, 1, 1), **config)).double()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 9), (8, 8), (16, 24), (3, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size, channels):
    x = torch.rand(2, channels, *size, dtype=torch.float64)
    assert small(channels)(x, 0.1).shape == x.shape


def test_padding_is_reflection():
    """A picture continued by torch's own reflection, denoised and cut back, is the picture denoised."""
    net, x = small(), torch.rand(1, 1, 13, 10, dtype=torch.float64)
    larger = functional.pad(x, (0, 6, 0, 3), mode="reflect")
    assert torch.allclose(net(x, 0.1), net(larger, 0.1)[..., :13, :10], atol=1e-14)


def test_reflection_repeats_on_tiny_pictures():
    x = torch.arange(3.0).view(1, 1, 1, 3)
    assert reflect_to_multiple(x, 8)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert reflect_to_multiple(x, 1) is x


def test_no_noise_changes_nothing():
    net, x = small(), torch.rand(2, 1, 9, 9, dtype=torch.float64)
    assert torch.equal(net(x, 0.0), x)
    assert not torch.equal(net(x, 0.1), x)


def test_a_level_a_sample():
    net, x = small(), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    levels = torch.tensor([0.02, 0.1, 0.2], dtype=torch.float64)
    apart = torch.cat([net(x[i : i + 1], float(levels[i])) for i in range(3)])
    assert torch.allclose(net(x, levels), apart, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda net, x: net(x, -0.1), r"sigma is -0\.1"),
        (lambda net, x: net(x, torch.tensor([0.1, 0.1])), "2 levels for 3 pictures"),
        (lambda net, x: net(x[0], 0.1), r"wants \(B, 1, H, W\)"),
        (lambda net, x: net(x.expand(3, 3, 8, 8), 0.1), r"shape \(3, 3, 8, 8\)"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(ValueError, match=text):
        call(small(), torch.rand(3, 1, 8, 8, dtype=torch.float64))


def test_smooth():
    """Second derivatives exist: gradcheck of the gradient, in float64."""
    net, x = small(), torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda y: net(y, 0.3), (x,), atol=1e-6)


def test_pure_and_portable():
    net, x = small().requires_grad_(False), torch.rand(1, 1, 9, 8, dtype=torch.float64)
    before, kept = copy.deepcopy(net.state_dict()), x.clone()
    result = net(x, 0.1)
    assert torch.equal(x, kept)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert torch.equal(pickle.loads(pickle.dumps(net))(x, 0.1), result)
    net.precision = "fp32"  # else float32 is float32 only where the processor has no bfloat16
    assert torch.allclose(net.float()(x.float(), 0.1), result.float(), atol=1e-5)


def test_without_bias_there_is_none():
    assert not [name for name, _ in small(bias=False).named_parameters() if "bias" in name]
    assert [name for name, _ in small().named_parameters() if "bias" in name]


def test_above_the_trained_range_contrast_is_reduced():
    net, x = small(sigma=(0.0, 0.1)), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    by_hand = 0.5 + 4 * (net(0.5 + (x - 0.5) / 4, 0.1) - 0.5)
    assert torch.allclose(net(x, 0.4), by_hand, atol=1e-13)
    levels = torch.tensor([0.4, 0.05], dtype=torch.float64)
    assert torch.allclose(net(x, levels)[1:], net(x[1:], 0.05), atol=1e-14)
    assert not torch.allclose(net(x, 0.4), small(sigma=(0.0, 0.4))(x, 0.4), atol=1e-4)


@pytest.mark.parametrize(("bias", "sharpness"), [(True, 1.0), (True, 8.0), (False, 3.0)])
def test_the_activation_is_x_sigmoid_of_s_x(bias, sharpness):
    block = Block(3, bias=bias, sharpness=sharpness).double()
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    inner = block.first(x)
    wanted = x + block.second(inner * torch.sigmoid(sharpness * inner))
    assert torch.allclose(block(x), wanted, atol=1e-14)


def test_sharpness_is_the_configurations():
    soft, sharp = small(sharpness=1.0), small()
    sharp.load_state_dict(soft.state_dict())
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    assert sharp.config.sharpness == 8 and not torch.allclose(soft(x, 0.1), sharp(x, 0.1), atol=1e-6)
    assert torch.autograd.gradcheck(lambda x: sharp(x, 0.1), x.requires_grad_())


@pytest.mark.parametrize("sharpness", [0.0, -1.0, float("nan"), float("inf")])
def test_sharpness_must_be_positive(sharpness):
    with pytest.raises(ValueError, match=r"sharpness is .*: give a positive number\."):
        DenoiserConfig(sharpness=sharpness)


def test_config_must_be_consistent():
    with pytest.raises(ValueError, match="2 widths and 1 block counts"):
        DenoiserConfig(widths=(4, 8), blocks=(1,))


def test_levels_keep_the_dtype():
    assert noise_levels(0.1, torch.zeros(2, 1, 3, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bfloat16_only_for_float32_without_gradients(precision):
    net, x = small().float().requires_grad_(False), torch.rand(1, 1, 16, 16)
    net.precision = "fp32"
    exact = net(x, 0.1)
    net.precision = precision
    rounded = net(x, 0.1)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact) == (precision == "fp32")
    assert torch.allclose(rounded, exact, atol=2e-2)
    assert torch.equal(net(x.clone().requires_grad_(), 0.1), exact)
    assert net.double()(x.double(), 0.1).dtype == torch.float64


@pytest.mark.parametrize("wrong", [-0.2, float("nan"), float("inf")])
def test_a_level_that_is_none_is_refused_in_a_tensor_too(wrong):
    """A negative one in a tensor would turn a learned proximal network into something that is not convex."""
    x = torch.zeros(2, 1, 3, 3)
    for sigma in (wrong, torch.tensor(wrong), torch.tensor([0.1, wrong])):
        with pytest.raises(ValueError, match=f"sigma is {wrong}: a noise level is a fraction"):
            noise_levels(sigma, x)
    assert noise_levels(torch.tensor([0.0, 0.1]), x).shape == (2, 1, 1, 1)
