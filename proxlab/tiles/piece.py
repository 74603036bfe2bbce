"""One tile: a pure function from its pixels to its core, the same on this machine and on another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imaging.files.scaling import to_float
from imaging.heap import kept_heap
from proxlab.clipping import Content, far_inside, solid_at_ends
from proxlab.errors import ConvergenceError
from proxlab.layout import Values
from proxlab.methods.base import Noise, Outcome, Task

if TYPE_CHECKING:
    from imaging.operator import LinearOperator
    from proxlab.denoising import Prior

Pair = tuple[int, int]


@dataclass(frozen=True)
class Setting:
    """What was chosen once for the whole picture; everything here travels to other processes.

    kernels (1|C, h, w) float64. content says which ends of the range are the picture's own (see
    `proxlab.clipping`), None that clipped pixels are used. double: work in float64.
    """

    method: str
    kernels: np.ndarray
    origin: Pair
    sigma: float
    sigma_rule: str
    noise: Noise
    white: bool
    lam: float | None
    num_iter: int | None
    seed: int
    values: Values
    content: Content | None
    prior: Prior | None
    device: str
    double: bool


class Piece(NamedTuple):
    """The data of one tile as stored, (C, h, w), and where they lie.

    valid (1|C, h, w) is the caller's mask, there (h, w) False where the region lies outside the picture,
    whose nearest pixels stand there; None for no exception. place = (field, start) of the region; core = rows
    and columns of the data that are the tile's result.
    """

    planes: np.ndarray
    valid: np.ndarray | None
    there: np.ndarray | None
    place: tuple[Pair, Pair]
    core: tuple[slice, slice]


class Solved(NamedTuple):
    """The core as stored, and what a record of the whole needs to know of it."""

    core: np.ndarray
    squares: float  # of the residual, summed over the tile's samples
    samples: int
    beyond: int  # values far outside the range of the tile
    num_iter: int
    status: str
    reason: str
    warnings: tuple[str, ...]
    masked: int  # of the core's samples


BEYOND = 0.1  # as for whole pictures


def solve_piece(setting: Setting, piece: Piece) -> Solved:
    """Deblur one tile and cut out its core; a tile without a usable pixel comes back as it is.

    Raises ConvergenceError for a result that is not finite.
    """
    with kept_heap():
        return _solved(setting, piece)


def _solved(setting: Setting, piece: Piece) -> Solved:
    unit, _ = to_float(piece.planes, data_range=(setting.values.scale.low, setting.values.scale.high))
    valid = _valid(setting, piece)
    light = setting.values.light(unit.astype(np.float64) if setting.double else unit)
    if valid is not None and not valid.any():
        core = piece.planes[:, piece.core[0], piece.core[1]]
        return Solved(core, 0.0, 0, 0, 0, "exact", "no pixel of the tile can be used", (), core.size)
    masked = 0
    if valid is not None:
        masked = int((~np.broadcast_to(valid, light.shape))[:, piece.core[0], piece.core[1]].sum())
        light = _filled(light, valid)
    if piece.there is not None:
        valid = piece.there[None] if valid is None else valid & piece.there
    x, outcome = solve_light(setting, light, valid, piece.place)
    core = x[:, piece.core[0], piece.core[1]]
    low, high = float(light.min()) - BEYOND, float(light.max()) + BEYOND
    return Solved(
        core=setting.values.store(core),
        squares=(outcome.residual or 0.0) ** 2 * light.size,
        samples=light.size,
        beyond=int(((core < low) | (core > high)).sum()),
        num_iter=outcome.num_iter,
        status=outcome.status,
        reason=outcome.stop_reason,
        warnings=tuple(outcome.warnings),
        masked=masked,
    )


def solve_light(
    setting: Setting,
    light: np.ndarray,
    valid: np.ndarray | None,
    place: tuple[Pair, Pair] | None,
    *,
    close: bool = False,
) -> tuple[np.ndarray, Outcome]:
    """The method's answer inside the window, (C, h, w) floats, for data on [0, 1]; place None: a picture.

    close: iterate inside the method's steps to the end.
    """
    import torch

    from imaging.operator import window
    from proxlab.methods import load_method
    from proxlab.networks import place as place_network

    device = torch.device(setting.device)
    y = torch.from_numpy(np.ascontiguousarray(light))[None]
    place_network(setting.prior, device, y.dtype)
    op = operator_of(setting, light.shape, valid, place).to(device, y.dtype)
    task = Task(
        op=op,
        y=y.to(device),
        sigma=setting.sigma,
        sigma_rule=setting.sigma_rule,
        noise=setting.noise,
        lam=setting.lam,
        num_iter=setting.num_iter,
        prior=setting.prior,
        seed=setting.seed,
        white=setting.white,
        report=_silent,
        close=close,
    )
    with torch.no_grad():
        outcome = load_method(setting.method).run(task)
        x = window(op, outcome.x)[0].detach().cpu().numpy()
    if not np.isfinite(x).all():
        message = f"{setting.method} ended in NaN in one of the tiles: {outcome.stop_reason}."
        raise ConvergenceError(message)
    return x, replace(outcome, x=outcome.x[..., :0])


def operator_of(
    setting: Setting, shape: tuple[int, ...], valid: np.ndarray | None, place: tuple[Pair, Pair] | None
) -> LinearOperator:
    """The blur of a tile with unknown borders, its mask in front, in float64 on the CPU."""
    import torch

    from imaging.blur import WindowedBlur
    from imaging.masks import Masked

    kernels = torch.from_numpy(setting.kernels)[None]
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    op = WindowedBlur(kernels, size, origin=setting.origin, place=place)
    if valid is None:
        return op
    return Masked(op, torch.from_numpy(np.ascontiguousarray(valid))[None], filled=place is not None)


def _valid(setting: Setting, piece: Piece) -> np.ndarray | None:
    """What may be used of a tile: what was given, less its clipped areas."""
    if setting.content is None:
        return piece.valid
    scale = setting.values.scale
    solid = solid_at_ends(piece.planes, scale.low, scale.high, setting.content)
    solid &= ~far_inside(solid, (setting.kernels.shape[-2], setting.kernels.shape[-1]))
    if not solid.any():
        return piece.valid
    return ~solid if piece.valid is None else piece.valid & ~solid


def _filled(light: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Masked pixels filled from around them, as an operator with this mask would."""
    import torch

    from imaging.masks import fill

    used = np.broadcast_to(valid, light.shape)
    light = np.where(used, light, light.mean(where=used, dtype=np.float64).astype(light.dtype))
    return fill(torch.from_numpy(light)[None], torch.from_numpy(used.copy())[None])[0].numpy()


def _silent(step: Any) -> None:
    """Progress is counted in tiles."""
