"""A network whose Lipschitz constant is bounded by construction, for pictures of any size."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu

from priors.networks.layers import check_input, check_shape, extended


@dataclass(frozen=True)
class BoundedConfig:
    """Shape of a `Bounded`: picture channels, Lipschitz constant, hidden channels, layers, kernel side."""

    channels: int = 1
    lipschitz: float = 2.0
    width: int = 48
    layers: int = 5
    kernel: int = 5

    def __post_init__(self) -> None:
        check_shape({"channels": self.channels, "width": self.width, "layers": self.layers}, "circular")
        if not (math.isfinite(self.lipschitz) and self.lipschitz >= 1):
            message = f"lipschitz is {self.lipschitz}: give a number from 1, flat pictures must survive."
            raise ValueError(message)
        if self.width < self.channels or self.kernel < 1 or self.kernel % 2 == 0:
            message = (
                f"width {self.width} and kernel {self.kernel}: at least {self.channels} channels, odd side."
            )
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Contraction(nn.Module):
    """h - 2 W^T T^-1 relu(W h + b), with periodic borders: never expands a distance, whatever W, b and q.

    T = diag_i( sum_j |W W^T|_ij q_j / q_i ) dominates W W^T (Gershgorin, after a change of units q > 0), so
    with D the slopes of the ReLU, 0 <= D <= 1, the derivative J = I - 2 W^T T^-1 D W has
    J^T J = I - 4 W^T T^-1 D W + 4 W^T D T^-1 W W^T T^-1 D W <= I - 4 W^T T^-1 (D - D^2) W <= I.
    The sum runs over all shifts of the filters' correlations; wrapping them around a small picture only
    merges terms, so the bound holds at every size. Araujo, Havens, Delattre, Allauzen and Hu, "A unified
    algebraic perspective on Lipschitz neural networks" (2023), theorem 3, for convolutions.
    """

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width, kernel, kernel) / (kernel * width**0.5))
        self.bias = nn.Parameter(torch.zeros(width))
        self.units = nn.Parameter(torch.zeros(width))  # log q

    def forward(self, h: Tensor) -> Tensor:
        """h after the step, no two of them further apart than before."""
        reach = self.weight.shape[-1] // 2
        bias, scale = self.bias, 2 / self.dominating()
        active = relu(conv2d(extended(h, reach, "circular"), self.weight, bias), inplace=True)
        active = active * scale.view(1, -1, 1, 1)
        # The transpose of a convolution with periodic borders is one with the turned filters.
        turned = self.weight.flip(-2, -1).transpose(0, 1)
        return h - conv2d(extended(active, reach, "circular"), turned)

    def dominating(self) -> Tensor:
        """The diagonal of T, (width,)."""
        side = self.weight.shape[-1]
        shifts = conv2d(pad(self.weight, (side - 1,) * 4), self.weight)  # (i, j, 2 side - 1, 2 side - 1)
        units = self.units.exp()
        sums = shifts.abs().sum((2, 3)) @ units / units
        return sums.clamp_min(1e-12)


class Bounded(nn.Module):
    """f(x) = L (t x + (1 - t) s g(x)) with 0 <= t <= 1, |s| <= 1, so that |f(x) - f(z)| <= L |x - z|.

    g appends channels of zeros to x, applies `Contraction`s, and keeps the picture's channels: neither end
    expands a distance. t and s are learned. Pictures (B, C, H, W) of any size, with periodic borders. The
    constant is a property of the parametrisation, up to rounding: no training step can break it.

    >>> net = Bounded(BoundedConfig(lipschitz=2.0, width=4, layers=2, kernel=3))
    >>> x, z = torch.rand(2, 1, 1, 7, 9)
    >>> bool((net(x) - net(z)).norm() <= 2 * (x - z).norm())
    True
    """

    kind: ClassVar[str] = "bounded"
    optimizer: ClassVar[str] = "muon"
    Config: ClassVar[type] = BoundedConfig

    def __init__(self, config: BoundedConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Contraction(config.width, config.kernel) for _ in range(config.layers))
        start = min(1 / config.lipschitz, 0.9)  # flat pictures stay as they are
        self.share = nn.Parameter(torch.tensor(math.log(start / (1 - start))))
        self.gate = nn.Parameter(torch.tensor(0.1))

    @property
    def lipschitz(self) -> float:
        """A proven bound of |f(x) - f(z)| / |x - z|."""
        return float(self.config.lipschitz)

    def forward(self, x: Tensor) -> Tensor:
        """The deblurred x."""
        check_input(x, self.config.channels)
        h = torch.cat([x, x.new_zeros(len(x), self.config.width - x.shape[1], *x.shape[2:])], dim=1)
        for layer in self.layers:
            h = layer(h)
        t = self.share.sigmoid()
        found = self.gate.tanh() * h[:, : x.shape[1]]
        return self.config.lipschitz * (t * x + (1 - t) * found)
