"""3L-SSNet: three wide convolutions and a mixing one; small in weights, not in multiplications."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from priors.networks.layers import Convolution, check_input, check_shape


@dataclass(frozen=True)
class SSNetConfig:
    """Shape of an `SSNet`: picture channels, width, sides of the kernels, and how it ends.

    As in the paper with the defaults: 9x9, 5x5, 3x3, batch normalisation, a ReLU at the end, no skip. With
    `skip` the network adds to its input what it finds, and ends without a ReLU. `border` continues pictures.
    """

    channels: int = 1
    width: int = 128
    kernels: tuple[int, ...] = (9, 5, 3)
    norm: bool = True
    skip: bool = False
    border: str = "circular"

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(self.kernels))  # JSON brings lists
        check_shape({"channels": self.channels, "width": self.width}, self.border)
        if not self.kernels or any(k < 1 or k % 2 == 0 for k in self.kernels):
            message = f"kernels are {self.kernels}: give odd sides, at least one."
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class SSNet(nn.Module):
    """relu(c + W4 h3), h_k = relu(norm(W_k h_(k-1))), h_0 = x, for pictures (B, C, H, W) of any size.

    568 705 weights and 567 552 multiplications a pixel at width 128. Evangelista, Morotti, Loli Piccolomini
    and Nagy, "Ambiguity in solving imaging inverse problems with deep-learning-based operators" (2023).

    >>> sum(p.numel() for p in SSNet(SSNetConfig()).parameters())
    568705
    """

    kind: ClassVar[str] = "ssnet"
    optimizer: ClassVar[str] = "muon"
    Config: ClassVar[type] = SSNetConfig

    def __init__(self, config: SSNetConfig):
        super().__init__()
        self.config = config
        widths = [config.channels, *[config.width] * len(config.kernels)]
        self.layers = nn.ModuleList(
            Convolution((a, b, k), norm=config.norm, active=True, border=config.border)
            for a, b, k in zip(widths[:-1], widths[1:], config.kernels, strict=True)
        )
        self.mix = nn.Conv2d(config.width, config.channels, 1)
        with torch.no_grad():
            if config.skip:  # begin near the input
                self.mix.weight.mul_(0.1)
            else:  # in the middle of the range: a ReLU that starts at 0 may never open
                self.mix.bias.fill_(0.5)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """The deblurred x."""
        check_input(x, self.config.channels)
        h = x
        for layer in self.layers:
            h = layer(h)
        h = self.mix(h)
        return x + h if self.config.skip else relu(h)
