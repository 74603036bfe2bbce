"""What the small networks share: borders, convolutions with batch normalisation folded in, costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu
from torch.utils._python_dispatch import TorchDispatchMode

BORDERS = ("circular", "edge")


def check_shape(counts: dict[str, int], border: str) -> None:
    """Raise ValueError for a count below 1 or a border that is not one of BORDERS."""
    for name, value in counts.items():
        if value != int(value) or value < 1:
            message = f"{name} is {value}: give a whole number from 1."
            raise ValueError(message)
    if border not in BORDERS:
        message = f"border is {border!r}: choose one of {', '.join(BORDERS)}."
        raise ValueError(message)


def check_input(x: Tensor, channels: int) -> None:
    """Raise ValueError for anything but (B, channels, H, W)."""
    if x.ndim != 4 or x.shape[1] != channels:
        message = f"the picture has shape {tuple(x.shape)}: this network wants (B, {channels}, H, W)."
        raise ValueError(message)


def extended(x: Tensor, reach: int, border: str) -> Tensor:
    """x (B, C, H, W) continued by `reach` pixels on every side, however small it is.

    "circular" continues it periodically, which is exact for data blurred with periodic borders; "edge"
    repeats the border pixels.

    >>> extended(torch.arange(3.0).view(1, 1, 1, 3), 2, "circular")[0, 0, 0]
    tensor([1., 2., 0., 1., 2., 0., 1.])
    """
    if reach == 0:
        return x
    if border == "edge":
        return pad(x, (reach,) * 4, mode="replicate")
    if reach <= min(x.shape[-2:]):
        return pad(x, (reach,) * 4, mode="circular")
    for dim in (-2, -1):
        size = x.shape[dim]
        x = x.index_select(dim, torch.arange(-reach, size + reach, device=x.device) % size)
    return x


def to_multiple(x: Tensor, multiple: int, border: str) -> Tensor:
    """x continued at its bottom and right to multiples of `multiple`, in the manner of its border.

    >>> to_multiple(torch.arange(3.0).view(1, 1, 1, 3), 4, "edge")[0, 0, 0]
    tensor([0., 1., 2., 2.])
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        place = torch.arange(-(-size // multiple) * multiple, device=x.device)
        if len(place) > size:
            x = x.index_select(dim, place % size if border == "circular" else place.clamp(max=size - 1))
    return x


class Convolution(nn.Module):
    """A convolution, the same size in and out, optionally with batch normalisation and ReLU after it.

    In evaluation the normalisation, then a fixed affine map of each channel, is multiplied into the weights:
    on a processor it would cost a quarter of a 3L-SSNet's time. Pictures stay in the order (B, C, H, W): with
    channels last a 5x5 convolution between 128 channels took half as long again.
    """

    def __init__(self, shape: tuple[int, int, int], *, norm: bool, active: bool, border: str):
        super().__init__()
        channels, width, kernel = shape
        self.conv = nn.Conv2d(channels, width, kernel)
        self.norm = nn.BatchNorm2d(width) if norm else None
        self.active, self.border = active, border

    def forward(self, x: Tensor) -> Tensor:
        """The convolved x, of the same height and width."""
        x = extended(x, self.conv.kernel_size[0] // 2, self.border)
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        if self.norm is not None and self.norm.training:
            # The bias before a normalisation by batch statistics changes nothing but the running mean.
            x = self.norm(conv2d(x, weight, bias))
        elif self.norm is not None:
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            gain = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
            shift = self.norm.bias + gain * (bias - self.norm.running_mean)
            x = conv2d(x, weight * gain.view(-1, 1, 1, 1), shift)
        else:
            x = conv2d(x, weight, bias)
        return relu(x, inplace=True) if self.active else x


def freeze_statistics(network: nn.Module) -> None:
    """From here on batch normalisation keeps its means and variances, in training too; idempotent.

    A network whose weights last met the statistics of batches is another function in evaluation: brightness
    shifts. So the end of a training runs with the statistics that will be used.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def multiply_adds(network: Any) -> float:
    """Multiplications in convolutions a pixel, without what a picture costs at any size.

    >>> from priors.networks.ssnet import SSNet, SSNetConfig
    >>> multiply_adds(SSNet(SSNetConfig(width=8)))
    2832.0
    """
    small, large = 64, 128
    return (_counted(network, large) - _counted(network, small)) / (large**2 - small**2)


@torch.no_grad()
def _counted(network: Any, side: int) -> int:
    """Multiplications in the convolutions of one picture of side x side."""
    counting, training = _Counting(), network.training
    weight = next(network.parameters())
    with counting:
        network.eval()(weight.new_zeros(1, network.config.channels, side, side))
    network.train(training)
    return counting.total


class _Counting(TorchDispatchMode):
    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            kernel, transposed = args[1], args[6]
            grid = args[0] if transposed else out
            self.total += kernel.numel() * grid.shape[0] * grid.shape[-1] * grid.shape[-2]
        return out
