"""The unrolled network: plug-and-play steps trained end to end, for any psf and level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from proxlab.errors import UsageError
from proxlab.methods.base import EVERYTHING, Outcome, Progress, Supports, Task
from proxlab.methods.common import bytes_of, rms_residual, used_level
from proxlab.methods.pnp import weights

MARGIN = 1.05  # of an estimated level: too low costs much more than too high
LOUD = 1.2  # times the strongest noise of its training, at which the network warns
NONE_SHIPS = (
    "method 'unrolled' needs its network, and none ships with this version: make one with `proxlab train "
    "unrolled --images DIR --start DENOISER.safetensors ...` and give its file as the prior, or use method "
    "'pnp' or 'tv'."
)


@dataclass(frozen=True)
class UnrolledNetwork:
    """x after the few steps the network was trained for; psf and noise level are its inputs."""

    name: str = "unrolled"
    summary: str = "plug-and-play steps trained end to end: the sharpest in few steps, nothing proven"
    supports: Supports = replace(  # noqa: RUF009 (frozen)
        EVERYTHING,
        varying=False,
        lam=False,
        num_iter=False,
        prior=True,
        family="unrolled",
    )

    def memory(self, shape: tuple[int, int, int]) -> int:
        """Float32 pictures alive at once in a data step; the network is counted by the front door."""
        return bytes_of(shape, 22)

    def run(self, task: Task) -> Outcome:
        """Apply the network in the type and on the device of its weights."""
        network, name = network_of(task)
        weight = next(network.parameters())
        sigma = used_level(task, margin=MARGIN, floor=0.0)
        op, y = task.op, task.y.to(weight)
        if y is not task.y:  # a module of the caller's own, of another type or elsewhere
            op = op.clone().to(weight.device, weight.dtype)
        try:
            x = network(op, y, sigma, weigh=weights(task)).to(task.y)
        except ValueError as error:
            raise UsageError(str(error)) from error
        steps = network.config.steps
        task.report(Progress(steps, steps, x))
        return Outcome(
            x=x,
            lam=None,
            lam_rule=None,
            num_iter=steps,
            stop_reason=f"the network's {steps} steps were done",
            status="exact",
            residual=rms_residual(task, x),
            objective=(),
            certificate={"verdict": "nothing is proven about a network's answer", "conditions": []},
            warnings=_doubts(network, name, sigma),
            details={"network": name, "family": network.config.family, "sigma_used": sigma},
        )


def network_of(task: Task) -> tuple[Any, str]:
    """The network and its name; UsageError where none is at hand or the prior is something else."""
    prior: Any = task.prior
    if prior is None:
        raise UsageError(NONE_SHIPS)
    if getattr(prior.network, "kind", None) != "unrolled":
        message = f"prior {prior.name!r} is no unrolled network: give a file of `proxlab train unrolled`."
        raise UsageError(message)
    return prior.network, prior.name


def _doubts(network: Any, name: str, sigma: float) -> tuple[str, ...]:
    high = network.config.sigma[1]
    if sigma <= LOUD * high:
        return ()
    return (f"network {name!r} was trained with noise up to {high:.3g}, the picture has {sigma:.3g}.",)


METHOD = UnrolledNetwork()
