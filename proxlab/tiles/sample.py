"""What is chosen once for a whole picture, from parts of it that are typical."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.errors import UsageError, listed
from proxlab.methods import load_method
from proxlab.methods.base import Outcome
from proxlab.tiles.piece import Setting, solve_light

if TYPE_CHECKING:
    from imaging.files.rows import RowReader
    from proxlab.blurs import Blur
    from proxlab.data import Data
    from proxlab.job import Job
    from proxlab.layout import Layout
    from proxlab.pipeline import Prepared
    from proxlab.request import Request
    from proxlab.tiles.survey import Survey

WHOLE = 1 << 20  # pixels up to which the sample is the picture itself
SIDE, ACROSS = 512, 3  # otherwise so many windows a direction, of that side
# What of a sample's outcome holds for every tile: weights, and how often was iterated, without which two
# tiles would stop at different places and show it along their seam.
KEPT = {
    "tikhonov": ("lam",),
    "wiener": ("lam",),
    "tv": ("lam", "num_iter"),
    "richardson-lucy": ("num_iter",),
    "red": ("num_iter",),
}
TILED = (*KEPT, "identity", "pnp", "unrolled")  # methods whose answer is local, once these are chosen


@dataclass(frozen=True)
class Sample:
    """One typical part of the picture, made ready like a picture of its own, and what came out of it."""

    prepared: Prepared
    setting: Setting
    blur: Blur
    lam_rule: str | None
    warnings: tuple[str, ...]

    @property
    def data(self) -> Data:
        """Its pixels on [0, 1]."""
        return self.prepared.data

    @property
    def job(self) -> Job:
        """What was found about it."""
        return self.prepared.job


def check_can_tile(request: Request, method: str) -> None:
    """UsageError, saying which and why, for what cannot be done in tiles."""
    problems = []
    if request.boundary != "unknown":
        problems.append(f"boundary={request.boundary!r}")
    if request.scale != 1:
        problems.append(f"scale={request.scale}")
    if method not in (*TILED, "auto"):
        problems.append(f"method {method!r}")
    if method == "richardson-lucy" and request.lam is not None:
        problems.append("a given lam of Richardson-Lucy, which counts in units of the picture's mean,")
    if problems:
        message = (
            f"{' with '.join(problems)} cannot be done in tiles: use boundary='unknown', scale=1 and one of "
            f"{listed(TILED, 'or')}, allow more memory, or work on a part of the picture (--roi)."
        )
        raise UsageError(message)


def sample_of(
    request: Request, source: RowReader, found: tuple[Layout, Survey], psf: Any, mask: Any
) -> Sample:
    """Level, method, weight and iterations, from up to nine windows; the middle one in detail is run."""
    from proxlab.blurs import Scene, read_blur
    from proxlab.data import read_data
    from proxlab.pipeline import prepare

    layout, survey = found
    windows = windows_of(layout.planes[1:])
    typical = _typical(source, windows)
    axis = None if request.channel_axis is None else 2  # of rows, the channels come last
    plain = replace(request, max_memory=None, tile=None, cluster=None, channel_axis=axis)
    picture, valid = _cut(source, typical), _part(mask, typical)
    data = read_data(picture, valid, channel_axis=axis, data_range=request.data_range, linear=request.linear)
    blur = read_blur(psf, Scene(data.planes, 1, request.seed), origin=request.origin)
    if blur.varying:
        message = "a grid of psfs cannot be done in tiles: allow more memory, or work on a part (--roi)."
        raise UsageError(message)
    first = prepare(plain, picture, blur, valid)
    levels = [first.job.sigma] + [
        prepare(plain, _cut(source, w), blur, _part(mask, w)).job.sigma for w in windows if w != typical
    ]
    sigma = median(levels) if "estimated" in first.job.sigma_rule else first.job.sigma
    clipping = survey.tally is not None and mask is not False and first.method.supports.mask
    setting = Setting(
        method=first.method.name,
        kernels=blur.kernels[0, 0],
        origin=blur.origin,
        sigma=sigma,
        sigma_rule=first.job.sigma_rule,
        noise=first.job.noise,
        white=first.white,
        lam=request.lam,
        num_iter=request.num_iter,
        seed=request.seed,
        values=survey.values,
        content=survey.tally.content if clipping and survey.tally is not None else None,
        prior=first.prior,
        device=str(first.y.device),
        double=first.data.planes.dtype == np.float64,
    )
    _, outcome = solve_light(setting, first.data.planes, first.data.valid, None)
    settled = _settled(setting, outcome)
    check_can_tile(request, settled.method)
    return Sample(first, settled, blur, outcome.lam_rule, tuple(outcome.warnings))


def _settled(setting: Setting, outcome: Outcome) -> Setting:
    """The setting with what the method chose on the sample."""
    method = outcome.method or setting.method
    kept = {name: getattr(outcome, name) for name in KEPT.get(method, ())}
    prior = (outcome.prior or setting.prior) if load_method(method).supports.prior else None
    return replace(setting, method=method, prior=prior, **kept)


def windows_of(size: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Up to nine windows spread over a picture (H, W), which is one itself where it is small."""
    height, width = size
    if height * width <= WHOLE:
        return [(slice(0, height), slice(0, width))]
    places = []
    for n in (height, width):
        side = min(SIDE, n)
        starts = np.linspace(0, n - side, ACROSS + 2).astype(int)[1:-1] if n > 2 * side else [(n - side) // 2]
        places.append([slice(int(s), int(s) + side) for s in starts])
    return [(rows, columns) for rows in places[0] for columns in places[1]]


def _typical(source: RowReader, windows: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The window whose detail, the mean square of neighbours' differences, is the middle one."""
    if len(windows) == 1:
        return windows[0]

    def detail(window: tuple[slice, slice]) -> float:
        values = _cut(source, window).astype(np.float64)
        return float((np.diff(values, axis=0) ** 2).mean() + (np.diff(values, axis=1) ** 2).mean())

    return sorted(windows, key=detail)[len(windows) // 2]


def _cut(source: RowReader, window: tuple[slice, slice]) -> np.ndarray:
    rows, columns = window
    return np.array(source.rows(rows.start, rows.stop)[:, columns])


def _part(mask: Any, window: tuple[slice, slice]) -> Any:
    if mask is None or isinstance(mask, bool):
        return mask
    return np.asarray(mask)[window]
