"""Reading the regulariser of a prior at pictures: their layout, one value each, and paths to walk along."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imaging.files.atomic import atomic_write
from imaging.files.scaling import split_alpha, to_float
from proxlab.errors import ConvergenceError, UsageError
from proxlab.request import check_sigma

if TYPE_CHECKING:
    from torch import Tensor

Curve = tuple[list[float], list[float]]
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
NOISE = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1)
BLUR = (0.0, 0.5, 1.0, 2.0, 4.0)
MIXTURE = (0.0, 0.25, 0.5, 0.75, 1.0)


class Value(NamedTuple):
    """R of one picture: value <= R <= value + error; residual of the inversion, 0 for a closed form."""

    value: float
    error: float
    residual: float


@dataclass(frozen=True)
class Reader:
    """A prior whose regulariser can be read, at one level, in float64."""

    network: Any
    channels: int
    sigma: float
    rtol: float
    max_iter: int

    def planes(self, pixels: np.ndarray, crop: int | None) -> Tensor:
        """(1, C, H, W) float64 in the prior's channels from stored pixels, no alpha, the middle.

        Raises UsageError for a crop of less than one pixel.
        """
        import torch

        if crop is not None and crop < 1:
            message = f"crop is {crop}: give the side of the middle to use, in pixels, or leave it out."
            raise UsageError(message)
        colour, _ = split_alpha(pixels)
        values = np.asarray(to_float(colour)[0], np.float64)
        values = values[..., None] if values.ndim == 2 else values
        if self.channels == 1 and values.shape[2] == 3:
            values = values @ np.array(LUMA)[:, None]
        planes = np.moveaxis(np.broadcast_to(values, (*values.shape[:2], self.channels)), 2, 0)
        top, left = (max(0, (n - (crop or n)) // 2) for n in planes.shape[1:])
        planes = planes[:, top : top + (crop or planes.shape[1]), left : left + (crop or planes.shape[2])]
        return torch.from_numpy(planes.copy())[None]

    def value(self, x: Tensor) -> Value:
        """R(x) of (1, C, H, W); raises ConvergenceError when the inversion misses its tolerance."""
        import torch

        from algorithms.state import NotConvergedError

        if not hasattr(self.network, "read"):  # a formula
            with torch.no_grad():
                return Value(float(self.network.value(x, self.sigma)), 0.0, 0.0)
        try:
            found = self.network.read(x, self.sigma, rtol=self.rtol, max_iter=self.max_iter)
        except NotConvergedError as error:
            message = f"the inversion of the prior {error}"
            raise ConvergenceError(message) from error
        return Value(float(found.value), float(found.error), float(found.residual))


def reader(prior: str, sigma: float, *, rtol: float | None, max_iter: int | None) -> Reader:
    """The reader of a named prior; raises UsageError for one without a value, such as a plain denoiser."""
    from proxlab.denoising import choose_prior

    if not sigma > 0:
        message = f"sigma is {sigma}: the level of a regulariser is above zero, a fraction of the data range."
        raise UsageError(message)
    check_sigma(sigma)
    rtol, max_iter = 1e-6 if rtol is None else rtol, 2000 if max_iter is None else max_iter
    if not 0 < rtol < 1 or max_iter < 1:
        message = (
            f"rtol is {rtol:g} and max_iter {max_iter}: give 0 < rtol < 1, as 1e-6, and at least 1 step."
        )
        raise UsageError(message)
    chosen = choose_prior(prior, channels=1)
    if not hasattr(chosen.network, "value"):
        kind = getattr(chosen.network, "kind", "denoiser")
        message = (
            f"the prior {chosen.name} has no regulariser to read (its kind is {kind!r}): name a learned "
            "proximal network, a ridge or a gradient-step prior."
        )
        raise UsageError(message)
    return Reader(chosen.network.double(), chosen.channels or 1, sigma, rtol, max_iter)


def paths_from(start: Tensor, other: Tensor, *, seed: int) -> dict[str, tuple[list[float], list[Tensor]]]:
    """Pictures along noise (sigma), Gaussian blur (pixels) and mixing with another picture (share)."""
    import torch
    from scipy.ndimage import gaussian_filter

    if other.shape != start.shape:
        message = f"the pictures to mix have sizes {tuple(start.shape)} and {tuple(other.shape)}: use --crop."
        raise UsageError(message)
    noise = np.random.default_rng(seed).standard_normal(start.shape)
    noisy = [start + s * torch.from_numpy(noise) for s in NOISE]
    pixels = start.numpy()
    blurred = [torch.from_numpy(gaussian_filter(pixels, (0, 0, s, s)) if s else pixels.copy()) for s in BLUR]
    mixed = [(1 - s) * start + s * other for s in MIXTURE]
    return {"noise": (list(NOISE), noisy), "blur": (list(BLUR), blurred), "mixing": (list(MIXTURE), mixed)}


def plot_kind(path: Path) -> str:
    """ "png", "pdf" or "svg", as the name ends; UsageError for another end.

    >>> plot_kind(Path("r.PDF"))
    'pdf'
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        message = f"{path}: a plot is written as .png, .pdf or .svg."
        raise UsageError(message)
    return kind


def plot_paths(curves: dict[str, Curve], path: Path, *, overwrite: bool) -> None:
    """One panel a curve, R less its smallest value over all; see `plot_kind`."""
    from matplotlib.figure import Figure

    kind = plot_kind(path)
    low = min(min(values) for _, values in curves.values())
    labels = {
        "noise": "noise added (sigma)",
        "blur": "Gaussian blur (pixels)",
        "mixing": "share of the other",
    }
    figure = Figure(figsize=(10, 3.4), layout="constrained")  # no pyplot: no window, nothing global
    for axes, (name, (places, values)) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        axes.plot(places, [v - low for v in values], "o-")
        axes.set(xlabel=labels[name], ylabel="R, less its smallest")
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=150)
    with atomic_write(path, overwrite=overwrite) as file:
        file.write(stream.getvalue())
