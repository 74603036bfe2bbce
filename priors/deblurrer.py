"""The unrolled deblurring network: plug-and-play steps around a denoiser, learned end to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms.pnp import data_term, in_turn
from algorithms.unrolled import STEPS, Schedule, unroll
from algorithms.unseen import FILL
from imaging.fidelity import LeastSquares
from imaging.heap import settle
from imaging.operator import embed
from priors.checkpoint import configured, network_class


@dataclass(frozen=True)
class DeblurrerConfig:
    """Shape of a `Deblurrer`: the kind and configuration of the network inside, and the steps around it.

    `family` is "hqs", "pgd" or "admm"; `start`, `weight` and `floor` belong to the schedule before training
    (see `Schedule`), `inner` is the number of conjugate gradients of a data step without a closed form (see
    `ShortLeastSquares`; behind a window or a mask it is FILL steps of `FilledLeastSquares`). `sigma` is the
    range of noise levels trained on.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    prior: str = "denoiser"
    family: str = "hqs"
    steps: int = 8
    start: float = 49 / 255
    weight: float = 0.25
    floor: float = 1 / 255
    inner: int = 3
    sigma: tuple[float, float] = (0.0, 15 / 255)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", tuple(self.sigma))  # JSON brings lists
        object.__setattr__(self, "network", json.loads(json.dumps(dict(self.network))))
        if self.family not in STEPS:
            message = f"family is {self.family!r}: choose one of {', '.join(STEPS)}."
            raise ValueError(message)
        if self.steps < 1 or self.inner < 1:
            message = f"steps is {self.steps} and inner {self.inner}: both must be positive."
            raise ValueError(message)

    @property
    def channels(self) -> int:
        return int(self.network.get("channels", 1))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Deblurrer(nn.Module):
    """x = steps of a solver for |A x - y|^2 / 2 plus what the denoiser prefers, called as (op, y, sigma).

    Any psf, size, border, mask or grid of psfs: where a data step has no closed form, a fixed number of
    conjugate gradients is taken. y is (B, C, h, w) on [0, 1], sigma a float or one level a sample; the result
    lies in the operator's domain, its window is what the sensor saw. A network for one channel treats several
    one by one. Fresh, it is plug-and-play with the schedule of the configuration, and the picture is turned
    from step to step like there (`in_turn`). `checkpointing=True` bounds the memory of training.
    """

    kind: ClassVar[str] = "unrolled"
    Config: ClassVar[type] = DeblurrerConfig

    def __init__(self, config: DeblurrerConfig):
        super().__init__()
        self.config, self.checkpointing = config, False
        self.network = network_class(config.prior)(configured(config.prior, config.network))
        self.schedule = Schedule(
            config.steps,
            start=config.start,
            weight=config.weight,
            floor=config.floor,
            gamma=config.family != "pgd",
        )

    def start_from(self, trained: nn.Module) -> None:
        """Take over the weights of a trained network of the kind and shape inside."""
        self.network.load_state_dict(trained.state_dict())

    def forward(
        self, op: Any, y: Tensor, sigma: float | Tensor, *, weigh: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """The sharp picture, in the operator's domain; weigh as in `ShortLeastSquares`, for counted light."""
        noise = torch.as_tensor(sigma, dtype=y.dtype, device=y.device).reshape(-1).expand(len(y))
        slopes = self.config.family == "pgd"  # they take the level as it is on average
        inner, pairs = self.config.inner, self.schedule(noise)
        f = LeastSquares(op, y) if slopes else data_term(op, y, steps=inner, fill=FILL, weigh=weigh)
        return unroll(
            f,
            in_turn(self._between, pairs),
            pairs,
            x0=embed(op, y),
            step=STEPS[self.config.family],
            checkpointing=self.checkpointing,
        ).x

    def _between(self, x: Tensor, sigma: Tensor) -> Tensor:
        """denoise between two data steps, whose arrays are of other sizes."""
        settle()
        z = self.denoise(x, sigma)
        settle()
        return z

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The network inside, channel by channel where it knows only one."""
        if x.shape[1] == self.config.channels:
            return self.network(x, sigma)
        if self.config.channels != 1:
            message = f"the picture has {x.shape[1]} channels: this network is for {self.config.channels}."
            raise ValueError(message)
        return torch.cat([self.network(x[:, c : c + 1], sigma) for c in range(x.shape[1])], dim=1)
