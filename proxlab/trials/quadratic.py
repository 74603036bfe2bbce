"""The weights that quadratic methods choose from the data, and how those weights follow the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from proxlab.methods.base import Task

    MakeTask = Callable[[Any, Tensor, float | None], Task]


@dataclass(frozen=True)
class Weighing:
    """The rule of "wiener" or "tikhonov"; task: (op, y, sigma) -> what the method would receive."""

    method: str
    task: MakeTask

    def lam(self, op: Any, y: Tensor, sigma: float | None) -> float:
        """The weight that the method chooses where it is given none."""
        return self._chosen(op, y, sigma)[0]

    def slope(self, op: Any, y: Tensor, sigma: float | None, lam: float) -> Tensor:
        """d lam / d y at the weight chosen there; zero for rules that see no spectrum of the data."""
        import torch

        from algorithms.choose import evidence_score, gcv_score, spectra, weight_slope
        from algorithms.sure import plain_blur
        from proxlab.methods.common import level

        plain = plain_blur(op, y)
        if plain is None:
            return torch.zeros_like(y)
        rule = self._chosen(op, y, sigma)[1]
        score: Callable[[Any, Any], Tensor] = partial(evidence_score, sigma=level(self.task(op, y, sigma)))
        if self.method == "tikhonov" and rule.startswith("gcv"):
            score = gcv_score
        return weight_slope(lambda t, v: score(spectra(plain, v), t), y, lam)

    def _chosen(self, op: Any, y: Tensor, sigma: float | None) -> tuple[float, str]:
        from proxlab.methods.tikhonov import choose_weight, fitted_weight

        choose = fitted_weight if self.method == "wiener" else choose_weight
        return choose(self.task(op, y.detach(), sigma))
