"""NAFNet, a real one: products of channels for an activation, attention by the mean of each channel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, layer_norm, pixel_shuffle

from priors.networks.layers import Convolution, check_input, check_shape, extended, to_multiple


@dataclass(frozen=True)
class NAFNetConfig:
    """Shape of a `NAFNet`: picture channels, width at full size, blocks at each scale on the way down and up.

    The width doubles at each scale; `middle` blocks at the coarsest. Sixteen channels, two to four blocks
    are a network of the size of a narrow UNet.
    """

    channels: int = 1
    width: int = 16
    blocks: tuple[int, ...] = (2, 2, 2)
    middle: int = 2
    border: str = "circular"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))  # JSON brings lists
        counts = {f"blocks[{k}]": n for k, n in enumerate(self.blocks)}
        check_shape(
            {"channels": self.channels, "width": self.width, "middle": self.middle, **counts}, self.border
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def gate(x: Tensor) -> Tensor:
    """The product of the two halves of the channels: the only non-linearity, beside the attention."""
    a, b = x.chunk(2, dim=1)
    return a * b


class LayerNorm(nn.Module):
    """Every pixel's channels to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        moved = x.permute(0, 2, 3, 1)
        return layer_norm(moved, self.weight.shape, self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + beta C(gate(D(x)) a), then x + gamma E(gate(F(x))): Chen et al. (2022), figure 3c.

    D is 1x1 then 3x3 depth-wise, a the attention: a 1x1 convolution of the mean of each channel. beta and
    gamma, one a channel, start at 0 and are learned: were they not, the network would stay linear.
    """

    def __init__(self, width: int, border: str):
        super().__init__()
        self.border = border
        self.norms = nn.ModuleList([LayerNorm(width), LayerNorm(width)])
        self.spread = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, groups=2 * width)
        self.attend = nn.Conv2d(width, width, 1)
        self.collect = nn.Conv2d(width, width, 1)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(width, width, 1)
        self.beta, self.gamma = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x + the attended and the widened features."""
        h = extended(self.spread(self.norms[0](x)), 1, self.border)
        h = gate(conv2d(h, self.depthwise.weight, self.depthwise.bias, groups=self.depthwise.groups))
        h = h * self.attend(h.mean((2, 3), keepdim=True))
        x = x + self.beta * self.collect(h)
        return x + self.gamma * self.narrow(gate(self.widen(self.norms[1](x))))


class NAFNet(nn.Module):
    """x + N(x), N a U-shaped stack of `Block`s, for pictures (B, C, H, W) of any size.

    Chen, Chu, Zhang and Sun, "Simple baselines for image restoration" (2022). No batch statistics: training
    and evaluation are the same function. The attention sees the whole picture, so the answer at a pixel
    depends on all of them.

    >>> net = NAFNet(NAFNetConfig(width=4, blocks=(1,), middle=1)).eval()
    >>> net(torch.rand(1, 1, 7, 9)).shape
    torch.Size([1, 1, 7, 9])
    """

    kind: ClassVar[str] = "nafnet"
    optimizer: ClassVar[str] = "muon"
    Config: ClassVar[type] = NAFNetConfig

    def __init__(self, config: NAFNetConfig):
        super().__init__()
        self.config = config
        widths = [config.width * 2**k for k in range(len(config.blocks) + 1)]
        self.head = self._end(config.channels, config.width)
        self.encoders = nn.ModuleList(self._stack(w, n) for w, n in zip(widths, config.blocks, strict=False))
        self.middle = self._stack(widths[-1], config.middle)
        self.decoders = nn.ModuleList(self._stack(w, n) for w, n in zip(widths, config.blocks, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(nn.Conv2d(b, 4 * a, 1, bias=False) for a, b in pairwise(widths))
        self.tail = self._end(config.width, config.channels)
        with torch.no_grad():
            self.tail.conv.weight.mul_(0.1)

    def _end(self, a: int, b: int) -> Convolution:
        return Convolution((a, b, 3), norm=False, active=False, border=self.config.border)

    def _stack(self, width: int, count: int) -> nn.Sequential:
        return nn.Sequential(*(Block(width, self.config.border) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """The deblurred x."""
        check_input(x, self.config.channels)
        h = self.head(to_multiple(x, 2 ** len(self.config.blocks), self.config.border))
        kept = []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            h = encode(h)
            kept.append(h)
            h = down(h)
        h = self.middle(h)
        for decode, up in zip(reversed(self.decoders), reversed(self.ups), strict=True):
            h = decode(pixel_shuffle(up(h), 2) + kept.pop())
        return x + self.tail(h)[..., : x.shape[-2], : x.shape[-1]]
