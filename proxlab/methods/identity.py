"""The method that changes nothing: it shows that files load, scale and save."""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxlab.methods.base import EVERYTHING, Outcome, Supports, Task
from proxlab.methods.common import bytes_of, rms_residual


@dataclass(frozen=True)
class Identity:
    """x = the data, placed in the picture's grid."""

    name: str = "identity"
    summary: str = "the input itself: shows that files load, scale and save"
    supports: Supports = replace(EVERYTHING, mask=False, lam=False, num_iter=False)  # noqa: RUF009 (frozen)

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Seven pictures in float32, measured at 1024x1024: the field, its blur, their spectra."""
        return bytes_of(shape, 7)

    def run(self, task: Task) -> Outcome:
        """Place the data and measure the residual, as every method does."""
        from imaging.operator import embed

        x = embed(task.op, task.y)
        return Outcome(
            x=x,
            lam=None,
            lam_rule=None,
            num_iter=0,
            stop_reason="nothing to iterate",
            status="exact",
            residual=rms_residual(task, x),
            objective=(),
            certificate={"verdict": "the input itself, unchanged", "conditions": []},
        )


METHOD = Identity()
