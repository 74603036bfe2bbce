"""UNet: convolutions on a pyramid of scales with concatenated skips, the large network of the comparison."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from priors.networks.layers import Convolution, check_input, check_shape, to_multiple


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a `UNet`: picture channels, width at full size (doubled at each of `scales` halvings).

    `skip` adds the input to the answer, as the authors' own code always did.
    """

    channels: int = 1
    width: int = 32
    scales: int = 4
    norm: bool = True
    skip: bool = True
    border: str = "circular"

    def __post_init__(self) -> None:
        counts = {"channels": self.channels, "width": self.width, "scales": self.scales}
        check_shape(counts, self.border)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class UNet(nn.Module):
    """x + U(x), U two 3x3 convolutions a scale, max-pooling down, a 3x3 convolution and doubling up.

    Pictures (B, C, H, W) of any size: continued to a multiple of 2^scales and cut again. 34 523 969 weights
    at width 64, as in Evangelista et al. (2023); Ronneberger, Fischer and Brox, "U-Net" (2015).

    >>> net = UNet(UNetConfig(width=2, scales=2)).eval()
    >>> net(torch.rand(1, 1, 7, 9)).shape
    torch.Size([1, 1, 7, 9])
    """

    kind: ClassVar[str] = "unet"
    optimizer: ClassVar[str] = "muon"
    Config: ClassVar[type] = UNetConfig

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        widths = [config.width * 2**k for k in range(config.scales + 1)]
        self.encoders = nn.ModuleList(
            self._pair(a, b) for a, b in zip([config.channels, *widths], widths, strict=False)
        )
        # Channels are halved before the picture is doubled: the same result at a quarter of the cost.
        self.rises = nn.ModuleList(self._conv(b, a, norm=False, active=False) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(self._pair(2 * a, a) for a in widths[:-1])
        self.mix = nn.Conv2d(config.width, config.channels, 1)
        if config.skip:
            with torch.no_grad():
                self.mix.weight.mul_(0.1)

    def _conv(self, a: int, b: int, *, norm: bool, active: bool) -> Convolution:
        return Convolution((a, b, 3), norm=norm, active=active, border=self.config.border)

    def _pair(self, a: int, b: int) -> nn.Sequential:
        norm = self.config.norm
        return nn.Sequential(
            self._conv(a, b, norm=norm, active=True), self._conv(b, b, norm=norm, active=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The deblurred x."""
        check_input(x, self.config.channels)
        h = to_multiple(x, 2**self.config.scales, self.config.border)
        kept = []
        for encode in self.encoders[:-1]:
            h = encode(h)
            kept.append(h)
            h = max_pool2d(h, 2)
        h = self.encoders[-1](h)
        for rise, decode in zip(reversed(self.rises), reversed(self.decoders), strict=True):
            h = interpolate(rise(h), scale_factor=2.0, mode="nearest")
            h = decode(torch.cat([h, kept.pop()], dim=1))
        h = self.mix(h)[..., : x.shape[-2], : x.shape[-1]]
        return x + h if self.config.skip else h
