"""Data that are not as the method believes: other noise, another level, another psf, another border."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from proxlab.trials.scenes import Scene

    Make = Callable[[Scene, float, int], NDArray[np.float64]]

JPEG_QUALITY = 75
IMPULSE_SHARE = 0.01


@dataclass(frozen=True)
class Shift:
    """One departure: make(scene, sigma, seed) -> data; believed is the factor on sigma that it is told.

    believed None: the method's own estimate. boundary: what the operator assumes.
    """

    name: str
    group: str
    make: Make
    believed: float | None = 1.0
    boundary: str = "unknown"


def departures(*, short: bool) -> list[Shift]:
    """All departures, the reference (white Gaussian noise, everything as believed) first; short: one a kind.

    >>> [shift.name for shift in departures(short=True)][:3]
    ['as believed', 'Poisson noise', 'impulse noise, 1 %']
    """
    every = [
        Shift("as believed", "reference", gaussian),
        Shift("Poisson noise", "noise", _noise("poisson")),
        Shift("Poisson and Gaussian noise", "noise", _noise("poisson_gaussian")),
        Shift("impulse noise, 1 %", "noise", _noise("impulse")),
        Shift("uniform noise", "noise", _noise("uniform")),
        Shift("correlated noise", "noise", correlated),
        Shift("rounding to as coarse a grid", "noise", _noise("quantise")),
        Shift(f"JPEG, quality {JPEG_QUALITY}", "noise", jpeg),
        Shift("level believed half", "level", gaussian, believed=0.5),
        Shift("level believed double", "level", gaussian, believed=2.0),
        Shift("level estimated from the data", "level", gaussian, believed=None),
        *(Shift(f"psf {p:+d} % wide", "psf", _psf(zoom=1 + p / 100)) for p in (-20, -10, 10, 20)),
        *(Shift(f"psf turned by {a:+d} degrees", "psf", _psf(angle=a)) for a in (-5, 5)),
        Shift("psf half a pixel aside", "psf", _psf(shift=0.5)),
        Shift("borders believed periodic", "border", gaussian, boundary="circular"),
    ]
    kept = {0, 1, 3, 5, 7, 8, 9, 10, 11, 14, 16, 17, 18}
    return [shift for n, shift in enumerate(every) if not short or n in kept]


def gaussian(scene: Scene, sigma: float, seed: int) -> NDArray[np.float64]:
    """White Gaussian noise of the level."""
    y = scene.data()
    return y + sigma * np.random.default_rng(seed).standard_normal(y.shape)


def correlated(scene: Scene, sigma: float, seed: int) -> NDArray[np.float64]:
    """Gaussian noise smoothed over a pixel, of the same standard deviation."""
    from scipy.ndimage import gaussian_filter

    y = scene.data()
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(y.shape), 1.0, mode="wrap")
    return y + sigma * noise / noise.std()


def jpeg(scene: Scene, sigma: float, seed: int) -> NDArray[np.float64]:
    """No noise but that of the file."""
    from PIL import Image

    y = scene.data()
    stream = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(255 * y.clip(0, 1)))).save(stream, "JPEG", quality=JPEG_QUALITY)
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        return np.asarray(image, np.float64) / 255


def _noise(kind: str) -> Make:
    """A noise of imaging.noise at about the same root mean square as sigma (impulses: at their share)."""

    def make(scene: Scene, sigma: float, seed: int) -> NDArray[np.float64]:
        """The data with this noise."""
        import torch

        from imaging import noise

        y = torch.from_numpy(scene.data())
        mean = max(float(y.mean()), 1e-3)
        if kind == "poisson":
            noisy = noise.poisson(y, mean / sigma**2, seed)
        elif kind == "poisson_gaussian":
            noisy = noise.poisson_gaussian(y, (2 * mean / sigma**2, sigma / 2**0.5), seed)
        elif kind == "impulse":
            noisy = noise.impulse(y + sigma * _white(y.shape, seed + 1), IMPULSE_SHARE, seed)
        elif kind == "uniform":
            noisy = noise.uniform(y, sigma * 12**0.5, seed)
        else:
            noisy = noise.quantise(y, max(2, round(1 + 1 / (sigma * 12**0.5))))
        out: NDArray[np.float64] = noisy.numpy()
        return out

    def _white(shape: tuple[int, ...], seed: int) -> torch.Tensor:  # type: ignore[name-defined]  # noqa: F821
        import torch

        return torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(shape)))

    return make


def _psf(*, zoom: float = 1.0, angle: float = 0.0, shift: float = 0.0) -> Make:
    """White noise on data of another psf than the believed one."""

    def make(scene: Scene, sigma: float, seed: int) -> NDArray[np.float64]:
        y = scene.data(changed_psf(scene.psf, zoom=zoom, angle=angle, shift=shift))
        return y + sigma * np.random.default_rng(seed).standard_normal(y.shape)

    return make


def changed_psf(
    psf: NDArray[np.float64], *, zoom: float = 1.0, angle: float = 0.0, shift: float = 0.0
) -> NDArray[np.float64]:
    """The psf widened, turned (degrees) about its centre n // 2 and moved along the rows; sum kept.

    Linear interpolation, four times finer than the pixels, averaged back.

    >>> changed_psf(np.ones((3, 3)) / 9, angle=5.0).shape  # room for a fifth more
    (7, 7)
    """
    from scipy.ndimage import map_coordinates

    fine = 4
    pad = int(np.ceil(0.12 * max(psf.shape))) + 1
    canvas = np.pad(psf, pad)
    centre = np.array([psf.shape[0] // 2 + pad, psf.shape[1] // 2 + pad], float)
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    rows = (np.arange(canvas.shape[0])[:, None] + steps).ravel() - centre[0]
    columns = (np.arange(canvas.shape[1])[:, None] + steps).ravel() - centre[1] - shift
    u, v = np.meshgrid(rows, columns, indexing="ij")
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    at = [(c * u + s * v) / zoom + centre[0], (-s * u + c * v) / zoom + centre[1]]
    sampled = map_coordinates(canvas, at, order=1).reshape(canvas.shape[0], fine, canvas.shape[1], fine)
    changed = sampled.mean((1, 3)).clip(0)
    out: NDArray[np.float64] = changed * (psf.sum() / changed.sum())
    return out
